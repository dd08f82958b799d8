// The first frame of a GIF through giflib.
#include <gif_lib.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

#include "base/format.h"
#include "image/decoders.h"
#include "image/luma.h"

namespace espy::image {
namespace {

struct Source {
  std::span<const std::byte> rest;
  bool ended_too_soon = false;
};

int take_bytes(GifFileType* gif, GifByteType* to, int count) {
  auto& source = *static_cast<Source*>(gif->UserData);
  const std::size_t taken = std::min(static_cast<std::size_t>(count), source.rest.size());
  source.ended_too_soon |= taken < static_cast<std::size_t>(count);
  std::memcpy(to, source.rest.data(), taken);
  source.rest = source.rest.subspan(taken);
  return static_cast<int>(taken);
}

void close(GifFileType* gif) { DGifCloseFile(gif, nullptr); }

Error failure(const Source& source, std::size_t bytes, int reason) {
  if (source.ended_too_soon) return cut_off(Format::gif, bytes);
  const char* text = GifErrorString(reason);
  return {ErrorCode::invalid_input, format("gif is broken before byte {}: {}", bytes - source.rest.size(),
                                           text != nullptr ? text : "?")};
}

// Reads up to the first frame's header. Returns the palette entry that is transparent, or
// NO_TRANSPARENT_COLOR; nothing when giflib failed. Sets gif->Image.
std::optional<int> find_first_frame(GifFileType* gif) {
  int transparent = NO_TRANSPARENT_COLOR;
  while (true) {
    GifRecordType record = UNDEFINED_RECORD_TYPE;
    if (DGifGetRecordType(gif, &record) == GIF_ERROR) return std::nullopt;
    if (record == IMAGE_DESC_RECORD_TYPE) {
      return DGifGetImageDesc(gif) == GIF_ERROR ? std::nullopt : std::optional(transparent);
    }
    if (record == TERMINATE_RECORD_TYPE) {
      gif->Error = D_GIF_ERR_NO_IMAG_DSCR;
      return std::nullopt;
    }
    int kind = 0;
    GifByteType* block = nullptr;
    if (DGifGetExtension(gif, &kind, &block) == GIF_ERROR) return std::nullopt;
    while (block != nullptr) {
      GraphicsControlBlock control;
      // A block begins with its length.
      if (kind == GRAPHICS_EXT_FUNC_CODE && DGifExtensionToGCB(block[0], block + 1, &control) == GIF_OK) {
        transparent = control.TransparentColor;
      }
      if (DGifGetExtensionNext(gif, &block) == GIF_ERROR) return std::nullopt;
    }
  }
}

// What each palette index looks like; indexes beyond the palette are not there.
struct Shades {
  std::array<std::uint8_t, 256> luma = {};
  int count = 0;
};

Shades shades_of(const ColorMapObject& colors, int transparent) {
  Shades shades;
  shades.count = std::min(colors.ColorCount, 256);
  for (int i = 0; i < shades.count; ++i) {
    const GifColorType& color = colors.Colors[i];
    shades.luma[static_cast<std::size_t>(i)] =
        i == transparent ? 255 : luma(color.Red, color.Green, color.Blue);
  }
  return shades;
}

// The order in which an interlaced frame's rows are stored: GIF89a, appendix E.
struct Pass {
  int first;
  int step;
};
constexpr std::array<Pass, 4> kInterlaced = {{{0, 8}, {4, 8}, {2, 4}, {1, 2}}};
constexpr std::array<Pass, 1> kProgressive = {{{0, 1}}};

}  // namespace

Result<GrayImage> decode_gif(std::span<const std::byte> upload, const DecodeLimits& limits) {
  Source source{upload};
  int reason = 0;
  const std::unique_ptr<GifFileType, decltype(&close)> gif(DGifOpen(&source, take_bytes, &reason), close);
  if (!gif) return failure(source, upload.size(), reason);
  const Result<void> size =
      check_size(static_cast<std::uint64_t>(gif->SWidth), static_cast<std::uint64_t>(gif->SHeight), limits);
  if (!size) return size.error();

  const std::optional<int> transparent = find_first_frame(gif.get());
  if (!transparent) return failure(source, upload.size(), gif->Error);
  const GifImageDesc& frame = gif->Image;
  if (frame.Width < 1 || frame.Height < 1 || frame.Left < 0 || frame.Top < 0 ||
      frame.Left + frame.Width > gif->SWidth || frame.Top + frame.Height > gif->SHeight) {
    return Error{ErrorCode::invalid_input,
                 format("gif's first frame, {}x{} at {},{}, does not lie in its canvas of {}x{}", frame.Width,
                        frame.Height, frame.Left, frame.Top, gif->SWidth, gif->SHeight)};
  }
  const ColorMapObject* colors = frame.ColorMap != nullptr ? frame.ColorMap : gif->SColorMap;
  if (colors == nullptr) return Error{ErrorCode::invalid_input, "gif has no palette"};
  const Shades shades = shades_of(*colors, *transparent);

  // What the frame does not cover is transparent.
  GrayImage picture = make_picture(gif->SWidth, gif->SHeight, 255);
  const std::span<const Pass> passes =
      frame.Interlace ? std::span<const Pass>(kInterlaced) : std::span<const Pass>(kProgressive);
  for (const Pass& pass : passes) {
    for (int y = pass.first; y < frame.Height; y += pass.step) {
      std::uint8_t* row = picture.pixels.data() +
                          static_cast<std::size_t>(frame.Top + y) * static_cast<std::size_t>(gif->SWidth) +
                          static_cast<std::size_t>(frame.Left);
      if (DGifGetLine(gif.get(), row, frame.Width) == GIF_ERROR) {
        return failure(source, upload.size(), gif->Error);
      }
      for (int x = 0; x < frame.Width; ++x) {
        if (row[x] >= shades.count) {
          return Error{ErrorCode::invalid_input, format("gif's pixel {},{} has color {} of a palette of {}",
                                                        x, y, row[x], shades.count)};
        }
        row[x] = shades.luma[row[x]];
      }
    }
  }
  return picture;
}

}  // namespace espy::image
