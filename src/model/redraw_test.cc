#include "model/redraw.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "model/synthetic.h"

namespace espy::model {
namespace {

constexpr std::size_t kSide = image::kInputSide;

image::Input redrawn(const image::Input& input, std::uint64_t seed) {
  nn::RandomSequence random(seed);
  return redraw(input, random);
}

// Pixels from the centre of pixel (14, 14)'s upper left corner, as image::prepare centres.
double distance_from_centre(const image::Input& input) {
  double across = 0;
  double down = 0;
  for (std::size_t i = 0; i < input.size(); ++i) {
    across += input[i] * (static_cast<double>(i % kSide) + 0.5);
    down += input[i] * (static_cast<double>(i / kSide) + 0.5);
  }
  const double sum = 255 * ink(input);
  return std::max(std::abs(across / sum - 14), std::abs(down / sum - 14));
}

TEST(Redraw, IsNormalizedAndHasPensOfManyWidths) {
  const image::Input seven = make_seven();
  double least = 784;
  double greatest = 0;
  for (std::size_t sample = 0; sample < 50; ++sample) {
    const image::Input copy = redrawn(seven, sample);
    least = std::min(least, ink(copy));
    greatest = std::max(greatest, ink(copy));
    EXPECT_LT(distance_from_centre(copy), 1) << sample;
    std::size_t top = kSide;
    std::size_t bottom = 0;
    for (std::size_t i = 0; i < copy.size(); ++i) {
      if (copy[i] < 128) continue;
      top = std::min(top, i / kSide);
      bottom = std::max(bottom, i / kSide);
    }
    EXPECT_NEAR(static_cast<double>(bottom - top + 1), 20, 2) << sample;
  }
  EXPECT_LT(least, 60);
  EXPECT_GT(greatest, 100);
}

// A ring stays closed: lines meet where the skeleton does.
TEST(Redraw, KeepsWhatIsJoinedTogether) {
  image::Input ring = {};
  for (std::size_t row = 6; row < 22; ++row) {
    for (std::size_t column = 8; column < 20; ++column) {
      const bool inside = row >= 9 && row < 19 && column >= 11 && column < 17;
      ring[row * kSide + column] = inside ? 0 : 255;
    }
  }
  for (std::size_t sample = 0; sample < 50; ++sample) {
    const image::Input copy = redrawn(ring, sample);
    // From outside no path of empty pixels leads to the middle.
    image::Input reached = {};
    reached[0] = 1;
    for (bool grows = true; grows;) {
      grows = false;
      for (std::size_t i = 0; i < copy.size(); ++i) {
        if (reached[i] != 0 || copy[i] > 60) continue;
        const std::size_t column = i % kSide;
        const bool beside =
            (column > 0 && reached[i - 1] != 0) || (column + 1 < kSide && reached[i + 1] != 0) ||
            (i >= kSide && reached[i - kSide] != 0) || (i + kSide < copy.size() && reached[i + kSide] != 0);
        if (beside) reached[i] = 1, grows = true;
      }
    }
    EXPECT_EQ(reached[14 * kSide + 14], 0) << sample;
  }
}

TEST(Redraw, TakesBlankAndTinyInputs) {
  EXPECT_EQ(redrawn({}, 1), image::Input{});
  image::Input dot = {};
  dot[14 * kSide + 14] = 255;
  EXPECT_GT(ink(redrawn(dot, 1)), 0.5);
  image::Input full;
  full.fill(255);
  EXPECT_GT(ink(redrawn(full, 1)), 0.5);
}

}  // namespace
}  // namespace espy::model
