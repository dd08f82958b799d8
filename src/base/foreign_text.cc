#include "base/foreign_text.h"

#include <cstddef>
#include <cstdint>

namespace espy {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD
constexpr std::size_t kMaxFileNameBytes = 255;

struct Character {
  std::uint32_t code;
  std::size_t bytes;  // 0: the text does not begin with a well-formed character
};

// Reads the first character of a text that is not empty.
Character first_character(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const std::uint8_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  const std::size_t bytes = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < bytes) return {0, 0};
  std::uint32_t code = lead & (0xFFu >> (bytes + 1));
  for (std::size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return {0, 0};
    code = code << 6 | (byte(i) & 0x3Fu);
  }
  const bool overlong = (bytes == 3 && code < 0x800) || (bytes == 4 && code < 0x10000);
  const bool surrogate = code >= 0xD800 && code <= 0xDFFF;
  if (overlong || surrogate || code > 0x10FFFF) return {0, 0};
  return {code, bytes};
}

bool is_control(std::uint32_t code) {
  return code < 0x20 || (code >= 0x7F && code < 0xA0) || code == 0x200E || code == 0x200F ||
         (code >= 0x202A && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069);
}

}  // namespace

std::string valid_utf8(std::string_view text) {
  std::string valid;
  valid.reserve(text.size());
  while (!text.empty()) {
    const Character character = first_character(text);
    valid += character.bytes > 0 ? text.substr(0, character.bytes) : kReplacement;
    text.remove_prefix(character.bytes > 0 ? character.bytes : 1);
  }
  return valid;
}

std::string clean_file_name(std::string_view name) {
  if (const std::size_t slash = name.find_last_of("/\\"); slash != name.npos) name.remove_prefix(slash + 1);
  std::string clean;
  while (!name.empty()) {
    const Character character = first_character(name);
    const bool good = character.bytes > 0 && !is_control(character.code);
    const std::string_view piece = good ? name.substr(0, character.bytes) : kReplacement;
    if (clean.size() + piece.size() > kMaxFileNameBytes) break;
    clean += piece;
    name.remove_prefix(character.bytes > 0 ? character.bytes : 1);
  }
  return clean;
}

}  // namespace espy
