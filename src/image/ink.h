// Telling ink from paper. Private to the module.
#pragma once

#include <optional>

#include "image/gray_image.h"
#include "image/resample.h"

namespace espy::image {

// A picture whose lightest and darkest shade are less than this apart (6 % of the scale) shows nothing: paper
// under a lamp and the noise of a camera stay below, pencil on paper above it.
inline constexpr int kLeastContrast = 16;

struct Ink {
  // How much of each pixel is ink: 0 none, 255 all.
  GrayImage coverage;
  // What ink covers at least half.
  Box box;
};

// Finds what is written in a picture, be it dark on light or light on dark, drawn or photographed in uneven
// light; specks and what hangs in from the edges do not count where there is other ink. A large picture is
// shrunk first, so coverage may be smaller than the picture. Returns nothing where there is no ink.
// Sources: Otsu, "A threshold selection method from gray-level histograms", 1979; Canny, "A computational
//   approach to edge detection", 1986 (two thresholds: a weak pixel counts if it hangs together with a strong
//   one); Serra, "Image analysis and mathematical morphology", 1982 (the paper as the closing of a picture).
std::optional<Ink> find_ink(const GrayImage& picture);

}  // namespace espy::image
