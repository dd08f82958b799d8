#include "model/augment.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace espy::model {
namespace {

constexpr std::size_t kSide = image::kInputSide;

// A bright block, left of the middle.
image::Input block() {
  image::Input input{};
  for (std::size_t row = 8; row < 20; ++row) {
    for (std::size_t column = 6; column < 12; ++column) input[row * kSide + column] = 255;
  }
  return input;
}

std::vector<float> augmented(const Augmentation& augmentation, std::uint64_t sample, std::uint64_t epoch) {
  std::vector<float> values(kSide * kSide);
  augment(block(), augmentation, 5, sample, epoch, values);
  return values;
}

double sum(const std::vector<float>& values) { return std::accumulate(values.begin(), values.end(), 0.0); }

TEST(Augment, nothing_to_change_leaves_the_input) {
  const std::vector<float> values = augmented({}, 3, 4);
  for (std::size_t i = 0; i < values.size(); ++i)
    EXPECT_EQ(values[i], static_cast<float>(block()[i]) / 255.0F);
}

TEST(Augment, depends_on_sample_and_epoch_alone) {
  const Augmentation warp = {.rotation = 12, .scale = 0.1F, .shear = 0.15F, .translation = 2};
  EXPECT_EQ(augmented(warp, 1, 1), augmented(warp, 1, 1));
  EXPECT_NE(augmented(warp, 1, 1), augmented(warp, 2, 1));
  EXPECT_NE(augmented(warp, 1, 1), augmented(warp, 1, 2));
}

TEST(Augment, a_warp_keeps_about_the_ink) {
  const Augmentation warp = {.rotation = 12, .scale = 0.1F, .shear = 0.15F, .translation = 2};
  for (std::uint64_t sample = 0; sample < 50; ++sample) {
    const std::vector<float> values = augmented(warp, sample, 0);
    EXPECT_NEAR(sum(values), 72, 72 * 0.25);
    EXPECT_GE(*std::ranges::min_element(values), 0);
    EXPECT_LE(*std::ranges::max_element(values), 1.0001F);
  }
}

TEST(Augment, shifts_by_every_whole_number_up_to_its_limit) {
  std::vector<int> rows_seen(5);
  for (std::uint64_t sample = 0; sample < 200; ++sample) {
    const std::vector<float> values = augmented({.shift = 2}, sample, 0);
    EXPECT_EQ(sum(values), 72);
    const auto first = std::ranges::find(values, 1.0F) - values.begin();
    const auto row = static_cast<std::size_t>(first) / kSide;
    ASSERT_GE(row, 6U);
    ASSERT_LE(row, 10U);
    ++rows_seen[row - 6];
  }
  EXPECT_GT(*std::ranges::min_element(rows_seen), 20);
}

TEST(Augment, mirrors_every_sample_in_every_other_epoch) {
  const Augmentation mirror = {.mirror = Mirror::every_other_epoch};
  int mirrored_first = 0;
  for (std::uint64_t sample = 0; sample < 100; ++sample) {
    const std::vector<float> first = augmented(mirror, sample, 0);
    const std::vector<float> second = augmented(mirror, sample, 1);
    EXPECT_EQ(first, augmented(mirror, sample, 2));
    for (std::size_t i = 0; i < first.size(); ++i) {
      ASSERT_EQ(first[i], second[i / kSide * kSide + kSide - 1 - i % kSide]);
    }
    mirrored_first += first == augmented({}, sample, 0) ? 0 : 1;
  }
  EXPECT_NEAR(mirrored_first, 50, 20);
}

TEST(Augment, elastic_distortion_displaces_by_its_standard_deviation) {
  // On a slope the value is the place, as long as nothing comes from outside.
  image::Input slope;
  for (std::size_t i = 0; i < slope.size(); ++i) slope[i] = static_cast<std::uint8_t>(i % kSide * 9);
  std::vector<float> values(kSide * kSide);
  double squares = 0;
  double steps = 0;
  int count = 0;
  for (std::uint64_t sample = 0; sample < 500; ++sample) {
    augment(slope, {.elastic = 1.4F}, 5, sample, 0, values);
    const auto place = [&](std::size_t row, std::size_t column) {
      return static_cast<double>(values[row * kSide + column]) * 255 / 9;
    };
    for (std::size_t row = 8; row < 20; row += 3) {
      for (std::size_t column = 8; column < 20; column += 3) {
        const double displacement = place(row, column) - static_cast<double>(column);
        squares += displacement * displacement;
        steps += std::pow(place(row, column + 1) - place(row, column) - 1, 2);
        ++count;
      }
    }
  }
  EXPECT_NEAR(std::sqrt(squares / count), 1.4, 0.1);
  // Fields smoothed by a Gaussian of sigma change by 1 / (sqrt(2) sigma) of it from one pixel to the next.
  EXPECT_NEAR(std::sqrt(steps / count), 1.4 / std::sqrt(2) / 4, 0.05);
}

TEST(Augment, elastic_distortion_joins_a_warp) {
  const Augmentation warp = {.rotation = 12, .translation = 2};
  Augmentation both = warp;
  both.elastic = 1;
  EXPECT_NE(augmented(warp, 1, 1), augmented(both, 1, 1));
  EXPECT_NEAR(sum(augmented(both, 1, 1)), 72, 72 * 0.35);
}

TEST(Augment, thickness_moves_the_edges_of_a_stroke) {
  double thinnest = 72;
  double thickest = 72;
  for (std::uint64_t sample = 0; sample < 200; ++sample) {
    const std::vector<float> values = augmented({.thickness = 0.8F}, sample, 0);
    EXPECT_FLOAT_EQ(*std::ranges::max_element(values), 1);
    EXPECT_GE(*std::ranges::min_element(values), 0);
    thinnest = std::min(thinnest, sum(values));
    thickest = std::max(thickest, sum(values));
  }
  // The block has 12 x 6 pixels, and both sides move; at the corners a little less.
  EXPECT_NEAR(thickest, 13.6 * 7.6, 4);
  EXPECT_NEAR(thinnest, 10.4 * 4.4, 4);
}

TEST(Augment, thickness_keeps_a_thin_stroke_as_bright) {
  image::Input line{};
  for (std::size_t row = 4; row < 24; ++row) line[row * kSide + 14] = 200;
  std::vector<float> values(kSide * kSide);
  for (std::uint64_t sample = 0; sample < 50; ++sample) {
    augment(line, {.thickness = 0.9F}, 5, sample, 0, values);
    EXPECT_NEAR(*std::ranges::max_element(values), 200.0F / 255, 1e-5);
  }
  augment(image::Input{}, {.thickness = 0.9F}, 5, 0, 0, values);
  EXPECT_EQ(sum(values), 0);
}

TEST(Augment, blur_spreads_a_dot_by_its_standard_deviation) {
  image::Input dot{};
  dot[14 * kSide + 14] = 255;
  std::vector<float> values(kSide * kSide);
  double widest = 0;
  for (std::uint64_t sample = 0; sample < 200; ++sample) {
    augment(dot, {.blur = 0.7F}, 5, sample, 0, values);
    double variance = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      variance += static_cast<double>(values[i]) * std::pow(static_cast<double>(i % kSide) - 14, 2);
    }
    EXPECT_NEAR(sum(values), 1, 1e-5);
    widest = std::max(widest, std::sqrt(variance));
  }
  EXPECT_NEAR(widest, 0.7, 0.03);
}

TEST(Augment, erases_a_box_of_some_pictures) {
  image::Input white;
  white.fill(255);
  std::vector<float> values(kSide * kSide);
  int erased = 0;
  for (std::uint64_t sample = 0; sample < 400; ++sample) {
    augment(white, {.erasing = 0.25F}, 5, sample, 0, values);
    if (sum(values) == kSide * kSide) continue;
    ++erased;
    std::size_t left = kSide;
    std::size_t right = 0;
    std::size_t top = kSide;
    std::size_t bottom = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (values[i] != 0) continue;
      left = std::min(left, i % kSide);
      right = std::max(right, i % kSide + 1);
      top = std::min(top, i / kSide);
      bottom = std::max(bottom, i / kSide + 1);
    }
    for (const std::size_t side : {right - left, bottom - top}) {
      EXPECT_GE(side, 4U);
      EXPECT_LE(side, 8U);
    }
    EXPECT_EQ(sum(values), static_cast<double>(kSide * kSide - (right - left) * (bottom - top)));
  }
  EXPECT_NEAR(erased, 100, 30);
}

}  // namespace
}  // namespace espy::model
