// The layers as their definitions say, one loop for each index and in double precision: what the tests
// compare with.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <variant>
#include <vector>

#include "nn/graph.h"
#include "nn/kernels.h"
#include "nn/network.h"
#include "nn/overloaded.h"

namespace espy::nn {

struct NaiveActivation {
  Shape shape;  // [C, H, W] or [K]
  std::vector<double> values;

  double at(int channel, int row, int column) const {
    if (row < 0 || row >= shape[1] || column < 0 || column >= shape[2]) return 0;
    return values[static_cast<std::size_t>((channel * shape[1] + row) * shape[2] + column)];
  }
};

inline NaiveActivation naive_layer(const Convolution& convolution, const NaiveActivation& input,
                                   const Tensor& weights, const Tensor& bias) {
  const int kernel = convolution.kernel;
  const int stride = convolution.stride;
  const int padding = (kernel - 1) / 2;
  NaiveActivation output{{convolution.channels, (input.shape[1] + 2 * padding - kernel) / stride + 1,
                          (input.shape[2] + 2 * padding - kernel) / stride + 1},
                         {}};
  for (int channel = 0; channel < convolution.channels; ++channel) {
    for (int row = 0; row < output.shape[1]; ++row) {
      for (int column = 0; column < output.shape[2]; ++column) {
        double sum = bias.values.empty() ? 0 : bias.values[static_cast<std::size_t>(channel)];
        for (int source = 0; source < input.shape[0]; ++source) {
          for (int y = 0; y < kernel; ++y) {
            for (int x = 0; x < kernel; ++x) {
              const int weight = ((channel * input.shape[0] + source) * kernel + y) * kernel + x;
              sum += static_cast<double>(weights.values[static_cast<std::size_t>(weight)]) *
                     input.at(source, row * stride + y - padding, column * stride + x - padding);
            }
          }
        }
        output.values.push_back(sum);
      }
    }
  }
  return output;
}

inline NaiveActivation naive_layer(const Dense& dense, const NaiveActivation& input, const Tensor& weights,
                                   const Tensor& bias) {
  NaiveActivation output{{dense.units}, {}};
  for (std::size_t unit = 0; unit < bias.values.size(); ++unit) {
    double sum = bias.values[unit];
    for (std::size_t i = 0; i < input.values.size(); ++i) {
      sum += static_cast<double>(weights.values[unit * input.values.size() + i]) * input.values[i];
    }
    output.values.push_back(sum);
  }
  return output;
}

inline NaiveActivation naive_layer(const MaxPool&, const NaiveActivation& input) {
  NaiveActivation output{{input.shape[0], input.shape[1] / 2, input.shape[2] / 2}, {}};
  for (int channel = 0; channel < output.shape[0]; ++channel) {
    for (int row = 0; row < output.shape[1]; ++row) {
      for (int column = 0; column < output.shape[2]; ++column) {
        output.values.push_back(std::max(
            {input.at(channel, 2 * row, 2 * column), input.at(channel, 2 * row, 2 * column + 1),
             input.at(channel, 2 * row + 1, 2 * column), input.at(channel, 2 * row + 1, 2 * column + 1)}));
      }
    }
  }
  return output;
}

inline NaiveActivation naive_layer(const MeanMaxPool&, const NaiveActivation& input) {
  const int channels = input.shape[0];
  const auto pixels = static_cast<std::size_t>(input.shape[1] * input.shape[2]);
  NaiveActivation output{{2 * channels}, std::vector<double>(2 * static_cast<std::size_t>(channels))};
  for (std::size_t channel = 0; channel < static_cast<std::size_t>(channels); ++channel) {
    const auto values = std::span(input.values).subspan(channel * pixels, pixels);
    for (const double value : values) output.values[channel] += value / static_cast<double>(pixels);
    output.values[static_cast<std::size_t>(channels) + channel] =
        *std::max_element(values.begin(), values.end());
  }
  return output;
}

struct NaiveStatistics {
  std::vector<double> means;
  std::vector<double> variances;
};

// Over the samples and pixels of each channel; divided by their number.
inline NaiveStatistics naive_statistics(const std::vector<NaiveActivation>& samples) {
  NaiveStatistics result;
  const Shape& shape = samples.front().shape;
  const auto pixels = static_cast<std::size_t>(shape[1] * shape[2]);
  for (std::size_t channel = 0; channel < static_cast<std::size_t>(shape[0]); ++channel) {
    std::vector<double> values;
    for (const NaiveActivation& sample : samples) {
      const auto plane = std::span(sample.values).subspan(channel * pixels, pixels);
      values.insert(values.end(), plane.begin(), plane.end());
    }
    double mean = 0;
    for (const double value : values) mean += value / static_cast<double>(values.size());
    double variance = 0;
    for (const double value : values) variance += (value - mean) * (value - mean);
    result.means.push_back(mean);
    result.variances.push_back(variance / static_cast<double>(values.size()));
  }
  return result;
}

enum class NaiveMode { inference, training };

// Returns the logits of the samples of one chunk. In training units are dropped as for samples `first_sample`
// and on of the batch in this pass, and batch norms use the chunk's own statistics.
inline std::vector<std::vector<double>> naive_chunk_logits(const Network& network,
                                                           std::span<const std::vector<float>> inputs,
                                                           NaiveMode mode = NaiveMode::inference,
                                                           const Pass& pass = {}) {
  // After each layer, the input first.
  std::vector<std::vector<NaiveActivation>> activations(1);
  for (const std::vector<float>& input : inputs) {
    activations[0].push_back({network.architecture.input, {input.begin(), input.end()}});
  }
  const Tensor* parameter = network.parameters.data();
  for (std::size_t i = 0; i < network.architecture.layers.size(); ++i) {
    std::vector<NaiveActivation> samples = activations.back();
    const auto each = [&](const auto& change) {
      for (std::size_t sample = 0; sample < samples.size(); ++sample) change(samples[sample], sample);
    };
    std::visit(
        Overloaded{
            [&](const Convolution& convolution) {
              const bool has_bias = convolution.bias == Bias::added;
              const Tensor none;
              each([&](NaiveActivation& values, std::size_t) {
                values = naive_layer(convolution, values, parameter[0], has_bias ? parameter[1] : none);
              });
              parameter += has_bias ? 2 : 1;
            },
            [&](const BatchNorm&) {
              NaiveStatistics statistics;
              if (mode == NaiveMode::training) {
                statistics = naive_statistics(samples);
              } else {
                statistics.means.assign(parameter[2].values.begin(), parameter[2].values.end());
                statistics.variances.assign(parameter[3].values.begin(), parameter[3].values.end());
              }
              each([&](NaiveActivation& values, std::size_t) {
                const std::size_t pixels = values.values.size() / statistics.means.size();
                for (std::size_t k = 0; k < values.values.size(); ++k) {
                  const std::size_t channel = k / pixels;
                  const double deviation =
                      std::sqrt(statistics.variances[channel] + static_cast<double>(kBatchNormEpsilon));
                  values.values[k] = (values.values[k] - statistics.means[channel]) / deviation *
                                         static_cast<double>(parameter[0].values[channel]) +
                                     static_cast<double>(parameter[1].values[channel]);
                }
              });
              parameter += 4;
            },
            [&](const Dense& dense) {
              each([&](NaiveActivation& values, std::size_t) {
                values = naive_layer(dense, values, parameter[0], parameter[1]);
              });
              parameter += 2;
            },
            [&](const Relu&) {
              each([](NaiveActivation& values, std::size_t) {
                for (double& value : values.values) value = std::max(value, 0.0);
              });
            },
            [&](const Residual& residual) {
              const auto& skipped = activations[i - static_cast<std::size_t>(residual.layers)];
              each([&](NaiveActivation& values, std::size_t sample) {
                for (std::size_t k = 0; k < values.values.size(); ++k) {
                  values.values[k] += skipped[sample].values[k];
                }
              });
            },
            [&](const Flatten&) {
              each([](NaiveActivation& values, std::size_t) {
                values.shape = {static_cast<int>(values.values.size())};
              });
            },
            [&](const Dropout& dropout) {
              if (mode == NaiveMode::inference) return;
              each([&](NaiveActivation& values, std::size_t sample) {
                std::vector<float> factors(values.values.size());
                draw_dropout(dropout_key(pass, i, pass.first_sample + static_cast<int>(sample)),
                             dropout.probability, factors);
                for (std::size_t unit = 0; unit < factors.size(); ++unit) {
                  values.values[unit] *= static_cast<double>(factors[unit]);
                }
              });
            },
            [&](const auto& pool) {
              each([&](NaiveActivation& values, std::size_t) { values = naive_layer(pool, values); });
            },
        },
        network.architecture.layers[i]);
    activations.push_back(std::move(samples));
  }
  std::vector<std::vector<double>> logits;
  for (NaiveActivation& sample : activations.back()) logits.push_back(std::move(sample.values));
  return logits;
}

// Returns the logits of one sample in inference.
inline std::vector<double> naive_logits(const Network& network, std::span<const float> input) {
  const std::vector<float> values(input.begin(), input.end());
  return naive_chunk_logits(network, std::span(&values, 1)).front();
}

// Returns the cross-entropy of softmax(logits) against the label.
inline double naive_cross_entropy(const std::vector<double>& logits, int label) {
  double sum = 0;
  for (const double logit : logits) sum += std::exp(logit);
  return std::log(sum) - logits[static_cast<std::size_t>(label)];
}

}  // namespace espy::nn
