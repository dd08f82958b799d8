#include "http/rate_limit.h"

#include <gtest/gtest.h>

namespace espy::http {
namespace {

using namespace std::chrono_literals;

constexpr RateLimit::Time kStart{1h};

TEST(RateLimit, GivesASecondsTokensAtOnceAndThenOneAtATime) {
  RateLimit limit(10);
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(limit.take(1, kStart)) << i;
  EXPECT_EQ(limit.take(1, kStart), 100ms);
  EXPECT_EQ(limit.take(1, kStart + 40ms), 60ms) << "asking in vain costs nothing";
  EXPECT_FALSE(limit.take(1, kStart + 100ms));
  EXPECT_TRUE(limit.take(1, kStart + 100ms));
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(limit.take(1, kStart + 1h)) << "a full bucket does not overflow";
  EXPECT_TRUE(limit.take(1, kStart + 1h));
}

TEST(RateLimit, TakesLessThanOneASecond) {
  RateLimit limit(0.5);
  EXPECT_FALSE(limit.take(1, kStart));
  EXPECT_EQ(limit.take(1, kStart), 2s);
  EXPECT_FALSE(limit.take(1, kStart + 2s));
}

TEST(RateLimit, ClientsHaveBucketsOfTheirOwn) {
  RateLimit limit(1);
  for (std::uint64_t client = 1; client <= 1000; ++client) EXPECT_FALSE(limit.take(client, kStart));
  for (std::uint64_t client = 1; client <= 1000; ++client) EXPECT_TRUE(limit.take(client, kStart));
}

TEST(RateLimit, KnowsOneMoreClientThanItHasRoomFor) {
  RateLimit limit(100);
  constexpr std::uint64_t kApart = 8192;  // so that all want the same places
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(limit.take(1, kStart));
  for (std::uint64_t i = 1; i <= 10000; ++i) EXPECT_FALSE(limit.take(1 + i * kApart, kStart));
  EXPECT_TRUE(limit.take(1, kStart)) << "who has used up all is not forgotten for who has used little";
}

TEST(RateLimit, NobodyCanTellBeforehandByWhatHeIsKnown) {
  const RateLimit one(1);
  const RateLimit other(1);
  const std::array<std::byte, 4> address{};
  EXPECT_EQ(one.client_of(address), one.client_of(address));
  EXPECT_NE(one.client_of(address), other.client_of(address));
}

}  // namespace
}  // namespace espy::http
