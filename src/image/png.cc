// PNG: its chunks and rows are ours, its deflate stream is libdeflate's. libpng inflates row by row, which
// makes a small picture twice as slow (docs/adr/0010-png.md).
//
//   file   := "\x89PNG\r\n\x1A\n" IHDR chunk... IEND
//   chunk  := length:u32 name:4 data[length] crc:u32 (of name and data)
//   IHDR   := width:u32 height:u32 depth:u8 color:u8 0:u8 0:u8 interlace:u8
//   IDAT   := a piece of one zlib stream; the pieces together hold the rows:
//   row    := filter:u8 samples
//
// Big endian; samples narrower than a byte are packed from its high bits on. An interlaced picture is seven
// smaller ones, one after the other. Source: W3C, "Portable Network Graphics (PNG) Specification", third
// edition; section numbers below are its own.
#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "base/deflate.h"
#include "base/format.h"
#include "image/decoders.h"
#include "image/luma.h"
#include "image/orientation.h"

namespace espy::image {
namespace {

constexpr std::size_t kSignatureBytes = 8;
constexpr std::size_t kHeaderBytes = 13;
constexpr std::size_t kChunkFrameBytes = 12;                           // length, name and checksum
constexpr std::uint32_t kLargestNumber = 0x7fff'ffff;                  // section 7.1
constexpr std::array<std::uint8_t, 7> kPassX = {0, 4, 0, 2, 0, 1, 0};  // section 8.1: Adam7
constexpr std::array<std::uint8_t, 7> kPassY = {0, 0, 4, 0, 2, 0, 1};
constexpr std::array<std::uint8_t, 7> kPassStepX = {8, 8, 4, 4, 2, 2, 1};
constexpr std::array<std::uint8_t, 7> kPassStepY = {8, 8, 8, 4, 4, 2, 2};

enum Color : std::uint8_t { kGray = 0, kRgb = 2, kPalette = 3, kGrayAlpha = 4, kRgba = 6 };

Error broken(std::string_view what) { return {ErrorCode::invalid_input, format("png is broken: {}", what)}; }

std::uint32_t u16(const std::uint8_t* bytes) { return std::uint32_t{bytes[0]} << 8 | bytes[1]; }
std::uint32_t u32(const std::uint8_t* bytes) { return u16(bytes) << 16 | u16(bytes + 2); }

struct Header {
  std::uint32_t width = 0;
  std::uint32_t height = 0;
  std::uint32_t depth = 0;
  std::uint8_t color = kGray;
  bool interlaced = false;

  std::uint32_t channels() const {
    switch (color) {
      case kRgb:
        return 3;
      case kGrayAlpha:
        return 2;
      case kRgba:
        return 4;
      default:
        return 1;
    }
  }
  std::uint32_t pixel_bits() const { return depth * channels(); }
  std::size_t row_bytes(std::uint32_t pixels) const { return (std::size_t{pixels} * pixel_bits() + 7) / 8; }
};

// One of the pictures that an interlaced one is cut into; the whole one is the pass with steps of 1.
struct Pass {
  std::uint32_t x, y, step_x, step_y;
  std::uint32_t columns, rows;
};

std::vector<Pass> passes_of(const Header& header) {
  if (!header.interlaced) return {{0, 0, 1, 1, header.width, header.height}};
  std::vector<Pass> passes;
  for (std::size_t i = 0; i < kPassX.size(); ++i) {
    if (kPassX[i] >= header.width || kPassY[i] >= header.height) continue;
    passes.push_back({kPassX[i], kPassY[i], kPassStepX[i], kPassStepY[i],
                      (header.width - kPassX[i] + kPassStepX[i] - 1) / kPassStepX[i],
                      (header.height - kPassY[i] + kPassStepY[i] - 1) / kPassStepY[i]});
  }
  return passes;
}

struct Chunk {
  std::size_t at = 0;  // of its length
  std::string_view name;
  std::span<const std::uint8_t> data;

  // Section 5.4: a chunk whose name begins with a capital is needed to show the picture.
  bool is_critical() const { return name[0] >= 'A' && name[0] <= 'Z'; }
};

// What the chunks say.
struct Content {
  Header header;
  std::span<const std::uint8_t> palette;       // red, green, blue of each entry
  std::span<const std::uint8_t> transparency;  // tRNS
  std::span<const std::uint8_t> exif;
  std::vector<std::span<const std::uint8_t>> stream;  // IDAT
};

class Chunks {
 public:
  explicit Chunks(std::span<const std::uint8_t> upload) : upload_(upload), at_(kSignatureBytes) {}

  // Returns the next chunk. Compares the checksum of those that matter for the picture: many a writer's own
  // chunks have wrong ones, and nobody else minds.
  Result<Chunk> next();

 private:
  std::span<const std::uint8_t> upload_;
  std::size_t at_;
};

Result<Chunk> Chunks::next() {
  const std::size_t left = upload_.size() - at_;
  if (left < kChunkFrameBytes) return cut_off(Format::png, upload_.size());
  const std::uint8_t* const begin = upload_.data() + at_;
  const std::uint32_t length = u32(begin);
  if (length > kLargestNumber) return broken(format("the chunk at byte {} has {} bytes", at_, length));
  if (length > left - kChunkFrameBytes) return cut_off(Format::png, upload_.size());
  const Chunk chunk{at_, {reinterpret_cast<const char*>(begin + 4), 4}, {begin + 8, length}};
  const bool matters = chunk.is_critical() || chunk.name == "tRNS" || chunk.name == "eXIf";
  if (matters && crc32({begin + 4, 4 + length}) != u32(begin + 8 + length)) {
    return broken(format("the checksum of the chunk at byte {} does not fit", at_));
  }
  at_ += kChunkFrameBytes + length;
  return chunk;
}

// Section 11.2.1, table 12.
bool is_allowed(std::uint8_t color, std::uint32_t depth) {
  switch (color) {
    case kGray:
      return depth == 1 || depth == 2 || depth == 4 || depth == 8 || depth == 16;
    case kPalette:
      return depth == 1 || depth == 2 || depth == 4 || depth == 8;
    case kRgb:
    case kGrayAlpha:
    case kRgba:
      return depth == 8 || depth == 16;
    default:
      return false;
  }
}

Result<Header> read_header(const Chunk& chunk) {
  if (chunk.name != "IHDR") return broken("its first chunk is not IHDR");
  const std::uint8_t* const bytes = chunk.data.data();
  if (chunk.data.size() != kHeaderBytes) {
    return broken(format("its header has {} bytes, must have {}", chunk.data.size(), kHeaderBytes));
  }
  const Header header{u32(bytes), u32(bytes + 4), bytes[8], bytes[9], bytes[12] == 1};
  if (header.width > kLargestNumber || header.height > kLargestNumber) {
    return broken(format("its size is {}x{}", header.width, header.height));
  }
  if (!is_allowed(header.color, header.depth)) {
    return broken(format("{} bits with color type {} do not exist", header.depth, header.color));
  }
  if (bytes[10] != 0 || bytes[11] != 0 || bytes[12] > 1) {
    return broken(
        format("compression {}, filter {}, interlace {} do not exist", bytes[10], bytes[11], bytes[12]));
  }
  return header;
}

// The rows are inflated at once, so 16 bits a sample may take more memory than the limit of pixels foresees.
Result<void> check_memory(const Header& header, const DecodeLimits& limits) {
  Result<void> size = check_size(header.width, header.height, limits);
  constexpr std::uint32_t kForeseenBits = 32;
  const std::uint64_t pixels = std::uint64_t{header.width} * header.height;
  if (!size || header.pixel_bits() <= kForeseenBits) return size;
  if (pixels > limits.max_pixels * kForeseenBits / header.pixel_bits()) {
    return Error{ErrorCode::too_large,
                 format("image is {}x{} of {} bits a pixel, limit is {} pixels of {}", header.width,
                        header.height, header.pixel_bits(), limits.max_pixels, kForeseenBits)};
  }
  return {};
}

Result<Content> read_chunks(std::span<const std::uint8_t> upload, const DecodeLimits& limits) {
  Chunks chunks(upload);
  Result<Chunk> chunk = chunks.next();
  if (!chunk) return std::move(chunk).error();
  const Result<Header> header = read_header(*chunk);
  if (!header) return header.error();
  if (Result<void> fits = check_memory(*header, limits); !fits) return std::move(fits).error();

  Content content;
  content.header = *header;
  for (chunk = chunks.next(); chunk && chunk->name != "IEND"; chunk = chunks.next()) {
    if (chunk->name == "IDAT") {
      content.stream.push_back(chunk->data);
    } else if (chunk->name == "PLTE") {
      content.palette = chunk->data;
    } else if (chunk->name == "tRNS") {
      content.transparency = chunk->data;
    } else if (chunk->name == "eXIf") {
      content.exif = chunk->data;
    } else if (chunk->is_critical()) {
      return broken(format("the chunk at byte {} is unknown and critical", chunk->at));
    }
  }
  if (!chunk) return std::move(chunk).error();
  return content;
}

// Returns all rows, each behind its filter's number.
Result<std::vector<std::uint8_t>> inflate(const Content& content, const std::vector<Pass>& passes) {
  std::vector<std::uint8_t> joined;
  std::span<const std::uint8_t> stream;
  if (content.stream.size() == 1) {
    stream = content.stream[0];
  } else {
    for (const auto& piece : content.stream) joined.insert(joined.end(), piece.begin(), piece.end());
    stream = joined;
  }
  std::size_t bytes = 0;
  for (const Pass& pass : passes) bytes += pass.rows * (1 + content.header.row_bytes(pass.columns));

  std::vector<std::uint8_t> rows(bytes);
  const Inflation inflation = inflate_zlib(stream, rows);
  if (inflation.status == InflateStatus::too_long) {
    return broken(format("its rows have more than {} bytes", bytes));
  }
  if (inflation.status == InflateStatus::broken) return broken("its pixels are not a zlib stream");
  if (inflation.bytes != bytes) {
    return broken(format("its rows have {} bytes, must have {}", inflation.bytes, bytes));
  }
  return rows;
}

// Section 9.4: of left, above and above left the one that is nearest to left + above - above left.
std::uint8_t paeth(int left, int above, int above_left) {
  const int to_left = std::abs(above - above_left);
  const int to_above = std::abs(left - above_left);
  const int to_above_left = std::abs(left + above - 2 * above_left);
  if (to_left <= to_above && to_left <= to_above_left) return static_cast<std::uint8_t>(left);
  return static_cast<std::uint8_t>(to_above <= to_above_left ? above : above_left);
}

// Adds to each byte what predict(left, above, above left) makes of its neighbours, which lie kStep bytes
// before it and in the row above. Beyond the row they are zero.
template <std::size_t kStep, typename Predict>
void add_predicted(std::span<std::uint8_t> row, const std::uint8_t* above, const Predict& predict) {
  std::array<int, kStep> left = {};
  std::array<int, kStep> above_left = {};
  for (std::size_t i = 0; i < row.size(); i += kStep) {
    for (std::size_t k = 0; k < kStep; ++k) {
      const int up = above[i + k];
      row[i + k] = static_cast<std::uint8_t>(row[i + k] + predict(left[k], up, above_left[k]));
      left[k] = row[i + k];
      above_left[k] = up;
    }
  }
}

// Undoes a row's filter (section 9.2), in place. `above` is the row above, undone, or zeros; the row's size
// is a multiple of kStep, the bytes from a pixel to the next one (1 where pixels share bytes). Returns
// whether the filter exists.
template <std::size_t kStep>
bool unfilter(std::uint8_t filter, std::span<std::uint8_t> row, const std::uint8_t* above) {
  switch (filter) {
    case 0:
      return true;
    case 1:
      add_predicted<kStep>(row, above, [](int left, int, int) { return left; });
      return true;
    case 2:
      add_predicted<kStep>(row, above, [](int, int up, int) { return up; });
      return true;
    case 3:
      add_predicted<kStep>(row, above, [](int left, int up, int) { return (left + up) / 2; });
      return true;
    case 4:
      add_predicted<kStep>(row, above, paeth);
      return true;
    default:
      return false;
  }
}

// A function for each step, so that the neighbours stay in registers.
using Unfilter = bool (*)(std::uint8_t filter, std::span<std::uint8_t> row, const std::uint8_t* above);

Unfilter unfilter_for(const Header& header) {
  switch (header.pixel_bits()) {
    case 16:
      return unfilter<2>;
    case 24:
      return unfilter<3>;
    case 32:
      return unfilter<4>;
    case 48:
      return unfilter<6>;
    case 64:
      return unfilter<8>;
    default:
      return unfilter<1>;
  }
}

// Turns rows of samples into luma over white.
class Shader {
 public:
  static Result<Shader> create(const Content& content);

  // Writes the pixels of a row, each `step` bytes behind the one before.
  void shade(const std::uint8_t* row, std::uint32_t pixels, std::uint8_t* to, std::uint32_t step) const;

 private:
  explicit Shader(const Header& header) : header_(header) {}

  void fill_gray();
  Result<void> fill_palette(const Content& content);
  template <std::uint32_t kDepth>
  void shade_wide(const std::uint8_t* row, std::uint32_t pixels, std::uint8_t* to, std::uint32_t step) const;

  Header header_;
  std::array<std::uint8_t, 256> luma_ = {};  // of each sample of up to 8 bits, when it is the whole pixel
  bool is_identity_ = false;                 // luma_[sample] == sample
  // The one colour that tRNS makes transparent, when there is one.
  bool has_transparent_color_ = false;
  std::array<std::uint32_t, 3> transparent_color_ = {};
};

Result<Shader> Shader::create(const Content& content) {
  Shader shader(content.header);
  const std::span<const std::uint8_t> transparency = content.transparency;
  const bool takes_color = content.header.color == kGray || content.header.color == kRgb;
  if (takes_color && !transparency.empty()) {
    const std::size_t channels = content.header.channels();
    if (transparency.size() != 2 * channels) {
      return broken(format("tRNS has {} bytes, must have {}", transparency.size(), 2 * channels));
    }
    shader.has_transparent_color_ = true;
    for (std::size_t i = 0; i < channels; ++i) {
      shader.transparent_color_[i] = u16(&transparency[2 * i]);
    }
  }
  if (content.header.color == kPalette) {
    if (Result<void> filled = shader.fill_palette(content); !filled) return std::move(filled).error();
  } else if (content.header.color == kGray && content.header.depth <= 8) {
    shader.fill_gray();
  }
  return shader;
}

void Shader::fill_gray() {
  const std::uint32_t white = (1U << header_.depth) - 1;
  for (std::uint32_t sample = 0; sample <= white; ++sample) {
    luma_[sample] = static_cast<std::uint8_t>(sample * 255 / white);
  }
  if (has_transparent_color_ && transparent_color_[0] <= white) luma_[transparent_color_[0]] = 255;
  is_identity_ = header_.depth == 8 && !has_transparent_color_;
}

// Indexes beyond the palette are black, as other readers have them.
Result<void> Shader::fill_palette(const Content& content) {
  const std::size_t entries = content.palette.size() / 3;
  if (entries == 0 || entries > luma_.size() || content.palette.size() % 3 != 0) {
    return broken(format("its palette has {} bytes, must have 3 to 768", content.palette.size()));
  }
  if (content.transparency.size() > entries) {
    return broken(format("tRNS has {} entries, the palette {}", content.transparency.size(), entries));
  }
  for (std::size_t i = 0; i < entries; ++i) {
    const std::uint8_t* const color = &content.palette[3 * i];
    const std::uint32_t alpha = i < content.transparency.size() ? content.transparency[i] : 255;
    luma_[i] = luma_over_white(color[0], color[1], color[2], alpha);
  }
  return {};
}

void Shader::shade(const std::uint8_t* row, std::uint32_t pixels, std::uint8_t* to,
                   std::uint32_t step) const {
  if (header_.depth == 16) return shade_wide<16>(row, pixels, to, step);
  if (header_.channels() > 1) return shade_wide<8>(row, pixels, to, step);
  if (is_identity_ && step == 1) {
    std::memcpy(to, row, pixels);
    return;
  }
  const std::uint32_t depth = header_.depth;
  const std::uint32_t mask = (1U << depth) - 1;
  for (std::uint32_t i = 0; i < pixels; ++i, to += step) {
    const std::uint32_t bit = i * depth;
    *to = luma_[row[bit / 8] >> (8 - depth - bit % 8) & mask];
  }
}

// Pixels of several samples, or of 16 bits.
template <std::uint32_t kDepth>
void Shader::shade_wide(const std::uint8_t* row, std::uint32_t pixels, std::uint8_t* to,
                        std::uint32_t step) const {
  constexpr std::size_t kBytes = kDepth / 8;
  const auto sample = [&](std::size_t i) -> std::uint32_t {
    return kDepth == 16 ? u16(row + 2 * i) : row[i];
  };
  // Section 13.12's linear scaling of 0..65535 to 0..255, rounded.
  const auto eight_bits = [&](std::size_t i) {
    return kDepth == 16 ? (sample(i) * 255 + 32895) >> 16 : sample(i);
  };
  const std::size_t channels = header_.channels();
  const bool has_color = channels >= 3;
  const bool has_alpha = channels % 2 == 0;
  for (std::uint32_t pixel = 0; pixel < pixels; ++pixel, row += channels * kBytes, to += step) {
    const std::uint32_t red = eight_bits(0);
    const std::uint32_t green = has_color ? eight_bits(1) : red;
    const std::uint32_t blue = has_color ? eight_bits(2) : red;
    if (has_alpha) {
      *to = luma_over_white(red, green, blue, eight_bits(channels - 1));
      continue;
    }
    bool is_transparent = has_transparent_color_;
    for (std::size_t i = 0; i < channels && is_transparent; ++i) {
      is_transparent = sample(i) == transparent_color_[i];
    }
    *to = is_transparent ? 255 : luma(red, green, blue);
  }
}

Result<GrayImage> read_pixels(const Content& content) {
  const Header& header = content.header;
  const Result<Shader> shader = Shader::create(content);
  if (!shader) return shader.error();
  const std::vector<Pass> passes = passes_of(header);
  Result<std::vector<std::uint8_t>> rows = inflate(content, passes);
  if (!rows) return std::move(rows).error();

  GrayImage picture = make_picture(static_cast<int>(header.width), static_cast<int>(header.height), 0);
  const Unfilter unfilter_row = unfilter_for(header);
  const std::vector<std::uint8_t> zeros(header.row_bytes(header.width));
  std::uint8_t* next = rows->data();
  for (const Pass& pass : passes) {
    const std::size_t row_bytes = header.row_bytes(pass.columns);
    const std::uint8_t* above = zeros.data();
    for (std::uint32_t row = 0; row < pass.rows; ++row) {
      const std::uint32_t y = pass.y + row * pass.step_y;
      const std::uint8_t filter = *next++;
      if (!unfilter_row(filter, {next, row_bytes}, above)) {
        return broken(format("row {} has filter {}, which does not exist", y, filter));
      }
      shader->shade(next, pass.columns, &picture.pixels[std::size_t{y} * header.width + pass.x], pass.step_x);
      above = next;
      next += row_bytes;
    }
  }
  return picture;
}

}  // namespace

Result<GrayImage> decode_png(std::span<const std::byte> upload, const DecodeLimits& limits) {
  const Result<Content> content =
      read_chunks({reinterpret_cast<const std::uint8_t*>(upload.data()), upload.size()}, limits);
  if (!content) return content.error();
  Result<GrayImage> picture = read_pixels(*content);
  if (!picture || content->exif.empty()) return picture;
  return upright(*std::move(picture), exif_orientation(std::as_bytes(content->exif)));
}

}  // namespace espy::image
