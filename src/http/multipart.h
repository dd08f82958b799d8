// multipart/form-data (RFC 7578, with RFC 2046's frame), strictly: what browsers, curl and HTTP libraries
// send is understood, and what is broken is refused rather than guessed.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace espy::http {

struct Part {
  std::string name;
  std::optional<std::string> file_name;  // as the client said it; nothing for a field that is no file
  std::string_view content;              // into the body
};

// Returns whether a Content-Type names a form of this kind.
bool is_multipart(std::string_view content_type);

// Returns the boundary that a Content-Type of this kind names.
// Errors: invalid_input (none, doubled, longer than 70 characters, or with characters that RFC 2046 forbids).
Result<std::string> boundary_of(std::string_view content_type);

// Cuts a body into its parts, in order. Names are unescaped in both ways that are in use: backslashes
// (RFC 9110's quoted-string) and %22, %0D, %0A (the HTML standard). filename* is ignored, as RFC 7578 section
// 4.2 forbids it.
// Errors: invalid_input (a body that does not begin with the boundary or never ends; a part without a name,
// with a transfer encoding, or whose fields are broken or longer than 8 KiB; more than 264 parts).
Result<std::vector<Part>> parse_multipart(std::string_view body, std::string_view boundary);

}  // namespace espy::http
