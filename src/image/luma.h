// Colour to luma, transparency over white. Private to the module.
#pragma once

#include <cstddef>
#include <cstdint>

namespace espy::image {

// ITU-R BT.601 luma in thousandths.
constexpr std::uint32_t luma_thousandths(std::uint32_t red, std::uint32_t green, std::uint32_t blue) {
  return 299 * red + 587 * green + 114 * blue;
}

constexpr std::uint8_t luma(std::uint32_t red, std::uint32_t green, std::uint32_t blue) {
  return static_cast<std::uint8_t>((luma_thousandths(red, green, blue) + 500) / 1000);
}

// The luma of a colour that covers alpha / 255 of white; rounded once.
constexpr std::uint8_t luma_over_white(std::uint32_t red, std::uint32_t green, std::uint32_t blue,
                                       std::uint32_t alpha) {
  const std::uint32_t sum = alpha * luma_thousandths(red, green, blue) + (255 - alpha) * 255'000;
  return static_cast<std::uint8_t>((sum + 127'500) / 255'000);
}

// How many bytes a pixel has, and what they mean.
enum class Samples : std::size_t { gray = 1, gray_alpha = 2, rgb = 3, rgba = 4 };

// Writes the luma of a row of pixels.
inline void row_to_luma(const std::uint8_t* row, std::size_t pixels, Samples samples, std::uint8_t* to) {
  switch (samples) {
    case Samples::gray:
      for (std::size_t i = 0; i < pixels; ++i) to[i] = row[i];
      break;
    case Samples::gray_alpha:
      for (std::size_t i = 0; i < pixels; ++i, row += 2) {
        to[i] = luma_over_white(row[0], row[0], row[0], row[1]);
      }
      break;
    case Samples::rgb:
      for (std::size_t i = 0; i < pixels; ++i, row += 3) to[i] = luma(row[0], row[1], row[2]);
      break;
    case Samples::rgba:
      for (std::size_t i = 0; i < pixels; ++i, row += 4) {
        to[i] = luma_over_white(row[0], row[1], row[2], row[3]);
      }
      break;
  }
}

}  // namespace espy::image
