#include "store/chain.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <span>

#include "base/format.h"
#include "base/hex.h"

namespace espy::store {

std::string to_string(const ChainPoint& point) { return format("{}:{}", point.seq, to_hex(point.link)); }

std::optional<ChainPoint> parse_chain_point(std::string_view text) {
  ChainPoint point;
  const std::size_t colon = text.find(':');
  if (colon == text.npos || text.size() - colon - 1 != 2 * point.link.size()) return {};
  const char* const end = text.data() + colon;
  const auto [stop, error] = std::from_chars(text.data(), end, point.seq);
  if (error != std::errc() || stop != end || point.seq < 0) return {};
  for (std::size_t i = 0; i < point.link.size(); ++i) {
    const char* const digits = end + 1 + 2 * i;
    const auto [past, reason] = std::from_chars(digits, digits + 2, point.link[i], 16);
    if (reason != std::errc() || past != digits + 2) return {};
  }
  return point;
}

ChainPoint next_point(const ChainPoint& previous, Kind kind, const Sha256& digest) {
  std::array<std::uint8_t, 32 + 8 + 1 + 32> bytes;
  const std::int64_t seq = previous.seq + 1;
  auto* end = std::ranges::copy(previous.link, bytes.begin()).out;
  for (int shift = 56; shift >= 0; shift -= 8) {
    *end++ = static_cast<std::uint8_t>(static_cast<std::uint64_t>(seq) >> shift);
  }
  *end++ = static_cast<std::uint8_t>(kind);
  std::ranges::copy(digest, end);
  return {seq, sha256(std::as_bytes(std::span(bytes)))};
}

}  // namespace espy::store
