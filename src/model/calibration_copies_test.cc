#include "model/calibration_copies.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <numeric>

namespace espy::model {
namespace {

constexpr std::size_t kSide = image::kInputSide;

// A seven of two thick strokes whose middle lies where preparation puts it.
image::Input make_seven() {
  image::Input input = {};
  for (std::size_t row = 4; row < 7; ++row) std::fill_n(input.begin() + row * kSide + 7, 14, 255);
  for (std::size_t row = 7; row < 24; ++row)
    std::fill_n(input.begin() + row * kSide + 18 - (row - 7) / 2, 3, 255);
  return input;
}

double ink(const image::Input& input) { return std::accumulate(input.begin(), input.end(), 0.0) / 255; }

TEST(WornCopy, IsLikeTheOriginalAndDependsOnTheSample) {
  const image::Input seven = make_seven();
  EXPECT_EQ(worn_copy(seven, 3), worn_copy(seven, 3));
  EXPECT_NE(worn_copy(seven, 3), worn_copy(seven, 4));
  for (std::size_t sample = 0; sample < 50; ++sample) {
    EXPECT_GT(ink(worn_copy(seven, sample)), 0.3 * ink(seven)) << sample;
    EXPECT_LT(ink(worn_copy(seven, sample)), 2 * ink(seven)) << sample;
  }
}

TEST(RedrawnCopy, DependsOnTheSample) {
  const image::Input seven = make_seven();
  EXPECT_EQ(redrawn_copy(seven, 3), redrawn_copy(seven, 3));
  EXPECT_NE(redrawn_copy(seven, 3), redrawn_copy(seven, 4));
}

}  // namespace
}  // namespace espy::model
