// An architecture with values for its parameters.
#pragma once

#include <cstdint>
#include <variant>
#include <vector>

#include "base/result.h"
#include "nn/architecture.h"
#include "nn/tensor.h"

namespace espy::nn {

struct Network {
  Architecture architecture;
  std::vector<Tensor> parameters;  // shaped and ordered as parameter_shapes() says
};

// Returns success when the parameters are shaped and ordered as parameter_shapes() says.
// Errors: invalid_input (with the first parameter that does not fit); as parameter_shapes.
Result<void> validate(const Network& network);

// Returns the architecture with these values for its parameters, one vector each, row-major.
// Errors: as validate.
Result<Network> make_network(const Architecture& architecture,
                             const std::vector<std::vector<float>>& parameters);

// Everything zero.
struct Zeros {};

// Weights from a normal distribution, drawn again beyond two standard deviations; biases constant.
struct TruncatedNormal {
  float standard_deviation;
  float bias;
};

// Weights uniform in +-sqrt(6 / (fan_in + fan_out)), biases zero (Glorot & Bengio 2010, equation 16).
struct GlorotUniform {};

// Weights of convolutions normal with deviation sqrt(2 / fan_in), cut off at two deviations (He et al. 2015,
// equation 10); weights and biases of dense layers uniform in +-1 / sqrt(fan_in) (PyTorch's default).
struct HeNormal {};

using Initializer = std::variant<Zeros, TruncatedNormal, GlorotUniform, HeNormal>;

// The scale of a batch norm starts as 1, its running variance too, shift and mean as 0, whatever the
// initializer.
//
// Returns a network to start training from; the same seed gives the same values on every machine.
// Errors: as parameter_shapes.
Result<Network> initialize(const Architecture& architecture, const Initializer& initializer,
                           std::uint64_t seed);

// Returns a network that answers in inference as this one does: each batch norm is folded into the weights
// and a bias of the convolution before it, and dropout is left out. Errors: as validate.
Result<Network> for_inference(const Network& network);

}  // namespace espy::nn
