// From a stranger's bytes to an image. The only place that knows picture formats.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/result.h"
#include "image/gray_image.h"

namespace espy::image {

enum class Format { png, jpeg, gif, bmp, webp };

struct DecodeLimits {
  std::size_t max_bytes = std::size_t{16} << 20;
  // Checked on the header, before memory is taken for the pixels.
  std::uint64_t max_pixels = std::uint64_t{64} * 1000 * 1000;
};

// Recognises a format by its first bytes; file names and media types are never believed.
// Errors: invalid_input (empty, or none of the five formats).
Result<Format> detect_format(std::span<const std::byte> upload);

// Returns "png", "jpeg", "gif", "bmp" or "webp", which is also the file name's extension.
std::string_view to_string(Format format);

// Returns "image/png" and so on.
std::string_view media_type(Format format);

// Decodes the picture (of a GIF or an animated WebP the first frame), turns it upright by its EXIF
// orientation, lays transparent pixels over white, narrows 16 bits to 8 and returns its luma (ITU-R BT.601:
// 0.299 R + 0.587 G + 0.114 B, rounded to nearest). Errors: invalid_input (not one of the formats; broken or
// cut off), too_large (bytes or pixels over a limit), unavailable (no memory for a decoder).
// Threads: pure function.
Result<GrayImage> decode(std::span<const std::byte> upload, const DecodeLimits& limits = {});

}  // namespace espy::image
