#include "model/augment.h"

#include <gtest/gtest.h>

#include <algorithm>
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

}  // namespace
}  // namespace espy::model
