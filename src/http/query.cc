#include "http/query.h"

#include <algorithm>
#include <boost/beast/core/string.hpp>

#include "base/foreign_text.h"
#include "base/format.h"
#include "base/hex.h"

namespace espy::http {
namespace {

// Returns nothing for a broken escape.
std::optional<std::string> decode(std::string_view text) {
  std::string decoded;
  decoded.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+') {
      decoded += ' ';
    } else if (text[i] != '%') {
      decoded += text[i];
    } else {
      if (i + 2 >= text.size()) return {};
      const std::optional<std::uint8_t> byte = parse_hex_byte(text[i + 1], text[i + 2]);
      if (!byte) return {};
      decoded += static_cast<char>(*byte);
      i += 2;
    }
  }
  return decoded;
}

// A name in an error message: it comes from outside and may be of any length.
std::string_view shown(std::string_view name) {
  constexpr std::size_t kShownBytes = 64;
  return name.substr(0, kShownBytes);
}

}  // namespace

Target split_target(std::string_view target) {
  // RFC 9112 section 3.2.2: a server takes the absolute form, too. Whose name it has is the Host field's to
  // say.
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!boost::beast::iequals(target.substr(0, scheme.size()), scheme)) continue;
    const std::size_t path = target.find_first_of("/?", scheme.size());
    target = path == target.npos ? "/" : target.substr(path);
    break;
  }
  const std::size_t question = target.find('?');
  if (question == target.npos) return {target, {}};
  return {target.substr(0, question), target.substr(question + 1)};
}

Result<Query> Query::parse(std::string_view query, std::span<const std::string_view> known) {
  Query parsed;
  while (!query.empty()) {
    const std::string_view pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), pair.size() + 1));
    if (pair.empty()) continue;

    const std::size_t equals = pair.find('=');
    const std::optional<std::string> name = decode(pair.substr(0, equals));
    if (!name) {
      return Error{ErrorCode::invalid_input, format("broken percent escape in the name of parameter {}",
                                                    shown(pair.substr(0, equals)))};
    }
    if (std::ranges::find(known, *name) == known.end()) {
      return Error{ErrorCode::invalid_input, format("unknown parameter {}", shown(*name))};
    }
    std::optional<std::string> value =
        decode(equals == pair.npos ? std::string_view() : pair.substr(equals + 1));
    if (!value) {
      return Error{ErrorCode::invalid_input, format("broken percent escape in parameter {}", *name)};
    }
    if (valid_utf8(*value) != *value) {
      return Error{ErrorCode::invalid_input, format("parameter {} is not UTF-8", *name)};
    }
    if (parsed.get(*name)) {
      return Error{ErrorCode::invalid_input, format("parameter {} is given twice", *name)};
    }
    parsed.parameters_.emplace_back(*name, *std::move(value));
  }
  return parsed;
}

std::optional<std::string_view> Query::get(std::string_view name) const {
  const auto found = std::ranges::find(parameters_, name, &std::pair<std::string, std::string>::first);
  if (found == parameters_.end()) return {};
  return found->second;
}

std::string encode_parameter(std::string_view text) {
  std::string encoded;
  for (const char c : text) {
    const bool unreserved = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                            c == '-' || c == '.' || c == '_' || c == '~';  // RFC 3986 section 2.3
    if (unreserved) {
      encoded += c;
    } else {
      encoded += format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return encoded;
}

}  // namespace espy::http
