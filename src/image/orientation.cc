#include "image/orientation.h"

#include <libexif/exif-data.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

namespace espy::image {
namespace {

constexpr std::string_view kExifPrefix{"Exif\0\0", 6};

// The largest block that JPEG can hold, and so the largest that libexif reads.
constexpr std::size_t kMaxExifBytes = 65533;

// Pixels are moved in tiles of this side, so that rows and columns both stay in the cache.
constexpr int kTile = 32;

}  // namespace

int exif_orientation(std::span<const std::byte> exif) {
  if (exif.empty()) return 1;
  std::string block(reinterpret_cast<const char*>(exif.data()), exif.size());
  if (!block.starts_with(kExifPrefix)) block.insert(0, kExifPrefix);
  block.resize(std::min(block.size(), kMaxExifBytes));

  const std::unique_ptr<ExifData, decltype(&exif_data_unref)> data(exif_data_new(), exif_data_unref);
  if (!data) return 1;
  // The orientation as it is written; nothing added that a specification would want to see.
  exif_data_unset_option(data.get(), EXIF_DATA_OPTION_FOLLOW_SPECIFICATION);
  exif_data_load_data(data.get(), reinterpret_cast<const unsigned char*>(block.data()),
                      static_cast<unsigned int>(block.size()));
  const ExifEntry* entry = exif_content_get_entry(data->ifd[EXIF_IFD_0], EXIF_TAG_ORIENTATION);
  if (entry == nullptr || entry->format != EXIF_FORMAT_SHORT || entry->components != 1 || entry->size < 2) {
    return 1;
  }
  const int orientation = exif_get_short(entry->data, exif_data_get_byte_order(data.get()));
  return orientation >= 1 && orientation <= 8 ? orientation : 1;
}

GrayImage upright(GrayImage picture, int orientation) {
  if (orientation == 1) return picture;
  // What to do to the stored picture: first swap rows with columns (5 to 8), then mirror the result.
  const bool transpose = orientation >= 5;
  const bool mirror_x = orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7;
  const bool mirror_y = orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8;

  GrayImage turned;
  turned.width = transpose ? picture.height : picture.width;
  turned.height = transpose ? picture.width : picture.height;
  turned.pixels.resize(picture.pixels.size());
  for (int top = 0; top < turned.height; top += kTile) {
    for (int left = 0; left < turned.width; left += kTile) {
      const int bottom = std::min(top + kTile, turned.height);
      const int right = std::min(left + kTile, turned.width);
      for (int y = top; y < bottom; ++y) {
        const int from_y = mirror_y ? turned.height - 1 - y : y;
        std::uint8_t* row =
            turned.pixels.data() + static_cast<std::size_t>(y) * static_cast<std::size_t>(turned.width);
        for (int x = left; x < right; ++x) {
          const int from_x = mirror_x ? turned.width - 1 - x : x;
          row[x] = transpose ? picture.at(from_y, from_x) : picture.at(from_x, from_y);
        }
      }
    }
  }
  return turned;
}

}  // namespace espy::image
