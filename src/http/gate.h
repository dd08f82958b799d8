// Who may come in: keys, rates, and pages of other origins.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "http/keys.h"
#include "http/message.h"
#include "http/rate_limit.h"

namespace espy::http {

struct GateOptions {
  std::optional<std::filesystem::path> keys;   // none: everybody may do everything
  double requests_per_second = 0;              // of one key, or of one address without one; 0: no limit
  std::vector<std::string> cors_origins = {};  // whose pages may ask; "*" is everybody's
};

// Threads: any.
class Gate {
 public:
  // Errors: as reload(); invalid_input (an origin that is none).
  static Result<std::unique_ptr<Gate>> open(GateOptions options);

  // Reads the file of keys again; on an error the keys stay as they were.
  // Errors: not_found, unavailable, too_large, invalid_input (what it says does not parse).
  Result<void> reload();

  bool has_keys() const { return options_.keys.has_value(); }
  bool limits_rates() const { return rate_ != nullptr; }

  struct Denial {
    int status;  // 401, 403 or 429
    std::string message;
    std::string fields;  // of the answer
  };

  // Returns why a request must not come in, nothing when it may. A key in a header goes before the one in the
  // cookie, which a browser got from session_cookie().
  std::optional<Denial> deny(const Request& request, Scope scope) const;

  // Returns whether the key that comes with a request may; without a file of keys it is true.
  bool may(const Request& request, Scope scope) const;

  // Returns whether it is one of the keys.
  bool knows(std::string_view key) const;

  // Returns the header fields that let a page of another origin read an answer; empty when it may not.
  std::string cors_fields(const Request& request) const;

  // Returns the field that lets a browser keep a key: no script sees it, and no page of another site can make
  // the browser send it along. With an empty key, the one that makes it forget.
  static std::string session_cookie(std::string_view key, const Request& request);

  // Returns by what an address is known to the limit of rates; 0 without one. The address has the 4 bytes of
  // IPv4 or the 16 of IPv6, most significant first. Of IPv6 the first half counts, which is what one
  // subscriber has (RFC 6177), unless it maps one of IPv4 (RFC 4291 section 2.5.5.2).
  std::uint64_t client_of(std::span<const std::byte> address) const;

 private:
  explicit Gate(GateOptions options) : options_(std::move(options)) {}

  std::shared_ptr<const Keys> keys() const;
  bool is_allowed_origin(std::string_view origin) const;

  const GateOptions options_;
  std::unique_ptr<RateLimit> rate_;
  mutable std::mutex mutex_;  // guards which keys these are
  std::shared_ptr<const Keys> keys_;
};

}  // namespace espy::http
