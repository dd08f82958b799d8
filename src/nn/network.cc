#include "nn/network.h"

#include <cmath>
#include <utility>

#include "base/format.h"
#include "nn/overloaded.h"
#include "nn/random.h"

namespace espy::nn {
namespace {

// Returns a standard normal number between -2 and 2, by rejection: a point drawn evenly from the box around
// the bell is kept when it lies below the curve (von Neumann 1951). Unlike Box and Muller's method, which
// passes its result through log and cos, the number is a plain multiple of 2^-51: no library's last digit
// shows in it.
double draw_truncated_normal(RandomSequence& random) {
  while (true) {
    const double value = 4 * random.next_uniform() - 2;
    if (random.next_uniform() < std::exp(-value * value / 2)) return value;
  }
}

// weights: [outputs, inputs, ...kernel].
double glorot_limit(const Shape& weights) {
  const double kernel = weights.size() == 4 ? static_cast<double>(weights[2]) * weights[3] : 1;
  return std::sqrt(6 / ((static_cast<double>(weights[0]) + weights[1]) * kernel));
}

}  // namespace

Result<void> validate(const Network& network) {
  Result<std::vector<Shape>> shapes = parameter_shapes(network.architecture);
  if (!shapes) return std::move(shapes).error();
  if (network.parameters.size() != shapes->size()) {
    return Error{ErrorCode::invalid_input, format("network has {} parameters, its architecture has {}",
                                                  network.parameters.size(), shapes->size())};
  }
  for (std::size_t i = 0; i < shapes->size(); ++i) {
    const Tensor& parameter = network.parameters[i];
    const Shape& shape = (*shapes)[i];
    if (parameter.shape != shape) {
      return Error{ErrorCode::invalid_input, format("parameter {} has shape {}, its architecture has {}", i,
                                                    to_string(parameter.shape), to_string(shape))};
    }
    if (parameter.values.size() != element_count(shape)) {
      return Error{ErrorCode::invalid_input, format("parameter {} has {} values, its shape has {}", i,
                                                    parameter.values.size(), element_count(shape))};
    }
  }
  return {};
}

Result<Network> initialize(const Architecture& architecture, const Initializer& initializer,
                           std::uint64_t seed) {
  Result<std::vector<Shape>> shapes = parameter_shapes(architecture);
  if (!shapes) return std::move(shapes).error();

  Network network{architecture, {}};
  RandomSequence random(seed);
  for (Shape& shape : *shapes) {
    const bool is_bias = shape.size() == 1;
    Tensor parameter{std::move(shape), {}};
    parameter.values.resize(element_count(parameter.shape), 0.0F);
    std::visit(Overloaded{
                   [](const Zeros&) {},
                   [&](const TruncatedNormal& normal) {
                     for (float& value : parameter.values) {
                       value = is_bias ? normal.bias
                                       : static_cast<float>(normal.standard_deviation *
                                                            draw_truncated_normal(random));
                     }
                   },
                   [&](const GlorotUniform&) {
                     if (is_bias) return;
                     const double limit = glorot_limit(parameter.shape);
                     for (float& value : parameter.values) {
                       value = static_cast<float>(limit * (2 * random.next_uniform() - 1));
                     }
                   },
               },
               initializer);
    network.parameters.push_back(std::move(parameter));
  }
  return network;
}

}  // namespace espy::nn
