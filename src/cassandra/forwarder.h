// Carries a history's entries to Cassandra, off the way of every request: a record that is on disk gets
// there, however long the cluster is away and however often this process dies.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/result.h"
#include "cassandra/cluster.h"
#include "store/outbox.h"

namespace espy::cassandra {

struct ForwarderOptions {
  // Entries in flight. Measured with one node: 256 reach 8,600 records/s, 1,024 14,200 (ADR 15).
  std::size_t window = 512;
  // Entries a second at most, so that a backlog leaves the cluster room for others; 0: no limit.
  double records_per_second = 5000;
  // Between tries while the cluster takes nothing: doubled from the first to the last, each shortened by up
  // to a half at random, so that several processes do not come back together.
  std::chrono::milliseconds first_pause{100};
  std::chrono::milliseconds last_pause{30'000};
  // Without a call of wake() the history is looked at this often.
  std::chrono::milliseconds idle_pause{200};
  // What a node confirms it may have in memory only: with Cassandra's default, commitlog_sync: periodic, for
  // 10 s, and when its disk lags for half as long again before it takes no more
  // (AbstractCommitLogService.java: "1.5 * sync interval"). So an entry is settled when it was confirmed so
  // long ago, and no node went away since.
  std::chrono::milliseconds settle_after{20'000};
};

struct ForwarderFigures {
  // Everything up to these places (store/outbox.h) is confirmed or a dead letter; settled: for good.
  std::int64_t confirmed_place = 0;
  std::int64_t settled_place = 0;
  // Since the start:
  std::uint64_t confirmed = 0;    // answers that confirm an entry, one that is sent again among them
  std::uint64_t rejected = 0;     // dead letters
  std::uint64_t retries = 0;      // inserts that had to be repeated
  std::uint64_t withdrawn = 0;    // records that were erased there
  std::uint64_t losses = 0;       // times that entries were sent again, because a node had gone away
  std::uint64_t sent_again = 0;   // entries that send_again() named, and that were confirmed again
  std::size_t to_send_again = 0;  // likewise, and not yet
  std::size_t in_flight = 0;
  bool connected = false;  // the last answer was not a failure
  std::string problem;     // the newest failure while not connected
};

// A thread that sends. While the cluster takes nothing, it tries with one entry only, or with prepare() when
// there is none.
// Threads: all functions may be called from any thread at once.
class Forwarder {
 public:
  // Both must outlive the forwarder. Starts at once.
  Forwarder(store::Outbox& outbox, Cluster& cluster, const ForwarderOptions& options = {});

  // Stops; what is in flight is waited for as long as the cluster's request limit. What is not settled is
  // sent again by the next forwarder.
  ~Forwarder();
  Forwarder(const Forwarder&) = delete;
  Forwarder& operator=(const Forwarder&) = delete;

  // There are new entries.
  void wake();

  // Calls `done` once: with success when the record is confirmed, or with `unavailable` when it becomes a
  // dead letter, is not confirmed within `limit`, or the forwarder ends. To be called before the record is
  // appended. `done` is called on the forwarder's thread: be quick.
  void expect(const Uuid& record, std::chrono::milliseconds limit, std::function<void(Result<void>)> done);

  // Sends entries again that were settled, because the cluster has lost them; those that are gone here are
  // left out. From there on they are like new ones, but for the figures of places.
  void send_again(std::span<const std::int64_t> places);

  ForwarderFigures figures();

 private:
  using Time = std::chrono::steady_clock::time_point;

  struct Sent {
    store::Outgoing what;
    bool done = false;
    bool in_flight = false;
    bool withdrawn = false;       // erased since it was read: not to be sent any more
    bool refused_before = false;  // rejected once; the tables were checked since
    std::string refusal = {};     // rejected just now
  };
  using Window = std::map<std::int64_t, Sent>;
  struct Arrived {
    std::int64_t place;
    std::uint64_t generation;
    Receipt receipt;
  };
  struct Expectation {
    std::function<void(Result<void>)> done;
    std::chrono::milliseconds limit;
  };
  // Everything up to the place was confirmed at that time.
  struct Mark {
    Time time;
    std::int64_t place;
  };

  void run();
  bool prepare();
  void go_back();
  bool send();
  bool read_again();
  bool read_more();
  Window::iterator next_to_try();
  void send_one(std::int64_t place, Sent& sent);
  void settle_answers(std::deque<Arrived> arrived);
  bool settle_refusals();
  bool advance();
  bool settle();
  bool withdraw();
  void finish(Sent& sent);
  void tell(const Uuid& record, Result<void> outcome);
  void tell_late(Time now);
  void fail(const Error& error);
  void succeed();
  std::chrono::milliseconds next_pause();
  std::size_t allowance(Time now);

  store::Outbox& outbox_;
  Cluster& cluster_;
  const ForwarderOptions options_;

  std::mutex mutex_;  // guards these
  std::condition_variable changed_;
  std::deque<Arrived> arrived_;
  std::vector<Uuid> withdrawn_;  // confirmed, to be kept
  std::map<Uuid, Expectation> expected_;
  std::deque<std::pair<Time, Uuid>> limits_;  // of those, earliest first
  std::set<std::int64_t> again_;              // places to be sent again
  bool stopping_ = false;
  bool woken_ = false;
  ForwarderFigures figures_;

  // The thread's own.
  Window window_;             // read and not yet behind the cursor
  std::size_t waiting_ = 0;   // of the window, those that are not done
  std::int64_t cursor_ = -1;  // everything up to here is confirmed or a dead letter; < 0: not read yet
  std::int64_t settled_ = 0;  // likewise for good, and kept in the outbox
  std::int64_t read_to_ = 0;
  std::int64_t tried_ = 0;  // the last one while failing
  std::deque<Mark> marks_;  // behind settled_
  // Places that are sent again: when they were confirmed, for they are not safe sooner than others.
  std::map<std::int64_t, std::optional<Time>> resent_;
  std::uint64_t losses_ = 0;  // of the cluster's, those that are dealt with
  std::size_t in_flight_ = 0;
  std::size_t withdrawals_in_flight_ = 0;
  std::uint64_t generation_ = 0;  // of the window; answers to an older one count for nothing
  bool prepared_ = false;
  bool failing_ = false;
  bool warned_ = false;
  Time warn_at_{};
  Time withdraw_at_{};
  std::chrono::milliseconds pause_;
  Time try_at_{};
  double tokens_ = 0;
  Time tokens_at_{};
  std::minstd_rand random_{std::random_device{}()};

  std::thread thread_;
};

}  // namespace espy::cassandra
