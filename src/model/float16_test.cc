#include "model/float16.h"

#include <gtest/gtest.h>

#include <cmath>

namespace espy::model {
namespace {

TEST(Float16, EveryNumberOfTheFormatStaysWhatItIs) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = from_float16(static_cast<std::uint16_t>(bits));
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(from_float16(to_float16(value))));
    } else {
      ASSERT_EQ(to_float16(value), bits) << value;
    }
  }
  EXPECT_EQ(from_float16(0x3c00), 1);
  EXPECT_EQ(from_float16(0xc000), -2);
  EXPECT_EQ(from_float16(0x0001), 0x1p-24F);
  EXPECT_EQ(from_float16(0x7bff), kGreatestFloat16);
}

// What lies between two neighbours goes to the nearer, and from the middle to the even.
TEST(Float16, RoundsToTheNearest) {
  for (std::uint16_t bits = 0; bits < 0x7bff; ++bits) {
    const auto next = static_cast<std::uint16_t>(bits + 1);
    const float middle = (from_float16(bits) + from_float16(next)) / 2;  // exact
    ASSERT_EQ(to_float16(middle), bits % 2 == 0 ? bits : next) << middle;
    ASSERT_EQ(to_float16(std::nextafter(middle, 0.0F)), bits) << middle;
    ASSERT_EQ(to_float16(std::nextafter(middle, 1e9F)), next) << middle;
    ASSERT_EQ(to_float16(-std::nextafter(middle, 1e9F)), next | 0x8000) << middle;
  }
  EXPECT_EQ(from_float16(to_float16(65519.99F)), kGreatestFloat16);
  EXPECT_EQ(from_float16(to_float16(65520)), INFINITY);
  EXPECT_EQ(from_float16(to_float16(-3e38F)), -INFINITY);
}

}  // namespace
}  // namespace espy::model
