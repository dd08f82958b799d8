#include "cassandra/reconciler.h"

#include <algorithm>
#include <chrono>
#include <span>
#include <utility>

#include "base/format.h"
#include "base/log.h"

namespace espy::cassandra {
namespace {

// How long compare_now() waits for a cluster that takes nothing.
constexpr std::chrono::seconds kPatience{30};

}  // namespace

Reconciler::Reconciler(store::Store& own, store::Outbox& outbox, const std::string& destination,
                       Cluster& cluster, Forwarder& forwarder, const ReconcilerOptions& options)
    : own_(own),
      outbox_(outbox),
      destination_(destination),
      cluster_(cluster),
      forwarder_(forwarder),
      options_(options) {
  if (options_.period.count() > 0) thread_ = std::thread([this] { run(); });
}

Reconciler::~Reconciler() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  ending_soon_.notify_one();
  if (thread_.joinable()) thread_.join();
}

ReconcilerFigures Reconciler::figures() {
  const std::lock_guard lock(mutex_);
  return figures_;
}

// Returns false when there is no more time: it ends.
bool Reconciler::wait(std::chrono::duration<double> time) {
  std::unique_lock lock(mutex_);
  return !ending_soon_.wait_for(lock, time, [&] { return ending_; });
}

void Reconciler::run() {
  std::chrono::milliseconds pause = std::min(options_.first, options_.period);
  while (wait(pause)) {
    // Whether the cluster can be reached is the forwarder's to say, and to log.
    const Result<Compared> done =
        forwarder_.figures().connected
            ? compare_once()
            : Result<Compared>(Error{ErrorCode::unavailable, "it is not connected"});
    if (!done) log::debug(format("not compared with cassandra: {}", done.error().message));
    pause = done ? options_.period : std::min(options_.retry, options_.period);
  }
}

Result<Compared> Reconciler::compare_now() {
  if (Result<void> ready = cluster_.prepare(); !ready) return std::move(ready).error();
  Result<Compared> compared = compare_once();
  if (!compared) return compared;
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (forwarder_.figures().to_send_again > 0) {
    const ForwarderFigures figures = forwarder_.figures();
    if (!figures.connected && std::chrono::steady_clock::now() > end) {
      return Error{ErrorCode::unavailable, format("{} of {} missing entries are not sent again yet: {}",
                                                  figures.to_send_again, compared->missing, figures.problem)};
    }
    if (!wait(std::chrono::milliseconds{20})) break;
  }
  return compared;
}

Result<Compared> Reconciler::compare_once() {
  Result<Compared> compared = compare(
      own_, destination_, cluster_, options_.comparison,
      [&](std::span<const std::int64_t> places) {
        forwarder_.send_again(places);
        const std::lock_guard lock(mutex_);
        figures_.missing += places.size();
      },
      [&](std::chrono::duration<double> time) { return wait(time); });
  if (!compared) return compared;
  if (compared->missing > 0) {
    log::warning(format("cassandra has lost {} of {} entries that it had confirmed: they are sent again",
                        compared->missing, compared->entries));
  }
  {
    const std::lock_guard lock(mutex_);
    ++figures_.comparisons;
  }
  if (Result<void> kept = outbox_.keep_comparison({options_.clock(), compared->entries, compared->missing});
      !kept) {
    return std::move(kept).error();
  }
  return compared;
}

}  // namespace espy::cassandra
