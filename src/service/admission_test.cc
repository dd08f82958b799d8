#include "service/admission.h"

#include <gtest/gtest.h>

#include <deque>

namespace espy::service {
namespace {

using namespace std::chrono_literals;
using Time = Admission::Time;

constexpr Time kStart{1h};

TEST(Admission, AdmitsWhileNothingWaits) {
  Admission admission(50ms);
  EXPECT_TRUE(admission.admits(kStart));
  admission.begin_turn(kStart);
  EXPECT_TRUE(admission.admits(kStart));
  admission.end_turn(kStart + 1s);  // one request that took long
  admission.begin_turn(kStart + 10s);
  EXPECT_EQ(admission.wait(kStart + 10s), 0s) << "the loop slept in between";
  EXPECT_TRUE(admission.admits(kStart + 10s));
}

TEST(Admission, RefusesWhoMayHaveWaitedThroughTheTurnBefore) {
  Admission admission(50ms);
  admission.begin_turn(kStart);
  EXPECT_TRUE(admission.admits(kStart + 50ms));
  EXPECT_FALSE(admission.admits(kStart + 51ms));
  admission.end_turn(kStart + 40ms);
  admission.begin_turn(kStart + 41ms);
  EXPECT_EQ(admission.wait(kStart + 45ms), 45ms);
  EXPECT_TRUE(admission.admits(kStart + 50ms));
  EXPECT_FALSE(admission.admits(kStart + 51ms));
}

TEST(Admission, RefusesWhileTheDiskLagsBehind) {
  Admission admission(50ms);
  admission.append(kStart);
  admission.append(kStart + 30ms);
  EXPECT_TRUE(admission.admits(kStart + 50ms));
  EXPECT_FALSE(admission.admits(kStart + 51ms));
  admission.settle(1);
  EXPECT_TRUE(admission.admits(kStart + 51ms));
  EXPECT_FALSE(admission.admits(kStart + 81ms));
  admission.settle(1);
  EXPECT_TRUE(admission.admits(kStart + 1h));
}

TEST(Admission, CountsTheTimeOfATurnOnce) {
  Admission admission(50ms);
  admission.append(kStart);
  admission.begin_turn(kStart + 10ms);
  admission.append(kStart + 20ms);
  EXPECT_EQ(admission.wait(kStart + 30ms), 30ms) << "10 before the turn, 20 in it";
  admission.settle(1);
  EXPECT_EQ(admission.wait(kStart + 30ms), 20ms) << "it went to the disk within the turn";
}

TEST(Admission, LetsSomeWaitHoweverMuchOneCosts) {
  Admission admission(50ms);
  for (int i = 0; i < 100; ++i) admission.add_cost(200ms);
  EXPECT_NEAR(std::chrono::duration<double>(admission.bound()).count(), 0.4, 0.01);
  for (int i = 0; i < 100; ++i) admission.add_cost(1ms);
  EXPECT_EQ(admission.bound(), 50ms);
}

// A loop that answers in 10 ms, to which requests come three times as fast.
TEST(Admission, HoldsTheBoundAtThreeTimesTheCapacity) {
  Admission admission(50ms);
  std::deque<Time> waiting;
  Time now = kStart;
  Time next = kStart;
  auto longest = Admission::Duration{};
  int answered = 0;
  int refused = 0;
  while (now < kStart + 60s) {
    std::deque<Time> ready;
    for (; next <= now; next += 3333us) waiting.push_back(next);
    ready.swap(waiting);
    if (ready.empty()) {
      now = next;
      continue;
    }
    admission.begin_turn(now);
    for (const Time came : ready) {
      if (!admission.admits(now)) {
        ++refused;
        now += 20us;
        continue;
      }
      now += 10ms;
      admission.add_cost(10ms);
      ++answered;
      longest = std::max(longest, now - came);
    }
    admission.end_turn(now);
  }
  EXPECT_LE(longest, 61ms);
  EXPECT_GE(answered, 5700) << "of the 6,000 that could be answered in a minute";
  EXPECT_GE(refused, 11000);
}

}  // namespace
}  // namespace espy::service
