#include "base/processors.h"

#include <gtest/gtest.h>

#include <thread>

namespace espy {
namespace {

TEST(Processors, AQuotaIsRoundedUp) {
  EXPECT_EQ(processors_in_quota("200000 100000\n"), 2);
  EXPECT_EQ(processors_in_quota("150000 100000\n"), 2);
  EXPECT_EQ(processors_in_quota("1000 100000\n"), 1);
  EXPECT_EQ(processors_in_quota("9223372036854775807 1"), 2147483647);
  for (const char* none :
       {"max 100000\n", "", "x", "100000", "100000 ", "0 100000", "100000 0", "-1 100000"}) {
    EXPECT_EQ(processors_in_quota(none), std::nullopt) << none;
  }
}

TEST(Processors, AreNotMoreThanThereAre) {
  EXPECT_GE(usable_processors(), 1);
  EXPECT_LE(usable_processors(), static_cast<int>(std::max(1u, std::thread::hardware_concurrency())));
}

}  // namespace
}  // namespace espy
