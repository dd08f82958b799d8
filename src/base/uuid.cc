#include "base/uuid.h"

#include <algorithm>
#include <chrono>

namespace espy {
namespace {

constexpr std::string_view kHexDigits = "0123456789abcdef";

std::uint64_t ticks_of(const Uuid& uuid) {
  std::uint64_t milliseconds = 0;
  for (size_t i = 0; i < 6; ++i) milliseconds = milliseconds << 8 | uuid.bytes[i];
  return milliseconds << 12 | static_cast<std::uint64_t>(uuid.bytes[6] & 0x0f) << 8 | uuid.bytes[7];
}

}  // namespace

std::string to_string(const Uuid& uuid) {
  std::string text;
  text.reserve(36);
  for (size_t i = 0; i < uuid.bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += kHexDigits[uuid.bytes[i] >> 4];
    text += kHexDigits[uuid.bytes[i] & 0x0f];
  }
  return text;
}

std::optional<Uuid> parse_uuid(std::string_view text) {
  if (text.size() != 36) return std::nullopt;
  Uuid uuid;
  size_t nibble = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (i == 8 || i == 13 || i == 18 || i == 23) {
      if (c != '-') return std::nullopt;
      continue;
    }
    if (c >= 'A' && c <= 'F') c = static_cast<char>(c - 'A' + 'a');
    const size_t value = kHexDigits.find(c);
    if (value == std::string_view::npos) return std::nullopt;
    auto& byte = uuid.bytes[nibble / 2];
    byte = static_cast<std::uint8_t>(byte << 4 | value);
    ++nibble;
  }
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
