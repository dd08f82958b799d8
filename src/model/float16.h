// Numbers of IEEE 754's binary16 format: 1 bit of sign, 5 of exponent, 10 of fraction.
#pragma once

#include <cstdint>

namespace espy::model {

inline constexpr float kGreatestFloat16 = 65504;

// Returns the nearest number of the format, of two equally near the even one; infinity from 65,520 on. A NaN
// stays one.
std::uint16_t to_float16(float value);

// Exact.
float from_float16(std::uint16_t bits);

}  // namespace espy::model
