#include "model/augment.h"

#include <array>
#include <cassert>
#include <cmath>
#include <cstddef>
#include <numbers>

#include "nn/random.h"

namespace espy::model {
namespace {

constexpr int kSide = image::kInputSide;
// Around the input lie enough zeros that no position needs a check of its own.
constexpr int kMargin = 2;
constexpr int kFramedSide = kSide + 2 * kMargin;

using Framed = std::array<float, static_cast<std::size_t>(kFramedSide* kFramedSide)>;

float draw(nn::RandomSequence& random, float limit) {
  return limit * static_cast<float>(2 * random.next_uniform() - 1);
}

// The inverse of the change: where in the input, from its centre, a pixel's value comes from.
struct Warp {
  float column_by_column = 1;
  float column_by_row = 0;
  float row_by_column = 0;
  float row_by_row = 1;
  float column_offset = 0;
  float row_offset = 0;
};

Warp draw_warp(const Augmentation& augmentation, nn::RandomSequence& random) {
  const float angle = draw(random, augmentation.rotation) * std::numbers::pi_v<float> / 180;
  const float column_scale = 1 + draw(random, augmentation.scale);
  const float row_scale = 1 + draw(random, augmentation.scale);
  const float shear = draw(random, augmentation.shear);
  const float cosine = std::cos(angle);
  const float sine = std::sin(angle);
  Warp warp{.column_by_column = cosine * column_scale,
            .column_by_row = (shear * cosine - sine) * column_scale,
            .row_by_column = sine * row_scale,
            .row_by_row = (cosine + shear * sine) * row_scale};
  warp.column_offset = draw(random, augmentation.translation);
  warp.row_offset = draw(random, augmentation.translation);
  return warp;
}

Framed frame(const image::Input& input) {
  Framed framed{};
  for (int row = 0; row < kSide; ++row) {
    for (int column = 0; column < kSide; ++column) {
      framed[static_cast<std::size_t>((row + kMargin) * kFramedSide + column + kMargin)] =
          static_cast<float>(input[static_cast<std::size_t>(row * kSide + column)]) / 255.0F;
    }
  }
  return framed;
}

void apply(const Warp& warp, const Framed& framed, std::span<float> values) {
  constexpr float kCentre = (kSide - 1) / 2.0F;
  constexpr float kLast = kFramedSide - 1.001F;  // whose right and lower neighbours exist
  std::size_t to = 0;
  for (int row = 0; row < kSide; ++row) {
    const float down = static_cast<float>(row) - kCentre;
    for (int column = 0; column < kSide; ++column) {
      const float across = static_cast<float>(column) - kCentre;
      const float x =
          warp.column_by_column * across + warp.column_by_row * down + warp.column_offset + kCentre + kMargin;
      const float y =
          warp.row_by_column * across + warp.row_by_row * down + warp.row_offset + kCentre + kMargin;
      // Far outside is as empty as the frame's edge.
      const float inside_x = std::fmin(std::fmax(x, 0.0F), kLast);
      const float inside_y = std::fmin(std::fmax(y, 0.0F), kLast);
      const auto left = static_cast<int>(inside_x);
      const auto top = static_cast<int>(inside_y);
      const float right_share = inside_x - static_cast<float>(left);
      const float lower_share = inside_y - static_cast<float>(top);
      const float* corner = framed.data() + top * kFramedSide + left;
      const float above = corner[0] + right_share * (corner[1] - corner[0]);
      const float below = corner[kFramedSide] + right_share * (corner[kFramedSide + 1] - corner[kFramedSide]);
      values[to++] = above + lower_share * (below - above);
    }
  }
}

bool warps(const Augmentation& augmentation) {
  return augmentation.rotation > 0 || augmentation.scale > 0 || augmentation.shear > 0 ||
         augmentation.translation > 0;
}

struct Shift {
  int across;
  int down;
};

void apply(const Shift& shift, bool mirrored, const image::Input& input, std::span<float> values) {
  std::size_t to = 0;
  for (int row = 0; row < kSide; ++row) {
    const int from_row = row + shift.down;
    for (int column = 0; column < kSide; ++column) {
      const int from_column = (mirrored ? kSide - 1 - column : column) + shift.across;
      const bool outside = from_row < 0 || from_row >= kSide || from_column < 0 || from_column >= kSide;
      values[to++] =
          outside
              ? 0.0F
              : static_cast<float>(input[static_cast<std::size_t>(from_row * kSide + from_column)]) / 255.0F;
    }
  }
}

}  // namespace

void augment(const image::Input& input, const Augmentation& augmentation, std::uint64_t seed,
             std::uint64_t sample, std::uint64_t epoch, std::span<float> values) {
  assert(values.size() == input.size());
  nn::RandomSequence random(
      nn::mix(nn::mix(seed + nn::kGoldenGamma * (sample + 1)) + nn::kGoldenGamma * (epoch + 1)));
  if (warps(augmentation)) {
    assert(augmentation.shift == 0 && augmentation.mirror == Mirror::never);
    return apply(draw_warp(augmentation, random), frame(input), values);
  }
  const auto draw_shift = [&] {
    const auto places = static_cast<std::uint64_t>(2 * augmentation.shift + 1);
    return static_cast<int>((random.next() >> 32) * places >> 32) - augmentation.shift;
  };
  Shift shift{};
  shift.across = draw_shift();
  shift.down = draw_shift();
  // Which half a sample belongs to does not follow its place in the data set, which may be sorted.
  const std::uint64_t half = nn::mix(seed ^ (sample + 1)) & 1;
  const bool mirrored = augmentation.mirror == Mirror::every_other_epoch && (epoch + half) % 2 == 0;
  apply(shift, mirrored, input, values);
}

}  // namespace espy::model
