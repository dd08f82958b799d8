#include "cassandra/tables.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/format.h"

namespace espy::cassandra {
namespace {

using Kind = Column::Kind;
using std::chrono::milliseconds;

// What reading a record returns, in this order.
constexpr std::string_view kRecordColumns =
    "model, id, time, microsecond, model_version, file_name, label, class_name, confidence, verdict, reason, "
    "alternative, input, upload_digest, upload_bytes, latency_us, subject";

// What reading a correction returns, in this order.
constexpr std::string_view kCorrectionColumns =
    "id, correction_id, time, microsecond, label, class_name, author, note";

constexpr std::string_view kInPartition = "model = ? AND day = ? AND bucket = ?";

// days_table() has one partition.
constexpr std::string_view kAllDays = "all";

std::string_view kind_name(Kind kind) {
  switch (kind) {
    case Kind::partition_key:
      return "partition_key";
    case Kind::clustering:
      return "clustering";
    case Kind::regular:
      return "regular";
  }
  return "";
}

std::string names(const Table& table, Kind kind) {
  std::string text;
  for (const Column& column : table.columns) {
    if (column.kind != kind) continue;
    if (!text.empty()) text += ", ";
    text += column.name;
  }
  return text;
}

// TimeWindowCompactionStrategy drops a whole window when all in it have expired. The advice is 20 to 30 of
// them (doc/modules/cassandra/pages/managing/operating/compaction/twcs.adoc in Cassandra's sources).
int window_days(std::chrono::days retention) {
  constexpr int kWindows = 30;
  if (retention.count() == 0) return kWindows;
  return static_cast<int>(std::max<std::int64_t>(1, retention.count() / kWindows));
}

std::string time_series_options(const ClusterOptions& options, std::string_view order) {
  return format(
      "CLUSTERING ORDER BY ({}) AND compaction = {{'class': 'TimeWindowCompactionStrategy', "
      "'compaction_window_unit': 'DAYS', 'compaction_window_size': {}}} AND compression = {{'class': "
      "'ZstdCompressor', 'chunk_length_in_kb': 16}} AND default_time_to_live = {}",
      order, window_days(options.retention), std::chrono::seconds{options.retention}.count());
}

std::string_view as_text(const auto& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::chrono::sys_time<milliseconds> whole_milliseconds(Timestamp time) {
  return std::chrono::floor<milliseconds>(time);
}

// The last two values of a row: who wrote it, and how long it lives.
void add_writer(CellWriter& values, std::string_view node, std::chrono::seconds time_to_live) {
  if (node.empty()) {
    values.unset();
  } else {
    values.text(node);
  }
  values.integer(static_cast<std::int32_t>(time_to_live.count()));
}

}  // namespace

Table predictions_table(const ClusterOptions& options) {
  return {"predictions",
          {{"model", "text", Kind::partition_key},
           {"day", "date", Kind::partition_key},
           {"bucket", "smallint", Kind::partition_key},
           {"id", "uuid", Kind::clustering},
           {"time", "timestamp"},
           {"microsecond", "smallint"},
           {"model_version", "text"},
           {"file_name", "text"},
           {"label", "smallint"},
           {"class_name", "text"},
           {"confidence", "float"},
           {"verdict", "tinyint"},
           {"reason", "tinyint"},
           {"alternative", "text"},
           {"input", "blob"},
           {"upload_digest", "blob"},
           {"upload_bytes", "bigint"},
           {"latency_us", "bigint"},
           {"subject", "text"},
           {"node", "text"}},
          time_series_options(options, "id DESC")};
}

Table corrections_table(const ClusterOptions& options) {
  return {"corrections",
          {{"model", "text", Kind::partition_key},
           {"day", "date", Kind::partition_key},
           {"bucket", "smallint", Kind::partition_key},
           {"id", "uuid", Kind::clustering},
           {"correction_id", "uuid", Kind::clustering},
           {"time", "timestamp"},
           {"microsecond", "smallint"},
           {"label", "smallint"},
           {"class_name", "text"},
           {"author", "text"},
           {"note", "text"},
           {"node", "text"}},
          time_series_options(options, "id DESC, correction_id DESC")};
}

Table days_table(const ClusterOptions& options) {
  return {"days",
          {{"part", "text", Kind::partition_key},
           {"day", "date", Kind::clustering},
           {"model", "text", Kind::clustering}},
          format("CLUSTERING ORDER BY (day DESC, model ASC) AND default_time_to_live = {}",
                 std::chrono::seconds{options.retention}.count())};
}

Table settings_table() {
  return {"settings", {{"name", "text", Kind::partition_key}, {"value", "text"}}, ""};
}

Table plain_table(const ClusterOptions& options) {
  return {options.plain_table,
          {{"time", "timestamp", Kind::partition_key},
           {"file_name", "text", Kind::clustering},
           {"id", "uuid", Kind::clustering},
           {"number", "int"}},
          format("default_time_to_live = {}", std::chrono::seconds{options.retention}.count())};
}

std::vector<Table> tables_of(const ClusterOptions& options) {
  std::vector<Table> tables = {settings_table(), predictions_table(options), corrections_table(options),
                               days_table(options)};
  if (!options.plain_table.empty()) tables.push_back(plain_table(options));
  return tables;
}

std::string create_keyspace(const ClusterOptions& options, std::string_view datacenter) {
  const std::string replication =
      options.placement == Placement::simple
          ? format("'class': 'SimpleStrategy', 'replication_factor': {}", options.replication)
          : format("'class': 'NetworkTopologyStrategy', '{}': {}", datacenter, options.replication);
  return format("CREATE KEYSPACE IF NOT EXISTS {} WITH replication = {{{}}}", options.keyspace, replication);
}

std::string create_table(std::string_view keyspace, const Table& table) {
  std::string columns;
  for (const Column& column : table.columns) columns += format("{} {}, ", column.name, column.type);
  const std::string clustering = names(table, Kind::clustering);
  return format("CREATE TABLE IF NOT EXISTS {}.{} ({}PRIMARY KEY (({}){}{})){}{}", keyspace, table.name,
                columns, names(table, Kind::partition_key), clustering.empty() ? "" : ", ", clustering,
                table.options.empty() ? "" : " WITH ", table.options);
}

std::string insert_row(std::string_view keyspace, const Table& table) {
  std::string columns;
  std::string marks;
  for (const Column& column : table.columns) {
    columns += format("{}{}", columns.empty() ? "" : ", ", column.name);
    marks += marks.empty() ? "?" : ", ?";
  }
  return format("INSERT INTO {}.{} ({}) VALUES ({}) USING TTL ? AND TIMESTAMP ?", keyspace, table.name,
                columns, marks);
}

std::string keep_setting(std::string_view keyspace) {
  return format("INSERT INTO {}.settings (name, value) VALUES (?, ?) IF NOT EXISTS", keyspace);
}

std::string find_setting(std::string_view keyspace) {
  return format("SELECT value FROM {}.settings WHERE name = ?", keyspace);
}

std::string find_days(std::string_view keyspace) {
  return format("SELECT day, model FROM {}.days WHERE part = '{}' AND day >= ? AND day <= ?", keyspace,
                kAllDays);
}

std::string find_record(std::string_view keyspace) {
  return format("SELECT {} FROM {}.predictions WHERE {} AND id = ?", kRecordColumns, keyspace, kInPartition);
}

std::string list_ids(std::string_view keyspace) {
  return format("SELECT id FROM {}.predictions WHERE {} AND id >= ? AND id <= ?", keyspace, kInPartition);
}

std::string list_correction_ids(std::string_view keyspace) {
  return format("SELECT correction_id FROM {}.corrections WHERE {} AND id >= ? AND id <= ?", keyspace,
                kInPartition);
}

std::string list_newest(std::string_view keyspace) {
  return format("SELECT {} FROM {}.predictions WHERE {} AND id < ?", kRecordColumns, keyspace, kInPartition);
}

std::string list_oldest(std::string_view keyspace) {
  return format("SELECT {} FROM {}.predictions WHERE {} AND id > ? ORDER BY id ASC", kRecordColumns, keyspace,
                kInPartition);
}

std::string list_corrections(std::string_view keyspace) {
  return format("SELECT {} FROM {}.corrections WHERE {} AND id >= ? AND id <= ?", kCorrectionColumns,
                keyspace, kInPartition);
}

std::string erase_record(std::string_view keyspace) {
  return format("DELETE FROM {}.predictions USING TIMESTAMP ? WHERE {} AND id = ?", keyspace, kInPartition);
}

std::string erase_corrections(std::string_view keyspace) {
  return format("DELETE FROM {}.corrections USING TIMESTAMP ? WHERE {} AND id = ?", keyspace, kInPartition);
}

std::string erase_plain(std::string_view keyspace, const Table& table) {
  return format("DELETE FROM {}.{} USING TIMESTAMP ? WHERE time = ? AND file_name = ? AND id = ?", keyspace,
                table.name);
}

Result<void> check_table(std::string_view keyspace, const Table& table, std::span<const FoundColumn> found) {
  const auto differs = [&](std::string_view how) {
    return Error{ErrorCode::invalid_input,
                 format("table {}.{} is not espy's: {}", keyspace, table.name, how)};
  };
  for (const Kind kind : {Kind::partition_key, Kind::clustering}) {
    std::vector<std::pair<std::int32_t, std::string_view>> key;
    for (const FoundColumn& column : found) {
      if (column.kind == kind_name(kind)) key.emplace_back(column.position, column.name);
    }
    std::sort(key.begin(), key.end());
    std::string has;
    for (const auto& [position, name] : key) has += format("{}{}", has.empty() ? "" : ", ", name);
    if (const std::string wanted = names(table, kind); has != wanted) {
      return differs(format("its {} is ({}), wanted is ({})",
                            kind == Kind::clustering ? "clustering key" : "partition key", has, wanted));
    }
  }
  for (const Column& column : table.columns) {
    const auto same = std::find_if(found.begin(), found.end(),
                                   [&](const FoundColumn& other) { return other.name == column.name; });
    if (same == found.end()) return differs(format("it has no column {}", column.name));
    if (same->type != column.type) {
      return differs(format("column {} is {}, wanted is {}", column.name, same->type, column.type));
    }
  }
  return {};
}

Timestamp time_of(const Uuid& id) {
  std::int64_t time = 0;
  for (std::size_t i = 0; i < 6; ++i) time = time << 8 | id.bytes[i];
  return Timestamp{milliseconds{time}};
}

Day day_of(const Uuid& id) { return std::chrono::floor<std::chrono::days>(time_of(id)); }

int bucket_of(const Uuid& id, int buckets) { return (id.bytes[14] << 8 | id.bytes[15]) % buckets; }

CellWriter record_values(const store::Record& record, int buckets, std::string_view node,
                         std::chrono::seconds time_to_live) {
  const auto time = whole_milliseconds(record.time);
  CellWriter values;
  values.text(record.model)
      .date(day_of(record.id))
      .integer(static_cast<std::int16_t>(bucket_of(record.id, buckets)))
      .uuid(record.id)
      .timestamp(time)
      .integer(static_cast<std::int16_t>((record.time - time).count()))
      .text(record.model_version)
      .text(record.file_name)
      .integer(static_cast<std::int16_t>(record.label))
      .text(record.class_name)
      .real(record.confidence)
      .integer(static_cast<std::int8_t>(record.verdict))
      .integer(static_cast<std::int8_t>(record.reason))
      .text(record.alternative)
      .text(as_text(record.input))
      .text(as_text(record.upload_digest))
      .integer(static_cast<std::int64_t>(record.upload_bytes))
      .integer(std::int64_t{record.latency.count()})
      .text(record.subject);
  add_writer(values, node, time_to_live);
  return values;
}

CellWriter correction_values(const store::Correction& correction, std::string_view model, int buckets,
                             std::string_view node, std::chrono::seconds time_to_live) {
  const auto time = whole_milliseconds(correction.time);
  CellWriter values;
  values.text(model)
      .date(day_of(correction.record))
      .integer(static_cast<std::int16_t>(bucket_of(correction.record, buckets)))
      .uuid(correction.record)
      .uuid(correction.id)
      .timestamp(time)
      .integer(static_cast<std::int16_t>((correction.time - time).count()))
      .integer(static_cast<std::int16_t>(correction.label))
      .text(correction.class_name)
      .text(correction.author)
      .text(correction.note);
  add_writer(values, node, time_to_live);
  return values;
}

CellWriter day_values(const store::Record& record, std::chrono::seconds time_to_live) {
  CellWriter values;
  values.text(kAllDays)
      .date(day_of(record.id))
      .text(record.model)
      .integer(static_cast<std::int32_t>(time_to_live.count()));
  return values;
}

CellWriter record_key(const Uuid& id, std::string_view model, int buckets) {
  CellWriter values;
  values.text(model).date(day_of(id)).integer(static_cast<std::int16_t>(bucket_of(id, buckets))).uuid(id);
  return values;
}

CellWriter erase_values(const store::Withdrawal& withdrawal, int buckets, std::int64_t stamp) {
  CellWriter values;
  values.integer(stamp)
      .text(withdrawal.model)
      .date(day_of(withdrawal.id))
      .integer(static_cast<std::int16_t>(bucket_of(withdrawal.id, buckets)))
      .uuid(withdrawal.id);
  return values;
}

CellWriter erase_plain_values(const store::Withdrawal& withdrawal, std::int64_t stamp) {
  CellWriter values;
  values.integer(stamp)
      .timestamp(whole_milliseconds(withdrawal.time))
      .text(withdrawal.file_name)
      .uuid(withdrawal.id);
  return values;
}

CellWriter plain_values(const store::Record& record, std::chrono::seconds time_to_live) {
  CellWriter values;
  values.timestamp(whole_milliseconds(record.time))
      .text(record.file_name)
      .uuid(record.id)
      .integer(static_cast<std::int32_t>(record.label))
      .integer(static_cast<std::int32_t>(time_to_live.count()));
  return values;
}

Result<store::Record> read_record(CellReader& row) {
  store::Record record;
  record.model = row.text();
  record.id = row.uuid();
  record.time = row.timestamp();
  record.time += std::chrono::microseconds{row.integer<std::int16_t>()};
  record.model_version = row.text();
  record.file_name = row.text();
  record.label = row.integer<std::int16_t>();
  record.class_name = row.text();
  record.confidence = row.real();
  const auto verdict = row.integer<std::int8_t>();
  const auto reason = row.integer<std::int8_t>();
  record.alternative = row.text();
  const std::string_view input = row.text();
  const std::string_view digest = row.text();
  record.upload_bytes = static_cast<std::uint64_t>(row.integer<std::int64_t>());
  record.latency = std::chrono::microseconds{row.integer<std::int64_t>()};
  record.subject = row.text();
  const auto corrupt = [&](std::string_view what) {
    return Error{ErrorCode::corrupt, format("record {} in cassandra: {}", to_string(record.id), what)};
  };
  if (row.broken()) return corrupt("a column has the wrong size");
  if (input.size() != record.input.size()) {
    return corrupt(format("its input has {} bytes, not {}", input.size(), record.input.size()));
  }
  if (digest.size() != record.upload_digest.size()) {
    return corrupt(format("its digest has {} bytes, not {}", digest.size(), record.upload_digest.size()));
  }
  if (verdict < 0 || to_string(static_cast<Verdict>(verdict)).empty()) {
    return corrupt(format("there is no verdict {}", verdict));
  }
  if (reason < 0 || to_string(static_cast<Reason>(reason)).empty()) {
    return corrupt(format("there is no reason {}", reason));
  }
  if (!std::isfinite(record.confidence)) return corrupt("its confidence is not a number");
  std::copy(input.begin(), input.end(), record.input.begin());
  std::copy(digest.begin(), digest.end(), record.upload_digest.begin());
  record.verdict = static_cast<Verdict>(verdict);
  record.reason = static_cast<Reason>(reason);
  return record;
}

Result<store::Correction> read_correction(CellReader& row) {
  store::Correction correction;
  correction.record = row.uuid();
  correction.id = row.uuid();
  correction.time = row.timestamp();
  correction.time += std::chrono::microseconds{row.integer<std::int16_t>()};
  correction.label = row.integer<std::int16_t>();
  correction.class_name = row.text();
  correction.author = row.text();
  correction.note = row.text();
  if (row.broken()) {
    return Error{ErrorCode::corrupt,
                 format("a correction of record {} in cassandra: a column has the wrong size",
                        to_string(correction.record))};
  }
  return correction;
}

}  // namespace espy::cassandra
