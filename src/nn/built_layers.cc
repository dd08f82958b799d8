#include "nn/built_layers.h"

#include "base/format.h"

namespace espy::nn {

using dnnl::memory;

std::string describe(const char* kind, const memory::dims& weights, const memory::dims& source) {
  std::string text = format("{} ", kind);
  for (std::size_t i = 2; i < weights.size(); ++i) text += format("{}x", weights[i]);
  text += format("{} of ", weights[0]);
  for (std::size_t i = 1; i < source.size(); ++i) text += format("{}{}", i > 1 ? "x" : "", source[i]);
  return text;
}

double count_flops(const memory::dims& weights, const memory::dims& destination) {
  double result = 2 * static_cast<double>(destination[0]);
  for (const memory::dim size : weights) result *= static_cast<double>(size);
  for (std::size_t i = 2; i < destination.size(); ++i) result *= static_cast<double>(destination[i]);
  return result;
}

}  // namespace espy::nn
