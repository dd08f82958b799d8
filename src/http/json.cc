#include "http/json.h"

#include <array>
#include <boost/json/serialize.hpp>
#include <charconv>
#include <iterator>

#include "base/foreign_text.h"
#include "base/format.h"
#include "base/hex.h"

namespace espy::http {
namespace {

// Most texts are plain ASCII, which needs no escape and cannot be broken UTF-8.
bool is_plain(std::string_view text) {
  bool plain = true;  // looks at all of it, which compilers turn into a few vector instructions
  for (const char c : text) plain &= c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
  return plain;
}

template <typename Integer>
void append_integer(std::string& text, Integer number) {
  std::array<char, 20> digits;
  text.append(digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr);
}

}  // namespace

void JsonWriter::separate() {
  if (text_.empty()) return;
  const char last = text_.back();
  if (last != '{' && last != '[' && last != ':') text_ += ',';
}

JsonWriter& JsonWriter::open(char bracket) {
  separate();
  text_ += bracket;
  return *this;
}

JsonWriter& JsonWriter::close(char bracket) {
  text_ += bracket;
  return *this;
}

JsonWriter& JsonWriter::key(std::string_view name) {
  value(name);
  text_ += ':';
  return *this;
}

JsonWriter& JsonWriter::value(std::string_view text) {
  separate();
  if (is_plain(text)) {
    text_ += '"';
    text_ += text;
    text_ += '"';
  } else {
    text_ += boost::json::serialize(boost::json::string_view(valid_utf8(text)));
  }
  return *this;
}

JsonWriter& JsonWriter::value(std::int64_t number) {
  separate();
  append_integer(text_, number);
  return *this;
}

JsonWriter& JsonWriter::value(std::uint64_t number) {
  separate();
  append_integer(text_, number);
  return *this;
}

// The shortest digits that read back as the same float.
JsonWriter& JsonWriter::value(float number) {
  separate();
  fmt::format_to(std::back_inserter(text_), "{}", number);
  return *this;
}

JsonWriter& JsonWriter::value(bool truth) {
  separate();
  text_ += truth ? "true" : "false";
  return *this;
}

JsonWriter& JsonWriter::null() {
  separate();
  text_ += "null";
  return *this;
}

JsonWriter& JsonWriter::field_or_null(std::string_view name, std::string_view text) {
  key(name);
  return text.empty() ? null() : value(text);
}

void append_record(JsonWriter& json, const store::Record& record, std::string_view upload_url, Shown shown,
                   std::span<const std::string> set) {
  json.begin_object()
      .field("id", to_string(record.id))
      .field("time", to_string(record.time))
      .field("model", record.model)
      .field("version", record.model_version)
      .field("file_name", record.file_name)
      .field("label", record.label)
      .field("class", record.class_name)
      .field("confidence", record.confidence)
      .field("verdict", to_string(record.verdict));
  json.field_or_null("reason", record.reason == Reason::none ? "" : to_string(record.reason))
      .field_or_null("subject", record.subject);
  json.key("correction");
  if (record.correction) {
    const store::Correction& correction = *record.correction;
    json.begin_object()
        .field("id", to_string(correction.id))
        .field("time", to_string(correction.time))
        .field("label", correction.label)
        .field("class", correction.class_name)
        .field("author", correction.author)
        .field("note", correction.note)
        .end_object();
  } else {
    json.null();
  }
  json.field_or_null("alternative", record.alternative)
      .field("latency_us", static_cast<std::int64_t>(record.latency.count()));
  json.key("upload")
      .begin_object()
      .field("sha256", to_hex(record.upload_digest))
      .field("bytes", record.upload_bytes)
      .field_or_null("url", upload_url)
      .end_object();
  if (!set.empty()) {
    json.key("set").begin_array();
    for (const std::string& name : set) json.value(name);
    json.end_array();
  }
  if (shown == Shown::as_answer) json.field("durable", true);
  if (record.held_by) json.field("held_by", to_string(*record.held_by));
  json.end_object();
}

}  // namespace espy::http
