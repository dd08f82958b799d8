// Records to store, and a folder for them: what the tests of this module share.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/file.h"
#include "base/format.h"
#include "store/record.h"

namespace espy::store {

inline constexpr Timestamp kStart{std::chrono::seconds{1'790'000'000}};

// Of retention, for clocks that tests set.
inline constexpr int kAnyPace = 1'000'000;

inline std::string upload_bytes(int number) { return format("bytes of upload {}", number); }

// Record `number` (>= 0) of a history of one record a second, its id made when it arrived.
inline Record make_record(int number) {
  Record record;
  record.time = kStart + std::chrono::seconds{number};
  const auto in_id = static_cast<std::uint64_t>(record.time.time_since_epoch().count() / 1000);
  for (size_t i = 0; i < 6; ++i) {
    record.id.bytes[i] = static_cast<std::uint8_t>(in_id >> (40 - 8 * i));
  }
  record.id.bytes[6] = 0x70;
  record.id.bytes[8] = 0x80;
  record.id.bytes[15] = static_cast<std::uint8_t>(number);
  record.model = number % 2 == 0 ? "digits" : "garments";
  record.model_version = "0123456789ab";
  record.file_name = format("{}.png", number % 5);
  record.label = number % 10;
  record.class_name = format("{}", number % 10);
  record.confidence = static_cast<float>(number % 100) / 100;
  if (number % 3 == 0) {
    record.verdict = Verdict::not_recognized;
    record.reason = number % 2 == 0 ? Reason::blank : Reason::foreign;
  } else if (number % 5 == 0) {
    record.verdict = Verdict::unsure;
    record.reason = Reason::ambiguous;
    record.alternative = format("{}", (number + 1) % 10);
  }
  for (size_t i = 0; i < record.input.size(); ++i) {
    record.input[i] = static_cast<std::uint8_t>(i * 7 + static_cast<size_t>(number));
  }
  record.upload_digest = sha256(as_bytes(upload_bytes(number)));
  record.upload_bytes = upload_bytes(number).size();
  record.latency = std::chrono::microseconds{1000 + number};
  return record;
}

inline Upload make_upload(int number) { return {"image/png", upload_bytes(number)}; }

inline void expect_error(const auto& result, ErrorCode code, std::string_view part) {
  ASSERT_FALSE(result);
  EXPECT_EQ(to_string(result.error().code), to_string(code)) << result.error().message;
  EXPECT_NE(result.error().message.find(part), std::string::npos) << result.error().message;
}

// A folder that begins empty and goes with the test.
class Folder {
 public:
  Folder() {
    std::filesystem::remove_all(path_);  // of a test that was killed and had the same process id
    std::filesystem::create_directories(path_);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  std::string file(const std::string& name) const { return (path_ / name).string(); }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_ =
      std::filesystem::temp_directory_path() / format("espy-store-test-{}", ::getpid());
};

}  // namespace espy::store
