// Numbers with a shape.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace espy::nn {

// Sizes from the outermost dimension to the innermost.
using Shape = std::vector<int>;

// Returns the product of the sizes; 1 for an empty shape.
std::size_t element_count(const Shape& shape);

// Returns "32x14x14".
std::string to_string(const Shape& shape);

// Row-major values; element_count(shape) of them.
struct Tensor {
  Shape shape;
  std::vector<float> values;
};

}  // namespace espy::nn
