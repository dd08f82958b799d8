// A digit's lines, drawn with another pen.
#pragma once

#include "image/prepare.h"
#include "nn/random.h"

namespace espy::model {

// Returns the lines of a digit, straightened and redrawn with a pen of one width, slanted and turned a
// little: as digits look that are drawn with a mouse, typeset or shown on a display. The lines are the
// skeleton of what is brighter than half the brightest pixel (Zhang & Suen 1984, "A fast parallel algorithm
// for thinning digital patterns"), each straightened as far as it then strays at most 0.5 to 1.5 pixels
// (Douglas & Peucker 1973, "Algorithms for the reduction of the number of points required to represent a
// digitized line or its caricature"), fitted to 20x20 pixels and centred by their mass, as image::prepare
// does. An input without any light stays as it is.
image::Input redraw(const image::Input& input, nn::RandomSequence& random);

}  // namespace espy::model
