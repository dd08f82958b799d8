#include "cassandra/merged_history.h"

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

namespace espy::cassandra {
namespace {

// More wait only while the cluster is away, and then nothing is read there.
constexpr std::size_t kMostWithdrawals = 10'000;

void keep_newest(store::Record& record, const std::optional<store::Correction>& other) {
  if (other && (!record.correction || other->id > record.correction->id)) record.correction = other;
}

// Both pages are complete down to their ends, so the first `limit` of both together are, too.
store::Page merge(store::Page own, store::Page theirs, const store::Query& query) {
  store::Page merged;
  const auto comes_before = [&](const store::Record& one, const store::Record& other) {
    return query.oldest_first ? one.id < other.id : one.id > other.id;
  };
  std::merge(std::make_move_iterator(own.records.begin()), std::make_move_iterator(own.records.end()),
             std::make_move_iterator(theirs.records.begin()), std::make_move_iterator(theirs.records.end()),
             std::back_inserter(merged.records), comes_before);
  std::vector<store::Record> once;
  for (store::Record& record : merged.records) {
    if (!once.empty() && once.back().id == record.id) {
      keep_newest(once.back(), record.correction);
      once.back().held_by = std::max(once.back().held_by, record.held_by);
    } else {
      once.push_back(std::move(record));
    }
  }
  const auto limit = static_cast<std::size_t>(query.limit);
  const bool more = once.size() > limit || own.next || theirs.next;
  if (once.size() > limit) once.resize(limit);
  merged.records = std::move(once);
  if (more && !merged.records.empty()) merged.next = merged.records.back().id;
  return merged;
}

}  // namespace

Result<std::vector<Uuid>> MergedHistory::withdrawn() {
  std::vector<Uuid> ids;
  if (!outbox_) return ids;
  const Result<std::vector<store::Withdrawal>> waiting = outbox_->withdrawals(kMostWithdrawals);
  if (!waiting) return waiting.error();
  for (const store::Withdrawal& one : *waiting) ids.push_back(one.id);
  std::sort(ids.begin(), ids.end());
  return ids;
}

Result<store::Listing> MergedHistory::list(const store::Query& query) {
  // The cluster first: what is settled and removed here in between is then found there.
  Result<store::Page> theirs = cluster_.list(query);
  Result<store::Page> own = own_.list(query);
  if (!own) return std::move(own).error();
  for (store::Record& record : own->records) record.held_by = store::Holder::disk;
  if (!theirs) return store::Listing{*std::move(own), std::move(theirs).error().message};
  for (store::Record& record : theirs->records) record.held_by = holder_of(cluster_.consistency());
  Result<std::vector<Uuid>> gone = withdrawn();
  if (!gone) return std::move(gone).error();
  store::Listing listing{merge(*std::move(own), *std::move(theirs), query), {}};
  // Behind the page's cut, so that its end stays right.
  std::erase_if(listing.page.records, [&](const store::Record& record) {
    return std::binary_search(gone->begin(), gone->end(), record.id);
  });
  return listing;
}

Result<store::Record> MergedHistory::find(const Uuid& id) {
  Result<store::Record> own = own_.find(id);
  if (!own && own.error().code != ErrorCode::not_found) return own;
  if (!own) {
    const Result<std::vector<Uuid>> gone = withdrawn();
    if (!gone) return gone.error();
    if (std::binary_search(gone->begin(), gone->end(), id)) return own;
  }
  Result<store::Record> theirs = cluster_.find(id);
  if (theirs) theirs->held_by = holder_of(cluster_.consistency());
  if (!own) return theirs;
  // A record that is here is answered also when the cluster is away.
  own->held_by = theirs ? theirs->held_by : store::Holder::disk;
  if (theirs) keep_newest(*own, theirs->correction);
  return own;
}

}  // namespace espy::cassandra
