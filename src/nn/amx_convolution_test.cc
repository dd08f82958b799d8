#include "nn/amx_convolution.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "nn/random.h"

namespace espy::nn {
namespace {

float to_float(std::uint16_t half) { return std::bit_cast<float>(std::uint32_t{half} << 16); }

// By cutting: exact for the values that the tests draw.
std::uint16_t to_half(float value) {
  return static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16);
}

// A number that bfloat16 has, in [-1, 1).
float draw(RandomSequence& random) {
  return static_cast<float>(std::floor(random.next_uniform() * 256) - 128) / 128;
}

// Bordered activations with their margins.
struct Bordered {
  explicit Bordered(const BorderedSizes& wanted) : sizes(wanted), all(wanted.size_with_margins()) {}

  std::uint16_t* values() { return all.data() + sizes.margin(); }
  std::uint16_t& at(std::size_t sample, std::size_t row, std::size_t column, std::size_t channel) {
    return values()[(sample * sizes.sample_pixels() + row * sizes.pitch() + column) * sizes.channels +
                    channel];
  }
  // Calls work(sample, row, column) for each pixel that is not in a border.
  template <typename Work>
  void for_each_pixel(const Work& work) const {
    for (std::size_t sample = 0; sample < sizes.samples; ++sample) {
      for (std::size_t row = 0; row < sizes.height; ++row) {
        for (std::size_t column = 0; column < sizes.width; ++column) work(sample, row, column);
      }
    }
  }
  void fill(RandomSequence& random) {
    for_each_pixel([&](std::size_t sample, std::size_t row, std::size_t column) {
      for (std::size_t i = 0; i < sizes.channels; ++i) at(sample, row, column, i) = to_half(draw(random));
    });
  }
  // Returns how many values are not zero.
  std::size_t filled() const {
    return static_cast<std::size_t>(
        std::ranges::count_if(all, [](std::uint16_t value) { return value != 0; }));
  }

  BorderedSizes sizes;
  std::vector<std::uint16_t> all;
};

struct Case {
  std::size_t samples;
  std::size_t side;
  std::size_t inputs;
  std::size_t outputs;
  std::size_t kernel;
  std::size_t border;
};

class AmxConvolutionTest : public testing::TestWithParam<Case> {};

// The value of a pixel that may lie outside.
double outside_zero(Bordered& values, std::size_t sample, std::ptrdiff_t row, std::ptrdiff_t column,
                    std::size_t channel) {
  if (row < 0 || column < 0 || row >= static_cast<std::ptrdiff_t>(values.sizes.height) ||
      column >= static_cast<std::ptrdiff_t>(values.sizes.width)) {
    return 0;
  }
  return static_cast<double>(
      to_float(values.at(sample, static_cast<std::size_t>(row), static_cast<std::size_t>(column), channel)));
}

TEST_P(AmxConvolutionTest, agrees_with_the_definition) {
  if (!has_amx()) return;  // other processors have nothing to test here
  const Case& c = GetParam();
  RandomSequence random(7);
  Bordered source({c.samples, c.side, c.side, c.inputs, c.border});
  Bordered destination({c.samples, c.side, c.side, c.outputs, c.border});
  Bordered gradient(destination.sizes);
  Bordered source_gradient(source.sizes);
  source.fill(random);
  gradient.fill(random);
  std::vector<float> weights(c.kernel * c.kernel * c.inputs * c.outputs);
  for (float& weight : weights) weight = draw(random);
  const auto weight = [&](std::size_t row, std::size_t column, std::size_t input, std::size_t output) {
    return static_cast<double>(weights[((row * c.kernel + column) * c.inputs + input) * c.outputs + output]);
  };
  const auto reach = static_cast<std::ptrdiff_t>(c.kernel / 2);

  AmxConvolution convolution(source.sizes, c.outputs, c.kernel);
  std::vector<std::uint16_t> forward_weights(convolution.forward_weights_size());
  std::vector<std::uint16_t> backward_weights(convolution.backward_weights_size());
  convolution.pack_forward_weights(weights, forward_weights.data());
  convolution.pack_backward_weights(weights, backward_weights.data());
  ChannelSums sums(c.outputs);
  convolution.forward(source.values(), forward_weights.data(), destination.values(), &sums);
  convolution.backward_data(gradient.values(), backward_weights.data(), source_gradient.values());
  std::vector<float> weights_gradient(weights.size());
  convolution.backward_weights(source.values(), gradient.values(), weights_gradient);
  const std::vector<float> first_gradient = weights_gradient;
  convolution.backward_weights(source.values(), gradient.values(), weights_gradient);
  EXPECT_EQ(weights_gradient, first_gradient) << "it is overwritten";

  // bfloat16 keeps eight bits of the results.
  constexpr double kRounding = 1.0 / 256;
  std::vector<double> first(c.outputs);
  std::vector<double> second(c.outputs);
  std::vector<double> expected_gradient(weights.size());
  std::size_t filled = 0;
  source.for_each_pixel([&](std::size_t sample, std::size_t row, std::size_t column) {
    for (std::size_t output = 0; output < c.outputs; ++output) {
      double sum = 0;
      const auto d = static_cast<double>(to_float(gradient.at(sample, row, column, output)));
      for (std::size_t y = 0; y < c.kernel; ++y) {
        for (std::size_t x = 0; x < c.kernel; ++x) {
          for (std::size_t input = 0; input < c.inputs; ++input) {
            const double value = outside_zero(source, sample, static_cast<std::ptrdiff_t>(row + y) - reach,
                                              static_cast<std::ptrdiff_t>(column + x) - reach, input);
            sum += value * weight(y, x, input, output);
            expected_gradient[((y * c.kernel + x) * c.inputs + input) * c.outputs + output] += value * d;
          }
        }
      }
      first[output] += sum;
      second[output] += sum * sum;
      const std::uint16_t answer = destination.at(sample, row, column, output);
      filled += answer != 0 ? 1 : 0;
      ASSERT_NEAR(to_float(answer), sum, kRounding * std::abs(sum) + 1e-4)
          << sample << " " << row << " " << column << " " << output;
    }
  });
  EXPECT_EQ(destination.filled(), filled) << "borders and margins are zero";
  for (std::size_t output = 0; output < c.outputs; ++output) {
    EXPECT_NEAR(sums.first[output], first[output], 1e-4 * second[output]);
    EXPECT_NEAR(sums.second[output], second[output], 1e-4 * second[output]);
  }
  for (std::size_t i = 0; i < weights.size(); ++i) {
    ASSERT_NEAR(weights_gradient[i], expected_gradient[i], 1e-3) << i;
  }
  filled = 0;
  source.for_each_pixel([&](std::size_t sample, std::size_t row, std::size_t column) {
    for (std::size_t input = 0; input < c.inputs; ++input) {
      double sum = 0;
      for (std::size_t y = 0; y < c.kernel; ++y) {
        for (std::size_t x = 0; x < c.kernel; ++x) {
          for (std::size_t output = 0; output < c.outputs; ++output) {
            sum += outside_zero(gradient, sample,
                                static_cast<std::ptrdiff_t>(row) + reach - static_cast<std::ptrdiff_t>(y),
                                static_cast<std::ptrdiff_t>(column) + reach - static_cast<std::ptrdiff_t>(x),
                                output) *
                   weight(y, x, input, output);
          }
        }
      }
      const std::uint16_t answer = source_gradient.at(sample, row, column, input);
      filled += answer != 0 ? 1 : 0;
      ASSERT_NEAR(to_float(answer), sum, kRounding * std::abs(sum) + 1e-4);
    }
  });
  EXPECT_EQ(source_gradient.filled(), filled) << "borders and margins are zero";
}

INSTANTIATE_TEST_SUITE_P(Sizes, AmxConvolutionTest,
                         testing::Values(Case{3, 7, 32, 32, 3, 1}, Case{2, 14, 16, 32, 3, 1},
                                         Case{5, 3, 32, 48, 3, 1}, Case{2, 7, 48, 32, 3, 1},
                                         Case{1, 5, 96, 64, 3, 2}, Case{2, 6, 32, 64, 5, 2},
                                         Case{3, 4, 64, 16, 1, 1}),
                         [](const testing::TestParamInfo<Case>& tested) {
                           const Case& c = tested.param;
                           return "side_" + std::to_string(c.side) + "_kernel_" + std::to_string(c.kernel) +
                                  "_" + std::to_string(c.inputs) + "_to_" + std::to_string(c.outputs);
                         });

}  // namespace
}  // namespace espy::nn
