#include "store/log_keeper.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/log.h"

namespace espy::store {
namespace {

// Copies for each beginning of the log. The last part, which the writer copies, is about as long as one. At
// half load of 64 clients 99 % of appends took 2.4 to 2.8 ms with 16 copies, 3.0 to 3.4 with 8, 4.2 to 4.9
// with 4, and 15 to 17.5 with none; 5.3 to 6.8 with 16 that the copier did not sync (AMD EPYC, three runs in
// turns).
constexpr int kCopies = 16;

// A log that exceeds so many of its lengths (64 MiB) was kept from beginning anew by readers, or by copies
// that never end; then the writer waits for them, for readers a little.
constexpr int kPatientLengths = 2;
constexpr std::chrono::seconds kIdleBeforeCheckpoint{1};

bool is(int status, int kind) { return (status & 0xff) == kind; }

// Readers may stand in the way, and a full disk may get room again; behind any other failure the disk is in
// doubt.
Result<void> outcome_of(const Connection& connection, int status) {
  if (status == SQLITE_OK || is(status, SQLITE_BUSY)) return {};
  const Error error = connection.error("checkpoint", status);
  if (!is(status, SQLITE_FULL)) return error;
  log::error(error.message);
  return {};
}

}  // namespace

LogKeeper::LogKeeper(Connection& connection, int checkpoint_frames, OnCheckpoint on_checkpoint)
    : connection_(connection),
      checkpoint_frames_(checkpoint_frames),
      on_checkpoint_(std::move(on_checkpoint)) {}

Result<std::unique_ptr<LogKeeper>> LogKeeper::start(Connection& connection, int checkpoint_frames,
                                                    OnCheckpoint on_checkpoint) {
  std::unique_ptr<LogKeeper> keeper(new LogKeeper(connection, checkpoint_frames, std::move(on_checkpoint)));
  if (!File::log(connection).is_open()) return keeper;
  // A reader has kept redo_log() from emptying it, and who knows what was erased then.
  std::int64_t bytes = 0;
  if (const int status = File::log(connection).size(bytes); status != SQLITE_OK) {
    return connection.error("read", status);
  }
  keeper->holds_erased_ = bytes > 0;
  if (Result<void> started = keeper->start_copier(); !started) return std::move(started).error();
  sqlite3_wal_hook(
      connection.get(),
      [](void* self, sqlite3*, const char*, int frames) {
        auto& log = *static_cast<LogKeeper*>(self);
        if (frames < log.frames_) {  // it has begun anew
          log.asked_at_ = 0;
          log.checkpointed_at_ = 0;
          const std::lock_guard lock(log.mutex_);
          log.copied_ = 0;
          ++log.beginnings_;
        }
        log.frames_ = frames;
        return SQLITE_OK;
      },
      keeper.get());
  return keeper;
}

LogKeeper::~LogKeeper() {
  sqlite3_wal_hook(connection_.get(), nullptr, nullptr);
  if (Result<void> stopped = stop(); !stopped) log::error(stopped.error().message);
}

Result<void> LogKeeper::stop() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
  return take_failure();
}

Result<void> LogKeeper::start_copier() {
  auto opened = Connection::open(connection_.path(), SQLITE_OPEN_READWRITE);
  if (!opened) return std::move(opened).error();
  copier_ = *std::move(opened);
  leave_log(*copier_);
  // Full syncs: a copy that reaches the end of the log lets it begin anew, so it must be on the disk by then.
  const Result<void> set = copier_->execute(
      "PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0; PRAGMA mmap_size=0;"
      "SELECT count(*) FROM sqlite_schema;",  // opens the log
      "set up");
  if (!set) return set;
  thread_ = std::thread([this] { run_copier(); });
  return {};
}

void LogKeeper::run_copier() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return copying_ == Copying::asked || closing_; });
    if (closing_) return;
    copying_ = Copying::running;
    const int beginnings = beginnings_;
    lock.unlock();
    int copied = 0;
    Result<void> outcome = copy(copied);
    lock.lock();
    copying_ = Copying::no;
    if (beginnings == beginnings_) copied_ = std::max(copied_, copied);
    if (!outcome) failure_ = std::move(outcome);
    changed_.notify_all();
  }
}

Result<void> LogKeeper::copy(int& copied) {
  int status = store::checkpoint(*copier_, SQLITE_CHECKPOINT_PASSIVE, copied);
  // SQLite syncs only what reaches the end of the log; of the rest the writer's checkpoint would have to wait
  // for all at once.
  if (status == SQLITE_OK) status = File::database(*copier_).sync();
  return outcome_of(*copier_, status);
}

Result<void> LogKeeper::take_failure() {
  const std::lock_guard lock(mutex_);
  return std::exchange(failure_, {});
}

// SQLite up to 3.51.2 may damage the database when a checkpoint begins while the log begins anew on another
// connection. The log cannot do so as long as some of it is not copied, which stays true until a copy ends;
// so none begins when there is nothing to copy.
void LogKeeper::ask_for_copy() {
  const std::lock_guard lock(mutex_);
  // Behind a failure that nobody has seen yet, another copy could let the log begin anew without what it
  // lost.
  if (copying_ != Copying::no || !failure_ || frames_ <= copied_) return;
  copying_ = Copying::asked;
  asked_at_ = frames_;
  changed_.notify_all();
}

void LogKeeper::wait_for_copy() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return copying_ == Copying::no; });
}

Result<void> LogKeeper::keep_short() {
  if (Result<void> fine = take_failure(); !fine) return fine;
  const int since = frames_ - checkpointed_at_;
  const bool is_overlong = frames_ > kPatientLengths * checkpoint_frames_;
  if (since >= checkpoint_frames_) {
    const auto copies = [&] {
      const std::lock_guard lock(mutex_);
      return copying_ != Copying::no;
    };
    // The copy that runs leaves the less to do.
    if (!is_overlong && copies()) return {};
    return checkpoint(holds_erased_ ? SQLITE_CHECKPOINT_TRUNCATE
                      : is_overlong ? SQLITE_CHECKPOINT_RESTART
                                    : SQLITE_CHECKPOINT_PASSIVE);
  }
  if (frames_ - asked_at_ >= std::max(1, checkpoint_frames_ / kCopies)) ask_for_copy();
  return {};
}

LogKeeper::Steady::time_point LogKeeper::next_when_idle(Steady::time_point idle_since) const {
  if (frames_ <= checkpointed_at_ && !holds_erased_) return Steady::time_point::max();
  return std::max(idle_since, checkpoint_tried_) + kIdleBeforeCheckpoint;
}

Result<void> LogKeeper::keep_short_when_idle() {
  return checkpoint(holds_erased_ ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE);
}

Result<bool> LogKeeper::empty_of_erased() {
  if (holds_erased_) {
    if (Result<void> tried = checkpoint(SQLITE_CHECKPOINT_TRUNCATE); !tried) return std::move(tried).error();
  }
  return !holds_erased_;
}

Result<void> LogKeeper::checkpoint(int mode) {
  const Steady::time_point begin = Steady::now();
  wait_for_copy();
  if (Result<void> fine = take_failure(); !fine) return fine;
  int copied = 0;
  int status = SQLITE_OK;
  {
    const std::lock_guard lock(connection_.mutex());
    status = store::checkpoint(connection_, mode, copied);
  }
  if (status == SQLITE_OK && mode == SQLITE_CHECKPOINT_TRUNCATE) {
    frames_ = 0;
    holds_erased_ = false;
  }
  checkpoint_tried_ = Steady::now();
  on_checkpoint_(checkpoint_tried_ - begin);
  checkpointed_at_ = frames_;
  asked_at_ = frames_;
  if (status == SQLITE_OK || is(status, SQLITE_BUSY)) {
    const std::lock_guard lock(mutex_);
    copied_ = copied;
  }
  return outcome_of(connection_, status);
}

}  // namespace espy::store
