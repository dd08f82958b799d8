// One history of a store on this machine's disk and of all processes that share a keyspace.
#pragma once

#include "base/result.h"
#include "cassandra/cluster.h"
#include "store/history.h"

namespace espy::cassandra {

// What is only here yet and what is only there are both found; what is in both counts once, with its newest
// correction. What is being withdrawn from the cluster is not found. While the cluster cannot be read, `own`
// is read alone, and list() says so. Each record says who has it (store::Record::held_by).
class MergedHistory : public store::History {
 public:
  // All must outlive it; `outbox` may be missing where nobody writes.
  MergedHistory(store::Store& own, Cluster& cluster, store::Outbox* outbox)
      : own_(own), cluster_(cluster), outbox_(outbox) {}

  Result<store::Listing> list(const store::Query& query) override;
  Result<store::Record> find(const Uuid& id) override;

 private:
  Result<std::vector<Uuid>> withdrawn();

  store::Store& own_;
  Cluster& cluster_;
  store::Outbox* const outbox_;
};

}  // namespace espy::cassandra
