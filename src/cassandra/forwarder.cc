#include "cassandra/forwarder.h"

#include <algorithm>
#include <utility>

#include "base/format.h"
#include "base/log.h"

namespace espy::cassandra {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

// A cluster that takes some records and fails others says so no more often than this.
constexpr std::chrono::seconds kBetweenWarnings{10};

}  // namespace

Forwarder::Forwarder(Outbox& outbox, Cluster& cluster, const ForwarderOptions& options)
    : outbox_(outbox), cluster_(cluster), options_(options), pause_(options.first_pause), thread_([this] {
        run();
      }) {}

Forwarder::~Forwarder() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void Forwarder::wake() {
  {
    const std::lock_guard lock(mutex_);
    woken_ = true;
  }
  changed_.notify_one();
}

void Forwarder::send_again_after(std::int64_t sequence) {
  {
    const std::lock_guard lock(mutex_);
    again_after_ = again_after_ < 0 ? sequence : std::min(again_after_, sequence);
  }
  changed_.notify_one();
}

ForwarderFigures Forwarder::figures() {
  const std::lock_guard lock(mutex_);
  return figures_;
}

void Forwarder::run() {
  bool more = true;  // there is, or may be, something to send at once
  while (true) {
    std::deque<Arrived> arrived;
    bool stopping = false;
    {
      std::unique_lock lock(mutex_);
      const Time now = steady_clock::now();
      const Time until = failing_ ? try_at_ : more ? now : now + options_.idle_pause;
      changed_.wait_until(lock, until, [&] {
        return stopping_ || !arrived_.empty() || (!failing_ && (woken_ || again_after_ >= 0));
      });
      stopping = stopping_;
      if (stopping) changed_.wait(lock, [&] { return arrived_.size() == in_flight_; });
      if (!failing_) woken_ = false;
      arrived.swap(arrived_);
    }
    settle(std::move(arrived));
    if (stopping) {
      advance();
      return;
    }
    if (failing_ && steady_clock::now() < try_at_) continue;
    more = prepare() && go_back() && settle_refusals() && advance() && send();
    const std::lock_guard lock(mutex_);
    figures_.in_flight = in_flight_;
    figures_.cursor = cursor_;
  }
}

// Returns whether the cluster and the cursor are known.
bool Forwarder::prepare() {
  if (!prepared_) {
    if (const Result<void> ready = cluster_.prepare(); !ready) {
      fail(ready.error());
      return false;
    }
    prepared_ = true;
  }
  if (cursor_ < 0) {
    const Result<std::int64_t> cursor = outbox_.cursor();
    if (!cursor) {
      fail(cursor.error());
      return false;
    }
    cursor_ = read_to_ = *cursor;
  }
  return true;
}

// Does what send_again_after() asked for. Returns whether that worked.
bool Forwarder::go_back() {
  std::int64_t to = -1;
  {
    const std::lock_guard lock(mutex_);
    to = again_after_;
  }
  if (to >= 0 && to < cursor_) {
    if (const Result<void> kept = outbox_.keep_cursor(to); !kept) {
      fail(kept.error());
      return false;
    }
    cursor_ = read_to_ = to;
    window_.clear();
    ++generation_;
  }
  const std::lock_guard lock(mutex_);
  if (again_after_ == to) again_after_ = -1;
  return true;
}

// Returns whether more could be sent at once.
bool Forwarder::send() {
  // While the cluster takes nothing one record is enough to find out when it does again.
  const std::size_t width = failing_ ? 1 : options_.window;
  if (window_.size() <= options_.window * 3 / 4) {  // not a query of the journal for every record
    Result<std::vector<Outbox::Item>> items = outbox_.read(read_to_, options_.window - window_.size());
    if (!items) {
      fail(items.error());
      return false;
    }
    for (Outbox::Item& item : *items) {
      read_to_ = item.sequence;
      window_.emplace(item.sequence, Sent{std::move(item.record)});
    }
  }
  std::size_t allowed = allowance(steady_clock::now());
  bool held_back = false;
  for (auto& [sequence, sent] : window_) {
    if (in_flight_ >= width) break;
    if (sent.done || sent.in_flight) continue;
    if (allowed == 0) {
      held_back = true;
      break;
    }
    --allowed;
    tokens_ -= 1;
    send_one(sequence, sent);
  }
  if (held_back) {
    // A token comes in at most this long; the completions of those in flight wake the thread sooner.
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock,
                      milliseconds{1} + milliseconds{static_cast<int>(1000 / options_.records_per_second)},
                      [&] { return stopping_ || !arrived_.empty(); });
  }
  return held_back;
}

void Forwarder::send_one(std::int64_t sequence, Sent& sent) {
  sent.in_flight = true;
  ++in_flight_;
  cluster_.insert(sent.record, [this, sequence, generation = generation_](Receipt receipt) {
    // Under the lock, because the forwarder may end as soon as this one has arrived.
    const std::lock_guard lock(mutex_);
    arrived_.push_back({sequence, generation, std::move(receipt)});
    changed_.notify_one();
  });
}

void Forwarder::settle(std::deque<Arrived> arrived) {
  for (Arrived& one : arrived) {
    --in_flight_;
    if (one.generation != generation_) continue;
    Sent& sent = window_.at(one.sequence);
    sent.in_flight = false;
    switch (one.receipt.delivery) {
      case Delivery::confirmed: {
        sent.done = true;
        succeed();
        const std::lock_guard lock(mutex_);
        ++figures_.confirmed;
        break;
      }
      case Delivery::retry: {
        fail(one.receipt.error);
        const std::lock_guard lock(mutex_);
        ++figures_.retries;
        break;
      }
      case Delivery::rejected:
        // A table that was dropped or changed refuses every record: check before this one is blamed.
        if (!sent.refused_before) {
          sent.refused_before = true;
          prepared_ = false;
        } else {
          sent.refusal = one.receipt.error.message;
        }
        break;
    }
  }
}

// Makes dead letters of what was rejected again after the tables had been found right. Returns whether that
// worked.
bool Forwarder::settle_refusals() {
  for (auto& [sequence, sent] : window_) {
    if (sent.refusal.empty() || sent.done) continue;
    if (const Result<void> kept = outbox_.keep_dead_letter(sequence, sent.refusal); !kept) {
      fail(kept.error());
      return false;
    }
    log::error(format("cassandra will not take record {}: {}", to_string(sent.record.id), sent.refusal));
    sent.done = true;
    const std::lock_guard lock(mutex_);
    ++figures_.rejected;
  }
  return true;
}

// Moves the cursor behind what is done, without a gap. Returns whether that worked.
bool Forwarder::advance() {
  std::int64_t cursor = cursor_;
  auto end = window_.begin();
  for (; end != window_.end() && end->second.done; ++end) cursor = end->first;
  if (cursor == cursor_) return true;
  if (const Result<void> kept = outbox_.keep_cursor(cursor); !kept) {
    fail(kept.error());
    return false;
  }
  window_.erase(window_.begin(), end);
  cursor_ = cursor;
  return true;
}

void Forwarder::fail(const Error& error) {
  const Time now = steady_clock::now();
  if (!warned_ && now >= warn_at_) {
    log::warning(format("records are not forwarded to cassandra: {}", error.message));
    warned_ = true;
    warn_at_ = now + kBetweenWarnings;
  }
  // Those that were in flight together fail together: that is one failure.
  if (!failing_ || now >= try_at_) try_at_ = now + next_pause();
  failing_ = true;
  const std::lock_guard lock(mutex_);
  figures_.connected = false;
  figures_.problem = error.message;
}

void Forwarder::succeed() {
  if (warned_) log::info("records are forwarded to cassandra again");
  warned_ = failing_ = false;
  pause_ = options_.first_pause;
  const std::lock_guard lock(mutex_);
  figures_.connected = true;
  figures_.problem.clear();
}

milliseconds Forwarder::next_pause() {
  const auto full = static_cast<double>(pause_.count());
  pause_ = std::min(2 * pause_, options_.last_pause);
  return milliseconds{static_cast<std::int64_t>(full * std::uniform_real_distribution(0.5, 1.0)(random_))};
}

// A bucket of tokens that holds a tenth of a second's.
std::size_t Forwarder::allowance(Time now) {
  if (options_.records_per_second <= 0) return options_.window;
  const double most = std::max(1.0, options_.records_per_second / 10);
  if (tokens_at_ == Time{}) tokens_at_ = now - std::chrono::seconds{1};
  tokens_ += std::chrono::duration<double>(now - tokens_at_).count() * options_.records_per_second;
  tokens_ = std::min(tokens_, most);
  tokens_at_ = now;
  return static_cast<std::size_t>(tokens_);
}

}  // namespace espy::cassandra
