// Digits drawn as outlines. Private to the module.
#pragma once

#include <optional>

#include "image/gray_image.h"

namespace espy::image {

// Fills the strokes of a digit of which only the outline is drawn, with lines that are thin beside the
// strokes. `coverage` is cut to the digit. Returns how much of each pixel is ink then: all of it within, half
// of it on the lines, whose middle is the edge. Returns nothing for any other picture: where lines are broad,
// or where no narrow space between lines runs along most of the digit.
std::optional<GrayImage> filled_outline(const GrayImage& coverage);

}  // namespace espy::image
