#include "store/reader.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <tuple>
#include <utility>
#include <variant>

#include "base/format.h"
#include "store/backup.h"
#include "store/row.h"
#include "store/status.h"
#include "store/verify.h"

namespace espy::store {
namespace {

constexpr int kMaxPageSize = 1000;

// The places behind one, in one statement, so that no entry can come in before one that it saw.
constexpr std::string_view kListPlaces =
    "SELECT seq, 1 AS kind FROM record WHERE seq > ?1 UNION ALL"
    " SELECT correction_seq, 2 FROM correction WHERE correction_seq > ?1 ORDER BY seq LIMIT ?2";

// Finds each record's newest correction: NULLs when there is none.
constexpr std::string_view kJoinCorrection =
    "LEFT JOIN correction ON correction_seq ="
    " (SELECT max(of.correction_seq) FROM correction AS of WHERE of.record_id = record.id)";

// Reads a row of the record's columns and behind them, from `correction` on, its correction's.
Result<Record> read_corrected_record(const Statement& statement, int correction) {
  Result<Record> record = read_record(statement);
  if (!record) return record;
  Result<std::optional<Correction>> newest = read_correction(statement, correction);
  if (!newest) return std::move(newest).error();
  record->correction = *std::move(newest);
  return record;
}

// Resets a statement when the answer is read, and holds its connection until then.
class Run {
 public:
  Run(Connection& connection, Statement& statement) : lock_(connection.mutex()), statement_(statement) {}
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;
  ~Run() { statement_.reset(); }

 private:
  std::lock_guard<std::mutex> lock_;
  Statement& statement_;
};

Uuid read_id(const Statement& statement, int column) {
  Uuid id;
  const auto bytes = statement.blob(column);
  std::copy_n(bytes.begin(), std::min(bytes.size(), id.bytes.size()), id.bytes.begin());
  return id;
}

Error no_such_record(const Uuid& id) {
  return {ErrorCode::not_found, format("there is no record {}", to_string(id))};
}

// Conditions in SQL, each behind " AND "; values appear in it as numbered parameters only.
// It refers to the texts of what it is made from, which must outlive it.
class Conditions {
 public:
  using Value = std::variant<std::int64_t, double, std::string_view, Uuid>;

  // All of the query's but for its times.
  explicit Conditions(const Query& query) {
    if (query.subject) {
      require("subject =", std::string_view(*query.subject));
      sql_ += " AND subject <> ''";  // what the index is for
    }
    if (query.file_name) require("file_name =", std::string_view(*query.file_name));
    if (query.label) require("label =", std::int64_t{*query.label});
    if (query.model) require("model =", std::string_view(*query.model));
    if (query.min_confidence) require("confidence >=", double{*query.min_confidence});
    if (query.max_confidence) require("confidence <=", double{*query.max_confidence});
    if (query.before) require("id <", *query.before);
    if (query.after) require("id >", *query.after);
  }

  void require_times(const Query& query) {
    if (query.from) require("time >=", std::int64_t{query.from->time_since_epoch().count()});
    if (query.until) require("time <", std::int64_t{query.until->time_since_epoch().count()});
  }

  void require(std::string_view condition, Value value) {
    values_.push_back(value);
    sql_ += format(" AND {} ?{}", condition, values_.size());
  }

  const std::string& sql() const { return sql_; }
  int count() const { return static_cast<int>(values_.size()); }

  void bind(Statement& statement) const {
    int parameter = 0;
    for (const Value& value : values_) {
      ++parameter;
      std::visit([&](const auto& bound) { bind(statement, parameter, bound); }, value);
    }
  }

 private:
  static void bind(Statement& statement, int parameter, const auto& value) {
    statement.bind(parameter, value);
  }
  static void bind(Statement& statement, int parameter, const Uuid& id) {
    statement.bind(parameter, id.bytes);
  }

  std::string sql_;
  std::vector<Value> values_;
};

// Returns "SELECT ... FROM record ... WHERE condition" of records and their corrections.
std::string select_records(std::string_view index, std::string_view condition) {
  return format("SELECT {}, {} FROM record INDEXED BY {} {} WHERE {}", kRecordColumns, kCorrectionColumns,
                index, kJoinCorrection, condition);
}

std::string_view direction(const Query& query) { return query.oldest_first ? "ASC" : "DESC"; }

// Makes the statements of its lifetime see one state of the store, and takes the file's locks once for all.
class Snapshot {
 public:
  static Result<Snapshot> begin(Connection& connection) {
    if (Result<void> begun = connection.execute("BEGIN", "read"); !begun) return begun.error();
    return Snapshot(connection);
  }
  Snapshot(Snapshot&& other) noexcept : connection_(std::exchange(other.connection_, nullptr)) {}
  Snapshot& operator=(Snapshot&&) = delete;
  // Nothing was written, so there is nothing that could fail.
  ~Snapshot() {
    if (connection_) static_cast<void>(connection_->execute("COMMIT", "read"));
  }

 private:
  explicit Snapshot(Connection& connection) : connection_(&connection) {}
  Connection* connection_;
};

}  // namespace

Result<std::unique_ptr<Reader>> Reader::open(std::shared_ptr<Connection> connection) {
  std::unique_ptr<Reader> reader(new Reader(std::move(connection)));
  const std::lock_guard lock(reader->connection_->mutex());
  const std::pair<Statement*, std::string> statements[] = {
      {&reader->find_, format("SELECT {}, {} FROM record INDEXED BY record_page {} WHERE id = ?1",
                              kRecordColumns, kCorrectionColumns, kJoinCorrection)},
      {&reader->find_corrections_,
       format("SELECT {} FROM correction WHERE record_id = ?1 ORDER BY correction_seq", kCorrectionColumns)},
      {&reader->find_upload_, format("SELECT {}, {} FROM record INDEXED BY record_page WHERE id = ?1",
                                     kRecordColumns, kUploadColumns)},
      {&reader->find_media_type_, "SELECT media_type FROM record INDEXED BY record_page WHERE id = ?1"},
      {&reader->newest_id_, std::string(kSelectNewestId)},
      {&reader->first_place_,
       "SELECT seq FROM record INDEXED BY record_page WHERE astray = 0 AND id >= ?1"
       " ORDER BY id LIMIT 1"},
      {&reader->last_place_,
       "SELECT seq FROM record INDEXED BY record_page WHERE astray = 0 AND id <= ?1"
       " ORDER BY id DESC LIMIT 1"},
      {&reader->find_settled_, "SELECT settled_seq FROM destination WHERE destination = ?1"},
      {&reader->list_places_, std::string(kListPlaces)},
      {&reader->record_at_, format("SELECT {} FROM record WHERE seq = ?1", kRecordColumns)},
      {&reader->correction_at_, format("SELECT {}, record.model FROM correction JOIN record INDEXED BY "
                                       "record_page ON record.id = record_id"
                                       " WHERE correction_seq = ?1",
                                       kCorrectionColumns)},
      {&reader->list_withdrawals_,
       "SELECT record_id, model, time, file_name FROM withdrawal WHERE destination = ?1 LIMIT ?2"},
      {&reader->list_carried_,
       "SELECT seq, id, model FROM record INDEXED BY record_page WHERE id > ?2"
       " AND seq <= (SELECT settled_seq FROM destination WHERE destination = ?1)"
       " AND NOT EXISTS (SELECT 1 FROM dead_letter WHERE destination = ?1 AND dead_seq = seq)"
       " ORDER BY id LIMIT ?3"},
      {&reader->list_carried_corrections_,
       "SELECT correction_seq, record_id, model, correction_id FROM correction INDEXED BY "
       "correction_of_record"
       " JOIN record INDEXED BY record_page ON record.id = record_id WHERE record_id > ?2 AND record_id <= ?3"
       " AND correction_seq <= (SELECT settled_seq FROM destination WHERE destination = ?1)"
       " AND NOT EXISTS (SELECT 1 FROM dead_letter WHERE destination = ?1 AND dead_seq = correction_seq)"
       " ORDER BY record_id, correction_seq"},
  };
  for (const auto& [statement, sql] : statements) {
    Result<Statement> prepared = Statement::prepare(*reader->connection_, sql);
    if (!prepared) return std::move(prepared).error();
    *statement = *std::move(prepared);
  }
  return reader;
}

Result<Record> Reader::find(const Uuid& id) {
  const Run run(*connection_, find_);
  find_.bind(1, id.bytes);
  const int status = find_.step();
  if (status == SQLITE_ROW) return read_corrected_record(find_, kRecordColumnCount);
  if (status != SQLITE_DONE) return connection_->error("read");
  return no_such_record(id);
}

Result<std::vector<Correction>> Reader::corrections(const Uuid& id) {
  const Run run(*connection_, find_corrections_);
  find_corrections_.bind(1, id.bytes);
  std::vector<Correction> corrections;
  int status = find_corrections_.step();
  for (; status == SQLITE_ROW; status = find_corrections_.step()) {
    Result<std::optional<Correction>> correction = read_correction(find_corrections_, 0);
    if (!correction) return std::move(correction).error();
    corrections.push_back(**std::move(correction));
  }
  if (status != SQLITE_DONE) return connection_->error("read");
  return corrections;
}

Result<Upload> Reader::find_upload(const Uuid& id) {
  const Run run(*connection_, find_upload_);
  find_upload_.bind(1, id.bytes);
  const int status = find_upload_.step();
  if (status == SQLITE_ROW) {
    const Result<Record> record = read_record(find_upload_);
    if (!record) return record.error();
    return read_upload(find_upload_, *record);
  }
  if (status != SQLITE_DONE) return connection_->error("read");
  return no_such_record(id);
}

// One statement an id: an upload never comes or goes after its record, so these see one state as well.
Result<std::vector<std::string>> Reader::upload_media_types(std::span<const Uuid> ids) {
  std::vector<std::string> media_types;
  for (const Uuid& id : ids) {
    const Run run(*connection_, find_media_type_);
    find_media_type_.bind(1, id.bytes);
    const int status = find_media_type_.step();
    if (status != SQLITE_ROW && status != SQLITE_DONE) return connection_->error("read");
    media_types.emplace_back(status == SQLITE_ROW ? find_media_type_.text(0) : std::string_view());
  }
  return media_types;
}

Result<Page> Reader::list(const Query& query) {
  if (query.limit < 1 || query.limit > kMaxPageSize) {
    return Error{ErrorCode::invalid_input, format("limit is {}, must be 1 to {}", query.limit, kMaxPageSize)};
  }
  const std::lock_guard lock(connection_->mutex());
  // The planner knows nothing of the content, so the choice is made here.
  Result<std::vector<Record>> records = query.subject     ? list_in_index(query, "record_subject")
                                        : query.file_name ? list_by_file_name(query)
                                                          : list_in_index(query, "record_page");
  if (!records) return std::move(records).error();
  Page page{.records = *std::move(records), .next = {}};
  if (page.records.size() > static_cast<std::size_t>(query.limit)) {
    page.records.pop_back();
    page.next = page.records.back().id;
  }
  return page;
}

Result<std::vector<Record>> Reader::list_in_index(const Query& query, std::string_view index) {
  Conditions conditions(query);
  std::string sql;
  if (!query.from && !query.until) {
    sql = select_records(index, "TRUE" + conditions.sql());
  } else {
    conditions.require_times(query);
    const std::string of_strays = conditions.sql();
    if (query.from) conditions.require("id >=", first_id(*query.from));
    if (query.until) conditions.require("id <", past_last_id(*query.until));
    sql = select_records(index, "NOT (astray & 1)" + conditions.sql()) + " UNION ALL " +
          select_records("record_astray", "astray & 1" + of_strays);
  }
  sql += format(" ORDER BY id {} LIMIT {}", direction(query), query.limit + 1);
  Result<Statement> statement = Statement::prepare(*connection_, sql);
  if (!statement) return std::move(statement).error();
  conditions.bind(*statement);
  std::vector<Record> records;
  const Result<void> read = read_records(*statement, records);
  if (!read) return read.error();
  return records;
}

// Two lists in the order of ids: what went astray, and the rest, range by range of the index, where the order
// of places is that of ids.
Result<std::vector<Record>> Reader::list_by_file_name(const Query& query) {
  const Result<Snapshot> snapshot = Snapshot::begin(*connection_);
  if (!snapshot) return snapshot.error();
  Conditions conditions(query);
  conditions.require_times(query);
  const auto wanted = static_cast<std::size_t>(query.limit) + 1;

  std::vector<Record> strays;
  Result<Statement> select = Statement::prepare(
      *connection_,
      select_records("record_astray_file_name", format("astray <> 0{} ORDER BY id {} LIMIT {}",
                                                       conditions.sql(), direction(query), wanted)));
  if (!select) return std::move(select).error();
  conditions.bind(*select);
  Result<void> read = read_records(*select, strays);
  if (!read) return read.error();

  const Result<std::optional<Places>> places = places_of(query);
  if (!places) return places.error();
  if (!*places) return strays;
  const int range = conditions.count() + 1;
  select = Statement::prepare(
      *connection_,
      select_records("record_file_name",
                     format("astray = 0 AND seq >> {} = ?{}{} ORDER BY seq {} LIMIT ?{}", kNameRangeBits,
                            range, conditions.sql(), direction(query), range + 1)));
  if (!select) return std::move(select).error();
  conditions.bind(*select);
  const std::int64_t oldest = (*places)->first >> kNameRangeBits;
  const std::int64_t newest = (*places)->last >> kNameRangeBits;
  std::vector<Record> records;
  for (std::int64_t i = 0; i <= newest - oldest && records.size() < wanted; ++i) {
    select->bind(range, query.oldest_first ? oldest + i : newest - i);
    select->bind(range + 1, static_cast<std::int64_t>(wanted - records.size()));
    read = read_records(*select, records);
    if (!read) return read.error();
  }
  if (strays.empty()) return records;

  std::vector<Record> merged;
  std::ranges::merge(std::move(records), std::move(strays), std::back_inserter(merged),
                     [&](const Record& left, const Record& right) {
                       return query.oldest_first ? left.id < right.id : left.id > right.id;
                     });
  if (merged.size() > wanted) merged.resize(wanted);
  return merged;
}

Result<std::optional<Reader::Places>> Reader::places_of(const Query& query) {
  Uuid least;
  Uuid greatest;
  greatest.bytes.fill(0xff);
  if (query.after) least = *query.after;
  if (query.from) least = std::max(least, first_id(*query.from));
  if (query.before) greatest = *query.before;
  if (query.until) greatest = std::min(greatest, past_last_id(*query.until));
  Places places{};
  for (const auto& [statement, bound, place] :
       {std::tuple{&first_place_, least, &places.first}, {&last_place_, greatest, &places.last}}) {
    statement->bind(1, bound.bytes);
    const int status = statement->step();
    if (status == SQLITE_ROW) *place = statement->integer(0);
    statement->reset();
    if (status == SQLITE_DONE) return std::optional<Places>();
    if (status != SQLITE_ROW) return connection_->error("read");
  }
  return std::optional(places);
}

Result<void> Reader::read_records(Statement& statement, std::vector<Record>& records) {
  int status = statement.step();
  for (; status == SQLITE_ROW; status = statement.step()) {
    Result<Record> record = read_corrected_record(statement, kRecordColumnCount);
    if (!record) {
      statement.reset();
      return std::move(record).error();
    }
    records.push_back(*std::move(record));
  }
  statement.reset();
  if (status != SQLITE_DONE) return connection_->error("read");
  return {};
}

Result<Verification> Reader::backup(const std::filesystem::path& path) {
  const std::lock_guard lock(connection_->mutex());
  return store::backup(*connection_, path);
}

Result<HistoryStatus> Reader::status() {
  const std::lock_guard lock(connection_->mutex());
  return read_status(*connection_);
}

Result<Verification> Reader::verify(const std::optional<ChainPoint>& known) {
  const std::lock_guard lock(connection_->mutex());
  return store::verify(*connection_, known);
}

Result<std::optional<Uuid>> Reader::newest_id() {
  const Run run(*connection_, newest_id_);
  return read_newest_id(newest_id_, *connection_);
}

Result<std::int64_t> Reader::settled(const std::string& destination) {
  const Run run(*connection_, find_settled_);
  find_settled_.bind(1, std::string_view(destination));
  const int status = find_settled_.step();
  if (status == SQLITE_ROW) return find_settled_.integer(0);
  if (status != SQLITE_DONE) return connection_->error("read");
  return std::int64_t{0};
}

Result<std::vector<Outgoing>> Reader::read_outgoing(std::int64_t place, std::size_t limit) {
  struct Found {
    std::int64_t place;
    Kind kind;
  };
  std::vector<Found> found;
  {
    const Run run(*connection_, list_places_);
    list_places_.bind(1, place);
    list_places_.bind(2, static_cast<std::int64_t>(limit));
    int status = list_places_.step();
    for (; status == SQLITE_ROW; status = list_places_.step()) {
      found.push_back({list_places_.integer(0), static_cast<Kind>(list_places_.integer(1))});
    }
    if (status != SQLITE_DONE) return connection_->error("read");
  }
  std::vector<Outgoing> entries;
  for (const Found& one : found) {
    Statement& statement = one.kind == Kind::record ? record_at_ : correction_at_;
    const Run run(*connection_, statement);
    statement.bind(1, one.place);
    const int status = statement.step();
    if (status == SQLITE_DONE) continue;  // removed since
    if (status != SQLITE_ROW) return connection_->error("read");
    if (one.kind == Kind::record) {
      Result<Record> record = read_record(statement);
      if (record) {
        entries.push_back({one.place, *std::move(record)});
      } else {
        entries.push_back({one.place, std::move(record).error()});
      }
    } else {
      Result<std::optional<Correction>> correction = read_correction(statement, 0);
      if (correction) {
        entries.push_back(
            {one.place, OutgoingCorrection{**std::move(correction),
                                           std::string(statement.text(kCorrectionColumnCount))}});
      } else {
        entries.push_back({one.place, std::move(correction).error()});
      }
    }
  }
  return entries;
}

Result<Pending> Reader::pending(std::int64_t place) {
  const std::lock_guard lock(connection_->mutex());
  return read_pending(*connection_, place);
}

Result<std::vector<Withdrawal>> Reader::withdrawals(const std::string& destination, std::size_t limit) {
  const Run run(*connection_, list_withdrawals_);
  list_withdrawals_.bind(1, std::string_view(destination));
  list_withdrawals_.bind(2, static_cast<std::int64_t>(limit));
  std::vector<Withdrawal> found;
  int status = list_withdrawals_.step();
  for (; status == SQLITE_ROW; status = list_withdrawals_.step()) {
    Withdrawal one;
    one.id = read_id(list_withdrawals_, 0);
    one.model = list_withdrawals_.text(1);
    one.time = Timestamp(std::chrono::microseconds(list_withdrawals_.integer(2)));
    one.file_name = list_withdrawals_.text(3);
    found.push_back(std::move(one));
  }
  if (status != SQLITE_DONE) return connection_->error("read");
  return found;
}

Result<std::vector<Carried>> Reader::carried(const std::string& destination, const Uuid& after,
                                             std::size_t limit) {
  std::vector<Carried> found;
  {
    const Run run(*connection_, list_carried_);
    list_carried_.bind(1, std::string_view(destination));
    list_carried_.bind(2, after.bytes);
    list_carried_.bind(3, static_cast<std::int64_t>(limit));
    int status = list_carried_.step();
    for (; status == SQLITE_ROW; status = list_carried_.step()) {
      found.push_back({list_carried_.integer(0), read_id(list_carried_, 1), {}, {}});
      found.back().model = list_carried_.text(2);
    }
    if (status != SQLITE_DONE) return connection_->error("read");
  }
  if (found.empty()) return found;
  const Uuid last = found.back().record;
  Statement& corrections = list_carried_corrections_;
  const Run run(*connection_, corrections);
  corrections.bind(1, std::string_view(destination));
  corrections.bind(2, after.bytes);
  corrections.bind(3, last.bytes);
  int status = corrections.step();
  for (; status == SQLITE_ROW; status = corrections.step()) {
    found.push_back({corrections.integer(0), read_id(corrections, 1), read_id(corrections, 3), {}});
    found.back().model = corrections.text(2);
  }
  if (status != SQLITE_DONE) return connection_->error("read");
  return found;
}

Result<std::unique_ptr<Reader>> ReaderPool::take() {
  std::unique_lock lock(mutex_);
  returned_.wait(lock, [&] { return !idle_.empty() || opened_ < limit_; });
  if (!idle_.empty()) {
    std::unique_ptr<Reader> reader = std::move(idle_.back());
    idle_.pop_back();
    return reader;
  }
  ++opened_;
  lock.unlock();
  Result<std::unique_ptr<Reader>> reader = open_();
  if (!reader) {
    lock.lock();
    --opened_;
    lock.unlock();
    returned_.notify_one();
  }
  return reader;
}

void ReaderPool::give_back(std::unique_ptr<Reader> reader) {
  {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(reader));
  }
  returned_.notify_one();
}

}  // namespace espy::store
