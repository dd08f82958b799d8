#include "cassandra/comparison.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>
#include <vector>

#include "base/format.h"

namespace espy::cassandra {
namespace {

// What one partition has to have of a slice, in order of the ids.
struct Expected {
  struct One {
    Uuid id;
    std::int64_t place;
    auto operator<=>(const One&) const = default;
  };
  Partition partition;
  Uuid first_record;
  Uuid last_record;
  std::vector<One> entries = {};
};

Digest digest_of(std::span<const Uuid> ids) {
  Digest digest;
  for (const Uuid& id : ids) digest.add(id);
  return digest;
}

// The places of those that are not among `there`, which is in order.
std::vector<std::int64_t> missing_of(const Expected& expected, const std::vector<Uuid>& there) {
  Digest wanted;
  for (const Expected::One& one : expected.entries) wanted.add(one.id);
  if (wanted == digest_of(there)) return {};
  std::vector<std::int64_t> places;
  for (const Expected::One& one : expected.entries) {
    if (!std::binary_search(there.begin(), there.end(), one.id)) places.push_back(one.place);
  }
  return places;
}

using Key = std::tuple<Cluster::Kind, std::string, std::chrono::sys_days, int>;

std::map<Key, Expected> by_partition(const std::vector<store::Carried>& slice, const Cluster& cluster) {
  std::map<Key, Expected> expected;
  for (const store::Carried& one : slice) {
    if (!cluster.keeps(one.record)) continue;
    const auto kind = one.correction ? Cluster::Kind::corrections : Cluster::Kind::records;
    Partition partition = cluster.partition_of(one.record, one.model);
    const Key key{kind, partition.model, partition.day, partition.bucket};
    Expected& part =
        expected.emplace(key, Expected{std::move(partition), one.record, one.record}).first->second;
    part.first_record = std::min(part.first_record, one.record);
    part.last_record = std::max(part.last_record, one.record);
    part.entries.push_back({one.correction.value_or(one.record), one.place});
  }
  return expected;
}

}  // namespace

void Digest::add(const Uuid& id) {
  ++count;
  for (std::size_t i = 0; i < ids.bytes.size(); ++i) ids.bytes[i] ^= id.bytes[i];
}

Result<Compared> compare(store::Store& own, const std::string& destination, Cluster& cluster,
                         const ComparisonOptions& options,
                         const std::function<void(std::span<const std::int64_t>)>& found_missing,
                         const std::function<bool(std::chrono::duration<double>)>& may_go_on) {
  Compared compared;
  Uuid after{};
  while (true) {
    const auto begin = std::chrono::steady_clock::now();
    const Result<std::vector<store::Carried>> slice = own.carried(destination, after, options.slice);
    if (!slice) return slice.error();
    if (slice->empty()) return compared;
    for (const store::Carried& one : *slice) after = std::max(after, one.record);

    std::int64_t read = 0;
    for (const auto& [key, expected] : by_partition(*slice, cluster)) {
      const Result<std::vector<Uuid>> there = cluster.ids(std::get<Cluster::Kind>(key), expected.partition,
                                                          expected.first_record, expected.last_record);
      if (!there) return there.error();
      const std::vector<std::int64_t> missing = missing_of(expected, *there);
      if (!missing.empty()) found_missing(missing);
      read += std::ssize(*there);
      compared.entries += std::ssize(expected.entries);
      compared.missing += std::ssize(missing);
      compared.others += std::ssize(*there) - (std::ssize(expected.entries) - std::ssize(missing));
    }
    std::chrono::duration<double> wait{0};
    if (options.entries_per_second > 0) {
      const auto most = static_cast<double>(std::max<std::int64_t>(read, std::ssize(*slice)));
      wait = std::chrono::duration<double>(most / options.entries_per_second) -
             (std::chrono::steady_clock::now() - begin);
    }
    if (!may_go_on(std::max(wait, std::chrono::duration<double>{0}))) {
      return Error{ErrorCode::unavailable, "the comparison with cassandra was ended before it was done"};
    }
  }
}

}  // namespace espy::cassandra
