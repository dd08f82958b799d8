// A history in an Apache Cassandra cluster, beside the one on this machine's disk: records go in, pages come
// out. Start here.
//
// Every insert of one record writes the same row, so it may be repeated at will, by any process. Nothing
// here promises durability on its own: a record is safe when its insert was confirmed *and* Cassandra has
// synced its commit log, which by default takes it 10 s (docs/cassandra.md).
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/uuid.h"
#include "store/outbox.h"
#include "store/record.h"
#include "store/store.h"

namespace espy::cassandra {

// How many replicas must have a record before it counts as confirmed, and how many are asked in reading.
enum class Consistency {
  local_quorum,  // most of the data centre's: with three replicas one node may be down
  local_one,     // one: its disk may hold the only copy
};

// Who has a record that was confirmed, or read, so.
store::Holder holder_of(Consistency consistency);

// How a keyspace that is missing is made.
enum class Placement {
  data_centre,  // NetworkTopologyStrategy, all replicas in the data centre of the node that is asked
  simple,       // SimpleStrategy, which knows no data centres
};

inline constexpr int kDefaultPort = 9042;
inline constexpr int kMaxBuckets = 1024;

struct ClusterOptions {
  std::vector<std::string> hosts;  // "HOST:PORT"; any of them leads to all the others
  std::string keyspace;
  std::string datacenter;  // ask its nodes only; empty: any
  std::string user;        // empty: no login
  std::string password;
  bool tls = false;     // a node's certificate must be signed and must name the node's IP address
  std::string ca_file;  // PEM; empty: the system's certificates
  Consistency consistency = Consistency::local_quorum;
  std::string node;  // who writes, for people who look into the table; empty: nobody says

  // Whether a missing keyspace and missing tables are made, and with what.
  bool create = true;
  Placement placement = Placement::data_centre;
  int replication = 3;
  // Parts of a model's day; a keyspace keeps the number it was made with. Partitions work best below 100 MB,
  // so 50,000 records of 1 KB each: 16 are right up to 800,000 records of a model a day.
  int buckets = 16;

  // Records disappear when they are this old; 0: never.
  std::chrono::days retention{0};
  // Keep (time, file_name, number) in a table of this name, too; empty: do not.
  std::string plain_table;

  // The measurements behind these limits are in ADR 13.
  std::chrono::milliseconds connect_limit{3000};   // of one attempt with one node
  std::chrono::milliseconds keepalive{2000};       // twice this without a sign of life ends a connection
  std::chrono::milliseconds request_limit{5000};   // of an insert or a page, all tries together
  std::chrono::milliseconds schema_limit{30'000};  // of a statement that changes the schema
  std::chrono::milliseconds list_limit{5000};      // of list(), all its requests together
  // Requests in flight; an insert is one, two with a plain table. Cassandra takes heap/40 bytes from one
  // client, about 14,000 records with a heap of 512 MiB.
  std::size_t max_outstanding = 4096;

  Clock clock = system_clock();
};

// Reads "HOST[:PORT][,HOST[:PORT]...]/KEYSPACE" into `hosts` and `keyspace` of default options; an IPv6
// address stands in brackets. Keyspaces are lower-case letters, digits and _, begin with a letter, at
// most 48. Errors: invalid_input.
Result<ClusterOptions> parse_cluster(std::string_view text);

// What became of an insert.
enum class Delivery {
  confirmed,  // as many replicas as the consistency says have it
  retry,      // nobody knows, or the cluster cannot now: insert it again
  rejected,   // this record will never fit
};

struct Receipt {
  Delivery delivery;
  Error error;  // empty message when confirmed
};

// Which records of a model one partition has.
struct Partition {
  std::string model;
  std::chrono::sys_days day;  // of the id, UTC
  int bucket = 0;
};

class Driver;

// Threads: all functions may be called from any thread at once, the waiting ones not from a completion.
class Cluster {
 public:
  // Called once for each insert, perhaps before insert() returns, otherwise on a thread of the cluster's: be
  // quick, never wait there.
  using Completion = std::function<void(Receipt)>;

  // Returns at once; connects in the background, for as long as it takes, and again when connections break.
  // Errors: invalid_input (an option is wrong, or this build has no driver).
  static Result<std::unique_ptr<Cluster>> open(const ClusterOptions& options);

  // Answers the inserts in flight with Delivery::retry.
  ~Cluster();
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  // Makes the keyspace and the tables where they are missing and checks those that are there. Until it has
  // succeeded once nothing else works. A second call checks again. Waits at most as long as the limits of its
  // statements together.
  // Errors: unavailable (no node can be reached, too few are alive), invalid_input (the login is refused; the
  // user may not do this; a table is not ours, with what differs; fewer nodes than copies), not_found (a
  // keyspace or table is missing, and `create` is not set).
  Result<void> prepare();

  // Queues the record and returns at once. Errors (by `done`): unavailable, invalid_input (with
  // Delivery::rejected: the record; with Delivery::retry: as of prepare()).
  // A record that is older than `retention` is confirmed and not sent.
  void insert(const store::Record& record, Completion done);

  // As above, and waits.
  Receipt insert(const store::Record& record);

  // Likewise a correction of a record of `model`.
  void insert(const store::Correction& correction, const std::string& model, Completion done);

  // Queues the erasing of a record and its corrections, and returns at once. It beats every insert of them
  // that this process sent before, whichever arrives last.
  void withdraw(const store::Withdrawal& withdrawal, Completion done);

  // Returns how often a node went away since open(), as far as its connections tell, within 0.1 s, or within
  // twice `keepalive` when its machine lost power. A node that goes away again within a minute counts once,
  // unless the cluster has fewer than three, or one replica is enough: what others confirmed beside it they
  // have had time to sync.
  std::uint64_t losses() const;

  // Returns the partition of a record. Only after prepare().
  Partition partition_of(const Uuid& record, const std::string& model) const;

  // Errors: not_found, unavailable, corrupt (the row is not what espy writes).
  Result<store::Record> find(const Uuid& id);

  // As store::Store::list, over all processes that write to the keyspace. Conditions other than time, model
  // and cursors are checked here, so a seldom match reads much.
  // Errors: invalid_input (limit out of range), unavailable (also: `list_limit` is over), corrupt.
  Result<store::Page> list(const store::Query& query);

  // Returns the ids of the records in a partition that lie from `first` to `last`, or those of all
  // corrections of these records, in order; 5,000 a request. Errors: unavailable, corrupt.
  enum class Kind { records, corrections };
  Result<std::vector<Uuid>> ids(Kind kind, const Partition& partition, const Uuid& first, const Uuid& last);

  // Returns whether a record is young enough to be there (ClusterOptions::retention), for an hour more.
  bool keeps(const Uuid& id) const;

  // Returns how many replicas answered what was read from here.
  Consistency consistency() const;

 private:
  struct State;

  explicit Cluster(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

}  // namespace espy::cassandra
