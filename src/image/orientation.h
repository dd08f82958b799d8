// Which way up a camera was held. Private to the module.
#pragma once

#include <cstddef>
#include <span>

#include "image/gray_image.h"

namespace espy::image {

// Returns the orientation 1 to 8 that an EXIF block names (with or without its "Exif\0\0" prefix), or 1,
// upright, when the block names none or is broken: a picture with damaged metadata is still a picture.
int exif_orientation(std::span<const std::byte> exif);

// Turns and mirrors a picture that was stored with this orientation. Source: Exif 2.3, 4.6.4.A, tag 0x0112.
GrayImage upright(GrayImage picture, int orientation);

}  // namespace espy::image
