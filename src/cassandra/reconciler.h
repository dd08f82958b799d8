// Compares a history with the cluster from time to time, and has what is missing there sent again.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>

#include "base/clock.h"
#include "base/result.h"
#include "cassandra/cluster.h"
#include "cassandra/comparison.h"
#include "cassandra/forwarder.h"
#include "store/outbox.h"
#include "store/store.h"

namespace espy::cassandra {

struct ReconcilerOptions {
  // From the end of one comparison to the next; 0: there is none. The first one begins sooner, but not while
  // a server that has just started has other things to do.
  std::chrono::milliseconds period{std::chrono::hours{24}};
  std::chrono::milliseconds first{std::chrono::minutes{10}};
  // After one that failed.
  std::chrono::milliseconds retry{std::chrono::minutes{1}};
  ComparisonOptions comparison;
  Clock clock = system_clock();
};

struct ReconcilerFigures {
  std::uint64_t comparisons = 0;  // that came to their end since the start
  std::uint64_t missing = 0;      // found by all, those that did not among them
};

// Threads: all functions may be called from any thread at once.
class Reconciler {
 public:
  // All must outlive it. `outbox` is the way of `own` to `destination`.
  Reconciler(store::Store& own, store::Outbox& outbox, const std::string& destination, Cluster& cluster,
             Forwarder& forwarder, const ReconcilerOptions& options);
  ~Reconciler();  // ends a comparison between two slices
  Reconciler(const Reconciler&) = delete;
  Reconciler& operator=(const Reconciler&) = delete;

  ReconcilerFigures figures();

  // Compares now, and waits until what was missing is confirmed again. Errors: as Cluster::prepare and
  // compare().
  Result<Compared> compare_now();

 private:
  void run();
  bool wait(std::chrono::duration<double> time);
  Result<Compared> compare_once();

  store::Store& own_;
  store::Outbox& outbox_;
  const std::string destination_;
  Cluster& cluster_;
  Forwarder& forwarder_;
  const ReconcilerOptions options_;

  std::mutex mutex_;  // guards these
  std::condition_variable ending_soon_;
  bool ending_ = false;
  ReconcilerFigures figures_;

  std::thread thread_;
};

}  // namespace espy::cassandra
