// Bytes as hexadecimal digits.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace espy {

// Returns two lower-case digits a byte.
std::string to_hex(std::span<const std::uint8_t> bytes);

// Returns the byte that two digits say, in either case; nothing when one is no digit.
std::optional<std::uint8_t> parse_hex_byte(char high, char low);

// Fills `bytes` from the digits that to_hex writes, in either case. Returns false, and leaves anything in
// `bytes`, when there are more or fewer of them or when something else is among them.
bool parse_hex(std::string_view text, std::span<std::uint8_t> bytes);

}  // namespace espy
