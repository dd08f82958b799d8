#include "model/calibration_copies.h"

#include <gtest/gtest.h>

#include <cstddef>

#include "model/synthetic.h"

namespace espy::model {
namespace {

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
