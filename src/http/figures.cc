#include "http/figures.h"

namespace espy::http {

LoopFigures& Figures::open() {
  const std::lock_guard lock(mutex_);
  return *loops_.emplace_back(std::make_unique<LoopFigures>(routes_));
}

LoopTotals Figures::totals() const {
  const std::lock_guard lock(mutex_);
  LoopTotals totals;
  totals.requests.resize((routes_ + 1) * kStatusClasses);
  for (const auto& loop : loops_) {
    // What ended is read before what began, so that there are never fewer of these.
    for (std::size_t i = 0; i < totals.requests.size(); ++i) totals.requests[i] += loop->requests[i].sum();
    totals.connections_closed += loop->connections_closed.value();
    totals.requests_begun += loop->requests_begun.value();
    totals.connections_opened += loop->connections_opened.value();
    totals.connections_refused += loop->connections_refused.value();
    totals.received_bytes += loop->received_bytes.value();
    totals.sent_bytes += loop->sent_bytes.value();
  }
  return totals;
}

}  // namespace espy::http
