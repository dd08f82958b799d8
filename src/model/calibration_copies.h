// Changed copies of held-out samples: what people, pens and cameras do to a picture without making it
// another.
#pragma once

#include <cstddef>

#include "image/prepare.h"

namespace espy::model {

// Returns a copy that is turned and moved a little, and whose strokes are thicker, thinner, blurred or paler
// to some degree. It depends on the input and `sample` alone.
image::Input worn_copy(const image::Input& input, std::size_t sample);

// Returns the lines of a digit, drawn with another pen (redraw.h). It depends on the input and `sample`
// alone.
image::Input redrawn_copy(const image::Input& input, std::size_t sample);

}  // namespace espy::model
