#include "http/keys.h"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <boost/beast/core/string.hpp>
#include <utility>

#include "base/format.h"
#include "base/hex.h"

namespace espy::http {
namespace {

constexpr std::size_t kMaxKeys = 1000;
constexpr std::size_t kMaxNameBytes = 64;
constexpr std::string_view kPrefix = "espy_";  // by which those who look for leaked secrets know it

constexpr std::pair<std::string_view, Scope> kScopes[] = {
    {"predict", Scope::predict}, {"history", Scope::history}, {"admin", Scope::admin}};

Result<Scope> parse_scope(std::string_view text) {
  for (const auto& [name, scope] : kScopes) {
    if (name == text) return scope;
  }
  return Error{ErrorCode::invalid_input,
               format("there is no scope \"{}\"; there are predict, history, admin", text.substr(0, 64))};
}

bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= kMaxNameBytes && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  });
}

// Compares to the last byte wherever they differ; the volatile keeps the compiler from knowing better.
bool equal_in_constant_time(const Sha256& a, const Sha256& b) {
  volatile std::uint8_t difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference = static_cast<std::uint8_t>(difference | (a[i] ^ b[i]));
  }
  return difference == 0;
}

// Takes what stands before the mark, and the mark.
std::string_view take_until(std::string_view& text, char mark) {
  const std::string_view taken = text.substr(0, text.find(mark));
  text.remove_prefix(std::min(taken.size() + 1, text.size()));
  return taken;
}

Result<std::vector<Scope>> parse_scopes(std::string_view text) {
  std::vector<Scope> scopes;
  for (bool more = true; more;) {
    more = text.find(',') != text.npos;
    const Result<Scope> scope = parse_scope(take_until(text, ','));
    if (!scope) return scope.error();
    scopes.push_back(*scope);
  }
  return scopes;
}

Result<Key> parse_line(std::string_view line) {
  const std::string_view name = take_until(line, ' ');
  if (!is_name(name)) {
    return Error{ErrorCode::invalid_input, "the name is not 1 to 64 of a-z A-Z 0-9 . _ -"};
  }
  Result<std::vector<Scope>> scopes = parse_scopes(take_until(line, ' '));
  if (!scopes) return std::move(scopes).error();
  const std::optional<Sha256> digest = parse_sha256(line);
  if (!digest) return Error{ErrorCode::invalid_input, "the last word is not 64 digits in hexadecimal"};
  return Key{std::string(name), *std::move(scopes), *digest};
}

}  // namespace

bool Key::may(Scope scope) const {
  return scope == Scope::none || std::ranges::find(scopes, scope) != scopes.end();
}

Result<Keys> Keys::parse(std::string_view text) {
  Keys keys;
  for (int number = 1; !text.empty(); ++number) {
    std::string_view line = take_until(text, '\n');
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || line.front() == '#') continue;
    Result<Key> key = parse_line(line);
    if (!key) return Error{ErrorCode::invalid_input, format("line {}: {}", number, key.error().message)};
    for (const Key& other : keys.keys_) {
      if (other.name == key->name || other.digest == key->digest) {
        return Error{ErrorCode::invalid_input,
                     format("line {}: it has the name or the key of {}", number, other.name)};
      }
    }
    if (keys.keys_.size() == kMaxKeys) {
      return Error{ErrorCode::invalid_input, format("there are more than {} keys", kMaxKeys)};
    }
    keys.keys_.push_back(*std::move(key));
  }
  return keys;
}

const Key* Keys::find(std::string_view presented) const {
  const Sha256 digest = sha256(std::as_bytes(std::span(presented)));
  const Key* found = nullptr;
  for (const Key& key : keys_) {
    if (equal_in_constant_time(key.digest, digest)) found = &key;
  }
  return found;
}

std::string_view key_in(std::string_view authorization) {
  constexpr std::string_view kBearer = "Bearer ";
  const bool is_bearer = boost::beast::iequals(authorization.substr(0, kBearer.size()), kBearer);
  return is_bearer ? authorization.substr(kBearer.size()) : std::string_view();
}

Result<NewKey> make_key(std::string_view name, const std::vector<std::string>& scopes) {
  std::array<std::uint8_t, 32> random;
  if (::getrandom(random.data(), random.size(), 0) != static_cast<ssize_t>(random.size())) {
    return Error{ErrorCode::unavailable, "the system gives no random numbers"};
  }
  std::string secret = std::string(kPrefix) + to_hex(random);
  std::string joined;
  for (const std::string& scope : scopes) joined += (joined.empty() ? "" : ",") + scope;
  std::string line =
      format("{} {} {}", name, joined, to_hex(sha256(std::as_bytes(std::span(std::string_view(secret))))));
  const Result<Key> readable = parse_line(line);
  if (!readable) return readable.error();
  return NewKey{std::move(secret), std::move(line)};
}

std::string to_string(const std::vector<Scope>& scopes) {
  std::string text;
  for (const auto& [name, scope] : kScopes) {
    if (std::ranges::find(scopes, scope) == scopes.end()) continue;
    if (!text.empty()) text += ',';
    text += name;
  }
  return text;
}

}  // namespace espy::http
