// Corrections: http::parse_correction.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "http/json_input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto input = espy::http::parse_correction({reinterpret_cast<const char*>(data), size});
  if (input && (input->label < 0 || input->author.size() > 255 || input->note.size() > 4000)) std::abort();
  return 0;
}
