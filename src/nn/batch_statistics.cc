#include "nn/batch_statistics.h"

#include <algorithm>
#include <cmath>

#include "nn/architecture.h"

namespace espy::nn {

Moments moments(const ChannelSums& sums, std::size_t channel, double count) {
  const double mean = sums.first[channel] / count;
  // Rounding may leave a constant channel a tiny negative variance.
  return {mean, std::max(sums.second[channel] / count - mean * mean, 0.0)};
}

void normalize_channel(Statistics& statistics, std::size_t channel, const Moments& moments, float scale,
                       float shift) {
  const double mean = moments.mean;
  const double inverse_deviation = 1 / std::sqrt(moments.variance + static_cast<double>(kBatchNormEpsilon));
  const double factor = static_cast<double>(scale) * inverse_deviation;
  statistics.means[channel] = mean;
  statistics.inverse_deviations[channel] = inverse_deviation;
  statistics.factors[channel] = static_cast<float>(factor);
  statistics.offsets[channel] = static_cast<float>(static_cast<double>(shift) - mean * factor);
}

ScaleAndShift differentiate_channel(Statistics& statistics, std::size_t channel, double count) {
  const double mean = statistics.means[channel];
  const double inverse_deviation = statistics.inverse_deviations[channel];
  const double by_shift = statistics.sums.first[channel];
  const double by_scale = inverse_deviation * (statistics.sums.second[channel] - mean * by_shift);
  const auto factor = static_cast<double>(statistics.factors[channel]);
  const double z_factor = -factor * inverse_deviation * by_scale / count;
  statistics.z_factors[channel] = static_cast<float>(z_factor);
  statistics.constants[channel] = static_cast<float>(-factor * by_shift / count - z_factor * mean);
  return {static_cast<float>(by_scale), static_cast<float>(by_shift)};
}

}  // namespace espy::nn
