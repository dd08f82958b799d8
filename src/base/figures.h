// Figures that one thread writes and every thread may read at any time: what is measured on the way of
// requests. Writing is a load, an addition and a store, without a lock, a locked instruction or an
// allocation. Each thread has figures of its own; whoever wants to know adds them up.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace espy {

// Threads: one writes, any read.
class Count {
 public:
  void add(std::uint64_t by = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
  }
  std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_ = 0;
};

// How often there was a value in each of some ranges, and the sum of all. `Bounds` are the ranges' upper
// ends, each included in its range, ascending; what is greater has a range of its own. Bounds and values have
// one unit.
template <const auto& Bounds>
class Distribution {
 public:
  static constexpr std::size_t kRanges = Bounds.size() + 1;

  // As it was at about one moment.
  struct Sum {
    std::array<std::uint64_t, kRanges> counts{};
    std::uint64_t total = 0;  // of the values

    Sum& operator+=(const Sum& other) {
      for (std::size_t i = 0; i < kRanges; ++i) counts[i] += other.counts[i];
      total += other.total;
      return *this;
    }
    std::uint64_t count() const {
      std::uint64_t count = 0;
      for (const std::uint64_t part : counts) count += part;
      return count;
    }
  };

  // Threads: one.
  void add(std::uint64_t value) {
    std::size_t range = 0;
    while (range < Bounds.size() && value > Bounds[range]) ++range;
    counts_[range].add();
    total_.add(value);
  }

  // Threads: any.
  Sum sum() const {
    Sum sum;
    for (std::size_t i = 0; i < kRanges; ++i) sum.counts[i] = counts_[i].value();
    sum.total = total_.value();
    return sum;
  }

 private:
  std::array<Count, kRanges> counts_{};
  Count total_;
};

// Nanoseconds, from the 10 µs that a small picture takes to be decoded to the seconds that nobody should
// wait; 1, 2.5 and 5 of each decade, so that a percentile read from them is off by at most a factor of 2.5.
inline constexpr std::array<std::uint64_t, 19> kDurationBounds = {
    10'000,      25'000,        50'000,        100'000,       250'000,       500'000,     1'000'000,
    2'500'000,   5'000'000,     10'000'000,    25'000'000,    50'000'000,    100'000'000, 250'000'000,
    500'000'000, 1'000'000'000, 2'500'000'000, 5'000'000'000, 10'000'000'000};

class Durations : public Distribution<kDurationBounds> {
 public:
  using Distribution::add;
  void add(std::chrono::nanoseconds duration) {
    add(static_cast<std::uint64_t>(duration.count() > 0 ? duration.count() : 0));
  }
};

}  // namespace espy
