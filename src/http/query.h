// The target of a request: its path, and the parameters behind the question mark.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace espy::http {

struct Target {
  std::string_view path;  // without the "http://host" that a proxy's client may send (RFC 9112 section 3.2.2)
  std::string_view query;  // without the question mark; empty when there is none
};

// Cuts a target apart; the views are into it.
Target split_target(std::string_view target);

// The parameters of a query, decoded.
class Query {
 public:
  // Decodes application/x-www-form-urlencoded: %XX, and + for a space.
  // Errors: invalid_input, with the parameter's name: one that is not `known`, one given twice, a broken
  // escape, bytes that are not UTF-8.
  static Result<Query> parse(std::string_view query, std::span<const std::string_view> known);

  // Returns nothing when the parameter was not given.
  std::optional<std::string_view> get(std::string_view name) const;

 private:
  std::vector<std::pair<std::string, std::string>> parameters_;
};

// Encodes a text so that Query::parse gives it back, for links.
std::string encode_parameter(std::string_view text);

}  // namespace espy::http
