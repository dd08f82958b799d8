// What a client says a request is known by.
#pragma once

#include <string_view>

namespace espy::http {

// Returns whether this is a traceparent as W3C's Trace Context has it (Level 1, section 3.2): version, trace
// id, parent id and flags in lower-case hexadecimal, neither id all zeros. A version after 00 may have more
// behind a dash; version ff is none. Only then may it be passed on.
bool is_traceparent(std::string_view value);

// Returns whether a client's X-Request-Id may stand in logs and answers: 1 to 128 letters, digits and . _ : /
// + = @ -
bool is_request_id(std::string_view value);

}  // namespace espy::http
