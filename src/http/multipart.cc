#include "http/multipart.h"

#include <algorithm>
#include <array>

#include "base/format.h"

namespace espy::http {
namespace {

constexpr std::size_t kMaxParts = 256 + 8;  // as many pictures as one request may have, and other fields
constexpr std::size_t kMaxFieldBytes = 8
                                       << 10;  // of all fields of one part; a file name has at most 255 bytes
constexpr std::size_t kMaxBoundaryBytes = 70;  // RFC 2046 section 5.1.1

Error broken(std::string what) {
  return {ErrorCode::invalid_input, "broken multipart body: " + std::move(what)};
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, {}, lower, lower);
}

// Letters, digits and some more, by table: each request asks a hundred times.
class CharacterSet {
 public:
  constexpr explicit CharacterSet(std::string_view more) {
    for (char c = 'a'; c <= 'z'; ++c) add(c);
    for (char c = 'A'; c <= 'Z'; ++c) add(c);
    for (char c = '0'; c <= '9'; ++c) add(c);
    for (const char c : more) add(c);
  }
  bool has(char c) const { return members_[static_cast<unsigned char>(c)]; }

 private:
  constexpr void add(char c) { members_[static_cast<unsigned char>(c)] = true; }

  std::array<bool, 256> members_ = {};
};

bool is_space(char c) { return c == ' ' || c == '\t'; }

void skip_space(std::string_view& text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
}

bool take(std::string_view& text, std::string_view expected) {
  if (!text.starts_with(expected)) return false;
  text.remove_prefix(expected.size());
  return true;
}

// Takes a token (RFC 9110 section 5.6.2); empty when there is none.
std::string_view take_token(std::string_view& text) {
  static constexpr CharacterSet kToken("!#$%&'*+-.^_`|~");
  const auto is_token = [](char c) { return kToken.has(c); };
  const std::size_t length =
      static_cast<std::size_t>(std::ranges::find_if_not(text, is_token) - text.begin());
  const std::string_view token = text.substr(0, length);
  text.remove_prefix(length);
  return token;
}

// Takes a quoted string, without its quotes and with \" and \\ resolved. Any other backslash stands for
// itself: old browsers send whole Windows paths.
std::optional<std::string> take_quoted(std::string_view& text) {
  if (!take(text, "\"")) return {};
  std::string value;
  while (!text.empty()) {
    const char c = text.front();
    text.remove_prefix(1);
    if (c == '"') return value;
    const bool escapes = c == '\\' && !text.empty() && (text.front() == '"' || text.front() == '\\');
    value += escapes ? text.front() : c;
    if (escapes) text.remove_prefix(1);
  }
  return {};
}

struct Parameter {
  std::string_view name;
  std::string value;
};

// Reads what follows a media type or a disposition: *( ; name=value ).
std::optional<std::vector<Parameter>> parse_parameters(std::string_view text) {
  std::vector<Parameter> parameters;
  for (;;) {
    skip_space(text);
    if (text.empty()) return parameters;
    if (!take(text, ";")) return {};
    skip_space(text);
    if (text.empty()) return parameters;  // a semicolon too many does no harm
    const std::string_view name = take_token(text);
    if (name.empty() || !take(text, "=")) return {};
    if (text.starts_with('"')) {
      std::optional<std::string> value = take_quoted(text);
      if (!value) return {};
      parameters.push_back({name, *std::move(value)});
    } else {
      // More than a token: boundaries like ----=_Part_1 come without the quotes that they should have.
      const std::string_view value = text.substr(0, text.find_first_of("; \t\""));
      if (value.empty()) return {};
      text.remove_prefix(value.size());
      parameters.push_back({name, std::string(value)});
    }
  }
}

// Resolves the three escapes that the HTML standard uses in names ("multipart/form-data encoding algorithm").
std::string resolve_percent(std::string_view text) {
  std::string resolved;
  while (!text.empty()) {
    if (take(text, "%22")) {
      resolved += '"';
    } else if (take(text, "%0D") || take(text, "%0d")) {
      resolved += '\r';
    } else if (take(text, "%0A") || take(text, "%0a")) {
      resolved += '\n';
    } else {
      resolved += text.front();
      text.remove_prefix(1);
    }
  }
  return resolved;
}

Result<void> read_disposition(std::string_view value, Part& part) {
  std::string_view rest = value;
  if (!equal_ignoring_case(take_token(rest), "form-data")) return broken("a part is not form-data");
  std::optional<std::vector<Parameter>> parameters = parse_parameters(rest);
  if (!parameters) return broken("a part's Content-Disposition cannot be read");
  bool named = false;
  for (Parameter& parameter : *parameters) {
    if (equal_ignoring_case(parameter.name, "name")) {
      if (named) return broken("a part has two names");
      named = true;
      part.name = resolve_percent(parameter.value);
    } else if (equal_ignoring_case(parameter.name, "filename")) {
      if (part.file_name) return broken("a part has two file names");
      part.file_name = resolve_percent(parameter.value);
    }
  }
  if (!named) return broken("a part has no name");
  return {};
}

// Reads a part's fields: lines that each end in CRLF.
Result<Part> parse_fields(std::string_view fields) {
  Part part;
  bool disposed = false;
  while (!fields.empty()) {
    std::string_view line = fields.substr(0, fields.find("\r\n"));
    fields.remove_prefix(line.size() + 2);
    const std::string_view name = take_token(line);
    if (name.empty() || !take(line, ":")) return broken("a part's field cannot be read");
    skip_space(line);
    if (equal_ignoring_case(name, "content-disposition")) {
      if (disposed) return broken("a part has two Content-Dispositions");
      disposed = true;
      if (Result<void> read = read_disposition(line, part); !read) return std::move(read).error();
    } else if (equal_ignoring_case(name, "content-transfer-encoding")) {
      while (!line.empty() && is_space(line.back())) line.remove_suffix(1);
      const bool plain = equal_ignoring_case(line, "binary") || equal_ignoring_case(line, "8bit") ||
                         equal_ignoring_case(line, "7bit");
      if (!plain) return broken("a part has a transfer encoding; only binary, 8bit and 7bit are understood");
    }
  }
  if (!disposed) return broken("a part has no Content-Disposition");
  return part;
}

}  // namespace

bool is_multipart(std::string_view content_type) {
  constexpr std::string_view kType = "multipart/form-data";
  const std::string_view type = content_type.substr(0, content_type.find_first_of("; \t"));
  return equal_ignoring_case(type, kType);
}

Result<std::string> boundary_of(std::string_view content_type) {
  const std::size_t end_of_type = std::min(content_type.find(';'), content_type.size());
  std::optional<std::vector<Parameter>> parameters = parse_parameters(content_type.substr(end_of_type));
  if (!parameters) {
    return Error{ErrorCode::invalid_input, "Content-Type has parameters that cannot be read"};
  }
  std::optional<std::string> boundary;
  for (Parameter& parameter : *parameters) {
    if (!equal_ignoring_case(parameter.name, "boundary")) continue;
    if (boundary) return Error{ErrorCode::invalid_input, "Content-Type has two boundaries"};
    boundary = std::move(parameter.value);
  }
  if (!boundary || boundary->empty()) {
    return Error{ErrorCode::invalid_input, "Content-Type multipart/form-data has no boundary"};
  }
  if (boundary->size() > kMaxBoundaryBytes) {
    return Error{ErrorCode::invalid_input,
                 format("boundary has {} characters, limit is {}", boundary->size(), kMaxBoundaryBytes)};
  }
  const bool good = boundary->back() != ' ' && std::ranges::all_of(*boundary, [](char c) {
                      static constexpr CharacterSet kBoundary("'()+_,-./:=? ");  // RFC 2046 section 5.1.1
                      return kBoundary.has(c);
                    });
  if (!good) return Error{ErrorCode::invalid_input, "boundary has characters that RFC 2046 forbids"};
  return *std::move(boundary);
}

Result<std::vector<Part>> parse_multipart(std::string_view body, std::string_view boundary) {
  const std::string delimiter = "\r\n--" + std::string(boundary);
  std::string_view rest = body;
  if (!take(rest, std::string_view(delimiter).substr(2))) {
    return broken("it does not begin with the boundary that Content-Type names");
  }
  std::vector<Part> parts;
  for (;;) {
    // rest is behind a boundary: "--" ends the body, anything but padding and a line end is no boundary.
    if (rest.starts_with("--")) return parts;
    skip_space(rest);
    if (!take(rest, "\r\n")) return broken("a boundary is followed by neither a line end nor --");
    if (parts.size() == kMaxParts) return broken(format("it has more than {} parts", kMaxParts));

    // Without fields the empty line stands at once; then there is no name either.
    const std::size_t fields_bytes = rest.substr(0, kMaxFieldBytes).find("\r\n\r\n");
    if (fields_bytes == rest.npos) {
      return broken(rest.size() < kMaxFieldBytes
                        ? "it ends within a part's fields"
                        : format("a part's fields are longer than {} bytes", kMaxFieldBytes));
    }
    Result<Part> part = parse_fields(rest.substr(0, fields_bytes + 2));
    if (!part) return std::move(part).error();
    rest.remove_prefix(fields_bytes + 4);

    const std::size_t content_bytes = rest.find(delimiter);
    if (content_bytes == rest.npos) return broken("it ends within a part, without the closing boundary");
    part->content = rest.substr(0, content_bytes);
    parts.push_back(*std::move(part));
    rest.remove_prefix(content_bytes + delimiter.size());
  }
}

}  // namespace espy::http
