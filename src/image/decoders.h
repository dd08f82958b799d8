// The decoders behind decode.h, one file a format. Private to the module.
//
// Each takes a whole upload that detect_format() gave to it, refuses a size over the limit as soon as the
// header says it, and returns what decode() promises: upright, opaque, 8 bits of luma. Data that ends too
// soon or breaks is an error, never a picture with a part missing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"
#include "image/decode.h"
#include "image/gray_image.h"

namespace espy::image {

Result<GrayImage> decode_png(std::span<const std::byte> upload, const DecodeLimits& limits);
Result<GrayImage> decode_jpeg(std::span<const std::byte> upload, const DecodeLimits& limits);
Result<GrayImage> decode_gif(std::span<const std::byte> upload, const DecodeLimits& limits);
Result<GrayImage> decode_bmp(std::span<const std::byte> upload, const DecodeLimits& limits);
Result<GrayImage> decode_webp(std::span<const std::byte> upload, const DecodeLimits& limits);

// Whether a picture of this size may be decoded. Errors: invalid_input (no pixels), too_large.
Result<void> check_size(std::uint64_t width, std::uint64_t height, const DecodeLimits& limits);

// The error for an upload that ends before its picture does.
Error cut_off(Format format, std::size_t bytes);

// A picture of one shade; width and height must have passed check_size().
GrayImage make_picture(int width, int height, std::uint8_t shade);

}  // namespace espy::image
