#include "base/base64.h"

#include <array>
#include <cstddef>
#include <cstdint>

namespace espy {
namespace {

constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::uint8_t kNoDigit = 64;  // a bit that no digit has

constexpr std::array<std::uint8_t, 256> make_values() {
  std::array<std::uint8_t, 256> values = {};
  values.fill(kNoDigit);
  for (std::size_t i = 0; i < kDigits.size(); ++i) {
    values[static_cast<std::uint8_t>(kDigits[i])] = static_cast<std::uint8_t>(i);
  }
  return values;
}

constexpr std::array<std::uint8_t, 256> kValues = make_values();

}  // namespace

std::string to_base64(std::string_view bytes) {
  std::string text((bytes.size() + 2) / 3 * 4, '=');
  char* to = text.data();
  const auto byte_at = [&](std::size_t i) -> std::uint32_t { return static_cast<std::uint8_t>(bytes[i]); };
  const std::size_t whole = bytes.size() / 3 * 3;
  for (std::size_t i = 0; i < whole; i += 3, to += 4) {
    const std::uint32_t bits = byte_at(i) << 16 | byte_at(i + 1) << 8 | byte_at(i + 2);
    to[0] = kDigits[bits >> 18];
    to[1] = kDigits[bits >> 12 & 63];
    to[2] = kDigits[bits >> 6 & 63];
    to[3] = kDigits[bits & 63];
  }
  if (const std::size_t rest = bytes.size() - whole; rest > 0) {
    const std::uint32_t bits = byte_at(whole) << 16 | (rest == 2 ? byte_at(whole + 1) << 8 : 0);
    to[0] = kDigits[bits >> 18];
    to[1] = kDigits[bits >> 12 & 63];
    if (rest == 2) to[2] = kDigits[bits >> 6 & 63];
  }
  return text;
}

std::optional<std::string> from_base64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  if (text.empty()) return "";
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  const std::size_t digits = text.size() - padding;
  std::string bytes(text.size() / 4 * 3 - padding, '\0');
  char* to = bytes.data();
  const auto value_at = [&](std::size_t i) -> std::uint32_t {
    return kValues[static_cast<std::uint8_t>(text[i])];
  };
  // What is no digit is told after the loop, so that nothing in it depends on what was read.
  std::uint32_t seen = 0;
  const std::size_t whole = digits / 4 * 4;
  for (std::size_t i = 0; i < whole; i += 4, to += 3) {
    const std::uint32_t a = value_at(i), b = value_at(i + 1), c = value_at(i + 2), d = value_at(i + 3);
    seen |= a | b | c | d;
    const std::uint32_t bits = a << 18 | b << 12 | c << 6 | d;
    to[0] = static_cast<char>(bits >> 16);
    to[1] = static_cast<char>(bits >> 8);
    to[2] = static_cast<char>(bits);
  }
  if (padding > 0) {
    const std::uint32_t a = value_at(whole), b = value_at(whole + 1);
    const std::uint32_t c = padding == 1 ? value_at(whole + 2) : 0;
    seen |= a | b | c;
    const std::uint32_t bits = a << 18 | b << 12 | c << 6;
    const std::uint32_t bits_behind = padding == 1 ? bits & 0xff : bits & 0xffff;
    if (bits_behind != 0) return std::nullopt;
    to[0] = static_cast<char>(bits >> 16);
    if (padding == 1) to[1] = static_cast<char>(bits >> 8);
  }
  if ((seen & kNoDigit) != 0) return std::nullopt;
  return bytes;
}

}  // namespace espy
