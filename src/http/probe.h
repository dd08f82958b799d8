// One question to a server, as a health check asks it.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace espy::http {

// Where a question goes to.
struct Url {
  std::string host;  // a name or an address; IPv6 without brackets
  std::uint16_t port = 80;
  std::string path = "/";  // with its query, as it is sent

  bool operator==(const Url&) const = default;
};

// Reads http://HOST[:PORT][/PATH]; an IPv6 address stands in brackets. Errors: invalid_input.
Result<Url> parse_url(std::string_view text);

// Sends one GET and returns the answer's status (200). The whole of it may take `patience`; a name is looked
// up before, in the system's own time. Errors: unavailable (nobody answers, not in time, or not in HTTP).
Result<int> probe(const Url& url, std::chrono::milliseconds patience);

}  // namespace espy::http
