// Decoded pixels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace espy::image {

// One picture in shades of grey, row-major, 0 = black, 255 = white; width * height bytes, both at least 1.
struct GrayImage {
  int width = 0;
  int height = 0;
  std::vector<std::uint8_t> pixels;

  std::uint8_t at(int x, int y) const {
    return pixels[static_cast<std::size_t>(y) * static_cast<std::size_t>(width) +
                  static_cast<std::size_t>(x)];
  }
};

}  // namespace espy::image
