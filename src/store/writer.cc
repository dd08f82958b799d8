#include "store/writer.h"

#include <algorithm>
#include <cassert>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <iterator>
#include <string_view>
#include <utility>

#include "base/format.h"
#include "base/log.h"
#include "store/row.h"
#include "store/schema.h"

namespace espy::store {
namespace {

// Bounds of one commit: enough rows that the fsync is a small part of its time, few enough that nobody waits
// long for the others' rows.
constexpr std::size_t kGroupRows = 1024;
constexpr std::size_t kGroupBytes = std::size_t{8} << 20;

// The log is emptied, not only copied, when it exceeds so many checkpoints' worth (64 MiB): readers have kept
// it from beginning anew.
constexpr int kTruncateCheckpoints = 2;
constexpr int kTruncatePatienceMilliseconds = 20;
constexpr std::chrono::seconds kIdleBeforeCheckpoint{1};

constexpr std::string_view kFindRecord = "SELECT 1 FROM record INDEXED BY record_page WHERE id = ?1";

}  // namespace

struct Writer::Group {
  std::size_t rows = 0;
  std::size_t bytes = 0;

  bool has_room_for_more_of(const std::deque<Pending>& batch) const {
    return rows < batch.size() && rows < kGroupRows &&
           (rows == 0 || bytes + batch[rows].bytes <= kGroupBytes);
  }
  void add(const std::deque<Pending>& batch) { bytes += batch[rows++].bytes; }
};

Result<std::unique_ptr<Writer>> Writer::start(std::shared_ptr<Connection> connection,
                                              const StoreOptions& options, int checkpoint_frames) {
  std::unique_ptr<Writer> writer(new Writer(std::move(connection), options, checkpoint_frames));
  const Result<void> prepared = writer->prepare_statements();
  if (!prepared) return prepared.error();
  writer->thread_ = std::thread([self = writer.get()] { self->run(); });
  return writer;
}

Writer::Writer(std::shared_ptr<Connection> connection, const StoreOptions& options, int checkpoint_frames)
    : options_(options),
      path_(connection->path()),
      checkpoint_frames_(checkpoint_frames),
      connection_(std::move(connection)) {}

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

  log_frames_ = 0;
  checkpointed_at_ = 0;
  sqlite3_wal_hook(
      connection_->get(),
      [](void* writer, sqlite3*, const char*, int frames) {
        auto& self = *static_cast<Writer*>(writer);
        if (frames < self.log_frames_) self.checkpointed_at_ = 0;  // the log has begun anew
        self.log_frames_ = frames;
        return SQLITE_OK;
      },
      this);
  return {};
}

void Writer::append(std::shared_ptr<const Entry> entry, Store::Completion done) {
  assert(entry && done);
  const Record& record = entry->record;
  const Upload& upload = entry->upload;
  Pending pending{.entry = entry, .done = std::move(done)};
  // Here, on the caller's thread: there are many of those and one writer.
  pending.digest = digest(record);
  pending.keeps_upload = options_.keeps_upload(upload.bytes.size());
  if (pending.keeps_upload) pending.upload_checksum = checksum(record.upload_digest, upload.media_type);
  pending.bytes = sizeof(Pending) + sizeof(Entry) + record.model.size() + record.model_version.size() +
                  record.file_name.size() + record.subject.size() + record.class_name.size() +
                  upload.media_type.size() + upload.bytes.size();
  Result<void> accepted = enqueue(pending);
  if (accepted) {
    wake_.notify_one();
  } else {
    pending.done(std::move(accepted));
  }
}

Result<void> Writer::enqueue(Pending& pending) {
  // SQLite keeps a NaN as NULL, which the table refuses, and with it the whole group.
  const Record& record = pending.entry->record;
  if (!std::isfinite(record.confidence)) {
    return Error{ErrorCode::invalid_input, format("the confidence of record {} is {}, must be a number",
                                                  to_string(record.id), record.confidence)};
  }
  const std::lock_guard lock(mutex_);
  if (closing_) {
    return Error{ErrorCode::unavailable, format("store {} is being closed", path_)};
  }
  if (waiting_rows_ >= options_.max_pending_records) {
    return Error{ErrorCode::unavailable, format("{} records wait for the disk, limit is {}", waiting_rows_,
                                                options_.max_pending_records)};
  }
  if (waiting_bytes_ + pending.bytes > options_.max_pending_bytes) {
    return Error{ErrorCode::unavailable, format("{} bytes wait for the disk and {} more came, limit is {}",
                                                waiting_bytes_, pending.bytes, options_.max_pending_bytes)};
  }
  ++waiting_rows_;
  waiting_bytes_ += pending.bytes;
  queue_.push_back(std::move(pending));
  return {};
}

void Writer::run() {
  std::deque<Pending> batch;
  while (wait_for_work(batch)) {
    while (!batch.empty()) {
      write_group(batch);
      checkpoint_when_due();
    }
  }
}

// Returns false when the store is closed and nothing is left to do.
bool Writer::wait_for_work(std::deque<Pending>& batch) {
  const auto has_work = [&] { return !queue_.empty() || closing_; };
  std::unique_lock lock(mutex_);
  if (log_frames_ > checkpointed_at_ && !wake_.wait_for(lock, kIdleBeforeCheckpoint, has_work)) {
    lock.unlock();
    checkpoint(SQLITE_CHECKPOINT_PASSIVE);
    lock.lock();
  }
  wake_.wait(lock, has_work);
  batch.swap(queue_);
  return !batch.empty();
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
    last_stored_ = batch[group.rows - 1].entry->record.id;
  } else {
    // Whether a file is damaged is for the operator; the caller can but try again.
    outcome = Error{ErrorCode::unavailable, std::move(outcome).error().message};
  }
  tell_operator(outcome);
  {
    const std::lock_guard lock(mutex_);
    waiting_rows_ -= group.rows;
    waiting_bytes_ -= group.bytes;
  }
  for (std::size_t i = 0; i < group.rows; ++i) {
    const Store::Completion done = std::move(batch.front().done);
    batch.pop_front();  // first, so that whoever is told has the entry for itself
    done(outcome);
  }
}

// Commits the batch's first records; those that queue while these are inserted join them.
Result<void> Writer::commit(std::deque<Pending>& batch, Group& group) {
  const std::lock_guard lock(connection_->mutex());
  ChainPoint head = head_;
  int status = begin_.run();
  while (group.has_room_for_more_of(batch)) {
    const Pending& pending = batch[group.rows];
    group.add(batch);
    if (status == SQLITE_OK) status = insert(pending, head);
    if (status == SQLITE_OK && group.rows == batch.size()) take_queued(batch);
  }
  if (status == SQLITE_OK) status = commit_.run();
  if (status == SQLITE_OK) {
    head_ = head;
    return {};
  }
  return abandon_commit(status);
}

void Writer::take_queued(std::deque<Pending>& batch) {
  const std::lock_guard lock(mutex_);
  std::ranges::move(queue_, std::back_inserter(batch));
  queue_.clear();
}

int Writer::insert(const Pending& pending, ChainPoint& head) {
  // Ids come in order but for repeats and imports, so hardly any must be looked for.
  const Record& record = pending.entry->record;
  if (record.id > greatest_id_) {
    greatest_id_ = record.id;
  } else {
    find_.bind(1, record.id.bytes);
    const int found = find_.step();
    find_.reset();
    if (found != SQLITE_DONE) return found == SQLITE_ROW ? SQLITE_OK : found;
  }
  const ChainPoint place = next_point(head, Kind::record, pending.digest);
  bind_record(insert_, record, checksum(pending.digest), place.link);
  if (pending.keeps_upload) {
    bind_upload(insert_, pending.entry->upload, pending.upload_checksum);
  } else {
    bind_no_upload(insert_);
  }
  insert_.bind(kRecordColumnCount + kUploadColumnCount + 1, place.seq);
  const int status = insert_.run();
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
// has been opened anew, which moves the whole log into the database, and holds what was acknowledged before.
Result<void> Writer::recover() {
  for (Statement* statement : {&begin_, &find_, &insert_, &commit_, &rollback_}) {
    *statement = Statement();
  }
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

void Writer::checkpoint_when_due() {
  if (log_frames_ - checkpointed_at_ < checkpoint_frames_) return;
  checkpoint(log_frames_ > kTruncateCheckpoints * checkpoint_frames_ ? SQLITE_CHECKPOINT_TRUNCATE
                                                                     : SQLITE_CHECKPOINT_PASSIVE);
}

void Writer::checkpoint(int mode) {
  if (broken_) return;
  const std::lock_guard lock(connection_->mutex());
  // Only TRUNCATE waits for readers; appends wait behind it, so it gives up soon and comes again.
  sqlite3_busy_timeout(connection_->get(), kTruncatePatienceMilliseconds);
  const int status = sqlite3_wal_checkpoint_v2(connection_->get(), nullptr, mode, nullptr, nullptr);
  sqlite3_busy_timeout(connection_->get(), kBusyMilliseconds);
  if (status == SQLITE_OK && mode == SQLITE_CHECKPOINT_TRUNCATE) log_frames_ = 0;
  checkpointed_at_ = log_frames_;
  if (status == SQLITE_OK || (status & 0xff) == SQLITE_BUSY) return;
  // The log still holds everything. A full disk may get room again; of anything else, recover().
  log::error(connection_->error("checkpoint").message);
  broken_ = (status & 0xff) != SQLITE_FULL;
}

}  // namespace espy::store
