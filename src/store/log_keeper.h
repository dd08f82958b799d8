// Keeps the write-ahead log short. Most of it is copied into the database beside the commits, on a thread and
// a connection of its own; the end of it, by the writer's thread between two commits, behind which the log
// begins anew. docs/adr/0005-sqlite-with-one-writer.md says why two connections may do that.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "base/result.h"
#include "store/sqlite.h"

namespace espy::store {

// Frames of the write-ahead log (pages of 8 KiB, so 32 MiB in all) before it begins anew. A long log slows
// the next start, and with a short one the same pages are copied more often.
inline constexpr int kCheckpointFrames = 4000;

// Threads: all of it is the writer's thread's, between two transactions.
class LogKeeper {
 public:
  using Steady = std::chrono::steady_clock;
  // How long commits were held up.
  using OnCheckpoint = std::function<void(Steady::duration)>;

  // Of a connection that open_for_writing() returned, or of one to a database in memory, which has no log. It
  // must outlive the keeper. Errors: unavailable.
  static Result<std::unique_ptr<LogKeeper>> start(Connection& connection, int checkpoint_frames,
                                                  OnCheckpoint on_checkpoint);

  LogKeeper(const LogKeeper&) = delete;
  LogKeeper& operator=(const LogKeeper&) = delete;
  ~LogKeeper();  // stops

  // Waits for the copy that runs, and lets none begin any more. Before the connection is closed: with an
  // error, it has to leave_log(). Errors: as of keep_short().
  Result<void> stop();

  // Does what is due. To be called after each commit.
  // Errors: unavailable: a write or a sync failed, and what the disk holds is in doubt until the store is
  // opened anew. A full disk is none: it is logged, and tried again later.
  Result<void> keep_short();

  // When to call keep_short_when_idle() next, for a writer without work since `idle_since`; never: max().
  Steady::time_point next_when_idle(Steady::time_point idle_since) const;
  // Errors: as of keep_short().
  Result<void> keep_short_when_idle();

  // Says that what the next or the last commit erases can still be read from the log.
  void has_erased() { holds_erased_ = true; }
  // Empties the log if it holds what was erased, and returns whether nothing of that is left in it: readers
  // may stand in the way. Errors: as of keep_short().
  Result<bool> empty_of_erased();

 private:
  enum class Copying { no, asked, running };

  LogKeeper(Connection& connection, int checkpoint_frames, OnCheckpoint on_checkpoint);

  Result<void> start_copier();
  void run_copier();
  // On the copier's thread. Sets how many frames of the log are in the database.
  Result<void> copy(int& copied);
  void ask_for_copy();
  void wait_for_copy();
  // Returns the failure that the copier met since it was last asked for.
  Result<void> take_failure();
  Result<void> checkpoint(int mode);

  Connection& connection_;
  const int checkpoint_frames_;
  const OnCheckpoint on_checkpoint_;

  int frames_ = 0;           // in the log
  int asked_at_ = 0;         // its frames when a copy was last asked for
  int checkpointed_at_ = 0;  // its frames when the last checkpoint was tried
  bool holds_erased_ = false;
  Steady::time_point checkpoint_tried_{};

  std::unique_ptr<Connection> copier_;  // its thread's
  std::mutex mutex_;
  std::condition_variable changed_;
  Copying copying_ = Copying::no;
  bool closing_ = false;
  int copied_ = 0;      // frames of the log that are in the database
  int beginnings_ = 0;  // how often the log has begun anew
  Result<void> failure_;
  std::thread thread_;
};

}  // namespace espy::store
