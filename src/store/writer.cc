#include "store/writer.h"

#include <algorithm>
#include <cassert>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <future>
#include <iterator>
#include <string_view>
#include <tuple>
#include <utility>

#include "base/foreign_text.h"
#include "base/format.h"
#include "base/log.h"
#include "store/row.h"
#include "store/schema.h"
#include "store/status.h"

namespace espy::store {
namespace {

// Bounds of one commit: enough rows that the fsync is a small part of its time, few enough that nobody waits
// long for the others' rows.
constexpr std::size_t kGroupRows = 1024;
constexpr std::size_t kGroupBytes = std::size_t{8} << 20;

constexpr int kErasedAtOnce = 256;
constexpr std::chrono::seconds kPatienceForEmptyLog{5};
constexpr std::chrono::milliseconds kBetweenEmptyings{20};

constexpr std::string_view kFindRecord = "SELECT 1 FROM record INDEXED BY record_page WHERE id = ?1";

}  // namespace

Result<void> check(const Correction& correction) {
  const auto invalid = [](std::string message) {
    return Error{ErrorCode::invalid_input, std::move(message)};
  };
  if (correction.label < 0 || correction.label > kMaxLabel) {
    return invalid(format("label is {}, limits are 0 and {}", correction.label, kMaxLabel));
  }
  const std::tuple<const char*, const std::string&, std::size_t> texts[] = {
      {"class", correction.class_name, kMaxNoteBytes},
      {"author", correction.author, kMaxAuthorBytes},
      {"note", correction.note, kMaxNoteBytes},
  };
  for (const auto& [name, text, limit] : texts) {
    if (text.size() > limit) return invalid(format("{} has {} bytes, limit is {}", name, text.size(), limit));
    if (valid_utf8(text) != text) return invalid(format("{} is not UTF-8", name));
  }
  return {};
}

struct Writer::Group {
  std::size_t rows = 0;
  std::size_t bytes = 0;

  bool has_room_for_more_of(const std::deque<Pending>& batch) const {
    if (rows == batch.size()) return false;
    if (rows == 0 || batch[rows - 1].goes_on) return true;
    return rows < kGroupRows && bytes + batch[rows].bytes <= kGroupBytes;
  }
  void add(const std::deque<Pending>& batch) { bytes += batch[rows++].bytes; }
};

Result<std::unique_ptr<Writer>> Writer::start(std::shared_ptr<Connection> connection,
                                              const StoreOptions& options, int checkpoint_frames,
                                              std::chrono::milliseconds retention_interval) {
  std::unique_ptr<Writer> writer(
      new Writer(std::move(connection), options, checkpoint_frames, retention_interval));
  const Result<void> prepared = writer->prepare_statements();
  if (!prepared) return prepared.error();
  if (options.max_age) {
    const Result<void> begun = writer->retention_.begin_time(*writer->connection_);
    if (!begun) return begun.error();
  }
  writer->thread_ = std::thread([self = writer.get()] { self->run(); });
  return writer;
}

Writer::Writer(std::shared_ptr<Connection> connection, const StoreOptions& options, int checkpoint_frames,
               std::chrono::milliseconds retention_interval)
    : options_(options),
      path_(connection->path()),
      checkpoint_frames_(checkpoint_frames),
      connection_(std::move(connection)),
      retention_(options_, retention_interval) {}

Writer::~Writer() {
  finish();
  if (log_) break_unless(log_->stop());
  // What is in doubt the next start makes sure of; the connection, when it is closed, would not.
  if (broken_ && connection_) leave_log(*connection_);
}

void Writer::finish() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

Result<void> Writer::prepare_statements() {
  const std::pair<Statement*, std::string> statements[] = {
      {&begin_, "BEGIN IMMEDIATE"},
      {&find_, std::string(kFindRecord)},
      {&insert_,
       format("INSERT INTO record ({}, {}, seq) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, "
              "?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23)",
              kRecordColumns, kUploadColumns)},
      {&commit_, "COMMIT"},
      {&rollback_, "ROLLBACK"},
      {&find_correction_, "SELECT 1 FROM correction WHERE record_id = ?1 AND correction_id = ?2"},
      {&insert_correction_,
       format("INSERT INTO correction ({}, correction_seq) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
              kCorrectionColumns)},
      {&find_earlier_,
       format(
           "SELECT {}, seq FROM retry JOIN record ON seq = retry_seq WHERE retry_key = ?1 ORDER BY seq DESC "
           "LIMIT 1",
           kRecordColumns)},
      {&insert_retry_, "INSERT INTO retry VALUES (?1, ?2)"},
      {&insert_erasure_,
       format("INSERT INTO erasure ({}, erasure_seq) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)", kErasureColumns)},
  };
  for (const auto& [statement, sql] : statements) {
    Result<Statement> prepared = Statement::prepare(*connection_, sql);
    if (!prepared) return std::move(prepared).error();
    *statement = *std::move(prepared);
  }
  Result<Statement> select_newest = Statement::prepare(*connection_, kSelectNewestId);
  if (!select_newest) return std::move(select_newest).error();
  Result<std::optional<Uuid>> newest = read_newest_id(*select_newest, *connection_);
  if (!newest) return std::move(newest).error();
  greatest_id_ = newest->value_or(Uuid{});
  const Result<ChainPoint> head = read_head(*connection_);
  if (!head) return head.error();
  head_ = *head;

  Result<Remover> remover = Remover::prepare(*connection_);
  if (!remover) return std::move(remover).error();
  remover_ = *std::move(remover);
  count_unsettled();

  auto log = LogKeeper::start(*connection_, checkpoint_frames_, [this](Steady::duration held_up) {
    const std::lock_guard counting(mutex_);
    counted_.checkpoints.add(held_up);
  });
  if (!log) return std::move(log).error();
  log_ = *std::move(log);
  return {};
}

Writer::Pending Writer::make_pending(std::shared_ptr<const Entry> entry) const {
  const Record& record = entry->record;
  const Upload& upload = entry->upload;
  Pending pending{.entry = entry, .done = {}};
  pending.digest = digest(record);
  pending.keeps_upload = options_.keeps_upload(upload.bytes.size());
  if (pending.keeps_upload) pending.upload_checksum = checksum(record.upload_digest, upload.media_type);
  pending.bytes = sizeof(Pending) + sizeof(Entry) + record.model.size() + record.model_version.size() +
                  record.file_name.size() + record.subject.size() + record.class_name.size() +
                  upload.media_type.size() + upload.bytes.size();
  return pending;
}

void Writer::append(std::shared_ptr<const Entry> entry, Store::Completion done) {
  assert(entry && done);
  // Here, on the caller's thread: there are many of those and one writer.
  Pending pending = make_pending(std::move(entry));
  pending.done = std::move(done);
  Result<void> accepted = enqueue({&pending, 1});
  if (accepted) {
    wake_.notify_one();
  } else {
    pending.done(std::move(accepted));
  }
}

void Writer::append_together(std::vector<std::shared_ptr<const Entry>> entries, Store::Completion done) {
  assert(!entries.empty() && done);
  std::vector<Pending> pendings;
  pendings.reserve(entries.size());
  for (std::shared_ptr<const Entry>& entry : entries) {
    pendings.push_back(make_pending(std::move(entry)));
    pendings.back().goes_on = pendings.size() < entries.size();
  }
  entries.clear();
  pendings.back().done = std::move(done);
  Result<void> accepted = enqueue(pendings);
  if (accepted) {
    wake_.notify_one();
  } else {
    pendings.back().done(std::move(accepted));
  }
}

Result<void> Writer::enqueue(std::span<Pending> pendings) {
  std::size_t bytes = 0;
  for (const Pending& pending : pendings) {
    // SQLite keeps a NaN as NULL, which the table refuses, and with it the whole group.
    const Record& record = pending.entry->record;
    if (!std::isfinite(record.confidence)) {
      return Error{ErrorCode::invalid_input, format("the confidence of record {} is {}, must be a number",
                                                    to_string(record.id), record.confidence)};
    }
    if (record.label < 0 || record.label > kMaxLabel) {
      return Error{ErrorCode::invalid_input, format("the label of record {} is {}, limits are 0 and {}",
                                                    to_string(record.id), record.label, kMaxLabel)};
    }
    bytes += pending.bytes;
  }
  const auto count = static_cast<std::int64_t>(pendings.size());
  const std::lock_guard lock(mutex_);
  counted_.refused += count;  // unless they get to the end
  if (closing_) {
    return Error{ErrorCode::unavailable, format("store {} is being closed", path_)};
  }
  if (waiting_rows_ + pendings.size() > options_.max_pending_records) {
    return Error{ErrorCode::unavailable, format("{} records wait for the disk, limit is {}", waiting_rows_,
                                                options_.max_pending_records)};
  }
  if (waiting_bytes_ + bytes > options_.max_pending_bytes) {
    return Error{ErrorCode::unavailable, format("{} bytes wait for the disk and {} more came, limit is {}",
                                                waiting_bytes_, bytes, options_.max_pending_bytes)};
  }
  if (unsettled_ + static_cast<std::int64_t>(waiting_rows_) + count > max_unsettled_) {
    return Error{ErrorCode::unavailable,
                 format("{} records wait to be forwarded, which is the limit", max_unsettled_)};
  }
  counted_.refused -= count;
  counted_.accepted += count;
  waiting_rows_ += pendings.size();
  waiting_bytes_ += bytes;
  const Steady::time_point now = Steady::now();
  for (Pending& pending : pendings) {
    pending.queued = now;
    queue_.push_back(std::move(pending));
  }
  return {};
}

void Writer::run() {
  std::deque<Pending> batch;
  while (wait_for_work(batch)) {
    do_due_tasks();
    // Under load a batch never ends, for what queues joins it.
    while (!batch.empty()) {
      write_group(batch);
      keep_log_short();
      retain_when_due();
      do_due_tasks();
    }
  }
}

// Returns false when the store is closed and nothing is left to do. While nothing else is to be done,
// checkpoints and retains.
bool Writer::wait_for_work(std::deque<Pending>& batch) {
  const auto has_work = [&] { return !queue_.empty() || !tasks_.empty() || closing_; };
  const Steady::time_point idle_since = Steady::now();
  std::unique_lock lock(mutex_);
  while (!has_work()) {
    // Nobody waits, so retention has no share to keep to.
    const Steady::time_point retention_due =
        retention_.is_on() && !broken_ ? retention_.next_when_idle() : Steady::time_point::max();
    const Steady::time_point log_due = broken_ ? Steady::time_point::max() : log_->next_when_idle(idle_since);
    const Steady::time_point wake = std::min(retention_due, log_due);
    if (wake == Steady::time_point::max()) {
      wake_.wait(lock, has_work);
      break;
    }
    if (wake_.wait_until(lock, wake, has_work)) break;
    lock.unlock();
    if (Steady::now() >= retention_due) retain();
    if (Steady::now() >= log_due && !broken_) break_unless(log_->keep_short_when_idle());
    lock.lock();
  }
  batch.swap(queue_);
  if (!batch.empty()) batch_queued_ = batch.front().queued;
  return !batch.empty() || !tasks_.empty();
}

void Writer::perform(Task task) {
  {
    const std::lock_guard lock(mutex_);
    if (!closing_) {
      task.follows = counted_.accepted;
      tasks_.push_back(std::move(task));
      wake_.notify_one();
      return;
    }
  }
  task.done(Error{ErrorCode::unavailable, format("store {} is being closed", path_)});
}

Result<void> Writer::perform(std::function<Result<void>()> work) {
  const auto outcome = std::make_shared<std::promise<Result<void>>>();
  std::future<Result<void>> answer = outcome->get_future();
  perform({std::move(work), [outcome](Result<void> result) { outcome->set_value(std::move(result)); }});
  return answer.get();
}

void Writer::do_due_tasks() {
  std::deque<Task> due;
  {
    const std::lock_guard lock(mutex_);
    const std::int64_t answered = counted_.durable + counted_.failed;
    for (; !tasks_.empty() && tasks_.front().follows <= answered; tasks_.pop_front()) {
      due.push_back(std::move(tasks_.front()));
    }
  }
  for (Task& task : due) do_task(task);
}

void Writer::do_task(Task& task) {
  Result<void> outcome;
  if (broken_) outcome = recover();
  if (outcome) outcome = task.work();
  task.done(std::move(outcome));
  keep_log_short();
}

// Commits and answers the first records of the batch.
void Writer::write_group(std::deque<Pending>& batch) {
  Group group;
  Result<void> outcome;
  if (broken_) outcome = recover();
  if (outcome) {
    outcome = commit(batch, group);
  } else {
    while (group.has_room_for_more_of(batch)) group.add(batch);
  }
  if (outcome) {
    const Entry& last = *batch[group.rows - 1].entry;
    last_stored_ = last.retry && last.retry->earlier ? last.retry->earlier->id : last.record.id;
  } else {
    // Whether a file is damaged is for the operator; the caller can but try again.
    outcome = Error{ErrorCode::unavailable, std::move(outcome).error().message};
  }
  tell_operator(outcome);
  {
    const std::lock_guard lock(mutex_);
    waiting_rows_ -= group.rows;
    waiting_bytes_ -= group.bytes;
    (outcome ? counted_.durable : counted_.failed) += static_cast<std::int64_t>(group.rows);
    batch_queued_.reset();
    if (group.rows < batch.size()) batch_queued_ = batch[group.rows].queued;
  }
  for (std::size_t i = 0; i < group.rows; ++i) {
    const Store::Completion done = std::move(batch.front().done);
    batch.pop_front();  // first, so that whoever is told has the entry for itself
    if (done) done(outcome);
  }
}

// Commits the batch's first records; those that queue while these are inserted join them.
Result<void> Writer::commit(std::deque<Pending>& batch, Group& group) {
  int status = SQLITE_OK;
  Result<void> committed = in_transaction([&](ChainPoint& head) {
    while (group.has_room_for_more_of(batch)) {
      const Pending& pending = batch[group.rows];
      group.add(batch);
      if (status == SQLITE_OK) status = insert(pending, head);
      if (status == SQLITE_OK && group.rows == batch.size()) take_queued(batch);
    }
    return status;
  });
  // A transaction that could not begin took none; what waited is refused together all the same.
  while (!committed && group.has_room_for_more_of(batch)) group.add(batch);
  return committed;
}

Result<void> Writer::in_transaction(const std::function<int(ChainPoint& head)>& steps) {
  const std::lock_guard lock(connection_->mutex());
  ChainPoint head = head_;
  int status = begin_.run();
  if (status == SQLITE_OK) status = steps(head);
  if (status == SQLITE_OK) {
    const Steady::time_point begin = Steady::now();
    status = commit_.run();
    const std::lock_guard counting(mutex_);
    counted_.commits.add(Steady::now() - begin);
  }
  if (status == SQLITE_OK) {
    head_ = head;
    count_unsettled();
    return {};
  }
  return abandon_commit(status);
}

void Writer::take_queued(std::deque<Pending>& batch) {
  const std::lock_guard lock(mutex_);
  std::ranges::move(queue_, std::back_inserter(batch));
  queue_.clear();
}

int Writer::find_earlier(Retry& retry) {
  find_earlier_.bind(1, retry.key);
  int found = find_earlier_.step();
  if (found == SQLITE_ROW) {
    Result<Record> earlier = read_record(find_earlier_);
    retry.earlier_place = find_earlier_.integer(kRecordColumnCount);
    // A record that is damaged answers nobody; a new one takes its place.
    if (earlier) {
      retry.earlier = *std::move(earlier);
    } else {
      found = SQLITE_DONE;
    }
  }
  find_earlier_.reset();
  return found;
}

int Writer::insert(const Pending& pending, ChainPoint& head) {
  Retry* const retry = pending.entry->retry.get();
  if (retry != nullptr) {
    const int found = find_earlier(*retry);
    if (found != SQLITE_DONE) return found == SQLITE_ROW ? SQLITE_OK : found;
  }
  // Ids come in order but for repeats and imports, so hardly any must be looked for.
  const Record& record = pending.entry->record;
  std::int64_t astray = strayed(record);
  if (record.id > greatest_id_) {
    greatest_id_ = record.id;
  } else {
    find_.bind(1, record.id.bytes);
    const int found = find_.step();
    find_.reset();
    if (found != SQLITE_DONE) return found == SQLITE_ROW ? SQLITE_OK : found;
    astray += kBehindItsTurn;
  }
  const ChainPoint place = next_point(head, Kind::record, pending.digest);
  const PackedInput input(record.input);
  bind_record(insert_, record, input, astray, checksum(pending.digest), place.link);
  if (pending.keeps_upload) {
    bind_upload(insert_, pending.entry->upload, pending.upload_checksum);
  } else {
    bind_no_upload(insert_);
  }
  insert_.bind(kRecordColumnCount + kUploadColumnCount + 1, place.seq);
  int status = insert_.run();
  if (status == SQLITE_OK && retry != nullptr) {
    insert_retry_.bind(1, place.seq);
    insert_retry_.bind(2, retry->key);
    status = insert_retry_.run();
  }
  if (status == SQLITE_OK) head = place;
  return status;
}

Error Writer::abandon_commit(int status) {
  Error error = connection_->error("write to");
  // Many failures have ended the transaction already.
  if (sqlite3_get_autocommit(connection_->get()) == 0) rollback_.run();
  switch (status & 0xff) {
    case SQLITE_FULL:  // the next group may be smaller, or come when there is room again
    case SQLITE_BUSY:
    case SQLITE_NOMEM:
    case SQLITE_TOOBIG:
    case SQLITE_CONSTRAINT:
      break;
    default:
      broken_ = true;
  }
  return error;
}

// Once when commits begin to fail and once when they succeed again; there may be thousands a second.
void Writer::tell_operator(const Result<void>& outcome) {
  if (failing_ == !outcome) return;
  failing_ = !outcome;
  if (failing_) {
    log::error(outcome.error().message);
  } else {
    log::warning(format("store {} keeps records again", path_));
  }
}

// What a failed write or fsync has left on the disk nobody knows, so nothing is acknowledged until the file
// has been opened anew, which redoes the log, and holds what was acknowledged before. That may take a while,
// and a disk may stay dead: so only half of the time goes into it, and whoever comes in the other half is
// refused at once.
Result<void> Writer::recover() {
  const Steady::time_point begin = Steady::now();
  if (begin < recovery_due_) return not_recovered_;
  Result<void> recovered = open_anew();
  const Steady::time_point end = Steady::now();
  if (!recovered) {
    not_recovered_ = recovered;
    recovery_due_ = end + (end - begin);
  }
  return recovered;
}

Result<void> Writer::open_anew() {
  for (Statement* statement : {&begin_, &find_, &insert_, &commit_, &rollback_, &find_correction_,
                               &insert_correction_, &find_earlier_, &insert_retry_, &insert_erasure_}) {
    *statement = Statement();
  }
  remover_.reset();
  log_.reset();
  if (connection_) leave_log(*connection_);
  connection_.reset();
  Result<std::unique_ptr<Connection>> opened = open_for_writing(path_);
  if (!opened) return std::move(opened).error();
  if (last_stored_) {
    Result<Statement> find = Statement::prepare(**opened, kFindRecord);
    if (!find) return std::move(find).error();
    find->bind(1, last_stored_->bytes);
    if (find->step() != SQLITE_ROW) {
      return Error{ErrorCode::unavailable, format("store {} has lost record {}, which was acknowledged",
                                                  path_, to_string(*last_stored_))};
    }
  }
  connection_ = *std::move(opened);
  Result<void> prepared = prepare_statements();
  if (!prepared) return prepared;
  broken_ = false;
  return {};
}

void Writer::keep_log_short() {
  if (!broken_) break_unless(log_->keep_short());
}

void Writer::break_unless(const Result<void>& fine) {
  if (fine) return;
  log::error(fine.error().message);
  broken_ = true;
}

void Writer::correct(Correction correction, Store::Completion done) {
  if (Result<void> right = check(correction); !right) return done(std::move(right));
  perform({[this, correction = std::move(correction)] { return append_correction(correction); },
           std::move(done)});
}

Result<void> Writer::correct(const Correction& correction) {
  if (Result<void> right = check(correction); !right) return right;
  return perform([&] { return append_correction(correction); });
}

Result<void> Writer::append_correction(const Correction& correction) {
  bool has_record = true;
  Result<void> committed = in_transaction([&](ChainPoint& head) {
    find_.bind(1, correction.record.bytes);
    int status = find_.step();
    find_.reset();
    has_record = status == SQLITE_ROW;
    if (!has_record) return status == SQLITE_DONE ? SQLITE_OK : status;
    find_correction_.bind(1, correction.record.bytes);
    find_correction_.bind(2, correction.id.bytes);
    status = find_correction_.step();
    find_correction_.reset();
    if (status == SQLITE_ROW) return SQLITE_OK;
    const Sha256 digested = digest(correction);
    const ChainPoint place = next_point(head, Kind::correction, digested);
    bind_correction(insert_correction_, correction, checksum(digested), place.link);
    insert_correction_.bind(kCorrectionColumnCount + 1, place.seq);
    status = insert_correction_.run();
    if (status == SQLITE_OK) head = place;
    return status;
  });
  if (!committed) return Error{ErrorCode::unavailable, std::move(committed).error().message};
  if (!has_record) {
    return Error{ErrorCode::not_found, format("there is no record {}", to_string(correction.record))};
  }
  return {};
}

Result<Erased> Writer::erase(const Choice& choice, const std::string& reason) {
  const int choices = (choice.id ? 1 : 0) + (choice.file_name ? 1 : 0) + (choice.subject ? 1 : 0);
  if (choices != 1 || (choice.subject && choice.subject->empty())) {
    return Error{ErrorCode::invalid_input,
                 "one thing must choose what is erased: an id, a file name or a subject that is not empty"};
  }
  Erased erased;
  std::int64_t before = 0;
  do {
    before = erased.records;
    const Result<void> done = perform([&] { return erase_some(choice, reason, erased); });
    if (!done) return done.error();
  } while (erased.records - before == kErasedAtOnce);
  if (erased.records == 0) return Error{ErrorCode::not_found, "there is no such record"};
  const Steady::time_point patience = Steady::now() + kPatienceForEmptyLog;
  do {
    const Result<void> done = perform([&]() -> Result<void> {
      const Result<bool> emptied = log_->empty_of_erased();
      if (!emptied) {
        break_unless(emptied.error());
        return emptied.error();
      }
      erased.log_is_empty = *emptied;
      return {};
    });
    if (!done) break;  // they are erased all the same
    if (!erased.log_is_empty) std::this_thread::sleep_for(kBetweenEmptyings);
  } while (!erased.log_is_empty && Steady::now() < patience);
  return erased;
}

Result<void> Writer::erase_some(const Choice& choice, const std::string& reason, Erased& erased) {
  Remover::Step step;
  Result<void> committed = in_transaction([&](ChainPoint& head) {
    int status = remover_->begin();
    if (status == SQLITE_OK) status = remover_->remove_chosen(*connection_, choice, kErasedAtOnce, step);
    if (status == SQLITE_OK && step.records > 0) {
      const Erasure entry{.time = options_.clock(),
                          .chosen_by = choice.id          ? "id"
                                       : choice.file_name ? "file_name"
                                                          : "subject",
                          .records = step.records,
                          .corrections = step.corrections,
                          .reason = reason};
      const ChainPoint place = next_point(head, Kind::erasure, digest(entry));
      bind_erasure(insert_erasure_, entry, place.link);
      insert_erasure_.bind(kErasureColumnCount + 1, place.seq);
      status = insert_erasure_.run();
      if (status == SQLITE_OK) head = place;
    }
    if (status == SQLITE_OK) status = remover_->end({}, step);
    return status;
  });
  if (!committed) return committed;
  if (step.records > 0) log_->has_erased();
  erased.records += step.records;
  erased.withdrawals += step.withdrawals;
  erased.corrections += step.corrections;
  // It was the proof of what recover() finds; that it is gone is no loss.
  last_stored_.reset();
  return {};
}

Result<void> Writer::write_out(const std::string& sql, const std::function<void(Statement&)>& bind) {
  return in_transaction([&](ChainPoint&) {
    Result<Statement> statement = Statement::prepare(*connection_, sql);
    if (!statement) return sqlite3_errcode(connection_->get());
    bind(*statement);
    return statement->run();
  });
}

// Only the outboxes that are open count: whoever runs without a destination again wants no more of it.
void Writer::count_unsettled() {
  if (settled_.empty()) return;
  std::int64_t least = std::numeric_limits<std::int64_t>::max();
  for (const auto& [destination, place] : settled_) least = std::min(least, place);
  remover_->keep_behind(least);
  const std::lock_guard lock(mutex_);
  unsettled_ = head_.seq - least;
}

Result<void> Writer::open_outbox(const std::string& destination, std::int64_t max_pending) {
  return perform([&]() -> Result<void> {
    Result<void> made = write_out("INSERT OR IGNORE INTO destination VALUES (?1, 0)",
                                  [&](Statement& insert) { insert.bind(1, std::string_view(destination)); });
    if (!made) return made;
    {
      const std::lock_guard lock(connection_->mutex());
      Result<Statement> select =
          Statement::prepare(*connection_, "SELECT settled_seq FROM destination WHERE destination = ?1");
      if (!select) return std::move(select).error();
      select->bind(1, std::string_view(destination));
      if (select->step() != SQLITE_ROW) return connection_->error("read");
      settled_[destination] = select->integer(0);
    }
    {
      const std::lock_guard lock(mutex_);
      max_unsettled_ = std::min(max_unsettled_, max_pending);
    }
    count_unsettled();
    return {};
  });
}

Result<void> Writer::keep_settled(const std::string& destination, std::int64_t place) {
  return perform([&]() -> Result<void> {
    Result<void> kept =
        write_out("UPDATE destination SET settled_seq = ?2 WHERE destination = ?1", [&](Statement& update) {
          update.bind(1, std::string_view(destination));
          update.bind(2, place);
        });
    if (!kept) return kept;
    settled_[destination] = place;
    count_unsettled();
    return {};
  });
}

Result<void> Writer::keep_dead_letter(const std::string& destination, std::int64_t place,
                                      const std::string& why) {
  return perform([&] {
    return write_out("INSERT OR IGNORE INTO dead_letter VALUES (?1, ?2, ?3, ?4)", [&](Statement& insert) {
      insert.bind(1, std::string_view(destination));
      insert.bind(2, place);
      insert.bind(3, std::int64_t{options_.clock().time_since_epoch().count()});
      insert.bind(4, std::string_view(why));
    });
  });
}

Result<void> Writer::keep_comparison(const std::string& destination, const Comparison& comparison) {
  const std::string key = comparison_key(destination);
  const std::string value =
      format("{} {} {}", comparison.time.time_since_epoch().count(), comparison.entries, comparison.missing);
  return perform([&] {
    return write_out("INSERT OR REPLACE INTO meta VALUES (?1, ?2)", [&](Statement& insert) {
      insert.bind(1, std::string_view(key));
      insert.bind(2, std::string_view(value));
    });
  });
}

Result<void> Writer::keep_withdrawn(const std::string& destination, std::span<const Uuid> ids) {
  return perform([&]() -> Result<void> {
    log_->has_erased();
    return in_transaction([&](ChainPoint&) {
      Result<Statement> remove = Statement::prepare(
          *connection_, "DELETE FROM withdrawal WHERE destination = ?1 AND record_id = ?2");
      if (!remove) return sqlite3_errcode(connection_->get());
      int status = SQLITE_OK;
      for (const Uuid& id : ids) {
        remove->bind(1, std::string_view(destination));
        remove->bind(2, id.bytes);
        if (status == SQLITE_OK) status = remove->run();
      }
      return status;
    });
  });
}

void Writer::retain_when_due() {
  if (retention_.is_on() && !broken_ && Steady::now() >= retention_.next_under_load()) retain();
}

void Writer::retain() {
  const Result<Retention::Step> step =
      retention_.step(*connection_, *remover_, [this](const auto& steps) { return in_transaction(steps); });
  if (!step) return log::error(step.error().message);
  if (!step->did_something) return;
  // It may have been the proof of what recover() finds; that it has expired is no loss.
  if (step->records > 0) last_stored_.reset();
  {
    const std::lock_guard counting(mutex_);
    counted_.retentions.add(step->spent);
  }
  keep_log_short();
}

WriterStatus Writer::status() {
  const std::lock_guard lock(mutex_);
  WriterStatus status = counted_;
  status.waiting = static_cast<std::int64_t>(waiting_rows_);
  if (batch_queued_) {
    status.oldest_waiting = Steady::now() - *batch_queued_;
  } else if (!queue_.empty()) {
    status.oldest_waiting = Steady::now() - queue_.front().queued;
  }
  return status;
}

}  // namespace espy::store
