// Splits a loop over threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <thread>
#include <vector>

namespace espy::model {

// Calls work(first, last) for each part of [0, count) that is `part` long (the last may be shorter), on
// `threads` threads including the calling one. The parts do not depend on the number of threads. Each thread
// works with its own copy of `work`, so state that may not be shared can be held in it.
template <typename Work>
void for_each_part(std::size_t count, std::size_t part, int threads, Work work) {
  const std::size_t parts = (count + part - 1) / part;
  std::atomic<std::size_t> next = 0;
  auto run = [&, work]() mutable {
    for (std::size_t i = next++; i < parts; i = next++) work(i * part, std::min(count, (i + 1) * part));
  };
  std::vector<std::jthread> others;
  for (std::size_t i = 1; i < std::min(parts, static_cast<std::size_t>(std::max(threads, 1))); ++i) {
    others.emplace_back(run);
  }
  run();
}

}  // namespace espy::model
