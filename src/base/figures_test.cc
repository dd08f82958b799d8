#include "base/figures.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <thread>

#include "base/process_status.h"

namespace espy {
namespace {

using std::chrono::microseconds;

TEST(Figures, ABoundIsInItsRange) {
  Durations durations;
  durations.add(microseconds(10));
  durations.add(microseconds(10) + std::chrono::nanoseconds(1));
  durations.add(microseconds(25));
  durations.add(std::chrono::seconds(11));
  durations.add(std::chrono::nanoseconds(-1));  // a clock that was set back counts as no time
  const Durations::Sum sum = durations.sum();
  EXPECT_EQ(sum.counts[0], 2u);
  EXPECT_EQ(sum.counts[1], 2u);
  EXPECT_EQ(sum.counts.back(), 1u);
  EXPECT_EQ(sum.count(), 5u);
  EXPECT_EQ(sum.total, 11'000'045'001u);
}

TEST(Figures, SumsOfSeveralThreadsAreWhole) {
  constexpr int kEach = 100'000;
  std::array<Durations, 2> durations;
  {
    std::jthread other([&] {
      for (int i = 0; i < kEach; ++i) durations[0].add(microseconds(3));
    });
    for (int i = 0; i < kEach; ++i) durations[1].add(microseconds(30));
    EXPECT_LE(durations[0].sum().count(), std::uint64_t{kEach});  // read while it is written
  }
  Durations::Sum sum = durations[0].sum();
  sum += durations[1].sum();
  EXPECT_EQ(sum.count(), std::uint64_t{2 * kEach});
  EXPECT_EQ(sum.total, std::uint64_t{kEach} * 33'000);
}

TEST(ProcessStatus, IsOfThisProcess) {
  if (std::getenv("ESPY_TEST_EMULATED") != nullptr) {
    GTEST_SKIP() << "qemu-user shows its programs a /proc/self/stat without threads and sizes";
  }
  const ProcessStatus status = read_process_status();
  EXPECT_GE(status.threads, 1u);
  EXPECT_GT(status.resident_bytes, 100'000u);
  EXPECT_GE(status.virtual_bytes, status.resident_bytes);
  EXPECT_GE(status.open_descriptors, 3u);
  EXPECT_GE(status.max_descriptors, status.open_descriptors);
  const auto now = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  EXPECT_LE(status.start_seconds, now + 2);  // /proc/stat has whole seconds
  EXPECT_GT(status.start_seconds, now - 3600);
}

}  // namespace
}  // namespace espy
