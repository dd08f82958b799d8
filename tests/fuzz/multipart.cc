// Forms: the first line is the Content-Type, the rest the body.
#include "http/multipart.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/foreign_text.h"
#include "http/text.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const std::string_view type = bytes.substr(0, bytes.find('\n'));
  const std::string_view body = type.size() < size ? bytes.substr(type.size() + 1) : std::string_view();
  static_cast<void>(espy::http::is_multipart(type));
  const espy::Result<std::string> boundary = espy::http::boundary_of(type);
  if (!boundary) return 0;
  if (boundary->empty() || boundary->size() > 70) std::abort();

  const auto parts = espy::http::parse_multipart(body, *boundary);
  if (!parts) return 0;
  const char* end_of_last = body.data();
  for (const espy::http::Part& part : *parts) {
    // In order, within the body, and without a boundary inside.
    if (part.content.data() < end_of_last) std::abort();
    end_of_last = part.content.data() + part.content.size();
    if (end_of_last > body.data() + body.size()) std::abort();
    if (part.content.find("\r\n--" + *boundary) != part.content.npos) std::abort();
    const std::string name = espy::clean_file_name(part.file_name.value_or(""));
    if (name.size() > 255 || espy::valid_utf8(name) != name || name.find('/') != name.npos) std::abort();
    static_cast<void>(espy::http::escape(name));
  }
  return 0;
}
