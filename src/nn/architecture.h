// A network as a list of layers: data, not code, so that recipes and model files can carry it.
#pragma once

#include <algorithm>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "nn/tensor.h"

namespace espy::nn {

enum class Bias { none, added };

// [C, H, W] (x) [channels, C, kernel, kernel] + [channels] -> [channels, H', W'], padded with P = (kernel -
// 1) / 2 zeros, rounded down, on each side: H' = (H + 2P - kernel) / stride + 1. So an odd kernel with stride
// 1 keeps height and width, and an even one needs a stride.
struct Convolution {
  int channels;
  int kernel;
  int stride = 1;
  Bias bias = Bias::added;
};

// Keeps the shape. (x - mean) / sqrt(variance + kBatchNormEpsilon) * scale + shift for each channel: in
// training with mean and variance of the samples that are computed together, in inference with their running
// averages (Ioffe & Szegedy 2015, algorithms 1 and 2). Follows a convolution without bias, whose weights it
// is folded into for inference.
struct BatchNorm {};

// PyTorch's and the paper's small number, and PyTorch's share of the latest batch in the running averages.
inline constexpr float kBatchNormEpsilon = 1e-5F;
inline constexpr float kBatchNormMomentum = 0.1F;

// Keeps the shape; max(x, 0).
struct Relu {};

// [C, H, W] -> [C, H / 2, W / 2], rounded down: the greatest of each 2x2 window.
struct MaxPool {};

// Keeps the shape: adds the input of the first of the `layers` layers before it, which has the same shape, to
// the output of the last (He et al. 2016, "Deep residual learning for image recognition", equation 1).
struct Residual {
  int layers;
};

// [C, H, W] -> [2C]: the mean of each channel, then the greatest value of each.
struct MeanMaxPool {};

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

using Layer =
    std::variant<Convolution, BatchNorm, Relu, MaxPool, Residual, MeanMaxPool, Flatten, Dense, Dropout>;

struct Architecture {
  Shape input;  // of one sample: [C, H, W]
  std::vector<Layer> layers;
};

// Returns the shape after each layer, for one sample.
// Errors: invalid_input (a layer that does not fit what comes before it, or a size out of range).
Result<std::vector<Shape>> layer_shapes(const Architecture& architecture);

// What a parameter is to its layer. `mean` and `variance` are the running averages of a batch norm: training
// sets them, but not by a gradient.
enum class Role { weights, bias, scale, shift, mean, variance };

struct ParameterForm {
  Shape shape;
  Role role;
};

// Returns the parameters in order: weights and bias of each Convolution and Dense, scale, shift, mean and
// variance of each BatchNorm. Errors: as layer_shapes.
Result<std::vector<ParameterForm>> parameter_forms(const Architecture& architecture);

// Returns the shapes alone.
// Errors: as layer_shapes.
Result<std::vector<Shape>> parameter_shapes(const Architecture& architecture);

// Returns whether it has a layer of this kind.
template <typename Kind>
bool has_layer(const Architecture& architecture) {
  return std::any_of(architecture.layers.begin(), architecture.layers.end(),
                     [](const Layer& layer) { return std::holds_alternative<Kind>(layer); });
}

// Returns "conv 5x5x32, relu, pool, flatten, dense 10".
std::string to_string(const Architecture& architecture);

}  // namespace espy::nn
