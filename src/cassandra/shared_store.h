// A history on this machine's disk that is also carried to a cluster, as one store::Store.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "cassandra/cluster.h"
#include "cassandra/forwarder.h"
#include "cassandra/reconciler.h"
#include "store/history.h"
#include "store/store.h"

namespace espy::cassandra {

// When an append has succeeded.
enum class Acknowledge {
  disk,    // it is committed and fsynced here
  quorum,  // and the cluster has confirmed it (Consistency)
};

struct SharedStoreOptions {
  ClusterOptions cluster;
  ForwarderOptions forwarder;
  ReconcilerOptions reconciler;
  Acknowledge acknowledge = Acknowledge::disk;
  // How long an append waits for the cluster's confirmation; after that it is answered `unavailable`,
  // although the disk has it and the cluster will.
  std::chrono::milliseconds quorum_limit{5000};
  // Entries that may wait for the cluster; with more of them appends are refused.
  std::int64_t max_pending = 10'000'000;
};

// Its own functions read what is on this machine's disk alone.
class SharedStore : public store::Store {
 public:
  // The history of all that share the keyspace.
  virtual store::History& everywhere() = 0;

  // As Reconciler::compare_now.
  virtual Result<Compared> compare_now() = 0;
};

// Returns the name by which a history knows the cluster as a destination (store/outbox.h).
std::string destination_of(const ClusterOptions& cluster);

// Returns a store that does everything as `own`, which is open for writing, and carries it to the cluster.
// Whether the cluster can be reached shows in status() and in the log; nothing but Acknowledge::quorum waits
// for it. Errors: invalid_input (an option is wrong, or this build has no driver), unavailable (`own` cannot
// be written).
Result<std::unique_ptr<SharedStore>> share(std::unique_ptr<store::Store> own,
                                           const SharedStoreOptions& options);

}  // namespace espy::cassandra
