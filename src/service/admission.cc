#include "service/admission.h"

#include <algorithm>
#include <cassert>

namespace espy::service {

void Admission::begin_turn(Time now) {
  assert(!in_turn_);
  in_turn_ = true;
  // After a turn's end the loop still writes its answers and reads what came in the meantime, for less than
  // the turn took. When it was longer, the loop had nothing to do.
  const Duration last = turn_ended_ - turn_began_;
  turn_before_ = now - turn_ended_ <= last ? now - turn_began_ : Duration{};
  turn_began_ = now;
}

void Admission::end_turn(Time now) {
  assert(in_turn_);
  in_turn_ = false;
  turn_ended_ = now;
}

Admission::Duration Admission::wait(Time now) const {
  const Duration in_loop = in_turn_ ? turn_before_ + (now - turn_began_) : Duration{};
  if (on_the_way_.empty()) return in_loop;
  // Records wait while the turn goes on: what they have waited in it, it has counted.
  const Duration on_disk = (in_turn_ ? turn_began_ : now) - on_the_way_.front();
  return in_loop + std::max(on_disk, Duration{});
}

void Admission::add_cost(Duration cost) {
  // A weight of an eighth, as TCP's mean of round trips has it (RFC 6298).
  cost_ += (cost - cost_) / 8;
}

void Admission::settle(std::size_t records) {
  on_the_way_.erase(on_the_way_.begin(),
                    on_the_way_.begin() + static_cast<std::ptrdiff_t>(std::min(records, on_the_way_.size())));
}

}  // namespace espy::service
