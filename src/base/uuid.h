// Identifiers of records: UUID version 7 (RFC 9562 section 5.7), which sort by the time they were made.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <string_view>

#include "base/clock.h"

namespace espy {

struct Uuid {
  std::array<std::uint8_t, 16> bytes{};

  // Byte order, which for version 7 is order of creation.
  auto operator<=>(const Uuid&) const = default;
};

// Returns "01936f2e-7a1b-7c3d-8e4f-0123456789ab".
std::string to_string(const Uuid& uuid);

// Reads the form that to_string writes, in either case; nothing for any other text.
std::optional<Uuid> parse_uuid(std::string_view text);

// Makes version 7 identifiers, each greater than the one before it even when the clock steps back: the 48-bit
// millisecond field and the 12 bits of rand_a form one counter that never goes down (RFC 9562 section 6.2,
// method 3: the 12 bits carry the fraction of the millisecond).
// Threads: next() may be called from any thread.
class UuidGenerator {
 public:
  // Every identifier will be greater than `after`, the newest one that is already in use.
  explicit UuidGenerator(const Uuid& after = {});

  Uuid next(Timestamp now);

 private:
  std::mutex mutex_;
  std::uint64_t last_;  // milliseconds << 12 | fraction
  std::mt19937_64 random_;
};

}  // namespace espy
