#include "store/erase.h"

#include <algorithm>
#include <span>
#include <utility>

#include "base/format.h"

namespace espy::store {
namespace {

Sha256 link_in(const Statement& row, int column) {
  Sha256 link{};
  const std::span<const std::uint8_t> bytes = row.blob(column);
  std::copy_n(bytes.begin(), std::min(bytes.size(), link.size()), link.begin());
  return link;
}

std::string select_from(std::string_view index, std::string_view condition) {
  return format("SELECT {}, seq FROM record INDEXED BY {} WHERE {}", kRecordColumns, index, condition);
}

// Holds for records without a correction behind a place, which is the parameter of this number.
std::string no_correction_behind(int parameter) {
  return format(
      "NOT EXISTS (SELECT 1 FROM correction INDEXED BY correction_of_record"
      " WHERE record_id = record.id AND correction_seq > ?{})",
      parameter);
}

// The records of one name, in any order: those astray, and those of each range of the index.
std::string select_named() {
  return format(
      "WITH RECURSIVE range (number) AS (SELECT min(seq) >> {0} FROM record UNION ALL"
      " SELECT number + 1 FROM range WHERE number < (SELECT max(seq) >> {0} FROM record))"
      " {1} UNION ALL SELECT {2}, seq FROM range CROSS JOIN record INDEXED BY record_file_name"
      " WHERE seq >> {0} = number AND file_name = ?1 AND astray = 0",
      kNameRangeBits, select_from("record_astray_file_name", "file_name = ?1 AND astray <> 0"),
      kRecordColumns);
}

}  // namespace

Result<Remover> Remover::prepare(const Connection& connection) {
  Remover remover;
  const std::pair<Statement*, std::string> statements[] = {
      {&remover.read_start_, "SELECT start_seq, start_link FROM chain_start"},
      {&remover.write_start_,
       "UPDATE chain_start SET start_seq = ?1, start_link = ?2, expired_records = expired_records + ?3,"
       " erased_records_in_all = erased_records_in_all + ?4"},
      {&remover.older_,
       select_from("record_page",
                   format("id < ?1 AND time < ?2 AND NOT (astray & 1) AND {} ORDER BY id LIMIT ?3",
                          no_correction_behind(4)))},
      {&remover.older_astray_,
       select_from("record_astray", format("astray & 1 AND time < ?1 AND {} ORDER BY time LIMIT ?2",
                                           no_correction_behind(3)))},
      {&remover.oldest_,
       select_from("record_page", format("{} ORDER BY id LIMIT ?1", no_correction_behind(2)))},
      {&remover.delete_record_, "DELETE FROM record WHERE seq = ?1"},
      {&remover.delete_retry_, "DELETE FROM retry WHERE retry_seq = ?1"},
      {&remover.select_corrections_,
       format("SELECT {}, correction_seq FROM correction WHERE record_id = ?1 ORDER BY correction_seq",
              kCorrectionColumns)},
      {&remover.delete_corrections_, "DELETE FROM correction WHERE record_id = ?1"},
      {&remover.insert_removed_, "INSERT INTO removed VALUES (?1, ?2, ?3, ?4)"},
      {&remover.find_removed_, "SELECT removed_link FROM removed WHERE removed_seq = ?1"},
      {&remover.delete_removed_, "DELETE FROM removed WHERE removed_seq = ?1"},
      {&remover.find_erasure_, "SELECT erasure_link FROM erasure WHERE erasure_seq = ?1"},
      {&remover.insert_withdrawals_,
       "INSERT OR IGNORE INTO withdrawal SELECT destination, ?1, ?2, ?3, ?4 FROM destination"},
  };
  for (const auto& [statement, sql] : statements) {
    Result<Statement> prepared = Statement::prepare(connection, sql);
    if (!prepared) return std::move(prepared).error();
    *statement = *std::move(prepared);
  }
  return remover;
}

int Remover::begin() {
  const int status = read_start_.step();
  if (status == SQLITE_ROW) start_ = {read_start_.integer(0), link_in(read_start_, 1)};
  read_start_.reset();
  return status == SQLITE_ROW ? SQLITE_OK : SQLITE_CORRUPT;
}

int Remover::end(const Step& expired, const Step& erased) {
  int status = advance();
  if (status != SQLITE_OK) return status;
  write_start_.bind(1, start_.seq);
  write_start_.bind(2, start_.link);
  write_start_.bind(3, expired.records);
  write_start_.bind(4, erased.records);
  return write_start_.run();
}

int Remover::remove_chosen(const Connection& connection, const Choice& choice, int limit, Step& step) {
  const std::string tail = format(" LIMIT {}", limit);
  const std::string sql = choice.id ? select_from("record_page", "id = ?1" + tail)
                          : choice.file_name
                              ? select_named() + tail
                              : select_from("record_subject", "subject = ?1 AND subject <> ''" + tail);
  Result<Statement> select = Statement::prepare(connection, sql);
  if (!select) return sqlite3_errcode(connection.get());
  if (choice.id) select->bind(1, choice.id->bytes);
  if (choice.file_name) select->bind(1, std::string_view(*choice.file_name));
  if (choice.subject) select->bind(1, std::string_view(*choice.subject));
  std::vector<Row> rows;
  std::vector<Record> records;
  int status = select->step();
  for (; status == SQLITE_ROW; status = select->step()) records.push_back(read_record_unchecked(*select));
  select->reset();
  if (status != SQLITE_DONE) return status;
  for (const Record& record : records) {
    if (const int withdrawn = withdraw(connection, record, step); withdrawn != SQLITE_OK) return withdrawn;
  }
  status = collect(*select, std::numeric_limits<std::int64_t>::max(), rows);
  return status == SQLITE_OK ? remove(rows, step) : status;
}

int Remover::withdraw(const Connection& connection, const Record& record, Step& step) {
  insert_withdrawals_.bind(1, record.id.bytes);
  insert_withdrawals_.bind(2, std::string_view(record.model));
  insert_withdrawals_.bind(3, std::int64_t{record.time.time_since_epoch().count()});
  insert_withdrawals_.bind(4, std::string_view(record.file_name));
  const int status = insert_withdrawals_.run();
  if (status == SQLITE_OK) step.withdrawals += sqlite3_changes(connection.get());
  return status;
}

int Remover::remove_older(Timestamp until, int limit, Step& step) {
  const Uuid past = past_last_id(until);
  const std::int64_t time = until.time_since_epoch().count();
  std::vector<Row> rows;
  older_.bind(1, past.bytes);
  older_.bind(2, time);
  older_.bind(3, std::int64_t{limit});
  older_.bind(4, keep_behind_);
  int status = collect(older_, keep_behind_, rows);
  if (status == SQLITE_OK && static_cast<int>(rows.size()) < limit) {
    older_astray_.bind(1, time);
    older_astray_.bind(2, static_cast<std::int64_t>(limit) - std::ssize(rows));
    older_astray_.bind(3, keep_behind_);
    status = collect(older_astray_, keep_behind_, rows);
  }
  return status == SQLITE_OK ? remove(rows, step) : status;
}

int Remover::remove_oldest(int limit, Step& step) {
  std::vector<Row> rows;
  oldest_.bind(1, std::int64_t{limit});
  oldest_.bind(2, keep_behind_);
  const int status = collect(oldest_, keep_behind_, rows);
  return status == SQLITE_OK ? remove(rows, step) : status;
}

int Remover::collect(Statement& select, std::int64_t last, std::vector<Row>& rows) {
  std::int64_t follows = start_.seq + 1;
  for (const Row& row : rows) follows += row.seq == follows ? 1 : 0;
  int status = select.step();
  for (; status == SQLITE_ROW && select.integer(kRecordColumnCount) <= last; status = select.step()) {
    Row row{.seq = select.integer(kRecordColumnCount),
            .id = {},
            .digest = {},
            .link = link_in(select, kRecordColumnCount - 2)};
    const std::span<const std::uint8_t> id = select.blob(0);
    std::copy_n(id.begin(), std::min(id.size(), row.id.bytes.size()), row.id.bytes.begin());
    // A place that the start passes at once needs no digest, which is nearly every one that expires.
    if (row.seq == follows) {
      ++follows;
    } else {
      row.digest = digest(read_record_unchecked(select));
    }
    rows.push_back(row);
  }
  select.reset();
  return status == SQLITE_DONE || status == SQLITE_ROW ? SQLITE_OK : status;
}

int Remover::remove(const std::vector<Row>& rows, Step& step) {
  for (const Row& row : rows) {
    delete_record_.bind(1, row.seq);
    int status = delete_record_.run();
    delete_retry_.bind(1, row.seq);
    if (status == SQLITE_OK) status = delete_retry_.run();
    if (status == SQLITE_OK) status = leave(row.seq, Kind::record, row.digest, row.link);
    if (status == SQLITE_OK) status = remove_corrections_of(row.id, step);
    if (status != SQLITE_OK) return status;
    ++step.records;
  }
  return SQLITE_OK;
}

int Remover::remove_corrections_of(const Uuid& id, Step& step) {
  select_corrections_.bind(1, id.bytes);
  std::int64_t found = 0;
  int status = select_corrections_.step();
  for (; status == SQLITE_ROW; status = select_corrections_.step()) {
    const int left = leave(select_corrections_.integer(kCorrectionColumnCount), Kind::correction,
                           digest(read_correction_unchecked(select_corrections_, 0)),
                           link_in(select_corrections_, kCorrectionColumnCount - 1));
    if (left != SQLITE_OK) {
      select_corrections_.reset();
      return left;
    }
    ++found;
  }
  select_corrections_.reset();
  if (status != SQLITE_DONE) return status;
  if (found == 0) return SQLITE_OK;
  step.corrections += found;
  delete_corrections_.bind(1, id.bytes);
  return delete_corrections_.run();
}

int Remover::leave(std::int64_t seq, Kind kind, const Sha256& digest, const Sha256& link) {
  if (seq == start_.seq + 1) {
    start_ = {seq, link};
    return SQLITE_OK;
  }
  insert_removed_.bind(1, seq);
  insert_removed_.bind(2, static_cast<std::int64_t>(kind));
  insert_removed_.bind(3, digest);
  insert_removed_.bind(4, link);
  return insert_removed_.run();
}

int Remover::advance() {
  while (true) {
    const std::int64_t seq = start_.seq + 1;
    // What is left of a removed place goes; an erasure stays, though its place is passed.
    find_removed_.bind(1, seq);
    int status = find_removed_.step();
    if (status == SQLITE_ROW) start_ = {seq, link_in(find_removed_, 0)};
    find_removed_.reset();
    if (status == SQLITE_ROW) {
      delete_removed_.bind(1, seq);
      status = delete_removed_.run();
      if (status != SQLITE_OK) return status;
      continue;
    }
    if (status != SQLITE_DONE) return status;
    find_erasure_.bind(1, seq);
    status = find_erasure_.step();
    if (status == SQLITE_ROW) start_ = {seq, link_in(find_erasure_, 0)};
    find_erasure_.reset();
    if (status == SQLITE_DONE) return SQLITE_OK;
    if (status != SQLITE_ROW) return status;
  }
}

}  // namespace espy::store
