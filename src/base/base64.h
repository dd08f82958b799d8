// Bytes as text (RFC 4648 section 4).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace espy {

std::string to_base64(std::string_view bytes);

// Returns nothing for what to_base64 does not write: other characters, a missing or needless '=', bits behind
// the last byte that are not 0.
std::optional<std::string> from_base64(std::string_view text);

}  // namespace espy
