#include "store/reader.h"

#include <algorithm>
#include <string>
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

Error no_such_record(const Uuid& id) {
  return {ErrorCode::not_found, format("there is no record {}", to_string(id))};
}

// A query in SQL. Values appear in it as numbered parameters only.
// It refers to the query's texts, which must outlive it.
class Selection {
 public:
  explicit Selection(const Query& query) {
    if (query.subject) {
      require("subject =", std::string_view(*query.subject));
      conditions_ += " AND subject <> ''";  // what the index is for
    }
    if (query.file_name) require("file_name =", std::string_view(*query.file_name));
    if (query.label) require("label =", std::int64_t{*query.label});
    if (query.model) require("model =", std::string_view(*query.model));
    if (query.min_confidence) require("confidence >=", double{*query.min_confidence});
    if (query.max_confidence) require("confidence <=", double{*query.max_confidence});
    if (query.before) require("id <", *query.before);
    if (query.after) require("id >", *query.after);

    // The planner knows nothing of the content, so the choice is made here.
    const std::string_view index = query.subject     ? "record_subject"
                                   : query.file_name ? "record_file_name"
                                                     : "record_page";
    const std::string select =
        format("SELECT {}, {} FROM record INDEXED BY ", kRecordColumns, kCorrectionColumns);
    if (!query.from && !query.until) {
      sql_ = format("{}{} {} WHERE TRUE{}", select, index, kJoinCorrection, conditions_);
    } else {
      if (query.from) require("time >=", std::int64_t{query.from->time_since_epoch().count()});
      if (query.until) require("time <", std::int64_t{query.until->time_since_epoch().count()});
      const std::string of_astray = conditions_;
      if (query.from) require("id >=", first_id(*query.from));
      if (query.until) require("id <", past_last_id(*query.until));
      sql_ = format("{0}{1} {4} WHERE NOT astray{2} UNION ALL {0}record_astray {4} WHERE astray{3}", select,
                    index, conditions_, of_astray, kJoinCorrection);
    }
    // One more than asked for tells whether there is a next page.
    sql_ += format(" ORDER BY id {} LIMIT {}", query.oldest_first ? "ASC" : "DESC", query.limit + 1);
  }

  const std::string& sql() const { return sql_; }

  void bind(Statement& statement) const {
    int parameter = 0;
    for (const Value& value : values_) {
      ++parameter;
      std::visit([&](const auto& bound) { bind(statement, parameter, bound); }, value);
    }
  }

 private:
  using Value = std::variant<std::int64_t, double, std::string_view, Uuid>;

  static void bind(Statement& statement, int parameter, const auto& value) {
    statement.bind(parameter, value);
  }
  static void bind(Statement& statement, int parameter, const Uuid& id) {
    statement.bind(parameter, id.bytes);
  }

  void require(std::string_view condition, Value value) {
    values_.push_back(value);
    conditions_ += format(" AND {} ?{}", condition, values_.size());
  }

  std::string conditions_;
  std::vector<Value> values_;
  std::string sql_;
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
      {&reader->find_settled_, "SELECT settled_seq FROM destination WHERE destination = ?1"},
      {&reader->list_places_, std::string(kListPlaces)},
      {&reader->record_at_, format("SELECT {} FROM record WHERE seq = ?1", kRecordColumns)},
      {&reader->correction_at_, format("SELECT {}, record.model FROM correction JOIN record INDEXED BY "
                                       "record_page ON record.id = record_id"
                                       " WHERE correction_seq = ?1",
                                       kCorrectionColumns)},
      {&reader->list_withdrawals_,
       "SELECT record_id, model, time, file_name FROM withdrawal WHERE destination = ?1 LIMIT ?2"},
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
  const Selection selection(query);
  Statement statement;
  const Run run(*connection_, statement);
  Result<Statement> prepared = Statement::prepare(*connection_, selection.sql());
  if (!prepared) return std::move(prepared).error();
  statement = *std::move(prepared);
  selection.bind(statement);

  Page page;
  int status = statement.step();
  for (; status == SQLITE_ROW; status = statement.step()) {
    if (page.records.size() == static_cast<size_t>(query.limit)) {
      page.next = page.records.back().id;
      return page;
    }
    Result<Record> record = read_corrected_record(statement, kRecordColumnCount);
    if (!record) return std::move(record).error();
    page.records.push_back(*std::move(record));
  }
  if (status != SQLITE_DONE) return connection_->error("read");
  return page;
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
    const auto id = list_withdrawals_.blob(0);
    std::copy_n(id.begin(), std::min(id.size(), one.id.bytes.size()), one.id.bytes.begin());
    one.model = list_withdrawals_.text(1);
    one.time = Timestamp(std::chrono::microseconds(list_withdrawals_.integer(2)));
    one.file_name = list_withdrawals_.text(3);
    found.push_back(std::move(one));
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
