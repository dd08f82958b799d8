// A network as a list of layers: data, not code, so that recipes and model files can carry it.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "nn/tensor.h"

namespace espy::nn {

// [C, H, W] (x) [channels, C, kernel, kernel] + [channels] -> [channels, H, W]; stride 1, kernel odd, padded
// with (kernel - 1) / 2 zeros on each side.
struct Convolution {
  int channels;
  int kernel;
};

// Keeps the shape; max(x, 0).
struct Relu {};

// [C, H, W] -> [C, H / 2, W / 2], rounded down: the greatest of each 2x2 window.
struct MaxPool {};

// [C, H, W] -> [C * H * W], row-major.
struct Flatten {};

// [K] (x) [units, K] + [units] -> [units].
struct Dense {
  int units;
};

// Keeps the shape. In training each value is zero with this probability and otherwise divided by
// 1 - probability; in inference nothing happens (Srivastava et al. 2014, in its inverted form).
struct Dropout {
  float probability;
};

using Layer = std::variant<Convolution, Relu, MaxPool, Flatten, Dense, Dropout>;

struct Architecture {
  Shape input;  // of one sample: [C, H, W]
  std::vector<Layer> layers;
};

// Returns the shape after each layer, for one sample.
// Errors: invalid_input (a layer that does not fit what comes before it, or a size out of range).
Result<std::vector<Shape>> layer_shapes(const Architecture& architecture);

// Returns the shapes of the parameters: weights, then bias, of each Convolution and Dense in order.
// Errors: as layer_shapes.
Result<std::vector<Shape>> parameter_shapes(const Architecture& architecture);

// Returns "conv 5x5x32, relu, pool, flatten, dense 10".
std::string to_string(const Architecture& architecture);

}  // namespace espy::nn
