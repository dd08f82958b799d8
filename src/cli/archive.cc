#include "cli/archive.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <charconv>
#include <cmath>
#include <optional>
#include <utility>

#include "base/base64.h"
#include "base/file.h"
#include "base/format.h"
#include "base/hex.h"
#include "cli/csv.h"
#include "http/json.h"

namespace espy::cli {
namespace {

constexpr std::string_view kFields[] = {
    "id",
    "time",
    "model",
    "version",
    "file_name",
    "subject",
    "label",
    "class",
    "confidence",
    "verdict",
    "reason",
    "alternative",
    "upload_sha256",
    "upload_bytes",
    "latency_us",
    "input",
    "upload_media_type",
    "upload",
    "correction_id",
    "corrected_at",
    "corrected_label",
    "corrected_class",
    "correction_author",
    "correction_note",
};
constexpr std::size_t kTime = 1;
constexpr std::size_t kFirstOfCorrection = 18;

std::string_view bytes_of(std::span<const std::uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Reads the fields one after the other and keeps the first that is wrong.
class Reader {
 public:
  explicit Reader(std::span<const std::string> values) : values_(values) {}

  const std::string& text() { return values_[next_++]; }

  void nothing() {
    if (!text().empty()) refuse("must be empty on a line that has no time");
  }

  template <typename T>
  T number() {
    const std::string& given = text();
    T value{};
    const char* const end = given.data() + given.size();
    const auto [stop, reason] = std::from_chars(given.data(), end, value);
    if (reason != std::errc() || stop != end) refuse("is not a number of its kind");
    return value;
  }

  template <typename T>
  T parsed(std::optional<T> value, std::string_view wanted) {
    if (!value) refuse(format("is not {}", wanted));
    return value.value_or(T{});
  }

  // Of the field that was read last.
  void refuse(std::string_view reason) {
    if (error_) return;
    constexpr std::size_t kShownBytes = 64;
    error_ = Error{ErrorCode::invalid_input, format("field {} {}: \"{}\"", kFields[next_ - 1], reason,
                                                    values_[next_ - 1].substr(0, kShownBytes))};
  }

  const std::optional<Error>& error() const { return error_; }

 private:
  std::span<const std::string> values_;
  std::size_t next_ = 0;
  std::optional<Error> error_;
};

std::optional<Verdict> parse_verdict(std::string_view text) {
  for (const Verdict verdict : {Verdict::recognized, Verdict::not_recognized, Verdict::unsure}) {
    if (to_string(verdict) == text) return verdict;
  }
  return {};
}

std::optional<Reason> parse_reason(std::string_view text) {
  for (const Reason reason : {Reason::none, Reason::blank, Reason::foreign, Reason::ambiguous}) {
    if (to_string(reason) == text) return reason;
  }
  return {};
}

void append_correction(std::vector<std::string>& values, const store::Correction& correction) {
  for (std::string& value :
       std::array{to_string(correction.id), to_string(correction.time), format("{}", correction.label),
                  correction.class_name, correction.author, correction.note}) {
    values.push_back(std::move(value));
  }
}

store::Correction read_correction(Reader& reader, const Uuid& record) {
  store::Correction correction;
  correction.record = record;
  correction.id = reader.parsed(parse_uuid(reader.text()), "an id");
  correction.time = reader.parsed(parse_timestamp(reader.text()), "a time");
  correction.label = reader.number<int>();
  correction.class_name = reader.text();
  correction.author = reader.text();
  correction.note = reader.text();
  return correction;
}

// Reads everything behind the id.
store::Entry read_entry(Reader& reader, const Uuid& id) {
  store::Entry entry;
  store::Record& record = entry.record;
  record.id = id;
  record.time = reader.parsed(parse_timestamp(reader.text()), "a time");
  record.model = reader.text();
  record.model_version = reader.text();
  record.file_name = reader.text();
  record.subject = reader.text();
  record.label = reader.number<int>();
  record.class_name = reader.text();
  record.confidence = reader.number<float>();
  if (!std::isfinite(record.confidence)) reader.refuse("is not finite");
  record.verdict = reader.parsed(parse_verdict(reader.text()), "a verdict");
  record.reason = reader.parsed(parse_reason(reader.text()), "a reason");
  record.alternative = reader.text();
  record.upload_digest = reader.parsed(parse_sha256(reader.text()), "64 hexadecimal digits");
  record.upload_bytes = reader.number<std::uint64_t>();
  record.latency = std::chrono::microseconds(reader.number<std::int64_t>());
  const std::string input = reader.parsed(from_base64(reader.text()), "base64");
  if (input.size() != record.input.size()) {
    reader.refuse(format("has {} bytes, must have {}", input.size(), record.input.size()));
  } else {
    std::ranges::copy(input, record.input.begin());
  }
  entry.upload.media_type = reader.text();
  entry.upload.bytes = reader.parsed(from_base64(reader.text()), "base64");
  if (!entry.upload.bytes.empty() && sha256(as_bytes(entry.upload.bytes)) != record.upload_digest) {
    reader.refuse("does not have the digest that upload_sha256 says");
  }
  return entry;
}

}  // namespace

std::span<const std::string_view> archive_fields() { return kFields; }

std::vector<std::vector<std::string>> to_archive(const store::Record& record, const store::Upload& upload,
                                                 std::span<const store::Correction> corrections) {
  std::vector<std::vector<std::string>> lines = {{
      to_string(record.id),
      to_string(record.time),
      record.model,
      record.model_version,
      record.file_name,
      record.subject,
      format("{}", record.label),
      record.class_name,
      format("{}", record.confidence),
      std::string(to_string(record.verdict)),
      std::string(to_string(record.reason)),
      record.alternative,
      to_hex(record.upload_digest),
      format("{}", record.upload_bytes),
      format("{}", record.latency.count()),
      to_base64(bytes_of(record.input)),
      upload.media_type,
      to_base64(upload.bytes),
  }};
  for (const store::Correction& correction : corrections) {
    if (lines.back().size() == std::size(kFields)) {
      lines.push_back({to_string(record.id)});
      lines.back().resize(kFirstOfCorrection);
    }
    append_correction(lines.back(), correction);
  }
  lines.front().resize(std::size(kFields));
  return lines;
}

std::string archive_text(std::span<const std::string> values, ArchiveFormat archive_format) {
  assert(values.size() == std::size(kFields));
  if (archive_format == ArchiveFormat::csv) {
    std::string line;
    for (const std::string& value : values) {
      if (&value != values.data()) line += ',';
      line += csv_field(value);
    }
    return line + "\r\n";
  }
  http::JsonWriter json;
  json.begin_object();
  for (std::size_t i = 0; i < values.size(); ++i) json.field(kFields[i], std::string_view(values[i]));
  json.end_object();
  return std::move(json).text() + "\n";
}

Result<ArchiveLine> from_archive(std::span<const std::string> values) {
  assert(values.size() == std::size(kFields));
  Reader reader(values);
  ArchiveLine line;
  const Uuid id = reader.parsed(parse_uuid(reader.text()), "an id");
  const bool has_record = !values[kTime].empty();
  if (has_record) {
    line.entry = read_entry(reader, id);
  } else {
    for (std::size_t field = kTime; field < kFirstOfCorrection; ++field) reader.nothing();
  }
  if (!has_record || !values[kFirstOfCorrection].empty()) line.correction = read_correction(reader, id);
  if (reader.error()) return *reader.error();
  return line;
}

}  // namespace espy::cli
