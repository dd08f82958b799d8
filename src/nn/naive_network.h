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
  NaiveActivation output{{convolution.channels, input.shape[1], input.shape[2]}, {}};
  for (int channel = 0; channel < convolution.channels; ++channel) {
    for (int row = 0; row < input.shape[1]; ++row) {
      for (int column = 0; column < input.shape[2]; ++column) {
        double sum = bias.values[static_cast<std::size_t>(channel)];
        for (int source = 0; source < input.shape[0]; ++source) {
          for (int y = 0; y < kernel; ++y) {
            for (int x = 0; x < kernel; ++x) {
              const int weight = ((channel * input.shape[0] + source) * kernel + y) * kernel + x;
              sum += static_cast<double>(weights.values[static_cast<std::size_t>(weight)]) *
                     input.at(source, row + y - kernel / 2, column + x - kernel / 2);
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

enum class NaiveDropout { off, on };

// Returns the logits of one sample; with dropout, those of this sample of the batch in this pass.
inline std::vector<double> naive_logits(const Network& network, std::span<const float> input,
                                        NaiveDropout dropping = NaiveDropout::off, const Pass& pass = {},
                                        int sample = 0) {
  NaiveActivation activation{network.architecture.input, {input.begin(), input.end()}};
  std::size_t parameter = 0;
  for (std::size_t i = 0; i < network.architecture.layers.size(); ++i) {
    const auto weighted = [&](const auto& layer) {
      activation =
          naive_layer(layer, activation, network.parameters[parameter], network.parameters[parameter + 1]);
      parameter += 2;
    };
    std::visit(Overloaded{
                   [&](const Convolution& convolution) { weighted(convolution); },
                   [&](const Dense& dense) { weighted(dense); },
                   [&](const MaxPool& pool) { activation = naive_layer(pool, activation); },
                   [&](const Relu&) {
                     for (double& value : activation.values) value = std::max(value, 0.0);
                   },
                   [&](const Flatten&) { activation.shape = {static_cast<int>(activation.values.size())}; },
                   [&](const Dropout& dropout) {
                     if (dropping == NaiveDropout::off) return;
                     std::vector<float> factors(activation.values.size());
                     draw_dropout(dropout_key(pass, i, sample), dropout.probability, factors);
                     for (std::size_t unit = 0; unit < factors.size(); ++unit) {
                       activation.values[unit] *= static_cast<double>(factors[unit]);
                     }
                   },
               },
               network.architecture.layers[i]);
  }
  return activation.values;
}

// Returns the cross-entropy of softmax(logits) against the label.
inline double naive_cross_entropy(const std::vector<double>& logits, int label) {
  double sum = 0;
  for (const double logit : logits) sum += std::exp(logit);
  return std::log(sum) - logits[static_cast<std::size_t>(label)];
}

}  // namespace espy::nn
