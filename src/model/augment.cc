#include "model/augment.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
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

// What a network reads of bytes (image/prepare.h).
void read_values(const std::uint8_t* from, int count, float* to) {
  for (int i = 0; i < count; ++i) to[i] = static_cast<float>(from[i]) / 255.0F;
}

Framed frame(const image::Input& input) {
  Framed framed{};
  for (int row = 0; row < kSide; ++row) {
    read_values(input.data() + row * kSide, kSide, framed.data() + (row + kMargin) * kFramedSide + kMargin);
  }
  return framed;
}

// A smooth random field is a sum of cubic B-splines, one at each knot of a grid, with random weights (Lee,
// Wolberg & Shin 1997, "Scattered data interpolation with multilevel B-splines"). A cubic B-spline on knots h
// apart is within 2 % of a Gaussian of standard deviation h / sqrt(3): at 7 pixels that is Simard's sigma of
// 4, for the price of 49 random numbers rather than 784 and of 4 taps rather than 25.
constexpr int kKnotDistance = 7;
constexpr int kKnots = kSide / kKnotDistance + 3;
static_assert(kSide % kKnotDistance == 0);

using Field = std::array<float, static_cast<std::size_t>(kSide* kSide)>;

// The weights of the four knots around a pixel's centre, for each place between two knots.
constexpr std::array<std::array<float, 4>, kKnotDistance> kSplineWeights = [] {
  std::array<std::array<float, 4>, kKnotDistance> weights{};
  for (int place = 0; place < kKnotDistance; ++place) {
    const float t = (static_cast<float>(place) + 0.5F) / kKnotDistance;
    const float rest = 1 - t;
    weights[static_cast<std::size_t>(place)] = {rest * rest * rest / 6, (3 * t * t * t - 6 * t * t + 4) / 6,
                                                (3 * rest * rest * rest - 6 * rest * rest + 4) / 6,
                                                t * t * t / 6};
  }
  return weights;
}();

Field draw_field(float standard_deviation, nn::RandomSequence& random) {
  // A number drawn evenly up to a limit has limit / sqrt(3) as standard deviation; the squares of the weights
  // sum up to 0.479 on average over the places, in each of two directions.
  const float limit = standard_deviation * std::numbers::sqrt3_v<float> / 0.479F;
  std::array<std::array<float, kKnots>, kKnots> knots;
  for (auto& row : knots) {
    for (float& knot : row) knot = draw(random, limit);
  }
  Field field;
  for (int row = 0; row < kSide; ++row) {
    const auto first = static_cast<std::size_t>(row / kKnotDistance);
    const std::array<float, 4>& down = kSplineWeights[static_cast<std::size_t>(row % kKnotDistance)];
    std::array<float, kKnots> line;
    for (std::size_t knot = 0; knot < kKnots; ++knot) {
      line[knot] = down[0] * knots[first][knot] + down[1] * knots[first + 1][knot] +
                   down[2] * knots[first + 2][knot] + down[3] * knots[first + 3][knot];
    }
    float* to = field.data() + row * kSide;
    for (std::size_t left = 0; left < kKnots - 3; ++left) {
      for (const std::array<float, 4>& across : kSplineWeights) {
        *to++ = across[0] * line[left] + across[1] * line[left + 1] + across[2] * line[left + 2] +
                across[3] * line[left + 3];
      }
    }
  }
  return field;
}

// How much further away each pixel's value comes from; two fields of zeros without elastic distortion.
struct Displacement {
  Field across{};
  Field down{};
};

void apply(const Warp& warp, const Displacement& displacement, const Framed& framed,
           std::span<float> values) {
  constexpr float kCentre = (kSide - 1) / 2.0F;
  constexpr float kLast = kFramedSide - 1.001F;  // whose right and lower neighbours exist
  std::size_t to = 0;
  for (int row = 0; row < kSide; ++row) {
    const float down = static_cast<float>(row) - kCentre;
    for (int column = 0; column < kSide; ++column) {
      const float across = static_cast<float>(column) - kCentre;
      const float x = warp.column_by_column * across + warp.column_by_row * down + warp.column_offset +
                      displacement.across[to] + kCentre + kMargin;
      const float y = warp.row_by_column * across + warp.row_by_row * down + warp.row_offset +
                      displacement.down[to] + kCentre + kMargin;
      // Far outside is as empty as the frame's edge.
      const float inside_x = std::clamp(x, 0.0F, kLast);
      const float inside_y = std::clamp(y, 0.0F, kLast);
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
         augmentation.translation > 0 || augmentation.elastic > 0;
}

struct Shift {
  int across;
  int down;
};

void apply(const Shift& shift, bool mirrored, const image::Input& input, std::span<float> values) {
  std::ranges::fill(values, 0.0F);
  const int first = std::max(0, -shift.across);
  const int count = kSide - std::abs(shift.across);
  for (int row = std::max(0, -shift.down); row < std::min(kSide, kSide - shift.down); ++row) {
    const std::uint8_t* from = input.data() + (row + shift.down) * kSide + first + shift.across;
    float* line = values.data() + row * kSide;
    read_values(from, count, line + first);
    if (mirrored) std::reverse(line, line + kSide);
  }
}

Framed frame(std::span<const float> values) {
  Framed framed{};
  for (int row = 0; row < kSide; ++row) {
    std::copy_n(values.begin() + row * kSide, kSide,
                framed.begin() + (row + kMargin) * kFramedSide + kMargin);
  }
  return framed;
}

// Moves the edges of strokes by `pixels`, outwards when positive. Along a straight edge the next pixel's
// share of ink grows by what the edge moves; a cross of neighbours alone would move slanted edges by 0.7 as
// much and a square of them by 1.4, so their mean is taken.
template <typename Stronger>
void move_edges(float share, Stronger stronger, std::span<float> values) {
  const Framed framed = frame(std::span<const float>(values));
  const float brightest = *std::max_element(values.begin(), values.end());
  float brightest_after = 0;
  for (int row = 0; row < kSide; ++row) {
    const float* above = framed.data() + (row + kMargin - 1) * kFramedSide + kMargin;
    const float* here = above + kFramedSide;
    const float* below = here + kFramedSide;
    float* to = values.data() + row * kSide;
    for (int column = 0; column < kSide; ++column) {
      const float cross = stronger(here[column], stronger(stronger(here[column - 1], here[column + 1]),
                                                          stronger(above[column], below[column])));
      const float square = stronger(cross, stronger(stronger(above[column - 1], above[column + 1]),
                                                    stronger(below[column - 1], below[column + 1])));
      to[column] = here[column] + share * ((cross + square) / 2 - here[column]);
      brightest_after = std::max(brightest_after, to[column]);
    }
  }
  if (brightest_after == 0) return;
  for (float& value : values) value *= brightest / brightest_after;
}

void change_thickness(float pixels, std::span<float> values) {
  const auto more = [](float a, float b) { return a > b ? a : b; };
  const auto less = [](float a, float b) { return a < b ? a : b; };
  pixels > 0 ? move_edges(pixels, more, values) : move_edges(-pixels, less, values);
}

void blur(float standard_deviation, std::span<float> values) {
  // At 1 pixel, 5 % of a Gaussian lie further out than two pixels; the others' share grows accordingly.
  static_assert(kMargin >= 2);
  const float decay = -0.5F / std::max(standard_deviation * standard_deviation, 1e-6F);
  const float one = std::exp(decay);
  const float two = std::exp(4 * decay);
  const float sum = 1 + 2 * one + 2 * two;
  const auto mean = [&](const float* at, int step) {
    return (at[0] + one * (at[-step] + at[step]) + two * (at[-2 * step] + at[2 * step])) / sum;
  };
  Framed framed = frame(std::span<const float>(values));
  for (int row = 0; row < kSide; ++row) {
    const float* from = framed.data() + (row + kMargin) * kFramedSide + kMargin;
    for (int column = 0; column < kSide; ++column)
      values[static_cast<std::size_t>(row * kSide + column)] = mean(from + column, 1);
  }
  framed = frame(std::span<const float>(values));
  for (int row = 0; row < kSide; ++row) {
    const float* from = framed.data() + (row + kMargin) * kFramedSide + kMargin;
    for (int column = 0; column < kSide; ++column)
      values[static_cast<std::size_t>(row * kSide + column)] = mean(from + column, kFramedSide);
  }
}

// One of `choices` numbers from 0.
int draw_whole(nn::RandomSequence& random, int choices) {
  return static_cast<int>((random.next() >> 32) * static_cast<std::uint64_t>(choices) >> 32);
}

void erase_box(nn::RandomSequence& random, std::span<float> values) {
  constexpr int kLeast = 4;
  constexpr int kMost = 8;
  const int width = kLeast + draw_whole(random, kMost - kLeast + 1);
  const int height = kLeast + draw_whole(random, kMost - kLeast + 1);
  const int left = draw_whole(random, kSide - width + 1);
  const int top = draw_whole(random, kSide - height + 1);
  for (int row = top; row < top + height; ++row)
    std::fill_n(values.begin() + row * kSide + left, width, 0.0F);
}

// What moves pixels.
void displace(const image::Input& input, const Augmentation& augmentation, std::uint64_t seed,
              std::uint64_t sample, std::uint64_t epoch, nn::RandomSequence& random,
              std::span<float> values) {
  if (warps(augmentation)) {
    assert(augmentation.shift == 0 && augmentation.mirror == Mirror::never);
    const Warp warp = draw_warp(augmentation, random);
    Displacement displacement;
    if (augmentation.elastic > 0) {
      displacement.across = draw_field(augmentation.elastic, random);
      displacement.down = draw_field(augmentation.elastic, random);
    }
    return apply(warp, displacement, frame(input), values);
  }
  const auto draw_shift = [&] { return draw_whole(random, 2 * augmentation.shift + 1) - augmentation.shift; };
  Shift shift{};
  shift.across = draw_shift();
  shift.down = draw_shift();
  // Which half a sample belongs to does not follow its place in the data set, which may be sorted.
  const std::uint64_t half = nn::mix(seed ^ (sample + 1)) & 1;
  const bool mirrored = augmentation.mirror == Mirror::every_other_epoch && (epoch + half) % 2 == 0;
  apply(shift, mirrored, input, values);
}

}  // namespace

void augment(const image::Input& input, const Augmentation& augmentation, std::uint64_t seed,
             std::uint64_t sample, std::uint64_t epoch, std::span<float> values) {
  assert(values.size() == input.size());
  assert(augmentation.thickness <= 1 && augmentation.blur <= 1);
  nn::RandomSequence random(
      nn::mix(nn::mix(seed + nn::kGoldenGamma * (sample + 1)) + nn::kGoldenGamma * (epoch + 1)));
  displace(input, augmentation, seed, sample, epoch, random, values);
  if (augmentation.thickness > 0) change_thickness(draw(random, augmentation.thickness), values);
  if (augmentation.blur > 0) blur(augmentation.blur * static_cast<float>(random.next_uniform()), values);
  if (augmentation.erasing > 0 && random.next_uniform() < augmentation.erasing) erase_box(random, values);
}

}  // namespace espy::model
