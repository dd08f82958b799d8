// Foreign text made safe to keep.
#pragma once

#include <string>
#include <string_view>

namespace espy {

// Returns the text with U+FFFD for every byte that is not part of well-formed UTF-8 (Unicode 15, table 3-7).
std::string valid_utf8(std::string_view text);

// Returns what is recorded of a client's file name: what follows the last slash or backslash, as valid UTF-8,
// with U+FFFD for control characters (C0, DEL, C1, and those that turn the direction of writing), at most 255
// bytes (the longest name that file systems have), cut between characters.
std::string clean_file_name(std::string_view name);

}  // namespace espy
