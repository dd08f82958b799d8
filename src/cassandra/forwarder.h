// Carries a journal's records to Cassandra, off the way of every request: a record that is in the journal
// gets there, however long the cluster is away and however often this process dies.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "cassandra/cluster.h"
#include "store/record.h"

namespace espy::cassandra {

// The journal as the forwarder sees it. All functions are called on the forwarder's thread.
class Outbox {
 public:
  struct Item {
    std::int64_t sequence;  // > 0, grows in the order of the journal
    store::Record record;
  };

  virtual ~Outbox() = default;

  // Returns the sequence up to which nothing needs to be sent any more, 0 at first.
  virtual Result<std::int64_t> cursor() = 0;

  // Returns at most `limit` records with greater sequences, in order; fewer only when there are no more.
  virtual Result<std::vector<Item>> read(std::int64_t after, std::size_t limit) = 0;

  // Keeps the cursor: everything up to `sequence` is confirmed or a dead letter. It may get lost, then
  // records are sent once more.
  virtual Result<void> keep_cursor(std::int64_t sequence) = 0;

  // Keeps a record that Cassandra will never take, where people see it. Called before the cursor passes it.
  virtual Result<void> keep_dead_letter(std::int64_t sequence, const std::string& why) = 0;
};

struct ForwarderOptions {
  // Records in flight. Measured with one node: 256 reach 8,600 records/s, 1,024 14,200 (ADR 13).
  std::size_t window = 512;
  // Records a second at most, so that a backlog leaves the cluster room for others; 0: no limit.
  double records_per_second = 5000;
  // Between tries while the cluster takes nothing: doubled from the first to the last, each shortened by up
  // to a half at random, so that several processes do not come back together.
  std::chrono::milliseconds first_pause{100};
  std::chrono::milliseconds last_pause{30'000};
  // Without a call of wake() the journal is looked at this often.
  std::chrono::milliseconds idle_pause{1000};
};

struct ForwarderFigures {
  std::uint64_t confirmed = 0;  // since the start
  std::uint64_t rejected = 0;   // likewise: dead letters
  std::uint64_t retries = 0;    // inserts that have to be repeated
  std::size_t in_flight = 0;
  std::int64_t cursor = 0;
  bool connected = false;  // the last answer was not a failure
  std::string problem;     // the newest failure while not connected
};

// A thread that sends. While the cluster takes nothing, it tries with one record only, the oldest.
// Threads: all functions may be called from any thread at once.
class Forwarder {
 public:
  // Both must outlive the forwarder. Starts at once.
  Forwarder(Outbox& outbox, Cluster& cluster, const ForwarderOptions& options = {});

  // Stops; what is in flight is waited for as long as the cluster's request limit, and sent again by the next
  // forwarder if it was not confirmed.
  ~Forwarder();
  Forwarder(const Forwarder&) = delete;
  Forwarder& operator=(const Forwarder&) = delete;

  // There are new records.
  void wake();

  // Sends again what has a greater sequence, also what is confirmed: after nodes lost what they had
  // confirmed.
  void send_again_after(std::int64_t sequence);

  ForwarderFigures figures();

 private:
  using Time = std::chrono::steady_clock::time_point;

  struct Sent {
    store::Record record;
    bool done = false;
    bool in_flight = false;
    bool refused_before = false;  // rejected once; the tables were checked since
    std::string refusal = {};     // rejected just now
  };
  struct Arrived {
    std::int64_t sequence;
    std::uint64_t generation;
    Receipt receipt;
  };

  void run();
  bool prepare();
  bool send();
  void send_one(std::int64_t sequence, Sent& sent);
  void settle(std::deque<Arrived> arrived);
  bool go_back();
  bool settle_refusals();
  bool advance();
  void fail(const Error& error);
  void succeed();
  std::chrono::milliseconds next_pause();
  std::size_t allowance(Time now);

  Outbox& outbox_;
  Cluster& cluster_;
  const ForwarderOptions options_;

  std::mutex mutex_;  // guards these
  std::condition_variable changed_;
  std::deque<Arrived> arrived_;
  bool stopping_ = false;
  bool woken_ = false;
  std::int64_t again_after_ = -1;  // < 0: nobody asked
  ForwarderFigures figures_;

  // The thread's own.
  std::map<std::int64_t, Sent> window_;  // read and not yet behind the cursor
  std::int64_t cursor_ = -1;             // < 0: not read yet
  std::int64_t read_to_ = 0;
  std::size_t in_flight_ = 0;
  std::uint64_t generation_ = 0;  // of the window; answers to an older one count for nothing
  bool prepared_ = false;
  bool failing_ = false;
  bool warned_ = false;
  Time warn_at_{};
  std::chrono::milliseconds pause_;
  Time try_at_{};
  double tokens_ = 0;
  Time tokens_at_{};
  std::minstd_rand random_{std::random_device{}()};

  std::thread thread_;
};

}  // namespace espy::cassandra
