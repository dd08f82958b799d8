#include "base/huge_pages.h"

#include <gtest/gtest.h>

#include <vector>

namespace espy {
namespace {

TEST(HugePages, LeaveMemoryAsItIs) {
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{100}, std::size_t{5} << 20}) {
    std::vector<char> values;
    values.reserve(bytes);
    prefer_huge_pages(values.data(), bytes);
    values.assign(bytes, 'a');
    prefer_huge_pages(values.data(), bytes);
    EXPECT_EQ(values, std::vector<char>(bytes, 'a'));
  }
}

}  // namespace
}  // namespace espy
