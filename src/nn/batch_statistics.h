// The arithmetic of a batch norm that is done once a channel (Ioffe & Szegedy 2015, "Batch normalization").
#pragma once

#include <cstddef>
#include <vector>

#include "nn/normalize.h"

namespace espy::nn {

// What a batch norm knows of the samples at hand, one value of each channel.
struct Statistics {
  explicit Statistics(std::size_t channels)
      : sums(channels),
        factors(channels),
        offsets(channels),
        z_factors(channels),
        constants(channels),
        means(channels),
        inverse_deviations(channels) {}

  ChannelSums sums;
  std::vector<float> factors;  // y = factor * z + offset
  std::vector<float> offsets;
  std::vector<float> z_factors;  // of a GradientLine, whose d_factors are the factors
  std::vector<float> constants;
  std::vector<double> means;
  std::vector<double> inverse_deviations;
};

struct Moments {
  double mean;
  double variance;
};

// Returns those of a channel's `count` values, by the sums.
Moments moments(const ChannelSums& sums, std::size_t channel, double count);

// Makes factor and offset, by the paper's algorithm 1.
void normalize_channel(Statistics& statistics, std::size_t channel, const Moments& moments, float scale,
                       float shift);

struct ScaleAndShift {
  float scale;
  float shift;
};

// Makes z_factor and constant of sum_gradient()'s sums: the gradients of the paper's section 3, solved for d
// and z. Returns those by scale and shift.
ScaleAndShift differentiate_channel(Statistics& statistics, std::size_t channel, double count);

}  // namespace espy::nn
