// The flags that say which cluster, for every command that may use one.
#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "cassandra/cluster.h"
#include "cli/flags.h"

namespace espy::cli {

struct CassandraFlags {
  std::string cluster;  // empty: none
  std::string user;
  std::string password;
  bool tls = false;
  std::string ca_file;
  std::string datacenter;
  std::string consistency = "quorum";
};

// What only the one who writes says.
struct CassandraWriterFlags {
  std::string replication = "3";
  std::string plain_table;
  std::optional<int> keep_days;
};

void declare_cassandra(Flags& flags, CassandraFlags& values);
void declare_cassandra_writer(Flags& flags, CassandraWriterFlags& values);
// Of those of the writer, the ones that say which rows there have to be.
void declare_cassandra_rows(Flags& flags, CassandraWriterFlags& values);

// Returns the cluster that is meant; nothing when none is. Errors: invalid_input.
Result<std::optional<cassandra::ClusterOptions>> to_cluster(const CassandraFlags& values);
Result<void> add_writer(const CassandraWriterFlags& values, cassandra::ClusterOptions& options);

}  // namespace espy::cli
