#include "store/schema.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <charconv>
#include <filesystem>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "base/format.h"
#include "store/redo_log.h"
#include "store/row.h"

extern "C" {
extern const unsigned char espy_embedded_store_migration_1[];
extern const unsigned char espy_embedded_store_migration_1_end[];
extern const unsigned char espy_embedded_store_migration_2[];
extern const unsigned char espy_embedded_store_migration_2_end[];
extern const unsigned char espy_embedded_store_migration_3[];
extern const unsigned char espy_embedded_store_migration_3_end[];
extern const unsigned char espy_embedded_store_migration_4[];
extern const unsigned char espy_embedded_store_migration_4_end[];
extern const unsigned char espy_embedded_store_migration_5[];
extern const unsigned char espy_embedded_store_migration_5_end[];
extern const unsigned char espy_embedded_store_migration_6[];
extern const unsigned char espy_embedded_store_migration_6_end[];
extern const unsigned char espy_embedded_store_migration_7[];
extern const unsigned char espy_embedded_store_migration_7_end[];
extern const unsigned char espy_embedded_store_migration_8[];
extern const unsigned char espy_embedded_store_migration_8_end[];
extern const unsigned char espy_embedded_store_migration_9[];
extern const unsigned char espy_embedded_store_migration_9_end[];
}

namespace espy::store {
namespace {

constexpr std::int64_t kApplicationId = 0x65737079;  // "espy"

std::string embedded(const unsigned char* begin, const unsigned char* end) {
  return {reinterpret_cast<const char*>(begin), reinterpret_cast<const char*>(end)};
}

std::array<std::string, kSchemaVersion> migrations() {
  return {embedded(espy_embedded_store_migration_1, espy_embedded_store_migration_1_end),
          embedded(espy_embedded_store_migration_2, espy_embedded_store_migration_2_end),
          embedded(espy_embedded_store_migration_3, espy_embedded_store_migration_3_end),
          embedded(espy_embedded_store_migration_4, espy_embedded_store_migration_4_end),
          embedded(espy_embedded_store_migration_5, espy_embedded_store_migration_5_end),
          embedded(espy_embedded_store_migration_6, espy_embedded_store_migration_6_end),
          embedded(espy_embedded_store_migration_7, espy_embedded_store_migration_7_end),
          embedded(espy_embedded_store_migration_8, espy_embedded_store_migration_8_end),
          embedded(espy_embedded_store_migration_9, espy_embedded_store_migration_9_end)};
}

Result<std::int64_t> integer(Connection& connection, const std::string& sql) {
  const Result<std::string> text = connection.value(sql, "read");
  if (!text) return text.error();
  std::int64_t number = 0;
  std::from_chars(text->data(), text->data() + text->size(), number);
  return number;
}

// Returns the schema's version, 0 for a database that is still empty. Writes nothing: the file may be
// someone else's.
Result<std::int64_t> identify(Connection& connection) {
  const Result<std::int64_t> application = integer(connection, "PRAGMA application_id");
  if (!application) return application.error();
  const Result<std::int64_t> version = integer(connection, "PRAGMA user_version");
  if (!version) return version.error();
  const Result<std::int64_t> objects = integer(connection, "SELECT count(*) FROM sqlite_schema");
  if (!objects) return objects.error();

  const bool empty = *application == 0 && *version == 0 && *objects == 0;
  if (!empty && *application != kApplicationId) {
    return Error{ErrorCode::corrupt, format("{} is not an espy store: its application id is {}, not {}",
                                            connection.path(), *application, kApplicationId)};
  }
  if (*version > kSchemaVersion) {
    return Error{ErrorCode::corrupt,
                 format("store {} was made by a newer espy: its schema is version {}, this program knows {}",
                        connection.path(), *version, kSchemaVersion)};
  }
  return *version;
}

// Puts the records that were there before the chain into it.
Result<void> link_records(Connection& connection) {
  Result<Statement> select = Statement::prepare(
      connection,
      format("SELECT {}, seq FROM record WHERE seq > ?1 ORDER BY seq LIMIT 1000", kRecordColumns));
  if (!select) return std::move(select).error();
  Result<Statement> update = Statement::prepare(connection, "UPDATE record SET link = ?2 WHERE seq = ?1");
  if (!update) return std::move(update).error();
  ChainPoint head;
  while (true) {
    // Read first: a row that is changed must not be met again by the statement that reads.
    std::vector<ChainPoint> points;
    select->bind(1, head.seq);
    int status = select->step();
    for (; status == SQLITE_ROW; status = select->step()) {
      head = next_point(head, Kind::record, digest(read_record_unchecked(*select)));
      assert(head.seq == select->integer(kRecordColumnCount));
      points.push_back(head);
    }
    select->reset();
    if (status != SQLITE_DONE) return connection.error("read");
    if (points.empty()) return {};
    for (const ChainPoint& point : points) {
      update->bind(1, point.seq);
      update->bind(2, point.link);
      if (update->run() != SQLITE_OK) return connection.error("write to");
    }
  }
}

// The version from which on records have their place in the chain.
constexpr std::int64_t kChainVersion = 5;

Result<void> migrate_by_one(Connection& connection, const std::string& script, std::int64_t version) {
  const std::string purpose = format("bring to schema version {}", version);
  if (auto done = connection.execute("BEGIN IMMEDIATE;\n" + script, purpose); !done) return done;
  if (version == kChainVersion) {
    if (auto linked = link_records(connection); !linked) return linked;
  }
  return connection.execute(
      format("PRAGMA application_id={};\nPRAGMA user_version={};\nCOMMIT;", kApplicationId, version),
      purpose);
}

Result<void> migrate(Connection& connection, std::int64_t from, std::int64_t to) {
  const auto scripts = migrations();
  for (std::int64_t version = from + 1; version <= to; ++version) {
    // When this fails the connection is closed, which rolls it back.
    const auto migrated = migrate_by_one(connection, scripts[static_cast<size_t>(version - 1)], version);
    if (!migrated) return migrated;
  }
  return {};
}

// A setting that SQLite does not take, it passes over in silence.
Result<void> require(Connection& connection, const std::string& setting, std::string_view wanted) {
  const Result<std::string> found = connection.value("PRAGMA " + setting, "read");
  if (!found) return found.error();
  if (*found != wanted) {
    return Error{ErrorCode::unavailable, format("store {} cannot be kept durable: {} is {}, must be {}",
                                                connection.path(), setting, *found, wanted)};
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Connection>> open_for_writing(const std::string& path, std::int64_t version) {
  Result<std::unique_ptr<Connection>> opened =
      Connection::open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
  if (!opened) return opened;
  Connection& connection = **opened;
  leave_log(connection);  // until it is sure
  sqlite3_busy_timeout(connection.get(), kBusyMilliseconds);

  const Result<std::int64_t> found = identify(connection);
  if (!found) return found.error();
  // SQLite falls back to reading when the file's mode forbids writing.
  if (sqlite3_db_readonly(connection.get(), "main") != 0) {
    return Error{ErrorCode::unavailable, format("store {} cannot be written: its file is read only", path)};
  }

  // Pages of 8 KiB: with 64 clients 30 % more rows a second than 4 KiB, as many as 16 KiB, and with one
  // client fewer bytes to sync than 16 KiB (measured). Both settings work only before the first table.
  if (*found == 0) {
    const Result<void> shaped =
        connection.execute("PRAGMA page_size=8192; PRAGMA auto_vacuum=INCREMENTAL;", "create");
    if (!shaped) return shaped.error();
  }
  const Result<void> set = connection.execute(
      "PRAGMA journal_mode=WAL;"
      "PRAGMA synchronous=FULL;"  // fsync of the log at each commit
      "PRAGMA wal_autocheckpoint=0;"
      "PRAGMA journal_size_limit=67108864;"
      "PRAGMA foreign_keys=ON;"
      "PRAGMA trusted_schema=OFF;"
      "PRAGMA secure_delete=ON;"  // zeros over what is erased, and over what a page that splits leaves behind
      "PRAGMA cache_size=-16384;"
      "PRAGMA mmap_size=0;",  // a read error must be an error, not SIGBUS
      "set up");
  if (!set) return set.error();
  if (Result<void> taken = require(connection, "journal_mode", "wal"); !taken)
    return std::move(taken).error();
  if (Result<void> taken = require(connection, "synchronous", "2"); !taken) return std::move(taken).error();

  // Before a migration writes behind it, and what the migration writes as well.
  if (Result<void> redone = redo_log(connection); !redone) return std::move(redone).error();
  if (*found < version) {
    Result<void> migrated = migrate(connection, *found, version);
    if (migrated) migrated = redo_log(connection);
    if (!migrated) return std::move(migrated).error();
  }
  leave_log(connection, false);
  return opened;
}

Result<ChainPoint> read_head(const Connection& connection) {
  Result<Statement> select = Statement::prepare(
      connection,
      "SELECT * FROM (SELECT seq, link FROM record ORDER BY seq DESC LIMIT 1)"
      " UNION ALL SELECT * FROM (SELECT correction_seq, correction_link FROM correction ORDER BY 1 DESC "
      "LIMIT 1)"
      " UNION ALL SELECT * FROM (SELECT erasure_seq, erasure_link FROM erasure ORDER BY 1 DESC LIMIT 1)"
      " UNION ALL SELECT * FROM (SELECT removed_seq, removed_link FROM removed ORDER BY 1 DESC LIMIT 1)"
      " UNION ALL SELECT start_seq, start_link FROM chain_start ORDER BY 1 DESC LIMIT 1");
  if (!select) return std::move(select).error();
  if (select->step() != SQLITE_ROW) return connection.error("read");
  ChainPoint head{.seq = select->integer(0), .link = {}};
  const std::span<const std::uint8_t> link = select->blob(1);
  if (link.size() != head.link.size()) {
    return Error{ErrorCode::corrupt, format("the newest link of store {} has {} bytes, must have {}",
                                            connection.path(), link.size(), head.link.size())};
  }
  std::ranges::copy(link, head.link.begin());
  return head;
}

Result<std::unique_ptr<Connection>> open_for_reading(const std::string& path) {
  std::error_code error;
  if (std::filesystem::status(path, error).type() == std::filesystem::file_type::not_found) {
    return Error{ErrorCode::not_found, format("there is no store {}", path)};
  }
  Result<std::unique_ptr<Connection>> opened = Connection::open(path, SQLITE_OPEN_READONLY);
  if (!opened) return opened;
  Connection& connection = **opened;
  sqlite3_busy_timeout(connection.get(), kBusyMilliseconds);
  leave_log(connection);

  const Result<std::int64_t> version = identify(connection);
  if (!version) return version.error();
  if (*version < kSchemaVersion) {
    return Error{ErrorCode::unavailable,
                 format("store {} has schema version {}, needs {}: open it once for writing", path, *version,
                        kSchemaVersion)};
  }
  const Result<void> set = connection.execute(
      "PRAGMA wal_autocheckpoint=0; PRAGMA trusted_schema=OFF; PRAGMA temp_store=MEMORY; PRAGMA mmap_size=0;",
      "set up");
  if (!set) return set.error();
  return opened;
}

Result<std::unique_ptr<Connection>> open_in_memory() {
  Result<std::unique_ptr<Connection>> opened =
      Connection::open(":memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
  if (!opened) return opened;
  const Result<void> migrated = migrate(**opened, 0, kSchemaVersion);
  if (!migrated) return migrated.error();
  return opened;
}

}  // namespace espy::store
