// BMP. Debian has no library that reads only this, and the format is small:
//
//   file   := "BM" size:u32 reserved:u32 pixels_at:u32 header [masks] [palette] ... pixels
//   header := 12:u32 width:u16 height:u16 planes:u16 depth:u16                                 (OS/2 1.x)
//           | bytes:u32 width:i32 height:i32 planes:u16 depth:u16 compression:u32 image_size:u32
//             resolution:2*i32 colors:u32 important:u32 [masks] ...                            (40 to 124
//             bytes)
//   masks  := red:u32 green:u32 blue:u32 [alpha:u32]  after a 40 byte header, inside of a larger one
//
// Little endian; rows are padded to four bytes and run from the bottom up, or down if the height is negative.
// Read: 1, 4, 8, 16, 24 and 32 bits, bit fields, RLE4 and RLE8. Not read: JPEG or PNG inside, OS/2's Huffman
// and RLE24. Source: Microsoft, "Bitmap Storage" and "Bitmap Compression", Windows GDI documentation.
#include <algorithm>
#include <array>
#include <bit>
#include <limits>

#include "base/format.h"
#include "image/decoders.h"
#include "image/luma.h"

namespace espy::image {
namespace {

constexpr std::size_t kFileHeaderBytes = 14;
constexpr std::uint32_t kCoreHeaderBytes = 12;
constexpr std::uint32_t kInfoHeaderBytes = 40;
constexpr std::uint32_t kOs2HeaderBytes = 64;

enum Compression : std::uint32_t { kRgb = 0, kRle8 = 1, kRle4 = 2, kBitFields = 3, kAlphaBitFields = 6 };

// The part of a pixel that a mask selects.
struct Channel {
  std::uint32_t mask = 0;
  int shift = 0;
  std::uint32_t max = 0;

  Channel() = default;
  explicit Channel(std::uint32_t bits)
      : mask(bits), shift(bits == 0 ? 0 : std::countr_zero(bits)), max(bits >> shift) {}

  bool is_contiguous() const { return (max & (max + 1)) == 0; }

  std::uint32_t of(std::uint32_t pixel) const {
    const std::uint32_t value = (pixel & mask) >> shift;
    if (max == 255) return value;
    return max == 0 ? 0 : static_cast<std::uint32_t>((std::uint64_t{value} * 255 + max / 2) / max);
  }
};

struct Header {
  std::uint32_t header_bytes = 0;
  std::uint32_t pixels_at = 0;
  std::int64_t width = 0;
  std::int64_t height = 0;
  bool top_down = false;
  std::uint32_t depth = 0;
  std::uint32_t compression = kRgb;
  std::uint32_t colors = 0;
  Channel red, green, blue, alpha;

  std::size_t row_bytes() const { return (static_cast<std::size_t>(width) * depth + 31) / 32 * 4; }
};

// What each palette index looks like; indexes beyond the palette are not there.
struct Shades {
  std::array<std::uint8_t, 256> luma = {};
  std::uint32_t count = 0;
};

Error broken(std::string_view what) { return {ErrorCode::invalid_input, format("bmp is broken: {}", what)}; }

class Bmp {
 public:
  explicit Bmp(std::span<const std::byte> bytes) : bytes_(bytes) {}

  Result<GrayImage> decode(const DecodeLimits& limits);

 private:
  std::uint32_t byte(std::size_t at) const { return std::to_integer<std::uint32_t>(bytes_[at]); }
  std::uint32_t u16(std::size_t at) const { return byte(at) | byte(at + 1) << 8; }
  std::uint32_t u32(std::size_t at) const { return u16(at) | u16(at + 2) << 16; }
  bool has(std::size_t at, std::size_t count) const {
    return at <= bytes_.size() && count <= bytes_.size() - at;
  }
  Error ends_too_soon() const { return cut_off(Format::bmp, bytes_.size()); }

  Result<Header> read_header() const;
  Result<void> read_masks(Header& header) const;
  Result<Shades> read_palette(const Header& header) const;
  Result<void> read_indexes(const Header& header, const Shades& shades, GrayImage& picture) const;
  Result<void> read_colors(const Header& header, GrayImage& picture) const;
  Result<void> read_runs(const Header& header, const Shades& shades, GrayImage& picture) const;

  std::span<const std::byte> bytes_;
};

std::uint8_t* row_of(GrayImage& picture, const Header& header, int stored_row) {
  const int y = header.top_down ? stored_row : picture.height - 1 - stored_row;
  return picture.pixels.data() + static_cast<std::size_t>(y) * static_cast<std::size_t>(picture.width);
}

bool is_supported(const Header& header) {
  switch (header.compression) {
    case kRgb:
      return header.depth == 1 || header.depth == 4 || header.depth == 8 || header.depth == 16 ||
             header.depth == 24 || header.depth == 32;
    case kRle8:
      return header.depth == 8 && !header.top_down;
    case kRle4:
      return header.depth == 4 && !header.top_down;
    case kBitFields:
    case kAlphaBitFields:
      return (header.depth == 16 || header.depth == 32) && header.header_bytes != kOs2HeaderBytes;
    default:
      return false;
  }
}

// detect_format() has seen that the header's size is one of those that exist.
Result<Header> Bmp::read_header() const {
  Header header;
  header.pixels_at = u32(10);
  header.header_bytes = u32(kFileHeaderBytes);
  if (!has(kFileHeaderBytes, header.header_bytes)) return ends_too_soon();
  if (header.header_bytes == kCoreHeaderBytes) {
    header.width = u16(18);
    header.height = u16(20);
    header.depth = u16(24);
  } else {
    header.width = static_cast<std::int32_t>(u32(18));
    header.height = static_cast<std::int32_t>(u32(22));
    header.depth = u16(28);
    header.compression = u32(30);
    header.colors = u32(46);
  }
  header.top_down = header.height < 0;
  if (header.width < 0 || header.height == std::numeric_limits<std::int32_t>::min()) {
    return broken(format("its size is {}x{}", header.width, header.height));
  }
  if (header.top_down) header.height = -header.height;
  return header;
}

// Sets where the colors are in a pixel of 16 or 32 bits.
Result<void> Bmp::read_masks(Header& header) const {
  if (header.compression == kRgb) {
    // Microsoft: 16 bits are 5-5-5; of 32 bits the highest byte is not used.
    const bool small = header.depth == 16;
    header.red = Channel(small ? 0x7C00u : 0xFF0000u);
    header.green = Channel(small ? 0x3E0u : 0xFF00u);
    header.blue = Channel(small ? 0x1Fu : 0xFFu);
    return {};
  }
  constexpr std::size_t kMasksAt = kFileHeaderBytes + kInfoHeaderBytes;
  const bool has_alpha =
      header.header_bytes >= kInfoHeaderBytes + 16 || header.compression == kAlphaBitFields;
  if (!has(kMasksAt, has_alpha ? 16 : 12)) return ends_too_soon();
  header.red = Channel(u32(kMasksAt));
  header.green = Channel(u32(kMasksAt + 4));
  header.blue = Channel(u32(kMasksAt + 8));
  if (has_alpha) header.alpha = Channel(u32(kMasksAt + 12));
  for (const Channel& channel : {header.red, header.green, header.blue, header.alpha}) {
    if (!channel.is_contiguous()) return broken(format("its mask {:08x} has a hole", channel.mask));
  }
  return {};
}

Result<Shades> Bmp::read_palette(const Header& header) const {
  const bool core = header.header_bytes == kCoreHeaderBytes;
  const std::size_t entry_bytes = core ? 3 : 4;
  const std::size_t palette_at = kFileHeaderBytes + header.header_bytes;
  const std::uint32_t most = 1u << header.depth;
  if (header.colors > most) {
    return broken(format("it has {} colors, {} bits allow {}", header.colors, header.depth, most));
  }
  Shades shades;
  shades.count = header.colors == 0 ? most : header.colors;
  if (!has(palette_at, shades.count * entry_bytes)) return ends_too_soon();
  for (std::size_t i = 0; i < shades.count; ++i) {
    const std::size_t at = palette_at + i * entry_bytes;
    shades.luma[i] = luma(byte(at + 2), byte(at + 1), byte(at));
  }
  return shades;
}

Result<void> Bmp::read_indexes(const Header& header, const Shades& shades, GrayImage& picture) const {
  const std::uint32_t per_byte = 8 / header.depth;
  const std::uint32_t mask = (1u << header.depth) - 1;
  for (int y = 0; y < picture.height; ++y) {
    const std::size_t row_at = header.pixels_at + static_cast<std::size_t>(y) * header.row_bytes();
    std::uint8_t* to = row_of(picture, header, y);
    for (std::uint32_t x = 0; x < static_cast<std::uint32_t>(picture.width); ++x) {
      const std::uint32_t shift = (per_byte - 1 - x % per_byte) * header.depth;
      const std::uint32_t index = byte(row_at + x / per_byte) >> shift & mask;
      if (index >= shades.count) {
        return broken(format("pixel {},{} has color {} of a palette of {}", x, y, index, shades.count));
      }
      to[x] = shades.luma[index];
    }
  }
  return {};
}

Result<void> Bmp::read_colors(const Header& header, GrayImage& picture) const {
  const std::size_t pixel_bytes = header.depth / 8;
  for (int y = 0; y < picture.height; ++y) {
    std::size_t at = header.pixels_at + static_cast<std::size_t>(y) * header.row_bytes();
    std::uint8_t* to = row_of(picture, header, y);
    for (int x = 0; x < picture.width; ++x, at += pixel_bytes) {
      if (pixel_bytes == 3) {
        to[x] = luma(byte(at + 2), byte(at + 1), byte(at));
        continue;
      }
      const std::uint32_t pixel = pixel_bytes == 2 ? u16(at) : u32(at);
      const std::uint32_t alpha = header.alpha.mask == 0 ? 255 : header.alpha.of(pixel);
      to[x] = luma_over_white(header.red.of(pixel), header.green.of(pixel), header.blue.of(pixel), alpha);
    }
  }
  return {};
}

// RLE: (count, value) is a run; (0, 0) ends a row, (0, 1) the picture, (0, 2, dx, dy) moves on, and (0, n >=
// 3) begins n literal pixels, padded to 16 bits. Pixels that are moved over stay white.
Result<void> Bmp::read_runs(const Header& header, const Shades& shades, GrayImage& picture) const {
  enum Escape : std::uint32_t { kEndOfRow = 0, kEndOfPicture = 1, kMove = 2 };
  const std::uint32_t depth = header.depth;
  std::size_t at = header.pixels_at;
  std::uint32_t x = 0;
  std::uint32_t y = 0;
  const auto width = static_cast<std::uint32_t>(picture.width);
  const auto height = static_cast<std::uint32_t>(picture.height);
  while (y < height) {
    if (!has(at, 2)) return ends_too_soon();
    const std::uint32_t count = byte(at);
    const std::uint32_t value = byte(at + 1);
    at += 2;
    if (count == 0 && value == kEndOfPicture) return {};
    if (count == 0 && value == kEndOfRow) {
      x = 0;
      ++y;
      continue;
    }
    if (count == 0 && value == kMove) {
      if (!has(at, 2)) return ends_too_soon();
      x += byte(at);
      y += byte(at + 1);
      at += 2;
      if (x > width || y >= height) return broken(format("it moves to {},{}", x, y));
      continue;
    }
    const bool literal = count == 0;
    const std::uint32_t pixels = literal ? value : count;
    if (pixels > width - x) return broken(format("row {} is longer than {} pixels", y, width));
    const std::size_t literal_bytes = literal ? (std::size_t{pixels} * depth + 15) / 16 * 2 : 0;
    if (!has(at, literal_bytes)) return ends_too_soon();
    std::uint8_t* to = row_of(picture, header, static_cast<int>(y)) + x;
    for (std::uint32_t i = 0; i < pixels; ++i) {
      const std::uint32_t packed = literal ? byte(at + i * depth / 8) : value;
      const std::uint32_t index = depth == 8 ? packed : i % 2 == 0 ? packed >> 4 : packed & 15;
      if (index >= shades.count) {
        return broken(format("pixel {},{} has color {} of a palette of {}", x + i, y, index, shades.count));
      }
      to[i] = shades.luma[index];
    }
    x += pixels;
    at += literal_bytes;
  }
  return {};
}

Result<GrayImage> Bmp::decode(const DecodeLimits& limits) {
  Result<Header> read = read_header();
  if (!read) return std::move(read).error();
  Header& header = *read;
  Result<void> done =
      check_size(static_cast<std::uint64_t>(header.width), static_cast<std::uint64_t>(header.height), limits);
  if (!done) return std::move(done).error();
  if (!is_supported(header)) {
    return Error{ErrorCode::invalid_input,
                 format("bmp of {} bits with compression {}{} is not supported", header.depth,
                        header.compression, header.top_down ? ", top down," : "")};
  }
  if (header.pixels_at < kFileHeaderBytes + header.header_bytes) {
    return broken(format("its pixels begin at byte {}, inside of its header", header.pixels_at));
  }
  const bool runs = header.compression == kRle4 || header.compression == kRle8;
  // Checked before memory is taken: so many rows must be there. Of runs nobody knows how many there are.
  const std::uint64_t end =
      header.pixels_at + (runs ? 0 : header.row_bytes() * static_cast<std::uint64_t>(header.height));
  if (bytes_.size() < end) {
    return Error{ErrorCode::invalid_input, format("bmp is cut off after {} of {} bytes", bytes_.size(), end)};
  }

  Shades shades;
  if (header.depth <= 8) {
    Result<Shades> palette = read_palette(header);
    if (!palette) return std::move(palette).error();
    shades = *palette;
  } else if (header.depth != 24) {
    done = read_masks(header);
    if (!done) return std::move(done).error();
  }
  GrayImage picture = make_picture(static_cast<int>(header.width), static_cast<int>(header.height), 255);
  done = runs                ? read_runs(header, shades, picture)
         : header.depth <= 8 ? read_indexes(header, shades, picture)
                             : read_colors(header, picture);
  if (!done) return std::move(done).error();
  return picture;
}

}  // namespace

Result<GrayImage> decode_bmp(std::span<const std::byte> upload, const DecodeLimits& limits) {
  return Bmp(upload).decode(limits);
}

}  // namespace espy::image
