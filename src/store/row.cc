#include "store/row.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <limits>
#include <string>

#include "base/format.h"

namespace espy::store {
namespace {

constexpr std::int64_t kAstrayMilliseconds = 1000;
constexpr std::int64_t kLargestIdMilliseconds = (std::int64_t{1} << 48) - 1;  // RFC 9562 section 5.7

class Encoding {
 public:
  Encoding() { bytes_.reserve(1280); }  // a record with names of usual length

  void number(std::int64_t value) {
    const auto bits = static_cast<std::uint64_t>(value);
    std::array<char, 8> big_endian;
    for (std::size_t i = 0; i < 8; ++i) big_endian[i] = static_cast<char>(bits >> (56 - 8 * i));
    bytes_.append(big_endian.data(), big_endian.size());
  }
  void text(std::string_view value) {
    number(static_cast<std::int64_t>(value.size()));
    bytes_ += value;
  }
  void raw(std::span<const std::uint8_t> value) {
    bytes_.append(reinterpret_cast<const char*>(value.data()), value.size());
  }

  Sha256 digest() const { return sha256(std::as_bytes(std::span(bytes_))); }

 private:
  std::string bytes_;
};

std::int64_t milliseconds_of(Timestamp time) {
  return std::chrono::floor<std::chrono::milliseconds>(time).time_since_epoch().count();
}

std::int64_t milliseconds_of(const Uuid& id) {
  std::int64_t milliseconds = 0;
  for (size_t i = 0; i < 6; ++i) milliseconds = milliseconds << 8 | id.bytes[i];
  return milliseconds;
}

Uuid smallest_id(std::int64_t milliseconds) {
  Uuid id;
  const std::int64_t bits = std::max<std::int64_t>(0, milliseconds);
  if (bits > kLargestIdMilliseconds) {
    id.bytes.fill(0xff);
    return id;
  }
  for (int i = 0; i < 6; ++i)
    id.bytes[static_cast<size_t>(i)] = static_cast<std::uint8_t>(bits >> (40 - 8 * i));
  return id;
}

// Returns whether the column had as many bytes as the array.
template <std::size_t N>
bool copy(std::span<const std::uint8_t> column, std::array<std::uint8_t, N>& into) {
  if (column.size() != N) return false;
  std::copy(column.begin(), column.end(), into.begin());
  return true;
}

}  // namespace

std::string_view to_string(Holder holder) {
  switch (holder) {
    case Holder::disk:
      return "disk";
    case Holder::one:
      return "one";
    case Holder::quorum:
      return "quorum";
  }
  return {};
}

Sha256 digest(const Record& record) {
  Encoding encoding;
  encoding.raw(record.id.bytes);
  encoding.number(record.time.time_since_epoch().count());
  encoding.text(record.model);
  encoding.text(record.model_version);
  encoding.text(record.file_name);
  encoding.number(record.label);
  encoding.text(record.class_name);
  // SQLite keeps no negative zero; adding zero makes it positive.
  encoding.number(std::bit_cast<std::uint32_t>(record.confidence + 0.0F));
  encoding.number(static_cast<std::int64_t>(record.verdict));
  encoding.raw(record.upload_digest);
  encoding.number(static_cast<std::int64_t>(record.upload_bytes));
  encoding.number(record.latency.count());
  encoding.raw(record.input);
  if (record.reason != Reason::none || !record.alternative.empty() || !record.subject.empty()) {
    encoding.number(static_cast<std::int64_t>(record.reason));
    encoding.text(record.alternative);
    if (!record.subject.empty()) encoding.text(record.subject);
  }
  return encoding.digest();
}

Sha256 digest(const Correction& correction) {
  Encoding encoding;
  encoding.raw(correction.id.bytes);
  encoding.raw(correction.record.bytes);
  encoding.number(correction.time.time_since_epoch().count());
  encoding.number(correction.label);
  encoding.text(correction.class_name);
  encoding.text(correction.author);
  encoding.text(correction.note);
  return encoding.digest();
}

Sha256 digest(const Erasure& erasure) {
  Encoding encoding;
  encoding.number(erasure.time.time_since_epoch().count());
  encoding.text(erasure.chosen_by);
  encoding.number(erasure.records);
  encoding.number(erasure.corrections);
  encoding.text(erasure.reason);
  return encoding.digest();
}

std::int64_t checksum(const Sha256& digest) {
  std::uint64_t bits = 0;
  for (size_t i = 0; i < 8; ++i) bits = bits << 8 | digest[i];
  return static_cast<std::int64_t>(bits);
}

std::int64_t checksum(const Sha256& upload_digest, std::string_view media_type) {
  Encoding encoding;
  encoding.raw(upload_digest);
  encoding.text(media_type);
  return checksum(encoding.digest());
}

std::int64_t strayed(const Record& record) {
  const std::int64_t late = milliseconds_of(record.id) - milliseconds_of(record.time);
  return late < 0 || late > kAstrayMilliseconds ? kAwayFromItsTime : 0;
}

Uuid first_id(Timestamp from) { return smallest_id(milliseconds_of(from)); }

Uuid past_last_id(Timestamp until) { return smallest_id(milliseconds_of(until) + kAstrayMilliseconds + 1); }

void bind_record(Statement& statement, const Record& record, const PackedInput& input, std::int64_t astray,
                 std::int64_t checksum, const Sha256& link) {
  statement.bind(1, record.id.bytes);
  statement.bind(2, std::int64_t{record.time.time_since_epoch().count()});
  statement.bind(3, record.model);
  statement.bind(4, record.model_version);
  statement.bind(5, record.file_name);
  statement.bind(6, record.subject);
  statement.bind(7, std::int64_t{record.label});
  statement.bind(8, record.class_name);
  statement.bind(9, double{record.confidence});
  statement.bind(10, static_cast<std::int64_t>(record.verdict));
  statement.bind(11, static_cast<std::int64_t>(record.reason));
  statement.bind(12, record.alternative);
  statement.bind(13, record.upload_digest);
  statement.bind(14, static_cast<std::int64_t>(record.upload_bytes));
  statement.bind(15, std::int64_t{record.latency.count()});
  statement.bind(16, astray);
  statement.bind(17, checksum);
  statement.bind(18, link);
  statement.bind(19, input.bytes());
}

void bind_upload(Statement& statement, const Upload& upload, std::int64_t checksum) {
  constexpr int kFirst = kRecordColumnCount + 1;
  statement.bind(kFirst, upload.media_type);
  statement.bind(kFirst + 1, checksum);
  statement.bind(kFirst + 2,
                 std::span(reinterpret_cast<const std::uint8_t*>(upload.bytes.data()), upload.bytes.size()));
}

void bind_no_upload(Statement& statement) {
  for (int column = 1; column <= kUploadColumnCount; ++column) {
    statement.bind_null(kRecordColumnCount + column);
  }
}

void bind_correction(Statement& statement, const Correction& correction, std::int64_t checksum,
                     const Sha256& link) {
  statement.bind(1, correction.id.bytes);
  statement.bind(2, correction.record.bytes);
  statement.bind(3, std::int64_t{correction.time.time_since_epoch().count()});
  statement.bind(4, std::int64_t{correction.label});
  statement.bind(5, correction.class_name);
  statement.bind(6, correction.author);
  statement.bind(7, correction.note);
  statement.bind(8, checksum);
  statement.bind(9, link);
}

void bind_erasure(Statement& statement, const Erasure& erasure, const Sha256& link) {
  statement.bind(1, std::int64_t{erasure.time.time_since_epoch().count()});
  statement.bind(2, erasure.chosen_by);
  statement.bind(3, erasure.records);
  statement.bind(4, erasure.corrections);
  statement.bind(5, erasure.reason);
  statement.bind(6, link);
}

Result<std::optional<Uuid>> read_newest_id(Statement& statement, const Connection& connection) {
  const int status = statement.step();
  if (status == SQLITE_DONE) return std::optional<Uuid>();
  if (status != SQLITE_ROW) return connection.error("read");
  Uuid id;
  const std::span<const std::uint8_t> bytes = statement.blob(0);
  if (!copy(bytes, id.bytes)) {
    return Error{ErrorCode::corrupt, format("the newest id of store {} has {} bytes, must have {}",
                                            connection.path(), bytes.size(), id.bytes.size())};
  }
  return std::optional(id);
}

Record read_record_unchecked(const Statement& statement) {
  Record record;
  copy(statement.blob(0), record.id.bytes);
  record.time = Timestamp(std::chrono::microseconds(statement.integer(1)));
  record.model = statement.text(2);
  record.model_version = statement.text(3);
  record.file_name = statement.text(4);
  record.subject = statement.text(5);
  record.label = static_cast<int>(statement.integer(6));
  record.class_name = statement.text(7);
  record.confidence = static_cast<float>(statement.real(8));
  record.verdict = static_cast<Verdict>(statement.integer(9));
  record.reason = static_cast<Reason>(statement.integer(10));
  record.alternative = statement.text(11);
  copy(statement.blob(12), record.upload_digest);
  record.upload_bytes = static_cast<std::uint64_t>(statement.integer(13));
  record.latency = std::chrono::microseconds(statement.integer(14));
  unpack(statement.blob(18), record.input);
  return record;
}

Result<Record> read_record(const Statement& statement) {
  Record record = read_record_unchecked(statement);
  // A value that does not fit its field changes on the way into it, and then the checksum differs as well.
  if (checksum(digest(record)) != statement.integer(16)) {
    return Error{ErrorCode::corrupt,
                 format("record {} is damaged: its checksum does not fit", to_string(record.id))};
  }
  return record;
}

Correction read_correction_unchecked(const Statement& statement, int first) {
  Correction correction;
  copy(statement.blob(first), correction.id.bytes);
  copy(statement.blob(first + 1), correction.record.bytes);
  correction.time = Timestamp(std::chrono::microseconds(statement.integer(first + 2)));
  correction.label = static_cast<int>(statement.integer(first + 3));
  correction.class_name = statement.text(first + 4);
  correction.author = statement.text(first + 5);
  correction.note = statement.text(first + 6);
  return correction;
}

Erasure read_erasure(const Statement& statement, int first) {
  return {.time = Timestamp(std::chrono::microseconds(statement.integer(first))),
          .chosen_by = std::string(statement.text(first + 1)),
          .records = statement.integer(first + 2),
          .corrections = statement.integer(first + 3),
          .reason = std::string(statement.text(first + 4))};
}

Result<std::optional<Correction>> read_correction(const Statement& statement, int first) {
  if (statement.is_null(first)) return std::optional<Correction>();
  Correction correction = read_correction_unchecked(statement, first);
  if (checksum(digest(correction)) != statement.integer(first + 7)) {
    return Error{ErrorCode::corrupt,
                 format("correction {} of record {} is damaged: its checksum does not fit",
                        to_string(correction.id), to_string(correction.record))};
  }
  return std::optional(std::move(correction));
}

Result<Upload> read_upload(const Statement& statement, const Record& record) {
  constexpr int kFirst = kRecordColumnCount;
  const std::span<const std::uint8_t> bytes = statement.blob(kFirst + 2);
  if (bytes.empty()) {
    return Error{ErrorCode::not_found, format("the upload of record {} was not kept ({} bytes)",
                                              to_string(record.id), record.upload_bytes)};
  }
  Upload upload;
  upload.media_type = statement.text(kFirst);
  upload.bytes.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (checksum(record.upload_digest, upload.media_type) != statement.integer(kFirst + 1) ||
      sha256(std::as_bytes(bytes)) != record.upload_digest) {
    return Error{ErrorCode::corrupt,
                 format("the upload of record {} is damaged: its digest does not fit", to_string(record.id))};
  }
  return upload;
}

}  // namespace espy::store
