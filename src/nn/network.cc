#include "nn/network.h"

#include <algorithm>
#include <cmath>
#include <span>
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

// The deviation that a standard normal distribution keeps when it is cut off at two:
// sqrt(1 - 4 phi(2) / (2 Phi(2) - 1)).
constexpr double kTruncatedDeviation = 0.87962566103423978;

void draw_normal(RandomSequence& random, double deviation, std::vector<float>& values) {
  for (float& value : values) value = static_cast<float>(deviation * draw_truncated_normal(random));
}

void draw_uniform(RandomSequence& random, double limit, std::vector<float>& values) {
  for (float& value : values) value = static_cast<float>(limit * (2 * random.next_uniform() - 1));
}

// How many parameters a layer has that stay as they are in inference.
int parameter_count(const Layer& layer) {
  if (const auto* convolution = std::get_if<Convolution>(&layer)) {
    return convolution->bias == Bias::added ? 2 : 1;
  }
  return std::holds_alternative<Dense>(layer) ? 2 : 0;
}

// Multiplies a convolution's weights by what the batch norm behind it multiplies with, and returns what it
// adds. norm: scale, shift, mean, variance.
Tensor fold(std::vector<Tensor>::const_iterator norm, Tensor& weights) {
  Tensor bias{norm[1].shape, {}};
  const std::size_t channels = norm[0].values.size();
  const std::size_t fan_in = weights.values.size() / channels;
  for (std::size_t channel = 0; channel < channels; ++channel) {
    const double variance = static_cast<double>(norm[3].values[channel]) + kBatchNormEpsilon;
    const double factor = norm[0].values[channel] / std::sqrt(variance);
    for (float& weight : std::span(weights.values).subspan(channel * fan_in, fan_in)) {
      weight = static_cast<float>(weight * factor);
    }
    bias.values.push_back(static_cast<float>(norm[1].values[channel] - norm[2].values[channel] * factor));
  }
  return bias;
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

Result<Network> make_network(const Architecture& architecture,
                             const std::vector<std::vector<float>>& parameters) {
  Result<std::vector<Shape>> shapes = parameter_shapes(architecture);
  if (!shapes) return std::move(shapes).error();
  Network network{architecture, {}};
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    // What has no shape, and what is too many or too few for it, is for validate() to name.
    network.parameters.push_back({i < shapes->size() ? (*shapes)[i] : Shape{}, parameters[i]});
  }
  if (auto ok = validate(network); !ok) return std::move(ok).error();
  return network;
}

Result<Network> initialize(const Architecture& architecture, const Initializer& initializer,
                           std::uint64_t seed) {
  Result<std::vector<ParameterForm>> forms = parameter_forms(architecture);
  if (!forms) return std::move(forms).error();

  Network network{architecture, {}};
  RandomSequence random(seed);
  double fan_in = 0;  // of the weights before a bias
  for (ParameterForm& form : *forms) {
    Tensor parameter{std::move(form.shape), {}};
    parameter.values.resize(element_count(parameter.shape), 0.0F);
    const bool is_weights = form.role == Role::weights;
    if (is_weights) fan_in = static_cast<double>(parameter.values.size()) / parameter.shape[0];
    if (form.role == Role::scale || form.role == Role::variance) std::ranges::fill(parameter.values, 1.0F);
    if (is_weights || form.role == Role::bias) {
      std::visit(Overloaded{
                     [](const Zeros&) {},
                     [&](const TruncatedNormal& normal) {
                       if (is_weights) {
                         draw_normal(random, static_cast<double>(normal.standard_deviation),
                                     parameter.values);
                       } else {
                         std::ranges::fill(parameter.values, normal.bias);
                       }
                     },
                     [&](const GlorotUniform&) {
                       if (is_weights) draw_uniform(random, glorot_limit(parameter.shape), parameter.values);
                     },
                     [&](const HeNormal&) {
                       if (parameter.shape.size() == 4) {
                         draw_normal(random, std::sqrt(2 / fan_in) / kTruncatedDeviation, parameter.values);
                       } else {
                         draw_uniform(random, 1 / std::sqrt(fan_in), parameter.values);
                       }
                     },
                 },
                 initializer);
    }
    network.parameters.push_back(std::move(parameter));
  }
  return network;
}

Result<Network> for_inference(const Network& network) {
  if (auto ok = validate(network); !ok) return std::move(ok).error();
  Network result{{network.architecture.input, {}}, {}};
  auto parameter = network.parameters.begin();
  // How many layers of the result stand for the first ones of the network.
  std::vector<int> kept = {0};
  for (const Layer& layer : network.architecture.layers) {
    std::visit(Overloaded{
                   [](const Dropout&) {},
                   [&](const BatchNorm&) {
                     std::get<Convolution>(result.architecture.layers.back()).bias = Bias::added;
                     result.parameters.push_back(fold(parameter, result.parameters.back()));
                     parameter += 4;
                   },
                   [&](const Residual& residual) {
                     const int source = kept[kept.size() - 1 - static_cast<std::size_t>(residual.layers)];
                     result.architecture.layers.emplace_back(Residual{kept.back() - source});
                   },
                   [&](const auto& other) { result.architecture.layers.emplace_back(other); },
               },
               layer);
    for (int count = parameter_count(layer); count > 0; --count) result.parameters.push_back(*parameter++);
    kept.push_back(static_cast<int>(result.architecture.layers.size()));
  }
  return result;
}

}  // namespace espy::nn
