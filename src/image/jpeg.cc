// JPEG through libjpeg-turbo, which leaves a failure by longjmp and so skips destructors: the
// functions that call setjmp own nothing.
#include <csetjmp>
#include <cstdio>
// jpeglib.h needs <cstdio> before it.
#include <jerror.h>
#include <jpeglib.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string_view>

#include "base/format.h"
#include "image/decoders.h"
#include "image/luma.h"
#include "image/orientation.h"

namespace espy::image {
namespace {

// A progressive picture costs a pass over all coefficients per scan, however small the scan is. Encoders
// write about ten scans; libjpeg-turbo's own advice (its article on two issues with the JPEG format) is to
// set a limit.
constexpr int kMaxScans = 100;

struct Reader {
  jpeg_decompress_struct jpeg = {};
  jpeg_error_mgr errors = {};
  jpeg_progress_mgr progress = {};
  std::jmp_buf escape = {};
  ErrorCode code = ErrorCode::invalid_input;
  bool ended_too_soon = false;
  std::array<char, JMSG_LENGTH_MAX> reason = {};

  Reader() = default;
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  ~Reader() { jpeg_destroy_decompress(&jpeg); }
};

Reader& reader_of(j_common_ptr jpeg) { return *static_cast<Reader*>(jpeg->client_data); }

[[noreturn]] void fail(j_common_ptr jpeg) {
  Reader& reader = reader_of(jpeg);
  const int message = jpeg->err->msg_code;
  reader.ended_too_soon =
      message == JWRN_JPEG_EOF || message == JERR_INPUT_EOF || message == JERR_INPUT_EMPTY;
  if (message == JERR_IMAGE_TOO_BIG) reader.code = ErrorCode::too_large;
  jpeg->err->format_message(jpeg, reader.reason.data());
  std::longjmp(reader.escape, 1);
}

// Warnings (level -1) tell of data that libjpeg replaced by guesses, so they fail; the rest is talk.
void judge_message(j_common_ptr jpeg, int level) {
  if (level >= 0) return;
  switch (jpeg->err->msg_code) {
    case JWRN_ADOBE_XFORM:      // an unknown colour transform, guessed as everybody guesses it
    case JWRN_BOGUS_ICC:        // we do not read profiles
    case JWRN_EXTRANEOUS_DATA:  // padding between markers, which some cameras write
    case JWRN_JFIF_MAJOR:       // a newer JFIF version
    case JWRN_TOO_MUCH_DATA:    // more rows than the header says
      return;
    default:
      fail(jpeg);
  }
}

void ignore_message(j_common_ptr) {}

void check_scans(j_common_ptr jpeg) {
  auto* decompress = reinterpret_cast<j_decompress_ptr>(jpeg);
  if (decompress->input_scan_number <= kMaxScans) return;
  Reader& reader = reader_of(jpeg);
  constexpr std::string_view kReason = "more than 100 scans";
  static_assert(kMaxScans == 100);
  std::copy(kReason.begin(), kReason.end(), reader.reason.begin());
  std::longjmp(reader.escape, 1);
}

bool read_header(Reader& reader, std::span<const std::byte> upload) {
  if (setjmp(reader.escape) != 0) return false;
  reader.jpeg.err = jpeg_std_error(&reader.errors);
  reader.errors.error_exit = fail;
  reader.errors.emit_message = judge_message;
  reader.errors.output_message = ignore_message;
  reader.jpeg.client_data = &reader;
  jpeg_create_decompress(&reader.jpeg);
  reader.progress.progress_monitor = check_scans;
  reader.jpeg.progress = &reader.progress;
  jpeg_mem_src(&reader.jpeg, reinterpret_cast<const unsigned char*>(upload.data()), upload.size());
  jpeg_save_markers(&reader.jpeg, JPEG_APP0 + 1, 0xFFFF);
  jpeg_read_header(&reader.jpeg, TRUE);
  return true;
}

bool is_cmyk(const Reader& reader) {
  return reader.jpeg.jpeg_color_space == JCS_CMYK || reader.jpeg.jpeg_color_space == JCS_YCCK;
}

// Adobe writes its CMYK inverted: 255 is no ink.
void cmyk_to_luma(const std::uint8_t* row, std::size_t pixels, bool inverted, std::uint8_t* to) {
  for (std::size_t i = 0; i < pixels; ++i, row += 4) {
    const auto light = [&](int channel) {
      return static_cast<std::uint32_t>(inverted ? row[channel] : 255 - row[channel]);
    };
    to[i] = luma((light(0) * light(3) + 127) / 255, (light(1) * light(3) + 127) / 255,
                 (light(2) * light(3) + 127) / 255);
  }
}

// cmyk_row has room for one row of a CMYK picture; pixels for the picture.
bool read_pixels(Reader& reader, JSAMPLE* cmyk_row, std::uint8_t* pixels) {
  if (setjmp(reader.escape) != 0) return false;
  jpeg_decompress_struct& jpeg = reader.jpeg;
  // Of YCbCr, the usual case, the Y that is stored is the luma that we want; the colours are never computed.
  jpeg.out_color_space = cmyk_row == nullptr ? JCS_GRAYSCALE : JCS_CMYK;
  jpeg_start_decompress(&jpeg);
  const std::size_t width = jpeg.output_width;
  while (jpeg.output_scanline < jpeg.output_height) {
    std::uint8_t* to = pixels + jpeg.output_scanline * width;
    JSAMPROW row = cmyk_row == nullptr ? to : cmyk_row;
    jpeg_read_scanlines(&jpeg, &row, 1);
    if (cmyk_row != nullptr) cmyk_to_luma(cmyk_row, width, jpeg.saw_Adobe_marker != 0, to);
  }
  jpeg_finish_decompress(&jpeg);
  return true;
}

std::span<const std::byte> find_exif(const Reader& reader) {
  using namespace std::string_view_literals;
  for (const jpeg_marker_struct* marker = reader.jpeg.marker_list; marker != nullptr; marker = marker->next) {
    const std::string_view data(reinterpret_cast<const char*>(marker->data), marker->data_length);
    if (marker->marker == JPEG_APP0 + 1 && data.starts_with("Exif\0\0"sv)) {
      return std::as_bytes(std::span(data.data(), data.size()));
    }
  }
  return {};
}

Error failure(const Reader& reader, std::size_t bytes) {
  if (reader.ended_too_soon) return cut_off(Format::jpeg, bytes);
  return {reader.code, format("jpeg is broken: {}", reader.reason.data())};
}

}  // namespace

Result<GrayImage> decode_jpeg(std::span<const std::byte> upload, const DecodeLimits& limits) {
  Reader reader;
  if (!read_header(reader, upload)) return failure(reader, upload.size());
  const Result<void> size = check_size(reader.jpeg.image_width, reader.jpeg.image_height, limits);
  if (!size) return size.error();
  // Finished pictures keep no markers, so the EXIF block is read now.
  const int orientation = exif_orientation(find_exif(reader));

  GrayImage picture =
      make_picture(static_cast<int>(reader.jpeg.image_width), static_cast<int>(reader.jpeg.image_height), 0);
  std::unique_ptr<JSAMPLE[]> cmyk_row;
  if (is_cmyk(reader)) {
    cmyk_row = std::make_unique_for_overwrite<JSAMPLE[]>(std::size_t{reader.jpeg.image_width} * 4);
  }
  if (!read_pixels(reader, cmyk_row.get(), picture.pixels.data())) return failure(reader, upload.size());
  return upright(std::move(picture), orientation);
}

}  // namespace espy::image
