#include "model/calibration_copies.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <span>

#include "model/augment.h"
#include "model/redraw.h"
#include "nn/random.h"

namespace espy::model {
namespace {

constexpr std::size_t kSide = image::kInputSide;
constexpr std::size_t kPixels = kSide * kSide;
constexpr std::uint64_t kSeed = 1;

float at(std::span<const float> values, std::size_t row, std::size_t column) {
  return values[row * kSide + column];
}

// Fills `changed` with combine(the pixel, the eight around it) within, zeros outside counting as pixels.
template <typename Combine>
void filter(std::span<const float> values, std::span<float> changed, const Combine& combine) {
  for (std::size_t row = 0; row < kSide; ++row) {
    for (std::size_t column = 0; column < kSide; ++column) {
      std::array<float, 9> window = {};
      for (std::size_t k = 0; k < 9; ++k) {
        const std::size_t y = row + k / 3;
        const std::size_t x = column + k % 3;
        if (y >= 1 && y <= kSide && x >= 1 && x <= kSide) window[k] = at(values, y - 1, x - 1);
      }
      changed[row * kSide + column] = combine(window);
    }
  }
}

float binomial(const std::array<float, 9>& window) {
  return (window[0] + window[2] + window[6] + window[8]) / 16 +
         (window[1] + window[3] + window[5] + window[7]) / 8 + window[4] / 4;
}

nn::RandomSequence random_of(std::uint64_t seed, std::size_t sample) {
  return nn::RandomSequence(nn::mix(seed + nn::kGoldenGamma * (sample + 1)));
}

image::Input to_input(const std::array<float, kPixels>& values) {
  image::Input input;
  std::ranges::transform(values, input.begin(), [](float value) {
    return static_cast<std::uint8_t>(std::clamp(value * 255, 0.0F, 255.0F));
  });
  return input;
}

}  // namespace

image::Input worn_copy(const image::Input& input, std::size_t sample) {
  constexpr Augmentation kTurn = {.rotation = 12, .scale = 0.05F, .translation = 1};
  std::array<float, kPixels> turned;
  augment(input, kTurn, kSeed, sample, 0, turned);
  nn::RandomSequence random = random_of(kSeed, sample);
  const auto kind = static_cast<int>(4 * random.next_uniform());
  auto degree = static_cast<float>(random.next_uniform());
  std::array<float, kPixels> changed;
  if (kind < 2) {
    constexpr float kMostDegree = 0.6F;  // a whole pixel on each side is as much as a thin stroke has
    degree *= kMostDegree;
    filter(turned, changed, [kind](const auto& window) {
      return kind == 0 ? *std::ranges::max_element(window) : *std::ranges::min_element(window);
    });
  } else if (kind == 2) {
    filter(turned, changed, binomial);
  } else {
    constexpr float kGamma = 1.6F;
    std::ranges::transform(turned, changed.begin(), [](float value) { return std::pow(value, kGamma); });
  }
  for (std::size_t i = 0; i < kPixels; ++i) changed[i] = turned[i] + degree * (changed[i] - turned[i]);
  return to_input(changed);
}

image::Input redrawn_copy(const image::Input& input, std::size_t sample) {
  nn::RandomSequence random = random_of(kSeed + 1, sample);
  return redraw(input, random);
}

}  // namespace espy::model
