#include "cli/cassandra_flags.h"

#include <unistd.h>

#include <array>
#include <charconv>
#include <chrono>
#include <string_view>
#include <utility>

#include "base/format.h"

namespace espy::cli {
namespace {

constexpr std::string_view kSimple = "simple:";

// Who writes, for people who look into the tables.
std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "";
}

}  // namespace

void declare_cassandra(Flags& flags, CassandraFlags& values) {
  flags.text("--cassandra", "HOSTS/KEYSPACE", values.cluster,
             "a Cassandra cluster for the history: HOST[:PORT][,HOST[:PORT]...]/KEYSPACE");
  flags.text("--cassandra-user", "NAME", values.user, "who logs in; without: nobody");
  flags.text("--cassandra-password", "WORD", values.password,
             "better in the environment, where other users of the machine cannot see it");
  flags.toggle("--cassandra-tls", values.tls, "encrypt; the nodes' certificates must name their addresses");
  flags.text("--cassandra-ca", "FILE", values.ca_file,
             "who signs the nodes' certificates, as PEM; without: whom the system trusts");
  flags.text("--cassandra-datacenter", "NAME", values.datacenter, "ask only its nodes; without: any");
  flags.choice("--cassandra-consistency", {"quorum", "one"}, values.consistency,
               "how many of a record's copies must answer");
}

void declare_cassandra_writer(Flags& flags, CassandraWriterFlags& values) {
  flags.text("--replication", "N", values.replication,
             "copies of each record in a keyspace that is made; simple:N takes SimpleStrategy");
  declare_cassandra_rows(flags, values);
}

void declare_cassandra_rows(Flags& flags, CassandraWriterFlags& values) {
  flags.text("--cassandra-table", "NAME", values.plain_table,
             "a table of time, file name and number beside espy's own; without: none");
  flags.optional_number<int>("--cassandra-keep-days", "DAYS", values.keep_days, {1, 20 * 365},
                             "records disappear from Cassandra when they are older; without: never");
}

Result<std::optional<cassandra::ClusterOptions>> to_cluster(const CassandraFlags& values) {
  if (values.cluster.empty()) return std::optional<cassandra::ClusterOptions>{};
  Result<cassandra::ClusterOptions> options = cassandra::parse_cluster(values.cluster);
  if (!options) return std::move(options).error();
  options->user = values.user;
  options->password = values.password;
  options->tls = values.tls || !values.ca_file.empty();
  options->ca_file = values.ca_file;
  options->datacenter = values.datacenter;
  options->consistency =
      values.consistency == "one" ? cassandra::Consistency::local_one : cassandra::Consistency::local_quorum;
  return std::optional(*std::move(options));
}

Result<void> add_writer(const CassandraWriterFlags& values, cassandra::ClusterOptions& options) {
  std::string_view copies = values.replication;
  if (copies.starts_with(kSimple)) {
    options.placement = cassandra::Placement::simple;
    copies.remove_prefix(kSimple.size());
  }
  const auto [end, error] =
      std::from_chars(copies.data(), copies.data() + copies.size(), options.replication);
  if (error != std::errc{} || end != copies.data() + copies.size()) {
    return Error{
        ErrorCode::invalid_input,
        format("--replication is \"{}\", wanted is a number or simple: and a number", values.replication)};
  }
  options.plain_table = values.plain_table;
  if (values.keep_days) options.retention = std::chrono::days{*values.keep_days};
  options.node = host_name();
  return {};
}

}  // namespace espy::cli
