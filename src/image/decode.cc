#include "image/decode.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>
#include <string>

#include "base/format.h"
#include "image/decoders.h"

namespace espy::image {
namespace {

bool has_at(std::span<const std::byte> bytes, std::size_t offset, std::string_view expected) {
  return bytes.size() >= offset + expected.size() &&
         std::memcmp(bytes.data() + offset, expected.data(), expected.size()) == 0;
}

// "BM" begins many a text, so the size of the header after the file header must be one that exists too.
bool is_bmp(std::span<const std::byte> bytes) {
  constexpr std::size_t kHeaderSizeAt = 14;
  constexpr std::array<std::string_view, 7> kHeaderSizes = {"\x0C", "\x28", "\x34", "\x38",
                                                            "\x40", "\x6C", "\x7C"};
  using namespace std::string_view_literals;
  return has_at(bytes, 0, "BM") && has_at(bytes, kHeaderSizeAt + 1, "\0\0\0"sv) &&
         std::any_of(kHeaderSizes.begin(), kHeaderSizes.end(),
                     [&](std::string_view size) { return has_at(bytes, kHeaderSizeAt, size); });
}

std::string first_bytes(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes.first(std::min<std::size_t>(bytes.size(), 8))) {
    text += format(" {:02x}", std::to_integer<int>(byte));
  }
  return text;
}

}  // namespace

Result<Format> detect_format(std::span<const std::byte> upload) {
  if (upload.empty()) return Error{ErrorCode::invalid_input, "image is empty"};
  if (has_at(upload, 0, "\x89PNG\r\n\x1A\n")) return Format::png;
  if (has_at(upload, 0, "\xFF\xD8\xFF")) return Format::jpeg;
  if (has_at(upload, 0, "GIF87a") || has_at(upload, 0, "GIF89a")) return Format::gif;
  if (has_at(upload, 0, "RIFF") && has_at(upload, 8, "WEBP")) return Format::webp;
  if (is_bmp(upload)) return Format::bmp;
  return Error{ErrorCode::invalid_input,
               format("not a png, jpeg, gif, bmp or webp image: {} bytes that begin with{}", upload.size(),
                      first_bytes(upload))};
}

std::string_view to_string(Format format) {
  switch (format) {
    case Format::png:
      return "png";
    case Format::jpeg:
      return "jpeg";
    case Format::gif:
      return "gif";
    case Format::bmp:
      return "bmp";
    case Format::webp:
      return "webp";
  }
  assert(false);
  return {};
}

std::string_view media_type(Format format) {
  switch (format) {
    case Format::png:
      return "image/png";
    case Format::jpeg:
      return "image/jpeg";
    case Format::gif:
      return "image/gif";
    case Format::bmp:
      return "image/bmp";
    case Format::webp:
      return "image/webp";
  }
  assert(false);
  return {};
}

Result<GrayImage> decode(std::span<const std::byte> upload, const DecodeLimits& limits) {
  if (upload.size() > limits.max_bytes) {
    return Error{ErrorCode::too_large,
                 format("image has {} bytes, limit is {}", upload.size(), limits.max_bytes)};
  }
  const Result<Format> detected = detect_format(upload);
  if (!detected) return detected.error();
  switch (*detected) {
    case Format::png:
      return decode_png(upload, limits);
    case Format::jpeg:
      return decode_jpeg(upload, limits);
    case Format::gif:
      return decode_gif(upload, limits);
    case Format::bmp:
      return decode_bmp(upload, limits);
    case Format::webp:
      return decode_webp(upload, limits);
  }
  assert(false);
  return Error{ErrorCode::internal, "unknown image format"};
}

Result<void> check_size(std::uint64_t width, std::uint64_t height, const DecodeLimits& limits) {
  if (width == 0 || height == 0) {
    return Error{ErrorCode::invalid_input, format("image is {}x{}, it has no pixels", width, height)};
  }
  // Divided rather than multiplied, which could wrap.
  if (width > limits.max_pixels / height) {
    return Error{ErrorCode::too_large,
                 format("image is {}x{}, limit is {} pixels", width, height, limits.max_pixels)};
  }
  return {};
}

Error cut_off(Format format, std::size_t bytes) {
  return {ErrorCode::invalid_input, espy::format("{} is cut off after {} bytes", to_string(format), bytes)};
}

GrayImage make_picture(int width, int height, std::uint8_t shade) {
  return {
      width, height,
      std::vector<std::uint8_t>(static_cast<std::size_t>(width) * static_cast<std::size_t>(height), shade)};
}

}  // namespace espy::image
