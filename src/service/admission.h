// Whether one more request can be answered in time, or is better refused at once.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <deque>

namespace espy::service {

// What waits at one lane, and since when. Two queues lie before an answer, and the age of each is known:
// - Requests that came while the loop was in the middle of a turn wait in the kernel until the next one. Who
//   is read at a moment of this turn came after the poll that began the turn before, at most; so its wait is
//   at most the time since then.
// - Records wait for the disk. The oldest one's age is what the queue in front of the disk costs: by Little's
//   law (a queue's length is its rate times its wait) it grows with the queue's length and with the time of a
//   commit, and unlike an estimate from these two it needs no model of how commits share an fsync.
// A request is refused when both together exceed the bound. This is CoDel's view (Nichols and Jacobson,
// "Controlling Queue Delay", 2012): time in the queue, not length, says whether a queue is too long, and it
// needs no knob for another machine, model or disk. CoDel drops slowly, since its senders slow down when it
// does; clients of HTTP do not, so here everything beyond the bound is refused, which holds the bound at any
// load.
// Threads: one thread at a time.
class Admission {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Duration = std::chrono::steady_clock::duration;

  // Of requests that cost much themselves a few may always wait: so many times what one takes. With it a
  // queue makes an answer at most three times as late as one without a queue, however slow the one is.
  static constexpr int kLeastQueue = 2;

  explicit Admission(Duration longest_wait) : longest_wait_(longest_wait) {}

  // A turn of the loop begins with the first request that is read in it, and ends when all that was ready has
  // been worked on.
  bool in_turn() const { return in_turn_; }
  void begin_turn(Time now);
  void end_turn(Time now);

  // Returns whether a request that is read now can be answered in time.
  bool admits(Time now) const { return wait(now) <= bound(); }

  // Returns how long a request that is read now has waited at most, and will for those before it.
  Duration wait(Time now) const;

  // Returns the longest wait that is let happen.
  Duration bound() const { return std::max(longest_wait_, kLeastQueue * cost_); }

  // What one request took of the loop, without waiting.
  void add_cost(Duration cost);

  // A record has gone to the disk; so many have come back, the oldest first.
  void append(Time now) { on_the_way_.push_back(now); }
  void settle(std::size_t records);

 private:
  const Duration longest_wait_;
  bool in_turn_ = false;
  Time turn_began_{};
  Time turn_ended_{};
  Duration turn_before_{};  // how long the turn before took; 0 when the loop slept in between
  Duration cost_{};         // a moving mean
  std::deque<Time> on_the_way_;
};

}  // namespace espy::service
