#include "nn/weights_gradient.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "nn/random.h"

namespace espy::nn {
namespace {

float to_float(std::uint16_t half) { return std::bit_cast<float>(std::uint32_t{half} << 16); }

// Numbers that bfloat16 has, in [-1, 1): products and sums of some hundreds of them are exact in f32.
std::vector<std::uint16_t> draw(std::size_t count, RandomSequence& random) {
  std::vector<std::uint16_t> halves(count);
  for (std::uint16_t& half : halves) {
    const auto value = static_cast<float>(std::floor(random.next_uniform() * 64) - 32) / 32;
    half = static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16);
  }
  return halves;
}

// By its definition: [row, column, input, output].
std::vector<float> naive_gradient(const ConvolutionSizes& sizes, const std::vector<std::uint16_t>& source,
                                  const std::vector<std::uint16_t>& gradient) {
  const auto height = static_cast<int>(sizes.height);
  const auto width = static_cast<int>(sizes.width);
  const auto pixel = [&](std::size_t sample, int y, int x) {
    return (sample * sizes.height + static_cast<std::size_t>(y)) * sizes.width + static_cast<std::size_t>(x);
  };
  std::vector<float> sums(9 * sizes.inputs * sizes.outputs);
  for (int place = 0; place < 9; ++place) {
    for (std::size_t sample = 0; sample < sizes.samples; ++sample) {
      for (int y = 0; y < height; ++y) {
        for (int x = 0; x < width; ++x) {
          const int from_y = y + place / 3 - 1;
          const int from_x = x + place % 3 - 1;
          if (from_y < 0 || from_y >= height || from_x < 0 || from_x >= width) continue;
          for (std::size_t i = 0; i < sizes.inputs; ++i) {
            const float input = to_float(source[pixel(sample, from_y, from_x) * sizes.inputs + i]);
            for (std::size_t k = 0; k < sizes.outputs; ++k) {
              sums[(static_cast<std::size_t>(place) * sizes.inputs + i) * sizes.outputs + k] +=
                  input * to_float(gradient[pixel(sample, y, x) * sizes.outputs + k]);
            }
          }
        }
      }
    }
  }
  return sums;
}

TEST(WeightsGradient, is_the_sum_over_all_pixels) {
  // Rows of one pixel, odd and even ones; one, two and three vectors at once; groups that do not divide the
  // samples; a picture that is a group of its own.
  const ConvolutionSizes all_sizes[] = {{1, 1, 1, 16, 16}, {3, 2, 1, 16, 32},   {5, 3, 3, 32, 48},
                                        {5, 7, 7, 16, 64}, {2, 14, 14, 32, 16}, {20, 3, 3, 16, 96},
                                        {2, 5, 8, 48, 32}, {3, 1, 6, 16, 16}};
  RandomSequence random(3);
  for (const ConvolutionSizes& sizes : all_sizes) {
    if (!WeightsGradient::suits(sizes)) continue;  // a processor without the instructions
    SCOPED_TRACE(::testing::Message() << sizes.samples << "x" << sizes.height << "x" << sizes.width << ", "
                                      << sizes.inputs << " to " << sizes.outputs);
    const std::size_t pixels = sizes.samples * sizes.height * sizes.width;
    const std::vector<std::uint16_t> source = draw(pixels * sizes.inputs, random);
    const std::vector<std::uint16_t> gradient = draw(pixels * sizes.outputs, random);
    std::vector<float> found(9 * sizes.inputs * sizes.outputs, std::numeric_limits<float>::quiet_NaN());
    WeightsGradient computes(sizes);
    computes.run(source.data(), gradient.data(), found);
    EXPECT_EQ(found, naive_gradient(sizes, source, gradient));
    computes.run(source.data(), gradient.data(), found);
    EXPECT_EQ(found, naive_gradient(sizes, source, gradient)) << "nothing is left of the run before";
  }
}

TEST(WeightsGradient, suits_whole_vectors_of_channels) {
  EXPECT_FALSE(WeightsGradient::suits({1, 4, 4, 8, 16}));
  EXPECT_FALSE(WeightsGradient::suits({1, 4, 4, 16, 24}));
}

}  // namespace
}  // namespace espy::nn
