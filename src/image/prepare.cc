#include "image/prepare.h"

#include <algorithm>
#include <cassert>

#include "image/preparations.h"
#include "image/resample.h"

namespace espy::image {
namespace {

Input prepare_plain(const GrayImage& picture) {
  const GrayImage resized = area_resize(picture, kInputSide, kInputSide);
  Input input;
  std::copy(resized.pixels.begin(), resized.pixels.end(), input.begin());
  return input;
}

}  // namespace

std::string_view to_string(Preparation preparation) {
  switch (preparation) {
    case Preparation::digit:
      return "digit";
    case Preparation::garment:
      return "garment";
    case Preparation::plain:
      return "plain";
  }
  assert(false);
  return {};
}

std::optional<Preparation> parse_preparation(std::string_view name) {
  for (const Preparation preparation : {Preparation::digit, Preparation::garment, Preparation::plain}) {
    if (name == to_string(preparation)) return preparation;
  }
  return std::nullopt;
}

Input prepare(const GrayImage& picture, Preparation preparation) {
  assert(picture.width >= 1 && picture.height >= 1);
  switch (preparation) {
    case Preparation::digit:
      return prepare_digit(undo_enlargement(picture));
    case Preparation::garment:
      return prepare_garment(undo_enlargement(picture));
    case Preparation::plain:
      return prepare_plain(picture);
  }
  assert(false);
  return {};
}

bool is_blank(const Input& input) {
  return std::all_of(input.begin(), input.end(), [](std::uint8_t value) { return value == 0; });
}

}  // namespace espy::image
