// Data set files: model::parse_idx.
#include <cstdint>
#include <cstdlib>
#include <span>

#include "model/dataset.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto idx = espy::model::parse_idx(std::as_bytes(std::span(data, size)));
  if (!idx) return 0;
  std::size_t count = 1;
  for (const std::uint32_t dimension : idx->sizes) count *= dimension;
  if (count != idx->values.size()) std::abort();
  return 0;
}
