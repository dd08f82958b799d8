#include "cassandra/cluster.h"

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <future>
#include <mutex>
#include <optional>
#include <utility>

#include "cassandra/cells.h"
#include "cassandra/cluster_options.h"
#include "cassandra/cluster_state.h"
#include "cassandra/driver.h"
#include "cassandra/tables.h"

namespace espy::cassandra {
namespace {

Receipt receipt_of(const Answer& answer) {
  if (answer.ok()) return {Delivery::confirmed, {}};
  return {answer.status == ESPY_CQL_REJECT ? Delivery::rejected : Delivery::retry, error_of(answer)};
}

// The inserts of one record: answers once, when all are answered, with the worst.
class Together {
 public:
  Together(int parts, Cluster::Completion done) : left_(parts), done_(std::move(done)) {}

  void add(Receipt receipt) {
    {
      const std::lock_guard lock(mutex_);
      if (receipt.delivery > worst_.delivery) worst_ = std::move(receipt);
      if (--left_ > 0) return;
    }
    done_(std::move(worst_));
  }

 private:
  std::mutex mutex_;
  int left_;
  Receipt worst_{Delivery::confirmed, {}};
  const Cluster::Completion done_;
};

// How long the row lives that leads to a day's records, of which one lives for `record` more seconds. It is
// written once, with the first of them, and others come until the day is over.
std::chrono::seconds day_time_to_live(const ClusterOptions& options, Day day, std::chrono::seconds record) {
  if (options.retention.count() == 0) return std::chrono::seconds{0};
  const Timestamp end = day + std::chrono::days{1} + options.retention;
  const auto left = std::chrono::floor<std::chrono::seconds>(end - options.clock());
  const auto most = std::min(options.retention + std::chrono::days{1}, kMostRetention);
  return std::clamp<std::chrono::seconds>(left, record, most);
}

}  // namespace

store::Holder holder_of(Consistency consistency) {
  return consistency == Consistency::local_one ? store::Holder::one : store::Holder::quorum;
}

Cluster::Cluster(std::unique_ptr<State> state) : state_(std::move(state)) {}
Cluster::~Cluster() = default;

Result<std::unique_ptr<Cluster>> Cluster::open(const ClusterOptions& options) {
  if (Result<void> right = check(options); !right) return std::move(right).error();
  Result<std::unique_ptr<Driver>> driver = Driver::open(options);
  if (!driver) return std::move(driver).error();
  auto state = std::make_unique<State>(options);
  state->driver = *std::move(driver);
  return std::unique_ptr<Cluster>(new Cluster(std::move(state)));
}

void Cluster::insert(const store::Record& record, Completion done) {
  State& state = *state_;
  const std::shared_ptr<const State::Layout> layout = state.current();
  if (!layout) {
    done({Delivery::retry, not_checked()});
    return;
  }
  const std::optional<std::chrono::seconds> time_to_live = state.time_to_live(record.time);
  if (!time_to_live) {
    done({Delivery::confirmed, {}});
    return;
  }
  std::pair<std::string, Day> day{record.model, day_of(record.id)};
  bool day_known = false;
  {
    const std::lock_guard lock(state.mutex);
    day_known = state.known_days.contains(day);
  }
  const std::int64_t stamp = state.stamp();
  const bool plain = !layout->insert_plain.empty();
  auto together = std::make_shared<Together>(1 + !day_known + plain, std::move(done));
  const auto add = [together](Answer answer) { together->add(receipt_of(answer)); };
  if (!day_known) {
    // Readers find a day's records by this row, so it has to be there before any of them counts as confirmed.
    state.driver->submit(
        state.insertion(layout->insert_day,
                        day_values(record, day_time_to_live(state.options, day.second, *time_to_live)),
                        stamp),
        [together, &state, day = std::move(day)](Answer answer) {
          if (answer.ok()) {
            const std::lock_guard lock(state.mutex);
            state.known_days.insert(day);
          }
          together->add(receipt_of(answer));
        });
  }
  state.driver->submit(
      state.insertion(layout->insert_record,
                      record_values(record, layout->buckets, state.options.node, *time_to_live), stamp),
      add);
  if (plain)
    state.driver->submit(state.insertion(layout->insert_plain, plain_values(record, *time_to_live), stamp),
                         add);
}

void Cluster::insert(const store::Correction& correction, const std::string& model, Completion done) {
  State& state = *state_;
  const std::shared_ptr<const State::Layout> layout = state.current();
  if (!layout) {
    done({Delivery::retry, not_checked()});
    return;
  }
  // As long as its record.
  const std::optional<std::chrono::seconds> time_to_live = state.time_to_live(time_of(correction.record));
  if (!time_to_live) {
    done({Delivery::confirmed, {}});
    return;
  }
  state.driver->submit(state.insertion(layout->insert_correction,
                                       correction_values(correction, model, layout->buckets,
                                                         state.options.node, *time_to_live),
                                       state.stamp()),
                       [done = std::move(done)](Answer answer) { done(receipt_of(answer)); });
}

void Cluster::withdraw(const store::Withdrawal& withdrawal, Completion done) {
  State& state = *state_;
  const std::shared_ptr<const State::Layout> layout = state.current();
  if (!layout) {
    done({Delivery::retry, not_checked()});
    return;
  }
  const bool plain = !layout->erase_plain.empty();
  auto together = std::make_shared<Together>(2 + plain, std::move(done));
  const auto add = [together](Answer answer) { together->add(receipt_of(answer)); };
  const std::string& keyspace = state.options.keyspace;
  // A clock that was set back since the record came must not let it win.
  const std::int64_t stamp = std::max(state.stamp(), withdrawal.time.time_since_epoch().count() + 1);
  const CellWriter values = erase_values(withdrawal, layout->buckets, stamp);
  state.driver->submit(state.request(erase_record(keyspace), values), add);
  state.driver->submit(state.request(erase_corrections(keyspace), values), add);
  if (plain)
    state.driver->submit(state.request(layout->erase_plain, erase_plain_values(withdrawal, stamp)), add);
}

std::uint64_t Cluster::losses() const { return state_->driver->losses(); }

Receipt Cluster::insert(const store::Record& record) {
  std::promise<Receipt> promise;
  insert(record, [&](Receipt receipt) { promise.set_value(std::move(receipt)); });
  return promise.get_future().get();
}

Partition Cluster::partition_of(const Uuid& record, const std::string& model) const {
  const std::shared_ptr<const State::Layout> layout = state_->current();
  assert(layout);
  return {model, day_of(record), bucket_of(record, layout->buckets)};
}

bool Cluster::keeps(const Uuid& id) const {
  const std::optional<std::chrono::seconds> left = state_->time_to_live(time_of(id));
  return left && (left->count() == 0 || *left > std::chrono::hours{1});
}

Consistency Cluster::consistency() const { return state_->options.consistency; }

}  // namespace espy::cassandra
