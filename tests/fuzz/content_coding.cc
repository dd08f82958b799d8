// Compressed bodies: espy::inflate. The first byte chooses the form.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/deflate.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  constexpr std::size_t kLimit = 1 << 16;
  const espy::Deflated form = data[0] % 2 == 0 ? espy::Deflated::gzip : espy::Deflated::zlib;
  const auto inflated = espy::inflate({reinterpret_cast<const char*>(data + 1), size - 1}, form, kLimit);
  if (!inflated) return 0;
  if (inflated->size() > kLimit) std::abort();
  const auto again = espy::inflate(espy::deflate(*inflated, form), form, kLimit);
  if (!again || *again != *inflated) std::abort();
  return 0;
}
