// Changing a picture's size by area: every output pixel is the mean of the piece of the picture that it
// covers. Private to the module.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "image/gray_image.h"

namespace espy::image {

// A rectangle of pixels: columns left to right - 1, rows top to bottom - 1.
struct Box {
  int left = 0;
  int top = 0;
  int right = 0;
  int bottom = 0;

  int width() const { return right - left; }
  int height() const { return bottom - top; }
  bool is_empty() const { return left >= right || top >= bottom; }
  void include(int x, int y) {
    left = std::min(left, x);
    top = std::min(top, y);
    right = std::max(right, x + 1);
    bottom = std::max(bottom, y + 1);
  }
};

// Means of width x height equal pieces, row-major, in 1/256 of a shade. Exact integer arithmetic up to that
// last rounding, so the same everywhere, and a picture that keeps its size keeps its pixels.
std::vector<std::uint32_t> area_means(const GrayImage& picture, int width, int height);

// The same, rounded to shades.
GrayImage area_resize(const GrayImage& picture, int width, int height);

// Shrinks so that the longer side is at most this; a smaller picture is returned as it is.
GrayImage shrink_to(const GrayImage& picture, int longest_side);

// Returns what a picture was before each of its pixels became an equal square of them; a picture of which
// that cannot be is returned as it is.
GrayImage undo_enlargement(const GrayImage& picture);

// Enlarges a picture that is smaller than this, between pixels evenly (bilinear), to the first multiple that
// is not; a larger one is returned as it is.
GrayImage smoothly_enlarged(const GrayImage& picture, int shortest_side);

// Cuts a box out of a picture; the box may reach over the edges, where it is filled with this shade.
GrayImage crop(const GrayImage& picture, const Box& box, std::uint8_t outside);

}  // namespace espy::image
