#include "base/hex.h"

#include <array>
#include <cstddef>

namespace espy {
namespace {

constexpr std::string_view kDigits = "0123456789abcdef";
constexpr std::uint8_t kNoDigit = 16;  // a bit that no digit has

constexpr std::array<std::uint8_t, 256> make_values() {
  std::array<std::uint8_t, 256> values = {};
  values.fill(kNoDigit);
  for (std::uint8_t i = 0; i < 16; ++i) {
    const char digit = kDigits[i];
    values[static_cast<std::uint8_t>(digit)] = i;
    if (digit >= 'a') values[static_cast<std::uint8_t>(digit - 'a' + 'A')] = i;
  }
  return values;
}

constexpr std::array<std::uint8_t, 256> kValues = make_values();

std::uint8_t value_of(char digit) { return kValues[static_cast<std::uint8_t>(digit)]; }

}  // namespace

std::string to_hex(std::span<const std::uint8_t> bytes) {
  std::string text(bytes.size() * 2, '\0');
  auto place = text.begin();
  for (const std::uint8_t byte : bytes) {
    *place++ = kDigits[byte >> 4];
    *place++ = kDigits[byte & 0x0f];
  }
  return text;
}

std::optional<std::uint8_t> parse_hex_byte(char high, char low) {
  if (((value_of(high) | value_of(low)) & kNoDigit) != 0) return {};
  return static_cast<std::uint8_t>(value_of(high) << 4 | value_of(low));
}

bool parse_hex(std::string_view text, std::span<std::uint8_t> bytes) {
  if (text.size() != 2 * bytes.size()) return false;
  std::uint8_t seen = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const std::uint8_t high = value_of(text[2 * i]);
    const std::uint8_t low = value_of(text[2 * i + 1]);
    seen |= high | low;
    bytes[i] = static_cast<std::uint8_t>(high << 4 | low);
  }
  return (seen & kNoDigit) == 0;
}

}  // namespace espy
