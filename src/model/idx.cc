// zlib.h then says that inflate does not change its input.
#define ZLIB_CONST
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>
#include <utility>

#include "base/format.h"
#include "model/dataset.h"

namespace espy::model {
namespace {

constexpr std::uint64_t kMaxValues = std::uint64_t{1} << 30;

// Memory is taken as the values come, so that a header cannot promise what the file does not hold.
constexpr std::size_t kPart = std::size_t{1} << 20;

Error corrupt(std::string message) { return {ErrorCode::corrupt, std::move(message)}; }

// A file's bytes one after the other, whether they lie there plain or gzipped.
class Source {
 public:
  explicit Source(std::span<const std::byte> file) : rest_(file) {}
  virtual ~Source() = default;

  // Returns how much of `place` it filled: all of it but at the end.
  virtual Result<std::size_t> read(std::span<std::uint8_t> place) {
    const std::size_t count = std::min(place.size(), rest_.size());
    std::memcpy(place.data(), rest_.data(), count);
    rest_ = rest_.subspan(count);
    return count;
  }

 protected:
  std::span<const std::byte> rest_;
};

// gzip (RFC 1952), which may be several members in a row. zlib checks each one's length and CRC-32.
class GzipSource : public Source {
 public:
  explicit GzipSource(std::span<const std::byte> file) : Source(file) {
    // 15 is the greatest window, and 16 more says gzip (zlib.h, inflateInit2).
    ready_ = inflateInit2(&stream_, 15 + 16) == Z_OK;
  }
  GzipSource(const GzipSource&) = delete;
  GzipSource& operator=(const GzipSource&) = delete;
  ~GzipSource() override { inflateEnd(&stream_); }

  Result<std::size_t> read(std::span<std::uint8_t> place) override {
    if (!ready_) return Error{ErrorCode::unavailable, "no memory to unpack a gzip stream"};
    std::size_t filled = 0;
    while (filled < place.size() && !ended_) {
      // zlib counts in 32 bits; what is longer comes in several parts.
      const std::size_t input = std::min(rest_.size(), std::size_t{1} << 30);
      const std::size_t output = std::min(place.size() - filled, std::size_t{1} << 30);
      stream_.next_in = reinterpret_cast<const Bytef*>(rest_.data());
      stream_.avail_in = static_cast<uInt>(input);
      stream_.next_out = place.data() + filled;
      stream_.avail_out = static_cast<uInt>(output);
      const int status = inflate(&stream_, Z_NO_FLUSH);
      filled += output - stream_.avail_out;
      rest_ = rest_.subspan(input - stream_.avail_in);
      if (status == Z_STREAM_END) {
        ended_ = rest_.empty();
        if (!ended_ && inflateReset(&stream_) != Z_OK) return corrupt("gzip stream is broken");
      } else if (status != Z_OK) {
        return corrupt(
            format("gzip stream is broken {} bytes before its end: {}", rest_.size(), reason(status)));
      }
    }
    return filled;
  }

 private:
  const char* reason(int status) const {
    if (status == Z_BUF_ERROR) return "it is cut off";
    return stream_.msg != nullptr ? stream_.msg : zError(status);
  }

  z_stream stream_{};
  bool ready_ = false;
  bool ended_ = false;
};

std::uint32_t big_endian(std::span<const std::uint8_t, 4> bytes) {
  return std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 | std::uint32_t{bytes[2]} << 8 |
         bytes[3];
}

Result<std::array<std::uint8_t, 4>> read_word(Source& source, std::string_view what) {
  std::array<std::uint8_t, 4> word;
  const Result<std::size_t> count = source.read(word);
  if (!count) return count.error();
  if (*count < word.size()) {
    return corrupt(format("idx file ends in its {}: expected {} bytes, found {}", what, word.size(), *count));
  }
  return word;
}

Result<std::vector<std::uint32_t>> read_sizes(Source& source) {
  const Result<std::array<std::uint8_t, 4>> magic = read_word(source, "magic number");
  if (!magic) return magic.error();
  const auto [zero, also_zero, type, dimensions] = *magic;
  if (zero != 0 || also_zero != 0) {
    return corrupt(
        format("not an idx file: expected it to begin with 00 00, found {:02x} {:02x}", zero, also_zero));
  }
  // 0x08 is "unsigned byte" in the format's list of types.
  if (type != 0x08)
    return corrupt(format("idx file has elements of type {:02x}, expected 08 (unsigned byte)", type));
  if (dimensions == 0) return corrupt("idx file has 0 dimensions, expected 1 or more");
  std::vector<std::uint32_t> sizes;
  for (int i = 0; i < dimensions; ++i) {
    const Result<std::array<std::uint8_t, 4>> word = read_word(source, "sizes");
    if (!word) return word.error();
    sizes.push_back(big_endian(*word));
  }
  return sizes;
}

// Returns the product, or kMaxValues + 1 when it is greater than kMaxValues.
std::uint64_t count_values(const std::vector<std::uint32_t>& sizes) {
  if (std::ranges::count(sizes, 0U) > 0) return 0;
  std::uint64_t count = 1;
  for (const std::uint32_t size : sizes) {
    count *= size;  // below 2^62
    if (count > kMaxValues) return kMaxValues + 1;
  }
  return count;
}

Result<std::vector<std::uint8_t>> read_values(Source& source, std::size_t expected) {
  std::vector<std::uint8_t> values;
  while (values.size() < expected) {
    const std::size_t before = values.size();
    values.resize(std::min(expected, before + kPart));
    const Result<std::size_t> count = source.read(std::span(values).subspan(before));
    if (!count) return count.error();
    if (before + *count < values.size()) {
      return corrupt(
          format("idx file has missing bytes: expected {} values, found {}", expected, before + *count));
    }
  }
  std::vector<std::uint8_t> extra(kPart);
  const Result<std::size_t> count = source.read(extra);
  if (!count) return count.error();
  if (*count > 0) {
    return corrupt(format("idx file has extra bytes: expected {} values, found {}{}", expected,
                          expected + *count, *count == kPart ? " or more" : ""));
  }
  return values;
}

Result<Idx> read_idx(Source& source) {
  Result<std::vector<std::uint32_t>> sizes = read_sizes(source);
  if (!sizes) return std::move(sizes).error();
  const std::uint64_t count = count_values(*sizes);
  if (count > kMaxValues) {
    return Error{ErrorCode::too_large, format("idx file has more than {} values", kMaxValues)};
  }
  Result<std::vector<std::uint8_t>> values = read_values(source, static_cast<std::size_t>(count));
  if (!values) return std::move(values).error();
  return Idx{*std::move(sizes), *std::move(values)};
}

}  // namespace

Result<Idx> parse_idx(std::span<const std::byte> file) {
  const bool gzipped = file.size() >= 2 && file[0] == std::byte{0x1f} && file[1] == std::byte{0x8b};
  if (gzipped) {
    GzipSource source(file);
    return read_idx(source);
  }
  Source source(file);
  return read_idx(source);
}

}  // namespace espy::model
