// The hash chain over a history: whoever has noted one of its links can tell later whether anything up to
// there was changed, left out or slipped in (B. Schneier, J. Kelsey, "Secure Audit Logs to Support Computer
// Forensics", 1999, section 3). It runs over digests, so that what a digest was made of can be erased.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/digest.h"

namespace espy::store {

// What has a place in the chain. NOTE: links depend on these numbers; never change them.
enum class Kind : std::int64_t { record = 1, correction = 2, erasure = 3 };

// A place in the chain and the link there. The chain begins behind place 0, whose link is all zeros.
struct ChainPoint {
  std::int64_t seq = 0;
  Sha256 link{};

  bool operator==(const ChainPoint&) const = default;
};

// Returns "1234:5f0c..." with all 64 digits of the link.
std::string to_string(const ChainPoint& point);

// Reads what to_string writes; nothing for any other text.
std::optional<ChainPoint> parse_chain_point(std::string_view text);

// Returns the place behind `previous`, where something with this digest stands:
//   link := SHA-256(previous link(32 bytes) seq(8 bytes, big-endian) kind(1 byte) digest(32 bytes))
// NOTE: histories hold these values; never change the encoding.
ChainPoint next_point(const ChainPoint& previous, Kind kind, const Sha256& digest);

}  // namespace espy::store
