#include "http/content_coding.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <string>
#include <utility>

#include "base/format.h"

namespace espy::http {
namespace {

// What fits into one packet anyway gains nothing.
constexpr std::size_t kWorthBytes = 1024;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::string_view trim(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t");
  if (begin == text.npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

std::string_view take_item(std::string_view& list, char separator) {
  const std::size_t end = std::min(list.find(separator), list.size());
  const std::string_view item = trim(list.substr(0, end));
  list.remove_prefix(std::min(list.size(), end + 1));
  return item;
}

std::optional<Deflated> parse_coding(std::string_view name) {
  std::string coding(name);
  std::ranges::transform(coding, coding.begin(), lower);
  if (coding == "gzip" || coding == "x-gzip") return Deflated::gzip;
  if (coding == "deflate") return Deflated::zlib;
  return {};
}

// The weight of ";q=0.5"; 1 without one, 0 for what is not understood.
double weight(std::string_view parameters) {
  parameters = trim(parameters);
  if (parameters.empty()) return 1;
  if (!parameters.starts_with("q=") && !parameters.starts_with("Q=")) return 0;
  double value = 0;
  const auto [end, error] =
      std::from_chars(parameters.data() + 2, parameters.data() + parameters.size(), value);
  return error == std::errc() && end == parameters.data() + parameters.size() ? value : 0;
}

// Pictures are compressed as they are.
bool is_compressible(std::string_view content_type) {
  return content_type.starts_with("text/") || content_type.starts_with("application/");
}

}  // namespace

Result<void> decode_body(Request& request, std::size_t limit) {
  const std::string_view name = trim(request.content_encoding);
  if (name.empty() || name == "identity") return {};
  const std::optional<Deflated> coding = parse_coding(name);
  if (!coding) {
    constexpr std::size_t kShownBytes = 64;
    return Error{ErrorCode::invalid_input, format("the content encoding is \"{}\", must be gzip or deflate",
                                                  name.substr(0, kShownBytes))};
  }
  Result<std::string> inflated = inflate(request.body, *coding, limit);
  if (!inflated) return std::move(inflated).error();
  request.body = *std::move(inflated);
  return {};
}

std::optional<Deflated> choose_coding(std::string_view accept_encoding) {
  std::optional<Deflated> best;
  double greatest = 0;
  while (!accept_encoding.empty()) {
    std::string_view item = take_item(accept_encoding, ',');
    const std::string_view name = take_item(item, ';');
    const std::optional<Deflated> coding = name == "*" ? Deflated::gzip : parse_coding(name);
    const double liking = weight(item);
    if (coding && liking > greatest) {
      best = coding;
      greatest = liking;
    }
  }
  return best;
}

void encode_body(Response& response, Deflated coding) {
  if (response.body.size() < kWorthBytes || !is_compressible(response.content_type)) return;
  std::string deflated = deflate(response.body, coding);
  if (deflated.size() >= response.body.size()) return;
  response.body = std::move(deflated);
  response.fields += format("Content-Encoding: {}\r\nVary: Accept-Encoding\r\n",
                            coding == Deflated::gzip ? "gzip" : "deflate");
}

}  // namespace espy::http
