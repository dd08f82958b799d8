// Does the cluster still have what it has confirmed? Count and exclusive or of the ids of each partition
// tell, here and there; where they differ, the ids themselves say what is missing.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "base/result.h"
#include "base/uuid.h"
#include "cassandra/cluster.h"
#include "store/store.h"

namespace espy::cassandra {

// Tells whether two places hold the same, without moving it.
struct Digest {
  std::uint64_t count = 0;
  Uuid ids;  // all ids, combined by exclusive or

  void add(const Uuid& id);
  bool operator==(const Digest&) const = default;
};

struct ComparisonOptions {
  // Records at once: 16 bytes of each are held here and there.
  std::size_t slice = 20'000;
  // Entries a second at most, so that a long history does not keep the cluster busy; 0: no limit. A node
  // reads 5,000 ids in some 10 ms.
  double entries_per_second = 20'000;
};

struct Compared {
  std::int64_t entries = 0;  // records and corrections that the cluster has to have
  std::int64_t missing = 0;  // of them, those that it has not
  std::int64_t others = 0;   // entries of other servers, or that are gone here, in the same partitions
};

// Looks in the cluster for everything that `own` has settled at `destination`. `found_missing` gets the
// places of what is not there, once or more often. `may_go_on` is asked before each slice but the first, told
// how long to wait for the rate's sake, and does the waiting; false ends the comparison. What the plain table
// has is not looked for. Errors: unavailable (also: it was ended), corrupt.
Result<Compared> compare(store::Store& own, const std::string& destination, Cluster& cluster,
                         const ComparisonOptions& options,
                         const std::function<void(std::span<const std::int64_t>)>& found_missing,
                         const std::function<bool(std::chrono::duration<double>)>& may_go_on);

}  // namespace espy::cassandra
