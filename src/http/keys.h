// API keys: who may do what.
//
// The file of keys has a line for each, `NAME SCOPE,... SHA256`, in hexadecimal; lines that begin with # and
// empty ones are passed over. A key itself is "espy_" and 256 random bits in hexadecimal, and stands nowhere.
// One SHA-256 of it is enough: what slows down a search (salt, scrypt, Argon2) is for secrets that can be
// searched, and NIST SP 800-63B section 5.1.2.2 asks for it below 112 bits only.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/result.h"

namespace espy::http {

// What a route asks of who comes.
enum class Scope : std::uint8_t {
  none,     // everybody may
  predict,  // classify pictures, see the models
  history,  // look back, see uploads, correct
  admin,    // figures of the server, change what is served
};

struct Key {
  std::string name;
  std::vector<Scope> scopes;
  Sha256 digest{};

  bool may(Scope scope) const;
};

inline constexpr std::size_t kMaxKeysBytes = 256 << 10;  // of a file

// Threads: only read once made.
class Keys {
 public:
  // Errors: invalid_input (a line that is none, with its number; a name or a key that is there twice; more
  // than 1,000 keys).
  static Result<Keys> parse(std::string_view text);

  // Returns the key that was presented; nullptr when it is none of these. Compares its digest with each of
  // theirs, to the last byte, so that the time tells nothing.
  const Key* find(std::string_view presented) const;

  const std::vector<Key>& all() const { return keys_; }

 private:
  std::vector<Key> keys_;
};

// Returns the key that an Authorization field brings: what follows "Bearer " (RFC 6750), in whatever case.
// Empty for another scheme, which is a proxy's business.
std::string_view key_in(std::string_view authorization);

struct NewKey {
  std::string secret;  // to be shown once
  std::string line;    // for the file, without its end
};

// Returns a new key from the system's random numbers.
// Errors: invalid_input (a name that is not 1 to 64 of a-z A-Z 0-9 . _ -; no scope, or an unknown one),
// unavailable (no random numbers).
Result<NewKey> make_key(std::string_view name, const std::vector<std::string>& scopes);

// Returns "predict,history".
std::string to_string(const std::vector<Scope>& scopes);

}  // namespace espy::http
