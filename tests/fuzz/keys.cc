// Files of keys: what parses is as it says, and finds nothing that it has not.
#include "http/keys.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const espy::Result<espy::http::Keys> keys = espy::http::Keys::parse(text);
  if (!keys) return 0;
  for (const espy::http::Key& key : keys->all()) {
    if (key.name.empty() || key.name.size() > 64 || key.scopes.empty()) std::abort();
    if (espy::http::to_string(key.scopes).empty()) std::abort();
    if (key.may(espy::http::Scope::admin) && text.find("admin") == text.npos) std::abort();
  }
  static_cast<void>(keys->find(text));
  return 0;
}
