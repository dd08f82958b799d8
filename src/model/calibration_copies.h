// Changed copies of held-out samples: what people, pens and cameras do to a picture without making it
// another.
#pragma once

#include <cstddef>

#include "image/prepare.h"

namespace espy::model {

// Returns a copy that is turned and moved a little, and whose strokes are thicker, thinner, blurred or paler
// to some degree. It depends on the input and `sample` alone.
image::Input worn_copy(const image::Input& input, std::size_t sample);

// Returns the lines of a digit, straightened and redrawn with a pen of one width, slanted and turned a
// little: as digits look that are drawn with a mouse, typeset or shown on a display. The lines are the
// skeleton of what is brighter than half the brightest pixel (Zhang & Suen 1984, "A fast parallel algorithm
// for thinning digital patterns"), each straightened as far as it then strays at most 0.5 to 1.5 pixels
// (Douglas & Peucker 1973, "Algorithms for the reduction of the number of points required to represent a
// digitized line or its caricature"), fitted to 20x20 pixels and centred by their mass, as image::prepare
// does. It depends on the input and `sample` alone.
image::Input redrawn_copy(const image::Input& input, std::size_t sample);

}  // namespace espy::model
