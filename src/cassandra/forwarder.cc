#include "cassandra/forwarder.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "base/format.h"
#include "base/log.h"

namespace espy::cassandra {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

// A cluster that takes some records and fails others says so no more often than this.
constexpr std::chrono::seconds kBetweenWarnings{10};

// How often is noted how far it has got, and looked for records to erase.
constexpr std::chrono::seconds kBetweenMarks{1};
constexpr std::chrono::seconds kBetweenWithdrawals{1};
constexpr std::size_t kWithdrawalsAtOnce = 64;

// So many windows of entries are remembered behind one that does not get through, then it is waited for.
constexpr std::size_t kWindowsBehindGap = 64;

const Uuid& record_of(const store::Outgoing& what) {
  if (const auto* correction = std::get_if<store::OutgoingCorrection>(&what.entry)) {
    return correction->correction.record;
  }
  return std::get<store::Record>(what.entry).id;
}

std::string name_of(const store::Outgoing& what) {
  if (std::holds_alternative<Error>(what.entry)) return format("entry {}", what.place);
  const bool is_record = std::holds_alternative<store::Record>(what.entry);
  return format("{}record {}", is_record ? "" : "a correction of ", to_string(record_of(what)));
}

}  // namespace

Forwarder::Forwarder(store::Outbox& outbox, Cluster& cluster, const ForwarderOptions& options)
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

void Forwarder::expect(const Uuid& record, std::chrono::milliseconds limit,
                       std::function<void(Result<void>)> done) {
  const std::lock_guard lock(mutex_);
  expected_.insert_or_assign(record, Expectation{std::move(done), limit});
  const Time end = steady_clock::now() + limit;
  // Almost always behind the last one.
  limits_.insert(std::upper_bound(limits_.begin(), limits_.end(), std::pair(end, record)), {end, record});
}

// Answers whoever expects this record.
void Forwarder::tell(const Uuid& record, Result<void> outcome) {
  Expectation expectation;
  {
    const std::lock_guard lock(mutex_);
    const auto found = expected_.find(record);
    if (found == expected_.end()) return;
    expectation = std::move(found->second);
    expected_.erase(found);
  }
  expectation.done(std::move(outcome));
}

// Answers those that have waited too long.
void Forwarder::tell_late(Time now) {
  while (true) {
    Uuid record;
    std::chrono::milliseconds limit{};
    std::string problem;
    {
      const std::lock_guard lock(mutex_);
      while (!limits_.empty() && !expected_.contains(limits_.front().second)) limits_.pop_front();
      if (limits_.empty() || limits_.front().first > now) return;
      record = limits_.front().second;
      limit = expected_.at(record).limit;
      problem = figures_.problem;
      limits_.pop_front();
    }
    tell(record, Error{ErrorCode::unavailable,
                       format("record {} is on disk, but cassandra has not confirmed it within {} ms{}{}",
                              to_string(record), limit.count(), problem.empty() ? "" : ": ", problem)});
  }
}

void Forwarder::send_again(std::span<const std::int64_t> places) {
  {
    const std::lock_guard lock(mutex_);
    again_.insert(places.begin(), places.end());
    figures_.to_send_again = again_.size();
    woken_ = true;
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
      // When it is time to try again and nothing came of that, an answer is being waited for.
      const Time until = failing_ && now < try_at_ ? std::min(try_at_, now + options_.idle_pause)
                         : !failing_ && more       ? now
                                                   : now + options_.idle_pause;
      changed_.wait_until(lock, until,
                          [&] { return stopping_ || !arrived_.empty() || (!failing_ && woken_); });
      stopping = stopping_;
      if (stopping)
        changed_.wait(lock, [&] { return arrived_.size() == in_flight_ && withdrawals_in_flight_ == 0; });
      if (!failing_) woken_ = false;
      arrived.swap(arrived_);
    }
    settle_answers(std::move(arrived));
    if (stopping) {
      tell_late(Time::max());
      return;
    }
    tell_late(steady_clock::now());
    // What a node that went away may have lost is noted at once, also while nothing can be sent.
    go_back();
    if (failing_ && steady_clock::now() < try_at_) continue;
    // Without an entry to try it with, the tables tell whether the cluster is back.
    if (failing_ && waiting_ == 0) prepared_ = false;
    more = prepare() && settle_refusals() && advance() && settle() && withdraw() && send();
    const std::lock_guard lock(mutex_);
    figures_.in_flight = in_flight_;
    figures_.to_send_again =
        again_.size() + static_cast<std::size_t>(std::count_if(resent_.begin(), resent_.end(),
                                                               [](const auto& one) { return !one.second; }));
    figures_.confirmed_place = std::max<std::int64_t>(cursor_, 0);
    figures_.settled_place = settled_;
  }
}

// Returns whether the cluster and the cursor are known.
bool Forwarder::prepare() {
  if (cursor_ < 0) {
    const Result<std::int64_t> settled = outbox_.settled();
    if (!settled) {
      fail(settled.error());
      return false;
    }
    cursor_ = settled_ = read_to_ = *settled;
  }
  if (!prepared_) {
    if (const Result<void> ready = cluster_.prepare(); !ready) {
      fail(ready.error());
      return false;
    }
    prepared_ = true;
  }
  return true;
}

// Begins again behind what is settled when a node went away.
void Forwarder::go_back() {
  const std::uint64_t losses = cluster_.losses();
  if (losses == std::exchange(losses_, losses) || cursor_ < 0) return;
  if (read_to_ == settled_ && resent_.empty()) return;
  // What was confirmed and may be lost; what was only sent would have come again anyway.
  std::int64_t confirmed = cursor_ - settled_;
  for (const auto& [place, sent] : window_) confirmed += place > cursor_ && sent.done;
  for (const auto& [place, when] : resent_) confirmed += when.has_value();
  if (confirmed > 0) {
    log::warning(
        format("a cassandra node went away: what was confirmed last, {} entries, is sent again", confirmed));
  }
  cursor_ = read_to_ = settled_;
  window_.clear();
  waiting_ = 0;
  marks_.clear();
  ++generation_;
  const std::lock_guard lock(mutex_);
  for (const auto& [place, when] : resent_) again_.insert(place);
  resent_.clear();
  figures_.losses += confirmed > 0;
  figures_.to_send_again = again_.size();
  figures_.confirmed_place = cursor_;
}

// Returns whether more could be sent at once.
bool Forwarder::send() {
  if (!read_more()) return false;
  if (waiting_ == 0) {
    // prepare() has just found the cluster, or it was never away; no entry will come to say so.
    succeed();
    return false;
  }
  if (failing_) {
    // While the cluster takes nothing one entry is enough to find out when it does again; another each time,
    // for of a large cluster only a part may be away.
    if (const auto next = next_to_try(); next != window_.end() && in_flight_ == 0) {
      tried_ = next->first;
      send_one(next->first, next->second);
    }
    return false;
  }
  std::size_t allowed = allowance(steady_clock::now());
  bool held_back = false;
  for (auto& [place, sent] : window_) {
    if (in_flight_ >= options_.window) break;
    if (sent.done || sent.in_flight) continue;
    if (allowed == 0) {
      held_back = true;
      break;
    }
    --allowed;
    tokens_ -= 1;
    send_one(place, sent);
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

// Puts what is to be sent again into the window. Returns whether that worked.
bool Forwarder::read_again() {
  bool begins = false;
  {
    const std::lock_guard lock(mutex_);
    begins = !again_.empty() && resent_.empty();
  }
  // Whoever lost records may have lost the days that lead to them, or a whole table.
  if (begins) {
    if (const Result<void> ready = cluster_.prepare(); !ready) {
      fail(ready.error());
      return false;
    }
  }
  while (waiting_ < options_.window) {
    std::int64_t place = 0;
    {
      const std::lock_guard lock(mutex_);
      // What lies behind the cursor is sent in any case.
      again_.erase(again_.upper_bound(cursor_), again_.end());
      if (again_.empty()) break;
      place = *again_.begin();
    }
    Result<std::vector<store::Outgoing>> read = outbox_.read(place - 1, 1);
    if (!read) {
      fail(read.error());
      return false;
    }
    if (!read->empty() && read->front().place == place) {
      Sent sent{std::move(read->front())};
      if (const auto* damage = std::get_if<Error>(&sent.what.entry)) sent.refusal = damage->message;
      if (window_.emplace(place, std::move(sent)).second) ++waiting_;
      resent_[place] = std::nullopt;
    }
    const std::lock_guard lock(mutex_);
    again_.erase(place);
  }
  return true;
}

// Fills the window up. Returns whether that worked.
bool Forwarder::read_more() {
  if (!read_again()) return false;
  if (waiting_ > options_.window * 3 / 4) return true;  // not a query of the history for every entry
  if (window_.size() >= options_.window * kWindowsBehindGap) return true;
  Result<std::vector<store::Outgoing>> read = outbox_.read(read_to_, options_.window - waiting_);
  if (!read) {
    fail(read.error());
    return false;
  }
  for (store::Outgoing& what : *read) {
    read_to_ = what.place;
    Sent sent{std::move(what)};
    if (const auto* damage = std::get_if<Error>(&sent.what.entry)) sent.refusal = damage->message;
    window_.emplace(read_to_, std::move(sent));
    ++waiting_;
  }
  return true;
}

Forwarder::Window::iterator Forwarder::next_to_try() {
  const auto can_go = [](const Window::value_type& one) {
    return !one.second.done && !one.second.in_flight && one.second.refusal.empty();
  };
  const auto behind = std::find_if(window_.upper_bound(tried_), window_.end(), can_go);
  return behind != window_.end() ? behind : std::find_if(window_.begin(), window_.end(), can_go);
}

void Forwarder::send_one(std::int64_t place, Sent& sent) {
  if (!sent.refusal.empty()) return;  // damaged on disk: settle_refusals()
  sent.in_flight = true;
  ++in_flight_;
  auto done = [this, place, generation = generation_](Receipt receipt) {
    // Under the lock, because the forwarder may end as soon as this one has arrived.
    const std::lock_guard lock(mutex_);
    arrived_.push_back({place, generation, std::move(receipt)});
    changed_.notify_one();
  };
  if (const auto* correction = std::get_if<store::OutgoingCorrection>(&sent.what.entry)) {
    cluster_.insert(correction->correction, correction->model, std::move(done));
  } else {
    cluster_.insert(std::get<store::Record>(sent.what.entry), std::move(done));
  }
}

void Forwarder::settle_answers(std::deque<Arrived> arrived) {
  for (Arrived& one : arrived) {
    --in_flight_;
    if (one.generation != generation_) continue;
    Sent& sent = window_.at(one.place);
    sent.in_flight = false;
    switch (one.receipt.delivery) {
      case Delivery::confirmed: {
        {
          const std::lock_guard lock(mutex_);
          ++figures_.confirmed;
        }
        if (const auto again = resent_.find(one.place); again != resent_.end() && !again->second) {
          again->second = steady_clock::now();
          const std::lock_guard lock(mutex_);
          ++figures_.sent_again;
        }
        if (const auto* record = std::get_if<store::Record>(&sent.what.entry)) tell(record->id, {});
        finish(sent);
        succeed();
        break;
      }
      case Delivery::retry: {
        if (sent.withdrawn) finish(sent);
        fail(one.receipt.error);
        const std::lock_guard lock(mutex_);
        ++figures_.retries;
        break;
      }
      case Delivery::rejected:
        // A table that was dropped or changed refuses every record: check before this one is blamed.
        if (sent.withdrawn) {
          finish(sent);
        } else if (!sent.refused_before) {
          sent.refused_before = true;
          prepared_ = false;
        } else {
          sent.refusal = one.receipt.error.message;
        }
        break;
    }
  }
}

void Forwarder::finish(Sent& sent) {
  if (sent.done) return;
  sent.done = true;
  sent.what.entry = Error{};  // its bytes; what counts is the place
  --waiting_;
}

// Makes dead letters of what was rejected again after the tables had been found right. Returns whether that
// worked.
bool Forwarder::settle_refusals() {
  for (auto& [place, sent] : window_) {
    if (sent.refusal.empty() || sent.done) continue;
    if (const Result<void> kept = outbox_.keep_dead_letter(place, sent.refusal); !kept) {
      fail(kept.error());
      return false;
    }
    const Error refused{ErrorCode::unavailable,
                        format("cassandra will not take {}: {}", name_of(sent.what), sent.refusal)};
    log::error(refused.message);
    if (const auto* record = std::get_if<store::Record>(&sent.what.entry)) tell(record->id, refused);
    finish(sent);
    const std::lock_guard lock(mutex_);
    ++figures_.rejected;
  }
  return true;
}

// Moves the cursor behind what is done, without a gap, and notes when it got there.
bool Forwarder::advance() {
  auto end = window_.begin();
  for (; end != window_.end() && end->second.done; ++end) cursor_ = std::max(cursor_, end->first);
  window_.erase(window_.begin(), end);
  const Time now = steady_clock::now();
  const bool is_new = cursor_ > (marks_.empty() ? settled_ : marks_.back().place);
  if (is_new && (marks_.empty() || now - marks_.back().time >= kBetweenMarks))
    marks_.push_back({now, cursor_});
  return true;
}

// Keeps how far it has got for good. Returns whether that worked.
bool Forwarder::settle() {
  const Time long_ago = steady_clock::now() - options_.settle_after;
  std::erase_if(resent_, [&](const auto& one) {
    return one.second ? *one.second <= long_ago : !window_.contains(one.first);
  });
  std::int64_t place = settled_;
  std::size_t passed = 0;
  for (; passed < marks_.size() && marks_[passed].time <= long_ago; ++passed) place = marks_[passed].place;
  if (place == settled_) return true;
  if (const Result<void> kept = outbox_.keep_settled(place); !kept) {
    fail(kept.error());
    return false;
  }
  settled_ = place;
  marks_.erase(marks_.begin(), marks_.begin() + static_cast<std::ptrdiff_t>(passed));
  return true;
}

// Erases there what was erased here. Returns whether that worked.
bool Forwarder::withdraw() {
  std::vector<Uuid> withdrawn;
  bool in_flight = false;
  {
    const std::lock_guard lock(mutex_);
    withdrawn.swap(withdrawn_);
    in_flight = withdrawals_in_flight_ > 0;
  }
  if (!withdrawn.empty()) {
    if (const Result<void> kept = outbox_.keep_withdrawn(withdrawn); !kept) {
      fail(kept.error());
      return false;
    }
    const std::lock_guard lock(mutex_);
    figures_.withdrawn += withdrawn.size();
  }
  const Time now = steady_clock::now();
  if (in_flight || failing_ || (now < withdraw_at_ && withdrawn.size() < kWithdrawalsAtOnce)) return true;
  withdraw_at_ = now + kBetweenWithdrawals;
  const Result<std::vector<store::Withdrawal>> waiting = outbox_.withdrawals(kWithdrawalsAtOnce);
  if (!waiting) {
    fail(waiting.error());
    return false;
  }
  for (const store::Withdrawal& one : *waiting) {
    // What was sent before is erased there whenever it arrives, for the timestamps grow; but nothing of it
    // may be sent any more.
    for (auto& [place, sent] : window_) {
      if (sent.done || std::holds_alternative<Error>(sent.what.entry) || record_of(sent.what) != one.id)
        continue;
      sent.withdrawn = true;
      if (!sent.in_flight) finish(sent);
    }
    {
      const std::lock_guard lock(mutex_);
      ++withdrawals_in_flight_;
    }
    cluster_.withdraw(one, [this, id = one.id](Receipt receipt) {
      const std::lock_guard lock(mutex_);
      --withdrawals_in_flight_;
      if (receipt.delivery == Delivery::confirmed) withdrawn_.push_back(id);
      woken_ = true;
      changed_.notify_one();
    });
  }
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
