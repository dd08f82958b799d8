// The tables, and every statement that espy sends to Cassandra. The statements are made from the tables'
// definitions, which also check the tables of a keyspace that is there already.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cassandra/cells.h"
#include "cassandra/cluster.h"
#include "store/outbox.h"
#include "store/record.h"

namespace espy::cassandra {

struct Column {
  enum class Kind { partition_key, clustering, regular };

  std::string_view name;
  std::string_view type;
  Kind kind = Kind::regular;
};

struct Table {
  std::string name;
  std::vector<Column> columns;  // key columns in the key's order
  std::string options;          // what follows WITH
};

// One row a record. A partition is a model's day (of the id) and a bucket; in it the newest come first.
Table predictions_table(const ClusterOptions& options);
// Which days of which models there are. One partition: it has a row a model and day.
Table days_table(const ClusterOptions& options);
// One row a correction, in a table with the predictions' partitions and order.
Table corrections_table(const ClusterOptions& options);
// What all processes must agree on.
Table settings_table();
// The plain table. Its key has the id in it, because one picture can be sent twice in one millisecond.
Table plain_table(const ClusterOptions& options);

// The tables that the options ask for.
std::vector<Table> tables_of(const ClusterOptions& options);

std::string create_keyspace(const ClusterOptions& options, std::string_view datacenter);
std::string create_table(std::string_view keyspace, const Table& table);
// With "USING TTL ? AND TIMESTAMP ?" at the end: the row's seconds to live, 0 for ever, and of two writes to
// one row the one that wins.
std::string insert_row(std::string_view keyspace, const Table& table);

inline constexpr std::string_view kFindLocal = "SELECT data_center FROM system.local";
inline constexpr std::string_view kCountPeers = "SELECT count(*) FROM system.peers";
inline constexpr std::string_view kFindKeyspace =
    "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?";
inline constexpr std::string_view kFindColumns =
    "SELECT column_name, type, kind, position FROM system_schema.columns WHERE keyspace_name = ? AND "
    "table_name = ?";

std::string keep_setting(std::string_view keyspace);  // (name, value); the first one wins
std::string find_setting(std::string_view keyspace);  // (name) -> value
std::string find_days(std::string_view keyspace);     // (first day, last day) -> day, model; newest first
std::string find_record(std::string_view keyspace);   // (model, day, bucket, id) -> a record's columns
std::string list_ids(std::string_view keyspace);      // (model, day, bucket, first id, last id) -> id
// (model, day, bucket, first id of a record, last one) -> correction_id
std::string list_correction_ids(std::string_view keyspace);
// (model, day, bucket, id below) -> records' columns, newest first
std::string list_newest(std::string_view keyspace);
// (model, day, bucket, id above) -> records' columns, oldest first
std::string list_oldest(std::string_view keyspace);
// (model, day, bucket, first id, last id) -> corrections' columns, of each record the newest first
std::string list_corrections(std::string_view keyspace);
std::string erase_record(std::string_view keyspace);       // (timestamp, model, day, bucket, id)
std::string erase_corrections(std::string_view keyspace);  // likewise: all of a record
// (timestamp, time, file name, id), from the plain table.
std::string erase_plain(std::string_view keyspace, const Table& table);

// A table as system_schema.columns describes it.
struct FoundColumn {
  std::string name;
  std::string type;
  std::string kind;  // "partition_key", "clustering", "regular", "static"
  std::int32_t position = 0;
};

// Errors: invalid_input (a column is missing or has another type, or the key is another). Further columns are
// none of our business.
Result<void> check_table(std::string_view keyspace, const Table& table, std::span<const FoundColumn> found);

// An id's 48 bits of milliseconds since 1970.
Timestamp time_of(const Uuid& id);
// The partition's day of an id, UTC.
Day day_of(const Uuid& id);
// The id's last two bytes, big-endian, modulo `buckets`: random bits in every id that espy makes.
int bucket_of(const Uuid& id, int buckets);

// A row of insert_row() for predictions_table(). Here and below without the timestamp.
CellWriter record_values(const store::Record& record, int buckets, std::string_view node,
                         std::chrono::seconds time_to_live);
// A row of insert_row() for corrections_table(); `model` is the corrected record's.
CellWriter correction_values(const store::Correction& correction, std::string_view model, int buckets,
                             std::string_view node, std::chrono::seconds time_to_live);
CellWriter day_values(const store::Record& record, std::chrono::seconds time_to_live);
// For find_record().
CellWriter record_key(const Uuid& id, std::string_view model, int buckets);
// For erase_record() and erase_corrections(), and for erase_plain(). The stamps are microseconds since 1970.
CellWriter erase_values(const store::Withdrawal& withdrawal, int buckets, std::int64_t stamp);
CellWriter erase_plain_values(const store::Withdrawal& withdrawal, std::int64_t stamp);
CellWriter plain_values(const store::Record& record, std::chrono::seconds time_to_live);

// Reads a row of find_record(), list_newest() or list_oldest(), which has no correction.
// Errors: corrupt (names the record).
Result<store::Record> read_record(CellReader& row);

// Reads a row of list_corrections(). Errors: corrupt (names the record).
Result<store::Correction> read_correction(CellReader& row);

}  // namespace espy::cassandra
