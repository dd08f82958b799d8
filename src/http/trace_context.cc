#include "http/trace_context.h"

#include <algorithm>
#include <cstddef>

namespace espy::http {
namespace {

constexpr std::size_t kVersion00Bytes = 55;
constexpr std::size_t kMaxRequestIdBytes = 128;

bool is_lower_hex(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool is_zero(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c == '0'; });
}

}  // namespace

bool is_traceparent(std::string_view value) {
  if (value.size() < kVersion00Bytes) return false;
  const std::string_view version = value.substr(0, 2);
  const std::string_view trace = value.substr(3, 32);
  const std::string_view parent = value.substr(36, 16);
  const std::string_view flags = value.substr(53, 2);
  if (value[2] != '-' || value[35] != '-' || value[52] != '-') return false;
  for (const std::string_view part : {version, trace, parent, flags}) {
    if (!is_lower_hex(part)) return false;
  }
  if (version == "ff" || is_zero(trace) || is_zero(parent)) return false;
  return value.size() == kVersion00Bytes || (version != "00" && value[kVersion00Bytes] == '-');
}

bool is_request_id(std::string_view value) {
  constexpr std::string_view kMarks = "._:/+=@-";
  return !value.empty() && value.size() <= kMaxRequestIdBytes && std::ranges::all_of(value, [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           kMarks.find(c) != kMarks.npos;
  });
}

}  // namespace espy::http
