#include "http/gate.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <chrono>
#include <cmath>
#include <utility>

#include "base/file.h"
#include "base/format.h"

namespace espy::http {
namespace {

constexpr std::string_view kCookieName = "espy_key";

// Returns the value of the cookie of that name; empty when there is none (RFC 6265 section 4.2.1).
std::string_view cookie_value(std::string_view cookies, std::string_view name) {
  while (!cookies.empty()) {
    std::string_view pair = cookies.substr(0, cookies.find(';'));
    cookies.remove_prefix(std::min(pair.size() + 1, cookies.size()));
    pair.remove_prefix(std::min(pair.find_first_not_of(' '), pair.size()));
    if (pair.size() > name.size() && pair.starts_with(name) && pair[name.size()] == '=') {
      return pair.substr(name.size() + 1);
    }
  }
  return {};
}

std::string_view key_of(const Request& request) {
  return request.key.empty() ? cookie_value(request.cookie, kCookieName) : request.key;
}

// "https://example.org" is of the host "example.org".
std::string_view host_of(std::string_view origin) {
  const std::size_t scheme = origin.find("://");
  return scheme == origin.npos ? std::string_view() : origin.substr(scheme + 3);
}

bool is_origin(std::string_view text) {
  const std::string_view host = host_of(text);
  return (text.starts_with("http://") || text.starts_with("https://")) && !host.empty() &&
         std::ranges::all_of(host, [](char c) { return c > ' ' && c < '\x7f' && c != '/'; });
}

// Whether a page of another origin makes a browser ask, by what browsers say of it: Sec-Fetch-Site, or Origin
// in those from before 2020 to 2023. Programs say neither, and cannot be talked into asking.
bool is_cross_origin(const Request& request) {
  if (!request.fetch_site.empty()) {
    return request.fetch_site != "same-origin" && request.fetch_site != "none";
  }
  return !request.origin.empty() && host_of(request.origin) != request.host;
}

}  // namespace

Result<std::unique_ptr<Gate>> Gate::open(GateOptions options) {
  for (const std::string& origin : options.cors_origins) {
    if (origin != "*" && !is_origin(origin)) {
      return Error{ErrorCode::invalid_input,
                   format("\"{}\" is no origin, such as https://example.org, and not *", origin)};
    }
  }
  std::unique_ptr<Gate> gate(new Gate(std::move(options)));
  if (gate->options_.requests_per_second > 0) {
    gate->rate_ = std::make_unique<RateLimit>(gate->options_.requests_per_second);
  }
  if (Result<void> loaded = gate->reload(); !loaded) return std::move(loaded).error();
  return gate;
}

Result<void> Gate::reload() {
  if (!options_.keys) return {};
  const Result<std::string> text = read_file(*options_.keys, kMaxKeysBytes);
  if (!text) return text.error();
  Result<Keys> keys = Keys::parse(*text);
  if (!keys) {
    return Error{keys.error().code, format("{}, {}", options_.keys->string(), keys.error().message)};
  }
  auto shared = std::make_shared<const Keys>(*std::move(keys));
  const std::lock_guard lock(mutex_);
  keys_ = std::move(shared);
  return {};
}

std::shared_ptr<const Keys> Gate::keys() const {
  const std::lock_guard lock(mutex_);
  return keys_;
}

std::optional<Gate::Denial> Gate::deny(const Request& request, Scope scope) const {
  if (!has_keys() && !rate_ && request.method != Method::post) return {};
  const std::shared_ptr<const Keys> known = has_keys() ? keys() : nullptr;
  const std::string_view presented = key_of(request);
  const Key* key = known && !presented.empty() ? known->find(presented) : nullptr;

  // First, so that guessing costs as much as asking. Probes and style sheets are free.
  if (rate_ && (scope != Scope::none || request.method == Method::post)) {
    const std::uint64_t client =
        key ? rate_->client_of(std::as_bytes(std::span(key->digest))) : request.client;
    if (const auto wait = rate_->take(client, std::chrono::steady_clock::now())) {
      const double seconds = std::ceil(std::chrono::duration<double>(*wait).count());
      return Denial{429,
                    format("{} sends more than {} requests a second", key ? "this key" : "this address",
                           options_.requests_per_second),
                    format("Retry-After: {:.0f}\r\n", std::max(1.0, seconds))};
    }
  }
  if (request.method == Method::post && is_cross_origin(request) && !is_allowed_origin(request.origin)) {
    return Denial{403, "a page of another origin sends this", ""};
  }
  if (!known || scope == Scope::none) return {};
  if (!key) {
    return Denial{401, presented.empty() ? "this needs a key" : "there is no such key",
                  "WWW-Authenticate: Bearer realm=\"espy\"\r\n"};
  }
  if (!key->may(scope)) {
    return Denial{403, format("the key {} may not do this, only {}", key->name, to_string(key->scopes)), ""};
  }
  return {};
}

bool Gate::may(const Request& request, Scope scope) const {
  if (!has_keys()) return true;
  const std::shared_ptr<const Keys> known = keys();
  const Key* key = known->find(key_of(request));
  return key && key->may(scope);
}

bool Gate::knows(std::string_view key) const { return has_keys() && keys()->find(key); }

bool Gate::is_allowed_origin(std::string_view origin) const {
  return !origin.empty() && std::ranges::any_of(options_.cors_origins, [&](const std::string& allowed) {
    return allowed == "*" || allowed == origin;
  });
}

std::string Gate::cors_fields(const Request& request) const {
  if (options_.cors_origins.empty()) return {};
  std::string fields = "Vary: Origin\r\n";
  if (!is_allowed_origin(request.origin)) return fields;
  fields += format("Access-Control-Allow-Origin: {}\r\n", request.origin);
  if (request.is_preflight) {
    // Ten minutes: some browsers keep it no longer.
    fields +=
        "Access-Control-Allow-Methods: GET, HEAD, POST\r\n"
        "Access-Control-Allow-Headers: Authorization, Content-Encoding, Content-Type, Espy-Subject, "
        "Idempotency-Key, Inference-Header-Content-Length, Traceparent, X-Api-Key, X-Request-Id\r\n"
        "Access-Control-Max-Age: 600\r\n";
  } else {
    fields +=
        "Access-Control-Expose-Headers: Content-Encoding, Inference-Header-Content-Length, Retry-After, "
        "X-Request-Id\r\n";
  }
  return fields;
}

std::string Gate::session_cookie(std::string_view key, const Request& request) {
  // Who came encrypted, perhaps through a proxy, never sends it otherwise.
  const bool encrypted = request.origin.starts_with("https://");
  return format("Set-Cookie: {}={}; HttpOnly; SameSite=Strict; Path=/{}{}\r\n", kCookieName, key,
                encrypted ? "; Secure" : "", key.empty() ? "; Max-Age=0" : "");
}

std::uint64_t Gate::client_of(std::span<const std::byte> address) const {
  assert(address.size() == 4 || address.size() == 16);
  if (!rate_) return 0;
  if (address.size() == 16) {
    constexpr std::array<std::byte, 12> kMapped{
        {{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, std::byte{0xff}, std::byte{0xff}}};
    address = std::ranges::equal(address.first<12>(), kMapped) ? address.last(4) : address.first(8);
  }
  return rate_->client_of(address);
}

}  // namespace espy::http
