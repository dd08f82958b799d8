#include "base/time_slice.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <thread>

namespace espy {
namespace {

TEST(TimeSlice, LeavesThePriorityAsItIs) {
  std::thread([] {
    ASSERT_EQ(::setpriority(PRIO_PROCESS, 0, 3), 0);
    prefer_short_time_slices();
    EXPECT_EQ(::getpriority(PRIO_PROCESS, 0), 3);
  }).join();
}

}  // namespace
}  // namespace espy
