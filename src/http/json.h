// JSON that we write (RFC 8259).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "store/record.h"

namespace espy::http {

inline constexpr std::string_view kJsonType = "application/json";

// Appends values in order and puts the commas. Text that is not UTF-8 comes out with U+FFFD in its place.
class JsonWriter {
 public:
  JsonWriter() { text_.reserve(kUsualBytes); }

  JsonWriter& begin_object() { return open('{'); }
  JsonWriter& end_object() { return close('}'); }
  JsonWriter& begin_array() { return open('['); }
  JsonWriter& end_array() { return close(']'); }

  JsonWriter& key(std::string_view name);
  JsonWriter& value(std::string_view text);
  JsonWriter& value(const char* text) { return value(std::string_view(text)); }
  JsonWriter& value(std::int64_t number);
  JsonWriter& value(int number) { return value(std::int64_t{number}); }
  JsonWriter& value(std::uint64_t number);
  JsonWriter& value(float number);
  JsonWriter& value(bool truth);
  JsonWriter& null();

  template <typename T>
  JsonWriter& field(std::string_view name, const T& content) {
    return key(name).value(content);
  }
  // A text that says nothing when it is empty: null then.
  JsonWriter& field_or_null(std::string_view name, std::string_view text);

  std::string text() && { return std::move(text_); }

 private:
  JsonWriter& open(char bracket);
  JsonWriter& close(char bracket);
  void separate();

  static constexpr std::size_t kUsualBytes = 640;  // holds a record

  std::string text_;
};

// Whether a record is shown as the answer to its own upload: only then it says that it is durable.
enum class Shown { as_answer, as_history };

// Appends the record as an object. `upload_url` is empty when the upload was not kept; `set` is that of an
// answer whose request named a coverage.
void append_record(JsonWriter& json, const store::Record& record, std::string_view upload_url, Shown shown,
                   std::span<const std::string> set = {});

}  // namespace espy::http
