#include "nn/crew.h"

#include <gtest/gtest.h>

#include <atomic>
#include <vector>

namespace espy::nn {
namespace {

TEST(Crew, does_every_task_once_and_no_phase_before_the_last_is_done) {
  for (int threads = 1; threads <= 4; ++threads) {
    std::vector<std::atomic<int>> first(7);
    std::vector<std::atomic<int>> second(3);
    std::atomic<int> too_early = 0;
    Crew crew(threads, {{7, [&](int task, int) { ++first[static_cast<std::size_t>(task)]; }},
                        {0, [&](int, int) { ADD_FAILURE() << "there is no task in this phase"; }},
                        {3, [&](int task, int) {
                           const int round = ++second[static_cast<std::size_t>(task)];
                           for (const auto& count : first) too_early += count.load() != round ? 1 : 0;
                         }}});
    for (int round = 1; round <= 500; ++round) {
      crew.run();
      for (const auto& count : first) ASSERT_EQ(count.load(), round);
      for (const auto& count : second) ASSERT_EQ(count.load(), round);
    }
    EXPECT_EQ(too_early.load(), 0);
  }
}

TEST(Crew, shows_each_phase_what_the_one_before_it_wrote) {
  std::vector<int> values(64, 0);
  std::vector<int> sums(8, 0);
  Crew crew(3, {{64, [&](int task, int) { values[static_cast<std::size_t>(task)] += task; }},
                {8, [&](int task, int) {
                   for (std::size_t i = 0; i < 8; ++i) {
                     sums[static_cast<std::size_t>(task)] += values[static_cast<std::size_t>(task) * 8 + i];
                   }
                 }}});
  crew.run();
  int sum = 0;
  for (const int part : sums) sum += part;
  EXPECT_EQ(sum, 63 * 64 / 2);
}

TEST(Crew, is_taken_down_while_its_threads_sleep_or_were_never_used) {
  for (int round = 0; round < 100; ++round) {
    const Crew crew(4, {{1, [](int, int) {}}});
  }
}

}  // namespace
}  // namespace espy::nn
