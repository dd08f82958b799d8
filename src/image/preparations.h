// The preparations behind prepare.h. Private to the module.
#pragma once

#include "image/gray_image.h"
#include "image/prepare.h"

namespace espy::image {

Input prepare_digit(const GrayImage& picture);
Input prepare_garment(const GrayImage& picture);

}  // namespace espy::image
