#include "http/access_log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/json/parse.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

#include "base/format.h"
#include "http/trace_context.h"

namespace espy::http {
namespace {

using namespace std::chrono_literals;

class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "espy-log-XXXXXX").string();
    path = ::mkdtemp(name.data());
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::filesystem::path path;
};

std::string content_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::ostringstream content;
  content << file.rdbuf();
  return std::move(content).str();
}

void wait_until(const auto& condition) {
  for (int i = 0; i < 1000 && !condition(); ++i) std::this_thread::sleep_for(5ms);
  ASSERT_TRUE(condition());
}

TEST(AccessLog, ALineHasWhatIsKnown) {
  Uuid record;
  record.bytes.fill(0x11);
  const AccessEntry entry{.time = Timestamp{1s},
                          .id = "abc-1",
                          .traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                          .client = "::1",
                          .method = "POST",
                          .path = "/api/predict",
                          .route = "/api/predict",
                          .status = 200,
                          .bytes = 12,
                          .duration = 1500us,
                          .model = "digits",
                          .records = {&record, 1}};
  const std::string line = access_line(entry, LogFormat::json);
  EXPECT_TRUE(line.ends_with("}\n"));
  const boost::json::value json = boost::json::parse(line);
  EXPECT_EQ(json.at("time").as_string(), "1970-01-01T00:00:01.000000Z");
  EXPECT_EQ(json.at("traceparent").as_string(), entry.traceparent);
  EXPECT_EQ(json.at("status").as_int64(), 200);
  EXPECT_EQ(json.at("duration_us").as_int64(), 1500);
  EXPECT_EQ(json.at("records").at(0).as_string(), to_string(record));
  EXPECT_EQ(access_line(entry, LogFormat::text),
            "1970-01-01T00:00:01.000000Z ::1 POST \"/api/predict\" /api/predict 200 12 B 1500 us id=abc-1 "
            "traceparent=00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 model=digits "
            "record=11111111-1111-1111-1111-111111111111\n");
}

TEST(AccessLog, WhatAClientSaysStaysWithinItsLine) {
  const AccessEntry entry{.time = {}, .method = "GET", .path = "/\"\n\x1b[31m\xff", .route = "none"};
  for (const LogFormat log_format : {LogFormat::json, LogFormat::text}) {
    const std::string line = access_line(entry, log_format);
    EXPECT_EQ(line.find('\n'), line.size() - 1);
    EXPECT_EQ(line.find('\x1b'), line.npos);
    EXPECT_EQ(line.find('\xff'), line.npos);
  }
  EXPECT_EQ(boost::json::parse(access_line(entry, LogFormat::json)).at("path").as_string(),
            "/\"\n\x1b[31m\xef\xbf\xbd");
}

TEST(AccessLog, LinesReachTheFileInOrderAndARotatedFileIsLeft) {
  const Folder folder;
  const std::filesystem::path path = folder.path / "access.log";
  LineLog::Figures figures;
  {
    auto log = *LineLog::open(path, figures);
    for (int i = 0; i < 1000; ++i) log->append(format("{}\n", i));
    wait_until([&] { return figures.written == 1000; });
    std::filesystem::rename(path, folder.path / "old");
    log->reopen();
    wait_until([&] { return std::filesystem::exists(path); });
    log->append("new\n");
  }
  EXPECT_TRUE(content_of(folder.path / "old").starts_with("0\n1\n2\n"));
  EXPECT_TRUE(content_of(folder.path / "old").ends_with("\n999\n"));
  EXPECT_EQ(content_of(path), "new\n");
  EXPECT_EQ(figures.written, 1001u);
  EXPECT_EQ(figures.dropped, 0u);
}

TEST(AccessLog, AFullDiskCostsLinesOnly) {
  if (::access("/dev/full", W_OK) != 0) GTEST_SKIP() << "there is no /dev/full";
  LineLog::Figures figures;
  {
    auto log = *LineLog::open("/dev/full", figures);
    log->append("one\ntwo\n");
    wait_until([&] { return figures.dropped == 2; });
    log->append("three\n");
  }
  EXPECT_EQ(figures.dropped, 3u);
  EXPECT_EQ(figures.written, 0u);
}

TEST(AccessLog, AReaderThatStopsHoldsNobodyUp) {
  const Folder folder;
  const std::filesystem::path path = folder.path / "pipe";
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  const int reader = ::open(path.c_str(), O_RDONLY | O_NONBLOCK);
  LineLog::Figures figures;
  const std::string line(999, 'x');
  constexpr std::uint64_t kLines = 10'000;  // 10 MB: more than the pipe and what may wait
  {
    auto log = *LineLog::open(path, figures);
    const auto begin = std::chrono::steady_clock::now();
    for (std::uint64_t i = 0; i < kLines; ++i) log->append(line + "\n");
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 20s);
    EXPECT_GT(figures.dropped, 1000u);
  }  // the end waits for a second only
  EXPECT_EQ(figures.written + figures.dropped, kLines);
  EXPECT_GT(figures.written, 0u);
  ::close(reader);
}

TEST(AccessLog, AFileThatCannotBeOpenedIsAnError) {
  LineLog::Figures figures;
  const auto log = LineLog::open("/no/such/folder/access.log", figures);
  ASSERT_FALSE(log);
  EXPECT_EQ(log.error().code, ErrorCode::unavailable);
  EXPECT_NE(log.error().message.find("/no/such/folder"), std::string::npos);
}

TEST(TraceContext, TakesWhatTheStandardAllowsAlone) {
  constexpr std::string_view kGood = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  EXPECT_TRUE(is_traceparent(kGood));
  EXPECT_TRUE(is_traceparent("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
  EXPECT_TRUE(is_traceparent("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes-later"));
  for (const std::string_view bad : {
           "",
           "00",
           "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
           "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
           "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x",
           "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
           "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
           "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
           "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
           "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
           "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7 01",
           "0x-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
       }) {
    EXPECT_FALSE(is_traceparent(bad)) << bad;
  }
}

TEST(TraceContext, ARequestIdIsShortAndPlain) {
  EXPECT_TRUE(is_request_id("b3a7d1f0-1c2d-4e5f-8a9b-0123456789ab"));
  EXPECT_TRUE(is_request_id("Root=1-67891233-abcdef012345678912345678"));
  EXPECT_TRUE(is_request_id(std::string(128, 'a')));
  EXPECT_FALSE(is_request_id(std::string(129, 'a')));
  for (const std::string_view bad : {"", "a b", "a\"b", "a\r\nb", "\xc3\xa4", "<a>"})
    EXPECT_FALSE(is_request_id(bad));
}

}  // namespace
}  // namespace espy::http
