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
  std::string path = "/";     // with its query, as it is sent
  bool is_encrypted = false;  // over TLS

  bool operator==(const Url&) const = default;
};

// Reads http://HOST[:PORT][/PATH], or the same with https, whose port is 443 where none is named; an IPv6
// address stands in brackets. Errors: invalid_input.
Result<Url> parse_url(std::string_view text);

// Sends one GET and returns the answer's status (200). The whole of it may take `patience`; a name is looked
// up before, in the system's own time. Whether a certificate is the right one is not asked: nothing secret is
// said, and what is probed is mostly this machine, by an address that no certificate names. Errors:
// unavailable (nobody answers, not in time, not in HTTP, or not over TLS).
Result<int> probe(const Url& url, std::chrono::milliseconds patience);

}  // namespace espy::http
