// PNG through libpng. libpng leaves a failure by longjmp, which skips destructors: the functions that call
// setjmp own nothing, and everything that must be freed belongs to their caller.
#include <png.h>

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstring>
#include <memory>
#include <string_view>

#include "base/format.h"
#include "image/decoders.h"
#include "image/luma.h"
#include "image/orientation.h"

namespace espy::image {
namespace {

struct Reader {
  png_structp png = nullptr;
  png_infop info = nullptr;
  std::span<const std::byte> rest;
  bool ended_too_soon = false;
  std::array<char, 96> reason = {};

  Reader() = default;
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  ~Reader() { png_destroy_read_struct(&png, &info, nullptr); }
};

void take_bytes(png_structp png, png_bytep to, png_size_t count) {
  auto& reader = *static_cast<Reader*>(png_get_io_ptr(png));
  if (count > reader.rest.size()) {
    reader.ended_too_soon = true;
    png_error(png, "ends too soon");
  }
  std::memcpy(to, reader.rest.data(), count);
  reader.rest = reader.rest.subspan(count);
}

[[noreturn]] void keep_reason(png_structp png, png_const_charp reason) {
  auto& reader = *static_cast<Reader*>(png_get_error_ptr(png));
  std::strncpy(reader.reason.data(), reason, reader.reason.size() - 1);
  png_longjmp(png, 1);
}

void ignore_warning(png_structp, png_const_charp) {}

bool read_header(Reader& reader) {
  if (setjmp(png_jmpbuf(reader.png)) != 0) return false;
  png_set_read_fn(reader.png, &reader, take_bytes);
  // Our own limit comes first and has a better message than libpng's.
  png_set_user_limits(reader.png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
  // Text, colour profiles and the like cost time and may hide bombs of their own; -1 is every such chunk.
  png_set_keep_unknown_chunks(reader.png, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
  constexpr std::array<png_byte, 5> kExifChunk = {'e', 'X', 'I', 'f', 0};
  png_set_keep_unknown_chunks(reader.png, PNG_HANDLE_CHUNK_AS_DEFAULT, kExifChunk.data(), 1);
  // Every chunk has a checksum already; a second one over the pixels costs 7 % of a small picture.
  png_set_option(reader.png, PNG_IGNORE_ADLER32, PNG_OPTION_ON);
  png_read_info(reader.png, reader.info);
  return true;
}

struct Layout {
  int width;
  int height;
  Samples samples;
  bool interlaced;
};

Layout layout_of(const Reader& reader) {
  const int color = png_get_color_type(reader.png, reader.info);
  const bool alpha =
      (color & PNG_COLOR_MASK_ALPHA) != 0 || png_get_valid(reader.png, reader.info, PNG_INFO_tRNS) != 0;
  const bool rgb = (color & PNG_COLOR_MASK_COLOR) != 0;
  return {static_cast<int>(png_get_image_width(reader.png, reader.info)),
          static_cast<int>(png_get_image_height(reader.png, reader.info)),
          rgb ? (alpha ? Samples::rgba : Samples::rgb) : (alpha ? Samples::gray_alpha : Samples::gray),
          png_get_interlace_type(reader.png, reader.info) == PNG_INTERLACE_ADAM7};
}

void read_rows(png_structp png, const Layout& layout, png_bytep row, std::uint8_t* pixels) {
  const auto width = static_cast<std::size_t>(layout.width);
  for (int y = 0; y < layout.height; ++y, pixels += width) {
    if (layout.samples == Samples::gray) {
      png_read_row(png, pixels, nullptr);
    } else {
      png_read_row(png, row, nullptr);
      row_to_luma(row, width, layout.samples, pixels);
    }
  }
}

// The rows of an interlaced picture come as seven smaller pictures, whose pixels are strewn over the whole.
void read_interlaced(png_structp png, const Layout& layout, png_bytep row, std::uint8_t* pixels) {
  const auto width = static_cast<png_uint_32>(layout.width);
  const auto height = static_cast<png_uint_32>(layout.height);
  for (int pass = 0; pass < PNG_INTERLACE_ADAM7_PASSES; ++pass) {
    const png_uint_32 columns = PNG_PASS_COLS(width, pass);
    const png_uint_32 rows = columns == 0 ? 0 : PNG_PASS_ROWS(height, pass);
    for (png_uint_32 y = 0; y < rows; ++y) {
      png_read_row(png, row, nullptr);
      row_to_luma(row, columns, layout.samples, row);  // shrinks in place
      std::uint8_t* to = pixels + std::size_t{PNG_ROW_FROM_PASS_ROW(y, pass)} * width;
      for (png_uint_32 x = 0; x < columns; ++x) to[PNG_COL_FROM_PASS_COL(x, pass)] = row[x];
    }
  }
}

// row has room for one row of samples; pixels for the picture.
bool read_pixels(const Reader& reader, const Layout& layout, png_bytep row, std::uint8_t* pixels) {
  if (setjmp(png_jmpbuf(reader.png)) != 0) return false;
  const auto width = static_cast<std::size_t>(layout.width);
  png_set_expand(reader.png);
  png_set_scale_16(reader.png);
  png_read_update_info(reader.png, reader.info);
  if (png_get_rowbytes(reader.png, reader.info) != width * static_cast<std::size_t>(layout.samples)) {
    png_error(reader.png, "rows of an unexpected size");
  }
  if (layout.interlaced) {
    read_interlaced(reader.png, layout, row, pixels);
  } else {
    read_rows(reader.png, layout, row, pixels);
  }
  png_read_end(reader.png, reader.info);
  return true;
}

Error failure(const Reader& reader, std::size_t bytes) {
  if (reader.ended_too_soon) return cut_off(Format::png, bytes);
  return {ErrorCode::invalid_input,
          format("png is broken before byte {}: {}", bytes - reader.rest.size(), reader.reason.data())};
}

}  // namespace

Result<GrayImage> decode_png(std::span<const std::byte> upload, const DecodeLimits& limits) {
  Reader reader;
  reader.rest = upload;
  reader.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &reader, keep_reason, ignore_warning);
  if (reader.png != nullptr) reader.info = png_create_info_struct(reader.png);
  if (reader.info == nullptr) return Error{ErrorCode::unavailable, "no memory to read a png"};

  if (!read_header(reader)) return failure(reader, upload.size());
  const Layout layout = layout_of(reader);
  const Result<void> size =
      check_size(static_cast<std::uint64_t>(layout.width), static_cast<std::uint64_t>(layout.height), limits);
  if (!size) return size.error();

  GrayImage picture = make_picture(layout.width, layout.height, 0);
  std::unique_ptr<png_byte[]> row;
  if (layout.interlaced || layout.samples != Samples::gray) {
    row = std::make_unique_for_overwrite<png_byte[]>(static_cast<std::size_t>(layout.width) *
                                                     static_cast<std::size_t>(layout.samples));
  }
  if (!read_pixels(reader, layout, row.get(), picture.pixels.data())) return failure(reader, upload.size());

  png_uint_32 exif_bytes = 0;
  png_bytep exif = nullptr;
  if (png_get_eXIf_1(reader.png, reader.info, &exif_bytes, &exif) == 0) return picture;
  return upright(std::move(picture), exif_orientation(std::as_bytes(std::span(exif, exif_bytes))));
}

}  // namespace espy::image
