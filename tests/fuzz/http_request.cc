// Requests as they come over a connection: whichever way they are cut into pieces, the same is read.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "http/query.h"
#include "http/request_reader.h"

namespace {

using espy::http::Query;
using espy::http::Request;
using espy::http::RequestReader;
using State = RequestReader::State;

constexpr std::string_view kKnown[] = {"model", "file_name"};

// What became of a connection's bytes: one line for each request, and how it ended.
std::vector<std::string> read(std::string_view bytes, std::size_t piece) {
  RequestReader reader({.max_head_bytes = 512, .max_body_bytes = 1024});
  std::vector<std::string> found;
  std::size_t begin = 0;
  for (std::size_t end = 0; end < bytes.size();) {
    end = std::min(end + piece, bytes.size());
    for (;;) {
      const std::size_t used = reader.read(bytes.substr(begin, end - begin));
      if (used > end - begin) std::abort();
      begin += used;
      if (reader.state() == State::refused) {
        found.push_back("refused");
        return found;
      }
      if (reader.state() != State::complete) {
        if (used == 0 || begin == end) break;
        continue;
      }
      Request& request = reader.request();
      if (request.body.size() > 1024) std::abort();
      const espy::http::Target target = espy::http::split_target(request.target);
      static_cast<void>(Query::parse(target.query, kKnown));
      found.push_back(std::to_string(static_cast<int>(request.method)) + request.target + '\n' +
                      request.content_type + '\n' + request.accept + '\n' + request.body);
      reader.next();
      if (begin == end) break;
    }
  }
  return found;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const std::vector<std::string> whole = read(bytes, std::max<std::size_t>(1, size));
  for (const std::size_t piece : {std::size_t{1}, std::size_t{7}}) {
    const std::vector<std::string> pieces = read(bytes, piece);
    // Cut finely, a limit may strike before the request's end has come; what was read before that is the
    // same.
    const std::size_t common = std::min(whole.size(), pieces.size());
    for (std::size_t i = 0; i < common; ++i) {
      if (whole[i] != pieces[i] && whole[i] != "refused" && pieces[i] != "refused") std::abort();
    }
  }
  return 0;
}
