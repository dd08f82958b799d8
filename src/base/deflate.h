// Deflate (RFC 1951) in its two usual wrappings, in one step each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace espy {

enum class Deflated {
  gzip,  // RFC 1952, one member
  zlib,  // RFC 1950; HTTP calls it deflate
};

std::string deflate(std::string_view bytes, Deflated form);

// Takes no more than some multiple of `limit` in time and memory, whatever the bytes say.
// Errors: invalid_input (they are broken, or more follows), too_large (more than `limit` bytes would come
// out).
Result<std::string> inflate(std::string_view bytes, Deflated form, std::size_t limit);

enum class InflateStatus { done, too_long, broken };

struct Inflation {
  InflateStatus status;
  std::size_t bytes;  // that came out, when it is done
};

// Inflates a zlib stream into the room that there is.
Inflation inflate_zlib(std::span<const std::uint8_t> stream, std::span<std::uint8_t> room);

// The checksum of gzip and PNG.
std::uint32_t crc32(std::span<const std::uint8_t> bytes);

}  // namespace espy
