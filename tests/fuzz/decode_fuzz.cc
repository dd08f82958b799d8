// Bytes to pixels to a network's input, for one picture format (ESPY_FUZZ_FORMAT) per program.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "image/decode.h"
#include "image/prepare.h"

namespace {

// Small, because time spent on large pictures finds nothing new.
constexpr espy::image::DecodeLimits kLimits = {.max_bytes = std::size_t{1} << 20, .max_pixels = 256 * 256};

void require(bool holds) {
  if (!holds) std::abort();
}

// CRC-32 as PNG has it (its specification, annex D), bit by bit: the pictures are small.
std::uint32_t checksum(std::span<const std::uint8_t> bytes) {
  std::uint32_t crc = 0xFFFFFFFF;
  for (const std::uint8_t byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xEDB88320 : 0);
  }
  return ~crc;
}

// Makes the checksums of a PNG's chunks right; otherwise nearly every change would end at the first of them.
void mend_checksums(std::vector<std::uint8_t>& png) {
  constexpr std::size_t kSignature = 8;
  constexpr std::size_t kAroundData = 12;  // length, name, checksum
  std::size_t at = kSignature;
  while (at + kAroundData <= png.size()) {
    const std::size_t length = std::size_t{png[at]} << 24 | std::size_t{png[at + 1]} << 16 |
                               std::size_t{png[at + 2]} << 8 | std::size_t{png[at + 3]};
    if (length > png.size() - at - kAroundData) return;
    const std::uint32_t crc = checksum(std::span(png).subspan(at + 4, length + 4));
    for (std::size_t i = 0; i < 4; ++i)
      png[at + 8 + length + i] = static_cast<std::uint8_t>(crc >> (24 - 8 * i));
    at += kAroundData + length;
  }
}

void decode_and_prepare(std::span<const std::byte> upload) {
  using namespace espy::image;
  const espy::Result<GrayImage> picture = decode(upload, kLimits);
  if (!picture) {
    require(!picture.error().message.empty());
    return;
  }
  require(picture->width >= 1 && picture->height >= 1);
  require(picture->pixels.size() ==
          static_cast<std::size_t>(picture->width) * static_cast<std::size_t>(picture->height));
  require(picture->pixels.size() <= kLimits.max_pixels);
  for (const Preparation preparation : {Preparation::digit, Preparation::garment, Preparation::plain}) {
    const Input once = prepare(*picture, preparation);
    const GrayImage again{kInputSide, kInputSide, {once.begin(), once.end()}};
    require(prepare(again, preparation) == once);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using espy::image::Format;
  const std::span<const std::byte> upload = std::as_bytes(std::span(data, size));
  const espy::Result<Format> format = espy::image::detect_format(upload);
  if (!format || *format != Format::ESPY_FUZZ_FORMAT) return 0;
  decode_and_prepare(upload);
  if (*format == Format::png) {
    std::vector<std::uint8_t> mended(data, data + size);
    mend_checksums(mended);
    decode_and_prepare(std::as_bytes(std::span(mended)));
  }
  return 0;
}
