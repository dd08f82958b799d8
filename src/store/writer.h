// The one thread that writes: group commit without a timer. It takes whatever has queued, and what queues
// while it inserts that, commits it as one transaction, and answers; what queues during the commit shares the
// next.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "store/chain.h"
#include "store/erase.h"
#include "store/log_keeper.h"
#include "store/retention.h"
#include "store/sqlite.h"
#include "store/store.h"

namespace espy::store {

// Cassandra keeps labels in 16 bits.
inline constexpr int kMaxLabel = 32'767;

// Returns whether a correction may be kept, whichever way it came in: its label, and texts that are UTF-8 and
// not too long. Errors: invalid_input.
Result<void> check(const Correction& correction);

class Writer {
 public:
  // Takes over a connection that is open for writing; its path is ":memory:" or the store's file.
  static Result<std::unique_ptr<Writer>> start(
      std::shared_ptr<Connection> connection, const StoreOptions& options,
      int checkpoint_frames = kCheckpointFrames,
      std::chrono::milliseconds retention_interval = kRetentionInterval);

  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  ~Writer();  // finishes

  // Refuses what comes after the call, and returns when what came before is committed and answered. The
  // connection stays open.
  void finish();

  // As in Store. Threads: any.
  void append(std::shared_ptr<const Entry> entry, Store::Completion done);
  void append_together(std::vector<std::shared_ptr<const Entry>> entries, Store::Completion done);
  void correct(Correction correction, Store::Completion done);
  Result<void> correct(const Correction& correction);  // waits
  Result<Erased> erase(const Choice& choice, const std::string& reason);
  WriterStatus status();

  // As Store::open_outbox and Outbox; not on the writer's thread.
  Result<void> open_outbox(const std::string& destination, std::int64_t max_pending);
  Result<void> keep_settled(const std::string& destination, std::int64_t place);
  Result<void> keep_dead_letter(const std::string& destination, std::int64_t place, const std::string& why);
  Result<void> keep_comparison(const std::string& destination, const Comparison& comparison);
  Result<void> keep_withdrawn(const std::string& destination, std::span<const Uuid> ids);

 private:
  using Steady = std::chrono::steady_clock;

  struct Pending {
    std::shared_ptr<const Entry> entry;
    Store::Completion done;  // of several that belong together, the last one's alone is set
    Steady::time_point queued{};
    bool keeps_upload = false;
    Sha256 digest{};
    std::int64_t upload_checksum = 0;
    std::size_t bytes = 0;
    bool goes_on = false;  // the next one belongs to the same commit
  };

  struct Group;  // how many records of a batch one commit takes

  // Anything else that is to be done on the writer's thread, between two commits.
  struct Task {
    std::function<Result<void>()> work;
    Store::Completion done;
    std::int64_t follows = 0;  // so many records were accepted before it
  };

  Writer(std::shared_ptr<Connection> connection, const StoreOptions& options, int checkpoint_frames,
         std::chrono::milliseconds retention_interval);

  // Queues the task, or answers that the store is being closed. Threads: any.
  void perform(Task task);
  // As above, and waits. Not on the writer's thread.
  Result<void> perform(std::function<Result<void>()> work);

  // Computes what does not need the writer's thread.
  Pending make_pending(std::shared_ptr<const Entry> entry) const;
  // Counts and queues the records, or returns why they are refused.
  Result<void> enqueue(std::span<Pending> pendings);

  // The rest runs on the writer's thread (the first one, before there is one).
  Result<void> prepare_statements();
  void run();
  bool wait_for_work(std::deque<Pending>& batch);
  // Does the tasks whose records before them are all answered.
  void do_due_tasks();
  void do_task(Task& task);
  void write_group(std::deque<Pending>& batch);
  Result<void> commit(std::deque<Pending>& batch, Group& group);
  // Commits what `steps` writes behind `head`, which they move on; they return SQLITE_OK or the failure.
  Result<void> in_transaction(const std::function<int(ChainPoint& head)>& steps);
  void take_queued(std::deque<Pending>& batch);
  // Writes the record behind `head` and moves it on; an id that is there already changes nothing.
  int insert(const Pending& pending, ChainPoint& head);
  // Returns SQLITE_ROW where the history has the key, SQLITE_DONE where not, or the failure.
  int find_earlier(Retry& retry);
  Error abandon_commit(int status);
  void tell_operator(const Result<void>& outcome);
  // Opens the file anew; behind a failure not at once again, but returns that failure.
  Result<void> recover();
  Result<void> open_anew();
  void keep_log_short();
  // Stops acknowledging until recover() has succeeded, if there was a failure.
  void break_unless(const Result<void>& fine);
  Result<void> append_correction(const Correction& correction);
  // Runs one statement as a transaction of its own.
  Result<void> write_out(const std::string& sql, const std::function<void(Statement&)>& bind);
  void count_unsettled();
  // Erases up to kErasedAtOnce records and adds them to `erased`; fewer: there are no more.
  Result<void> erase_some(const Choice& choice, const std::string& reason, Erased& erased);
  void retain_when_due();
  void retain();

  const StoreOptions options_;
  const std::string path_;
  const int checkpoint_frames_;

  std::mutex mutex_;  // guards the queue
  std::condition_variable wake_;
  std::deque<Pending> queue_;
  // Since when the first record waits of those that are taken out of the queue and have no commit yet.
  std::optional<std::chrono::steady_clock::time_point> batch_queued_;
  std::size_t waiting_rows_ = 0;  // queued, or in the group that is being committed
  std::size_t waiting_bytes_ = 0;
  bool closing_ = false;
  std::deque<Task> tasks_;
  WriterStatus counted_;        // but for what is computed when it is asked for
  std::int64_t unsettled_ = 0;  // places behind the least that any outbox has settled
  std::int64_t max_unsettled_ = std::numeric_limits<std::int64_t>::max();

  // The writer's thread's own.
  std::shared_ptr<Connection> connection_;  // outlives its statements
  Statement begin_;
  Statement find_;
  Statement insert_;
  Statement commit_;
  Statement rollback_;
  Statement find_correction_;
  Statement insert_correction_;
  Statement find_earlier_;
  Statement insert_retry_;
  Statement insert_erasure_;
  std::optional<Remover> remover_;
  std::unique_ptr<LogKeeper> log_;
  bool broken_ = false;         // a write failed in a way that leaves in doubt what the disk holds
  bool failing_ = false;        // the last group was refused
  Result<void> not_recovered_;  // why, until it is tried again
  Steady::time_point recovery_due_{};
  std::optional<Uuid> last_stored_;
  Uuid greatest_id_;                             // no record has a greater one
  ChainPoint head_;                              // of what is committed
  std::map<std::string, std::int64_t> settled_;  // of each outbox that was opened
  Retention retention_;

  std::thread thread_;
};

}  // namespace espy::store
