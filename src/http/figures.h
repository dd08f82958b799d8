// What is measured of requests and connections.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "base/figures.h"
#include "http/access_log.h"

namespace espy::http {

// Answers by the first digit of their status, 1 to 5.
inline constexpr std::size_t kStatusClasses = 5;

// One event loop's figures. Threads: the loop's writes, any read.
struct alignas(64) LoopFigures {
  explicit LoopFigures(std::size_t routes) : requests((routes + 1) * kStatusClasses) {}

  // From a request's last byte to its answer's leaving. Of a route (its place in the table; behind the last
  // one stand requests that no route took, and behind them guests' routes) and a status class.
  Durations& of(std::size_t route, int status) {
    return requests[route * kStatusClasses + static_cast<std::size_t>(status / 100 - 1)];
  }

  std::vector<Durations> requests;
  Count requests_begun;
  Count connections_opened;
  Count connections_closed;
  Count connections_refused;  // beyond the limit
  Count received_bytes;
  Count sent_bytes;
};

// The same, of all loops.
struct LoopTotals {
  std::vector<Durations::Sum> requests;  // as in LoopFigures
  std::uint64_t requests_begun = 0;
  std::uint64_t connections_opened = 0;
  std::uint64_t connections_closed = 0;
  std::uint64_t connections_refused = 0;
  std::uint64_t received_bytes = 0;
  std::uint64_t sent_bytes = 0;
};

// Threads: all functions may be called from any thread at once.
class Figures {
 public:
  explicit Figures(std::size_t routes) : routes_(routes) {}

  // Returns figures for one loop to write, which live as long as this.
  LoopFigures& open();

  LoopTotals totals() const;

  LineLog::Figures& access_log() { return access_log_; }
  const LineLog::Figures& access_log() const { return access_log_; }

 private:
  const std::size_t routes_;
  LineLog::Figures access_log_;
  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<LoopFigures>> loops_;
};

}  // namespace espy::http
