#include "model/float16.h"

#include <bit>
#include <cmath>

namespace espy::model {
namespace {

constexpr std::uint16_t kInfinity = 0x7c00;
constexpr std::uint16_t kNan = 0x7e00;

// Below it, numbers are multiples of 2^-24: their exponent is the least there is.
constexpr float kLeastNormal = 0x1p-14F;

}  // namespace

std::uint16_t to_float16(float value) {
  const auto sign = static_cast<std::uint16_t>(std::signbit(value) ? 0x8000 : 0);
  const float size = std::abs(value);
  if (std::isnan(size)) return sign | kNan;
  if (size >= 65520) return sign | kInfinity;
  // Addition rounds to nearest even, and one float above 2^(-24 + 23) counts in steps of 2^-24.
  if (size < kLeastNormal) {
    return static_cast<std::uint16_t>(
        sign | (std::bit_cast<std::uint32_t>(size + 0.5F) - std::bit_cast<std::uint32_t>(0.5F)));
  }
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(size);
  constexpr int kDropped = 23 - 10;
  const std::uint32_t odd = (bits >> kDropped) & 1;
  const std::uint32_t rounded = bits + (1U << (kDropped - 1)) - 1 + odd;
  constexpr std::uint32_t kBias = (127 - 15) << 10;
  return static_cast<std::uint16_t>(sign | ((rounded >> kDropped) - kBias));
}

float from_float16(std::uint16_t bits) {
  const int exponent = (bits >> 10) & 31;
  const int fraction = bits & 1023;
  float size = 0;
  if (exponent == 31) {
    size = fraction == 0 ? INFINITY : NAN;
  } else if (exponent == 0) {
    size = std::ldexp(static_cast<float>(fraction), -24);
  } else {
    size = std::ldexp(static_cast<float>(1024 + fraction), exponent - 25);
  }
  return (bits & 0x8000) != 0 ? -size : size;
}

}  // namespace espy::model
