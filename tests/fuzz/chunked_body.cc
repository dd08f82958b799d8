// Chunked bodies, behind a head that is always good: what comes out is what a slow and simple reader of RFC
// 9112 section 7.1 finds, or nothing does.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "http/request_reader.h"

namespace {

using espy::http::RequestReader;
using State = RequestReader::State;

constexpr std::string_view kHead = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
constexpr std::size_t kMaxBodyBytes = 4096;

// What became of a body: its bytes and how many were used up, or nothing when it was refused or goes on.
struct Found {
  std::string body;
  std::size_t used;
};

std::optional<Found> read(std::string_view body, std::size_t piece) {
  const std::string bytes = std::string(kHead).append(body);
  RequestReader reader({.max_head_bytes = 512, .max_body_bytes = kMaxBodyBytes});
  std::size_t begin = 0;
  for (std::size_t end = 0; end < bytes.size();) {
    end = std::min(end + piece, bytes.size());
    for (;;) {
      const std::size_t used = reader.read(std::string_view(bytes).substr(begin, end - begin));
      if (used > end - begin) std::abort();
      begin += used;
      if (reader.state() == State::refused) return {};
      if (reader.state() == State::complete) {
        return Found{reader.request().body, begin - kHead.size()};
      }
      if (used == 0 || begin == end) break;
    }
  }
  return {};
}

// Takes a line that ends in CR LF, without its end.
std::optional<std::string_view> take_line(std::string_view& text) {
  const std::size_t end = text.find("\r\n");
  if (end == text.npos) return {};
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end + 2);
  return line;
}

std::optional<Found> read_simply(const std::string_view whole) {
  std::string_view text = whole;
  Found found;
  for (;;) {
    const auto line = take_line(text);
    if (!line) return {};
    const std::size_t digits = line->find_first_not_of("0123456789abcdefABCDEF");
    const std::string size_text(line->substr(0, digits));
    if (size_text.empty()) return {};
    const std::string_view significant =
        std::string_view(size_text).substr(std::min(size_text.find_first_not_of('0'), size_text.size()));
    if (significant.size() > 8) return {};
    const std::size_t size = significant.empty() ? 0 : std::stoul(std::string(significant), nullptr, 16);
    if (size == 0) break;
    if (text.size() < size + 2 || text.substr(size, 2) != "\r\n") return {};
    found.body.append(text.substr(0, size));
    text.remove_prefix(size + 2);
  }
  for (;;) {  // the trailer
    const auto line = take_line(text);
    if (!line) return {};
    if (line->empty()) break;
  }
  found.used = whole.size() - text.size();
  return found;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  const std::optional<Found> simple = read_simply(body);
  for (const std::size_t piece : {kHead.size() + size, std::size_t{1}, std::size_t{5}}) {
    const std::optional<Found> found = read(body, piece);
    if (!found) continue;  // it is stricter
    if (found->body.size() > kMaxBodyBytes) std::abort();
    if (!simple || simple->body != found->body || simple->used != found->used) std::abort();
  }
  return 0;
}
