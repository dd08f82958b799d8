#include "nn/tensor.h"

#include <cassert>

#include "base/format.h"

namespace espy::nn {

std::size_t element_count(const Shape& shape) {
  std::size_t count = 1;
  for (const int size : shape) {
    assert(size >= 0);
    count *= static_cast<std::size_t>(size);
  }
  return count;
}

std::string to_string(const Shape& shape) {
  std::string text;
  for (const int size : shape) text += format("{}{}", text.empty() ? "" : "x", size);
  return text;
}

}  // namespace espy::nn
