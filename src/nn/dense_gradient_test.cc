#include "nn/dense_gradient.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "nn/random.h"

namespace espy::nn {
namespace {

// Numbers that bfloat16 has, in [-1, 1): products and sums of some hundreds of them are exact in f32.
std::vector<float> draw(std::size_t count, RandomSequence& random) {
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(std::floor(random.next_uniform() * 64) - 32) / 32;
  return values;
}

std::vector<std::uint16_t> to_halves(const std::vector<float>& values) {
  std::vector<std::uint16_t> halves;
  for (const float value : values) {
    halves.push_back(static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16));
  }
  return halves;
}

// By its definition, in strips.
std::vector<float> naive_gradient(const DenseSizes& sizes, const std::vector<float>& source,
                                  const std::vector<float>& gradient) {
  std::vector<float> sums(sizes.inputs * sizes.outputs);
  for (std::size_t sample = 0; sample < sizes.samples; ++sample) {
    for (std::size_t i = 0; i < sizes.inputs; ++i) {
      for (std::size_t k = 0; k < sizes.outputs; ++k) {
        sums[(k / sizes.strip * sizes.inputs + i) * sizes.strip + k % sizes.strip] +=
            source[sample * sizes.inputs + i] * gradient[sample * sizes.outputs + k];
      }
    }
  }
  return sums;
}

class DenseGradientTest : public ::testing::TestWithParam<Element> {};

TEST_P(DenseGradientTest, is_the_sum_over_all_samples) {
  // Odd numbers of samples, one and several times as many as AMX takes at once; strips of both widths; inputs
  // that end in half of what AMX takes at once.
  const DenseSizes all_sizes[] = {{GetParam(), 1, 16, 32, 32},   {GetParam(), 25, 48, 64, 64},
                                  {GetParam(), 32, 64, 192, 64}, {GetParam(), 33, 80, 96, 32},
                                  {GetParam(), 71, 32, 64, 32},  {GetParam(), 50, 112, 128, 64}};
  RandomSequence random(3);
  for (const DenseSizes& sizes : all_sizes) {
    if (!DenseGradient::suits(sizes)) continue;  // a processor without the instructions
    SCOPED_TRACE(::testing::Message() << sizes.samples << " samples, " << sizes.inputs << " to "
                                      << sizes.outputs << " in strips of " << sizes.strip);
    DenseGradient computes(sizes);
    for (int pass = 0; pass < 2; ++pass) {  // nothing is left of the pass before
      const std::vector<float> source = draw(sizes.samples * sizes.inputs, random);
      const std::vector<float> by_output = draw(sizes.samples * sizes.outputs, random);
      const std::vector<std::uint16_t> half_source = to_halves(source);
      const std::vector<std::uint16_t> half_by_output = to_halves(by_output);
      if (sizes.element == Element::f32) {
        computes.take(source.data(), by_output.data());
      } else {
        computes.take(half_source.data(), half_by_output.data());
      }
      const std::vector<float> expected = naive_gradient(sizes, source, by_output);
      std::vector<float> all(expected.size(), std::numeric_limits<float>::quiet_NaN());
      computes.run_all(all);
      EXPECT_EQ(all, expected);
      for (const std::size_t inputs : {16, 32, 48}) {
        std::vector<float> parts(expected.size(), std::numeric_limits<float>::quiet_NaN());
        const std::size_t strip_size = sizes.inputs * sizes.strip;
        std::size_t count = 0;
        for (std::size_t first = 0; first < parts.size(); first += count) {
          count = std::min(inputs * sizes.strip, strip_size - first % strip_size);
          computes.run(first, std::span(parts).subspan(first, count));
        }
        EXPECT_EQ(parts, expected) << inputs << " inputs at a time";
      }
    }
  }
}

TEST_P(DenseGradientTest, suits_whole_vectors_and_strips) {
  EXPECT_FALSE(DenseGradient::suits({GetParam(), 4, 8, 64, 64}));
  EXPECT_FALSE(DenseGradient::suits({GetParam(), 4, 16, 96, 64}));
  EXPECT_FALSE(DenseGradient::suits({GetParam(), 4, 16, 48, 16}));
}

INSTANTIATE_TEST_SUITE_P(Elements, DenseGradientTest, ::testing::Values(Element::f32, Element::bf16));

}  // namespace
}  // namespace espy::nn
