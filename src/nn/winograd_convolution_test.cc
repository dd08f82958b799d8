#include "nn/winograd_convolution.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "nn/random.h"

namespace espy::nn {
namespace {

struct Case {
  std::size_t kernel;
  ConvolutionSizes sizes;
};

// Pictures of either element, whose channels lie together in one block or in blocks of 16.
class Pictures {
 public:
  Pictures(const ConvolutionSizes& sizes, std::size_t channels, Element element, bool in_blocks)
      : floats_(sizes.samples * sizes.height * sizes.width * channels,
                std::numeric_limits<float>::quiet_NaN()),
        halves_(floats_.size(), 0xffff) {
    const std::size_t inner = in_blocks ? 16 : channels;
    view = {.element = element,
            .values = element == Element::f32 ? static_cast<void*>(floats_.data()) : halves_.data(),
            .samples = sizes.samples,
            .channels = channels,
            .height = sizes.height,
            .width = sizes.width,
            .inner = inner,
            .pitch = sizes.width,
            .block_stride = sizes.height * sizes.width * inner,
            .sample_stride = sizes.height * sizes.width * channels};
  }

  void fill(RandomSequence& random) {
    for (std::size_t i = 0; i < floats_.size(); ++i) {
      // A number that bfloat16 has.
      floats_[i] = static_cast<float>(std::floor(random.next_uniform() * 256) - 128) / 128;
      halves_[i] = static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(floats_[i]) >> 16);
    }
  }

  // Zero outside.
  double get(std::size_t sample, std::ptrdiff_t row, std::ptrdiff_t column, std::size_t channel) const {
    const auto height = static_cast<std::ptrdiff_t>(view.height);
    const auto width = static_cast<std::ptrdiff_t>(view.width);
    if (row < 0 || column < 0 || row >= height || column >= width) return 0;
    const std::size_t pixel = static_cast<std::size_t>(row) * view.pitch + static_cast<std::size_t>(column);
    const std::size_t index = sample * view.sample_stride + channel / view.inner * view.block_stride +
                              pixel * view.inner + channel % view.inner;
    if (view.element == Element::f32) return static_cast<double>(floats_[index]);
    return static_cast<double>(std::bit_cast<float>(std::uint32_t{halves_[index]} << 16));
  }

  Activations view;

 private:
  std::vector<float> floats_;
  std::vector<std::uint16_t> halves_;
};

// Calls visit(sample, row, column) for each pixel.
template <typename Visit>
void for_each_pixel(const ConvolutionSizes& sizes, const Visit& visit) {
  for (std::size_t sample = 0; sample < sizes.samples; ++sample) {
    for (std::ptrdiff_t row = 0; row < static_cast<std::ptrdiff_t>(sizes.height); ++row) {
      for (std::ptrdiff_t column = 0; column < static_cast<std::ptrdiff_t>(sizes.width); ++column) {
        visit(sample, row, column);
      }
    }
  }
}

struct Setting {
  Element element;
  bool in_blocks;
  // Of the greatest sum: what rounding adds in f32, and the eight bits that bfloat16 keeps.
  double exactness() const { return element == Element::f32 ? 1e-5 : 1.0 / 256; }
};

void expect_the_definition(const Case& tested, const Setting& setting) {
  const ConvolutionSizes& sizes = tested.sizes;
  const std::size_t kernel = tested.kernel;
  const auto reach = static_cast<std::ptrdiff_t>(kernel / 2);
  RandomSequence random(11);
  const auto draw = [&](std::size_t count) {
    std::vector<float> values(count);
    for (float& value : values) value = static_cast<float>(random.next_uniform()) * 2 - 1;
    return values;
  };
  Pictures source(sizes, sizes.inputs, setting.element, setting.in_blocks);
  Pictures destination(sizes, sizes.outputs, setting.element, setting.in_blocks);
  Pictures rectified(sizes, sizes.outputs, setting.element, setting.in_blocks);
  Pictures gradient(sizes, sizes.outputs, setting.element, setting.in_blocks);
  Pictures source_gradient(sizes, sizes.inputs, setting.element, setting.in_blocks);
  source.fill(random);
  gradient.fill(random);
  const std::vector<float> weights = draw(kernel * kernel * sizes.inputs * sizes.outputs);
  const std::vector<float> biases = draw(sizes.outputs);

  WinogradConvolution convolution(sizes, kernel);
  std::vector<float> forward_weights(convolution.transformed_weights_size());
  std::vector<float> backward_weights(convolution.transformed_weights_size());
  convolution.transform_forward_weights(weights, forward_weights.data());
  convolution.transform_backward_weights(weights, backward_weights.data());
  std::vector<float> weights_gradient(weights.size(), std::numeric_limits<float>::quiet_NaN());
  std::vector<float> biases_gradient(biases.size(), std::numeric_limits<float>::quiet_NaN());
  for (int run = 0; run < 2; ++run) {  // nothing is left of a run before
    convolution.forward(source.view, forward_weights.data(), {}, WithRelu::no, destination.view);
    convolution.forward(source.view, forward_weights.data(), biases, WithRelu::yes, rectified.view);
    convolution.backward_data(gradient.view, backward_weights.data(), source_gradient.view);
    convolution.backward_weights(source.view, gradient.view, weights_gradient, biases_gradient);
  }

  std::vector<double> expected_gradient(weights.size());
  std::vector<double> expected_biases(biases.size());
  const auto taps = static_cast<double>(kernel * kernel);
  const double forward_error = setting.exactness() * taps * static_cast<double>(sizes.inputs);
  const double backward_error = setting.exactness() * taps * static_cast<double>(sizes.outputs);
  for_each_pixel(sizes, [&](std::size_t sample, std::ptrdiff_t row, std::ptrdiff_t column) {
    std::vector<double> sums(sizes.outputs);
    std::vector<double> back(sizes.inputs);
    for (std::size_t k = 0; k < sizes.outputs; ++k)
      expected_biases[k] += gradient.get(sample, row, column, k);
    for (std::size_t place = 0; place < kernel * kernel; ++place) {
      const auto y = static_cast<std::ptrdiff_t>(place / kernel) - reach;
      const auto x = static_cast<std::ptrdiff_t>(place % kernel) - reach;
      for (std::size_t i = 0; i < sizes.inputs; ++i) {
        const double value = source.get(sample, row + y, column + x, i);
        for (std::size_t k = 0; k < sizes.outputs; ++k) {
          const std::size_t index = (place * sizes.inputs + i) * sizes.outputs + k;
          sums[k] += value * static_cast<double>(weights[index]);
          expected_gradient[index] += value * gradient.get(sample, row, column, k);
          back[i] += gradient.get(sample, row - y, column - x, k) * static_cast<double>(weights[index]);
        }
      }
    }
    for (std::size_t k = 0; k < sizes.outputs; ++k) {
      const double with_bias = sums[k] + static_cast<double>(biases[k]);
      ASSERT_NEAR(destination.get(sample, row, column, k), sums[k], forward_error);
      ASSERT_NEAR(rectified.get(sample, row, column, k), std::max(with_bias, 0.0), forward_error);
    }
    for (std::size_t i = 0; i < sizes.inputs; ++i) {
      ASSERT_NEAR(source_gradient.get(sample, row, column, i), back[i], backward_error);
    }
  });
  const auto pixels = static_cast<double>(sizes.samples * sizes.height * sizes.width);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    ASSERT_NEAR(weights_gradient[i], expected_gradient[i], 1e-5 * pixels) << i;
  }
  for (std::size_t k = 0; k < biases.size(); ++k) {
    ASSERT_NEAR(biases_gradient[k], expected_biases[k], 1e-5 * pixels) << k;
  }
}

class WinogradConvolutionTest : public testing::TestWithParam<Case> {};

TEST_P(WinogradConvolutionTest, agrees_with_the_definition) {
  const Case& tested = GetParam();
  if (!WinogradConvolution::suits(tested.sizes, tested.kernel))
    return;  // a processor without the instructions
  for (const Element element : {Element::f32, Element::bf16}) {
    for (const bool in_blocks : {false, true}) {
      SCOPED_TRACE(testing::Message()
                   << (element == Element::f32 ? "f32" : "bf16") << (in_blocks ? " in blocks" : " by pixel"));
      expect_the_definition(tested, {element, in_blocks});
    }
  }
}

// Sides that tiles divide and others, smaller than a tile, not square; one to four vectors of channels;
// groups of tiles that are not full.
INSTANTIATE_TEST_SUITE_P(Sizes, WinogradConvolutionTest,
                         testing::Values(Case{5, {1, 1, 1, 16, 16}}, Case{5, {2, 6, 6, 16, 32}},
                                         Case{5, {3, 7, 9, 32, 48}}, Case{5, {1, 14, 14, 32, 64}},
                                         Case{3, {2, 3, 3, 64, 96}}, Case{3, {3, 7, 7, 32, 64}},
                                         Case{3, {2, 8, 5, 48, 16}}, Case{3, {1, 14, 14, 16, 32}}),
                         [](const testing::TestParamInfo<Case>& tested) {
                           const Case& c = tested.param;
                           return "kernel_" + std::to_string(c.kernel) + "_of_" +
                                  std::to_string(c.sizes.height) + "_by_" + std::to_string(c.sizes.width) +
                                  "_" + std::to_string(c.sizes.inputs) + "_to_" +
                                  std::to_string(c.sizes.outputs);
                         });

TEST(WinogradConvolution, suits_whole_vectors_of_channels_and_two_kernels) {
  EXPECT_FALSE(WinogradConvolution::suits({1, 4, 4, 8, 16}, 3));
  EXPECT_FALSE(WinogradConvolution::suits({1, 4, 4, 16, 24}, 3));
  EXPECT_FALSE(WinogradConvolution::suits({1, 4, 4, 16, 16}, 1));
  EXPECT_FALSE(WinogradConvolution::suits({1, 4, 4, 16, 16}, 7));
}

}  // namespace
}  // namespace espy::nn
