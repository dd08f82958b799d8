#include "base/deflate.h"

#include <libdeflate.h>

#include <algorithm>
#include <memory>
#include <new>

#include "base/format.h"

namespace espy {
namespace {

// Answers are deflated while somebody waits: the quickest level that looks for repetitions at all.
constexpr int kLevel = 1;

// What text becomes at most, mostly.
constexpr std::size_t kUsualRatio = 4;
constexpr std::size_t kLeastRoom = 4096;

struct Free {
  void operator()(libdeflate_decompressor* decompressor) const { libdeflate_free_decompressor(decompressor); }
  void operator()(libdeflate_compressor* compressor) const { libdeflate_free_compressor(compressor); }
};

// One a thread: its tables take 11 KB, and a small picture no longer than their allocation.
libdeflate_decompressor* decompressor() {
  thread_local const std::unique_ptr<libdeflate_decompressor, Free> kept(libdeflate_alloc_decompressor());
  if (!kept) throw std::bad_alloc();
  return kept.get();
}

libdeflate_compressor* compressor() {
  thread_local const std::unique_ptr<libdeflate_compressor, Free> kept(libdeflate_alloc_compressor(kLevel));
  if (!kept) throw std::bad_alloc();
  return kept.get();
}

}  // namespace

std::string deflate(std::string_view bytes, Deflated form) {
  const bool gzip = form == Deflated::gzip;
  std::string out(gzip ? libdeflate_gzip_compress_bound(compressor(), bytes.size())
                       : libdeflate_zlib_compress_bound(compressor(), bytes.size()),
                  '\0');
  out.resize((gzip ? libdeflate_gzip_compress : libdeflate_zlib_compress)(
      compressor(), bytes.data(), bytes.size(), out.data(), out.size()));
  return out;
}

Result<std::string> inflate(std::string_view bytes, Deflated form, std::size_t limit) {
  const auto step = form == Deflated::gzip ? libdeflate_gzip_decompress_ex : libdeflate_zlib_decompress_ex;
  std::string out;
  for (std::size_t room = std::max(kLeastRoom, bytes.size() * kUsualRatio);; room *= kUsualRatio) {
    out.resize(std::min(room, limit));
    std::size_t used = 0;
    std::size_t inflated = 0;
    const libdeflate_result result =
        step(decompressor(), bytes.data(), bytes.size(), out.data(), out.size(), &used, &inflated);
    if (result == LIBDEFLATE_INSUFFICIENT_SPACE) {
      if (out.size() < limit) continue;
      return Error{ErrorCode::too_large,
                   format("the content has more than {} bytes when it is inflated", limit)};
    }
    if (result != LIBDEFLATE_SUCCESS || used != bytes.size()) {
      return Error{ErrorCode::invalid_input,
                   format("the content is not a {} stream", form == Deflated::gzip ? "gzip" : "zlib")};
    }
    out.resize(inflated);
    return out;
  }
}

Inflation inflate_zlib(std::span<const std::uint8_t> stream, std::span<std::uint8_t> room) {
  std::size_t inflated = 0;
  const libdeflate_result result = libdeflate_zlib_decompress(decompressor(), stream.data(), stream.size(),
                                                              room.data(), room.size(), &inflated);
  if (result == LIBDEFLATE_INSUFFICIENT_SPACE) return {InflateStatus::too_long, 0};
  if (result != LIBDEFLATE_SUCCESS) return {InflateStatus::broken, 0};
  return {InflateStatus::done, inflated};
}

std::uint32_t crc32(std::span<const std::uint8_t> bytes) {
  return libdeflate_crc32(0, bytes.data(), bytes.size());
}

}  // namespace espy
