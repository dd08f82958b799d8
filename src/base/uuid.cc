#include "base/uuid.h"

#include <algorithm>
#include <chrono>
#include <cstddef>

#include "base/hex.h"

namespace espy {
namespace {

constexpr std::array<std::size_t, 4> kDashes = {8, 13, 18, 23};  // where they stand in the text

std::uint64_t ticks_of(const Uuid& uuid) {
  std::uint64_t milliseconds = 0;
  for (size_t i = 0; i < 6; ++i) milliseconds = milliseconds << 8 | uuid.bytes[i];
  return milliseconds << 12 | static_cast<std::uint64_t>(uuid.bytes[6] & 0x0f) << 8 | uuid.bytes[7];
}

}  // namespace

std::string to_string(const Uuid& uuid) {
  const std::string digits = to_hex(uuid.bytes);
  std::string text;
  text.reserve(digits.size() + kDashes.size());
  std::size_t begin = 0;
  for (const std::size_t dash : kDashes) {
    const std::size_t count = dash - text.size();
    text.append(digits, begin, count) += '-';
    begin += count;
  }
  return text.append(digits, begin);
}

std::optional<Uuid> parse_uuid(std::string_view text) {
  constexpr std::size_t kLength = 36;
  if (text.size() != kLength) return std::nullopt;
  std::array<char, kLength - kDashes.size()> digits;
  std::size_t count = 0;
  std::size_t begin = 0;
  for (const std::size_t dash : kDashes) {
    if (text[dash] != '-') return std::nullopt;
    text.copy(digits.data() + count, dash - begin, begin);
    count += dash - begin;
    begin = dash + 1;
  }
  text.copy(digits.data() + count, kLength - begin, begin);
  Uuid uuid;
  if (!parse_hex({digits.data(), digits.size()}, uuid.bytes)) return std::nullopt;
  return uuid;
}

UuidGenerator::UuidGenerator(const Uuid& after) : last_(ticks_of(after)), random_(std::random_device{}()) {}

Uuid UuidGenerator::next(Timestamp now) {
  const auto microseconds =
      static_cast<std::uint64_t>(std::max<std::int64_t>(0, now.time_since_epoch().count()));
  const std::uint64_t ticks = (microseconds / 1000) << 12 | (microseconds % 1000) * 4096 / 1000;

  std::uint64_t mine;
  std::uint64_t random;
  {
    const std::lock_guard lock(mutex_);
    last_ = std::max(last_ + 1, ticks);
    mine = last_;
    random = random_();
  }

  Uuid uuid;
  const std::uint64_t milliseconds = mine >> 12;
  for (size_t i = 0; i < 6; ++i) uuid.bytes[i] = static_cast<std::uint8_t>(milliseconds >> (40 - 8 * i));
  uuid.bytes[6] = static_cast<std::uint8_t>(0x70 | ((mine >> 8) & 0x0f));  // version 7
  uuid.bytes[7] = static_cast<std::uint8_t>(mine);
  for (size_t i = 8; i < 16; ++i) uuid.bytes[i] = static_cast<std::uint8_t>(random >> (8 * (i - 8)));
  uuid.bytes[8] = static_cast<std::uint8_t>(0x80 | (uuid.bytes[8] & 0x3f));  // variant 10
  return uuid;
}

}  // namespace espy
