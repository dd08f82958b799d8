// Content-Encoding and Accept-Encoding (RFC 9110 sections 8.4 and 12.5.3): gzip and deflate.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "base/deflate.h"
#include "base/result.h"
#include "http/message.h"

namespace espy::http {

// Undoes the coding of a request's body. Errors: invalid_input (an unknown coding, or more than one; a broken
// body), too_large (more than `limit` bytes).
Result<void> decode_body(Request& request, std::size_t limit);

// Returns the coding of those that we have which a client likes best; nothing when it wants none.
std::optional<Deflated> choose_coding(std::string_view accept_encoding);

// Codes an answer's body, where that is worth it.
void encode_body(Response& response, Deflated coding);

}  // namespace espy::http
