// From an image to what a network sees. Training and serving both come through here; there is no second road.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "image/gray_image.h"

namespace espy::image {

inline constexpr int kInputSide = 28;

// What a network sees: 28 rows of 28, row-major, 255 = ink, 0 = paper. A network reads value / 255, so that
// ink is 1. Bytes rather than floats because MNIST's own normalisation ends in bytes, and because the bytes
// that a record keeps then are exactly the ones that were answered.
using Input = std::array<std::uint8_t, kInputSide * kInputSide>;

// How pictures are prepared is a property of the model, stored in the model file under these names.
enum class Preparation {
  digit,    // ink scaled to fit 20x20, centred by its centre of mass
  garment,  // trimmed, fitted to 28x28, negated when the background is light
  plain,    // resized to 28x28
};

// Returns the enumerator's own spelling.
std::string_view to_string(Preparation preparation);
std::optional<Preparation> parse_preparation(std::string_view name);

// Prepares a picture the way its model was trained to see pictures.
//
// digit: finds whether ink is darker or lighter than its background, flattens uneven light, keeps the ink and
//   follows MNIST's own normalisation: bounding box, 20x20 box keeping the aspect ratio by area coverage,
//   centre of mass in pixel 14. A picture that already has MNIST's form (28x28, such a box, such a centre) is
//   returned unchanged, or negated when it is dark on light. Uneven light, haze, impulse noise in a small
//   picture, ruled lines and three bands of paper are taken out, and a digit drawn as an outline is filled.
// garment: follows the Fashion-MNIST paper: trim to the garment, longest edge to 28, sharpen, centre, negate
// when
//   the background is light. A 28x28 picture is only negated, when its background is light.
// plain: area-average resize of the whole picture, light = 255; its aspect ratio is not kept.
//
// For digit and garment a picture enlarged pixel by pixel counts as what it was before.
//
// Shapes: any width and height >= 1 -> 28x28.
// Errors: none; a picture without ink gives all zeros for digit and garment.
// Threads: pure function.
// Sources: LeCun, Cortes, Burges, "The MNIST database of handwritten digits" (size normalisation, centring);
//   Yadav, Bottou, "Cold Case: The Lost MNIST Digits", 2019 (the exact algorithm);
//   Xiao, Rasul, Vollgraf, "Fashion-MNIST", 2017, section 2.
Input prepare(const GrayImage& picture, Preparation preparation);

// Returns whether there is nothing to see: no ink at all.
bool is_blank(const Input& input);

}  // namespace espy::image
