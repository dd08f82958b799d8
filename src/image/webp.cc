// WebP, and the first frame of an animated one, through libwebp.
#include <webp/decode.h>
#include <webp/demux.h>

#include <memory>

#include "base/format.h"
#include "image/decoders.h"
#include "image/luma.h"
#include "image/orientation.h"

namespace espy::image {
namespace {

constexpr std::size_t kRiffHeaderBytes = 12;

// The size that the file says it has: RIFF, then the bytes that follow, little endian.
std::size_t declared_bytes(std::span<const std::byte> upload) {
  std::size_t bytes = 8;
  for (std::size_t i = 0; i < 4; ++i) bytes += std::to_integer<std::size_t>(upload[4 + i]) << (8 * i);
  return bytes;
}

Error failure(std::span<const std::byte> upload, const char* reason) {
  if (upload.size() < kRiffHeaderBytes || upload.size() < declared_bytes(upload)) {
    return cut_off(Format::webp, upload.size());
  }
  return {ErrorCode::invalid_input, format("webp is broken: {}", reason)};
}

class Chunk {
 public:
  Chunk(const WebPDemuxer* webp, const char* name) : found_(WebPDemuxGetChunk(webp, name, 1, &at_) != 0) {}
  Chunk(const Chunk&) = delete;
  Chunk& operator=(const Chunk&) = delete;
  ~Chunk() { WebPDemuxReleaseChunkIterator(&at_); }

  std::span<const std::byte> bytes() const {
    return found_ ? std::as_bytes(std::span(at_.chunk.bytes, at_.chunk.size)) : std::span<const std::byte>();
  }

 private:
  WebPChunkIterator at_ = {};
  bool found_;
};

class FirstFrame {
 public:
  explicit FirstFrame(const WebPDemuxer* webp) : found_(WebPDemuxGetFrame(webp, 1, &at_) != 0) {}
  FirstFrame(const FirstFrame&) = delete;
  FirstFrame& operator=(const FirstFrame&) = delete;
  ~FirstFrame() { WebPDemuxReleaseIterator(&at_); }

  explicit operator bool() const { return found_ && at_.complete != 0; }
  const WebPIterator* operator->() const { return &at_; }

 private:
  WebPIterator at_ = {};
  bool found_;
};

}  // namespace

Result<GrayImage> decode_webp(std::span<const std::byte> upload, const DecodeLimits& limits) {
  const WebPData data = {reinterpret_cast<const std::uint8_t*>(upload.data()), upload.size()};
  // The size first: of a file that is cut off the demuxer below says nothing.
  WebPBitstreamFeatures features;
  if (WebPGetFeatures(data.bytes, data.size, &features) != VP8_STATUS_OK) {
    return failure(upload, "its header makes no sense");
  }
  Result<void> size = check_size(static_cast<std::uint64_t>(features.width),
                                 static_cast<std::uint64_t>(features.height), limits);
  if (!size) return size.error();

  const std::unique_ptr<WebPDemuxer, decltype(&WebPDemuxDelete)> webp(WebPDemux(&data), WebPDemuxDelete);
  if (!webp) return failure(upload, "its chunks make no sense");
  const FirstFrame frame(webp.get());
  if (!frame) return failure(upload, "it has no frame");

  const auto canvas_width = static_cast<int>(WebPDemuxGetI(webp.get(), WEBP_FF_CANVAS_WIDTH));
  const auto canvas_height = static_cast<int>(WebPDemuxGetI(webp.get(), WEBP_FF_CANVAS_HEIGHT));
  size =
      check_size(static_cast<std::uint64_t>(canvas_width), static_cast<std::uint64_t>(canvas_height), limits);
  if (!size) return size.error();
  if (frame->x_offset < 0 || frame->y_offset < 0 || frame->width < 1 || frame->height < 1 ||
      frame->width > canvas_width - frame->x_offset || frame->height > canvas_height - frame->y_offset) {
    return failure(upload, "its first frame does not lie in its canvas");
  }

  const auto width = static_cast<std::size_t>(frame->width);
  const auto height = static_cast<std::size_t>(frame->height);
  const Samples samples = frame->has_alpha != 0 ? Samples::rgba : Samples::rgb;
  const std::size_t stride = width * static_cast<std::size_t>(samples);
  const auto colors = std::make_unique_for_overwrite<std::uint8_t[]>(stride * height);
  const auto read = samples == Samples::rgba ? WebPDecodeRGBAInto : WebPDecodeRGBInto;
  if (read(frame->fragment.bytes, frame->fragment.size, colors.get(), stride * height,
           static_cast<int>(stride)) == nullptr) {
    return failure(upload, "its pixels make no sense");
  }

  // What the frame does not cover is transparent.
  GrayImage picture = make_picture(canvas_width, canvas_height, 255);
  for (std::size_t y = 0; y < height; ++y) {
    row_to_luma(colors.get() + y * stride, width, samples,
                picture.pixels.data() +
                    (static_cast<std::size_t>(frame->y_offset) + y) * static_cast<std::size_t>(canvas_width) +
                    static_cast<std::size_t>(frame->x_offset));
  }
  return upright(std::move(picture), exif_orientation(Chunk(webp.get(), "EXIF").bytes()));
}

}  // namespace espy::image
