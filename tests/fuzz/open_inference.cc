// Requests of the Open Inference Protocol: http::parse_infer. With ESPY_FUZZ_BINARY the first line is the
// field Inference-Header-Content-Length, and the rest the body; otherwise all is JSON.
#include "http/open_inference.h"

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view body(reinterpret_cast<const char*>(data), size);
  std::optional<std::size_t> json_bytes;
  if (ESPY_FUZZ_BINARY) {
    const std::string_view line = body.substr(0, body.find('\n'));
    std::size_t number = 0;
    std::from_chars(line.data(), line.data() + line.size(), number);
    json_bytes = number;
    body.remove_prefix(line.size() < body.size() ? line.size() + 1 : body.size());
  }
  const auto repository = espy::http::parse_repository_request(body);
  if (!repository && repository.error().message.empty()) std::abort();
  const auto request = espy::http::parse_infer(body, json_bytes);
  if (!request) return 0;
  if (request->inference.pictures.empty() ||
      request->inference.pictures.size() > espy::service::kMostTogether)
    std::abort();
  if (request->inference.id.size() > espy::service::kMaxIdBytes) std::abort();
  for (const espy::service::Picture& picture : request->inference.pictures) {
    if (picture.content == espy::service::Content::pixels && picture.bytes.size() != espy::service::kPixels)
      std::abort();
  }
  for (const espy::service::WantedOutput& output : request->inference.outputs) {
    if (output.kind == nullptr) std::abort();
  }
  return 0;
}
