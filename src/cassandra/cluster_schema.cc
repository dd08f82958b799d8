// The keyspace and its tables: made where they are missing, checked where they are there.
#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/format.h"
#include "cassandra/cluster_options.h"
#include "cassandra/cluster_state.h"

namespace espy::cassandra {
namespace {

constexpr std::string_view kBucketsSetting = "buckets";

}  // namespace

Result<void> Cluster::State::have_keyspace() {
  std::string datacenter = options.datacenter;
  Result<void> done = read(request(std::string(kFindLocal)), [&](CellReader& row) {
    const std::string_view local = row.text();
    if (datacenter.empty()) datacenter = local;
  });
  if (!done) return done;

  CellWriter name;
  name.text(options.keyspace);
  bool exists = false;
  done = read(request(std::string(kFindKeyspace), std::move(name)), [&](CellReader& row) {
    row.text();
    exists = true;
  });
  if (!done || exists) return done;
  if (!options.create) {
    return Error{ErrorCode::not_found, format("there is no keyspace {} in cassandra", options.keyspace)};
  }

  std::int64_t nodes = 1;
  done =
      read(request(std::string(kCountPeers)), [&](CellReader& row) { nodes += row.integer<std::int64_t>(); });
  if (!done) return done;
  if (options.replication > nodes) {
    return Error{ErrorCode::invalid_input,
                 format("keyspace {} is to have {} copies of each record, but the cluster has {} {}",
                        options.keyspace, options.replication, nodes, nodes == 1 ? "node" : "nodes")};
  }
  return change(create_keyspace(options, datacenter));
}

Result<void> Cluster::State::have_table(const Table& table) {
  Result<std::vector<FoundColumn>> columns = columns_of(table);
  if (columns && columns->empty()) {
    if (!options.create) {
      return Error{ErrorCode::not_found,
                   format("there is no table {}.{} in cassandra", options.keyspace, table.name)};
    }
    if (Result<void> made = change(create_table(options.keyspace, table)); !made) return made;
    columns = columns_of(table);
  }
  if (!columns) return std::move(columns).error();
  return check_table(options.keyspace, table, *columns);
}

Result<std::optional<int>> Cluster::State::find_buckets() {
  CellWriter name;
  name.text(kBucketsSetting);
  std::string value;
  bool found = false;
  Result<void> done = read(request(find_setting(options.keyspace), std::move(name)), [&](CellReader& row) {
    value = row.text();
    found = true;
  });
  if (!done) return std::move(done).error();
  if (!found) return std::optional<int>{};
  const std::optional<int> buckets = parse_number(value, 1, kMaxBuckets);
  if (!buckets) {
    return Error{ErrorCode::corrupt,
                 format("{}.settings says that there are \"{}\" buckets, limits are 1 and {}",
                        options.keyspace, value, kMaxBuckets)};
  }
  return buckets;
}

Result<int> Cluster::State::have_buckets() {
  Result<std::optional<int>> buckets = find_buckets();
  if (buckets && !*buckets) {
    CellWriter values;
    values.text(kBucketsSetting).text(format("{}", options.buckets));
    const Answer answer = driver->execute(request(keep_setting(options.keyspace), std::move(values)));
    if (!answer.ok()) return error_of(answer);
    buckets = find_buckets();
  }
  if (!buckets) return std::move(buckets).error();
  if (!*buckets) {
    return Error{ErrorCode::unavailable,
                 format("{}.settings does not keep what is written", options.keyspace)};
  }
  return **buckets;
}

Result<void> Cluster::prepare() {
  State& state = *state_;
  if (Result<void> done = state.have_keyspace(); !done) return done;
  for (const Table& table : tables_of(state.options)) {
    if (Result<void> done = state.have_table(table); !done) return done;
  }
  Result<int> buckets = state.have_buckets();
  if (!buckets) return std::move(buckets).error();

  const ClusterOptions& options = state.options;
  auto layout = std::make_shared<State::Layout>();
  layout->buckets = *buckets;
  layout->insert_record = insert_row(options.keyspace, predictions_table(options));
  layout->insert_correction = insert_row(options.keyspace, corrections_table(options));
  layout->insert_day = insert_row(options.keyspace, days_table(options));
  if (!options.plain_table.empty()) {
    layout->insert_plain = insert_row(options.keyspace, plain_table(options));
    layout->erase_plain = erase_plain(options.keyspace, plain_table(options));
  }
  const std::lock_guard lock(state.mutex);
  state.layout = std::move(layout);
  state.known_days.clear();  // whoever checks again may have lost them
  return {};
}

}  // namespace espy::cassandra
