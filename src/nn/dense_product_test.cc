#include "nn/dense_product.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <span>
#include <vector>

#include "nn/random.h"

namespace espy::nn {
namespace {

// Whole numbers: sums of hundreds of their products are exact.
std::vector<float> draw(std::size_t count, RandomSequence& random) {
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(static_cast<int>(random.next() % 17) - 8);
  return values;
}

float weight(const DenseSizes& sizes, const std::vector<float>& weights, std::size_t input,
             std::size_t output) {
  return weights[(output / sizes.strip * sizes.inputs + input) * sizes.strip + output % sizes.strip];
}

// By their definitions.
std::vector<float> naive_forward(const DenseSizes& sizes, const std::vector<float>& source,
                                 const std::vector<float>& weights, const std::vector<float>& biases,
                                 WithRelu relu) {
  std::vector<float> destination;
  for (std::size_t sample = 0; sample < sizes.samples; ++sample) {
    for (std::size_t output = 0; output < sizes.outputs; ++output) {
      float sum = biases[output];
      for (std::size_t i = 0; i < sizes.inputs; ++i) {
        sum += source[sample * sizes.inputs + i] * weight(sizes, weights, i, output);
      }
      destination.push_back(relu == WithRelu::yes ? std::max(sum, 0.0F) : sum);
    }
  }
  return destination;
}

std::vector<float> naive_backward(const DenseSizes& sizes, const std::vector<float>& gradient,
                                  const std::vector<float>& weights) {
  std::vector<float> source_gradient;
  for (std::size_t sample = 0; sample < sizes.samples; ++sample) {
    for (std::size_t i = 0; i < sizes.inputs; ++i) {
      float sum = 0;
      for (std::size_t output = 0; output < sizes.outputs; ++output) {
        sum += gradient[sample * sizes.outputs + output] * weight(sizes, weights, i, output);
      }
      source_gradient.push_back(sum);
    }
  }
  return source_gradient;
}

TEST(DenseProduct, agrees_with_the_definition) {
  // Numbers of samples that one group holds, that divide into even groups, and that do not; strips of both
  // widths; inputs below, of, and beyond what is done at once, with every rest.
  const DenseSizes all_sizes[] = {{Element::f32, 1, 16, 32, 32},    {Element::f32, 6, 64, 64, 64},
                                  {Element::f32, 25, 144, 128, 64}, {Element::f32, 13, 96, 96, 32},
                                  {Element::f32, 50, 112, 192, 64}, {Element::f32, 2, 208, 64, 64},
                                  {Element::f32, 9, 48, 32, 32}};
  RandomSequence random(5);
  for (const DenseSizes& sizes : all_sizes) {
    if (!DenseProduct::suits(sizes)) continue;  // a processor without the instructions
    SCOPED_TRACE(::testing::Message() << sizes.samples << " samples, " << sizes.inputs << " to "
                                      << sizes.outputs << " in strips of " << sizes.strip);
    const DenseProduct computes(sizes);
    const std::vector<float> source = draw(sizes.samples * sizes.inputs, random);
    const std::vector<float> weights = draw(sizes.inputs * sizes.outputs, random);
    const std::vector<float> biases = draw(sizes.outputs, random);
    const float unset = std::numeric_limits<float>::quiet_NaN();
    for (const WithRelu relu : {WithRelu::no, WithRelu::yes}) {
      std::vector<float> destination(sizes.samples * sizes.outputs, unset);
      computes.forward(source, weights, biases, relu, destination);
      EXPECT_EQ(destination, naive_forward(sizes, source, weights, biases, relu));
    }
    const std::vector<float> gradient = draw(sizes.samples * sizes.outputs, random);
    std::vector<float> source_gradient(source.size(), unset);
    computes.backward_data(gradient, weights, source_gradient);
    EXPECT_EQ(source_gradient, naive_backward(sizes, gradient, weights));
  }
}

// What is left out of a lone sample changes nothing: the same bits as with company.
TEST(DenseProduct, one_sample_is_as_among_others) {
  RandomSequence random(6);
  for (const std::size_t strip : {32U, 64U}) {
    const DenseSizes alone{Element::f32, 1, 1040, 2 * strip, strip};
    if (!DenseProduct::suits(alone)) continue;  // a processor without the instructions
    DenseSizes together = alone;
    together.samples = 3;
    const auto fraction = [&] { return static_cast<float>(random.next() % 1000) / 999.0F - 0.5F; };
    std::vector<float> weights(alone.inputs * alone.outputs);
    std::vector<float> biases(alone.outputs);
    std::generate(weights.begin(), weights.end(), fraction);
    std::generate(biases.begin(), biases.end(), fraction);
    // All zeros, one in four, and none.
    std::vector<float> source(together.samples * alone.inputs, 0.0F);
    for (std::size_t i = alone.inputs; i < 2 * alone.inputs; ++i) source[i] = i % 4 == 0 ? 0.0F : fraction();
    std::generate(source.begin() + static_cast<std::ptrdiff_t>(2 * alone.inputs), source.end(), fraction);
    for (const WithRelu relu : {WithRelu::no, WithRelu::yes}) {
      std::vector<float> all(together.samples * alone.outputs);
      DenseProduct(together).forward(source, weights, biases, relu, all);
      for (std::size_t sample = 0; sample < together.samples; ++sample) {
        SCOPED_TRACE(sample);
        std::vector<float> one(alone.outputs, std::numeric_limits<float>::quiet_NaN());
        DenseProduct(alone).forward(std::span(source).subspan(sample * alone.inputs, alone.inputs), weights,
                                    biases, relu, one);
        const auto begin = all.begin() + static_cast<std::ptrdiff_t>(sample * alone.outputs);
        EXPECT_EQ(one, std::vector<float>(begin, begin + static_cast<std::ptrdiff_t>(alone.outputs)));
      }
    }
  }
}

TEST(DenseProduct, takes_what_is_no_number) {
  const DenseSizes sizes{Element::f32, 1, 16, 32, 32};
  if (!DenseProduct::suits(sizes)) return;  // a processor without the instructions
  std::vector<float> source(16, 0.0F);
  source[5] = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> destination(32);
  DenseProduct(sizes).forward(source, std::vector<float>(16 * 32, 1.0F), std::vector<float>(32), WithRelu::no,
                              destination);
  EXPECT_TRUE(
      std::all_of(destination.begin(), destination.end(), [](float value) { return value != value; }));
}

TEST(DenseProduct, suits_floats) { EXPECT_FALSE(DenseProduct::suits({Element::bf16, 4, 64, 64, 64})); }

}  // namespace
}  // namespace espy::nn
