#include "nn/kernels.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "nn/random.h"

namespace espy::nn {
namespace {

// Long enough for whole vectors of any machine and a rest.
constexpr std::size_t kSize = 1003;

std::vector<float> draw(std::uint64_t seed, std::size_t count = kSize) {
  RandomSequence random(seed);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(2 * random.next_uniform() - 1);
  return values;
}

TEST(Kernels, add_and_multiply_work_on_every_element) {
  const std::vector<float> a = draw(1);
  const std::vector<float> b = draw(2);
  std::vector<float> sum = b;
  std::vector<float> product(kSize);
  add(a, sum);
  multiply(a, b, product);
  for (std::size_t i = 0; i < kSize; ++i) {
    EXPECT_EQ(sum[i], a[i] + b[i]);
    EXPECT_EQ(product[i], a[i] * b[i]);
  }
}

TEST(Kernels, relu_keeps_what_is_above_zero) {
  const std::vector<float> input = draw(1);
  std::vector<float> output(kSize);
  std::vector<float> gradient = draw(2);
  const std::vector<float> before = gradient;
  relu(input, output);
  relu_backward(output, gradient);
  for (std::size_t i = 0; i < kSize; ++i) {
    EXPECT_EQ(output[i], std::max(input[i], 0.0F));
    EXPECT_EQ(gradient[i], input[i] > 0 ? before[i] : 0);
  }
}

// Compares with windows counted out one by one.
void expect_pool(const PoolSizes& sizes, AfterRelu after_relu) {
  SCOPED_TRACE(testing::Message() << sizes.height << "x" << sizes.width << ", inner " << sizes.inner);
  const std::size_t rows = sizes.height / 2;
  const std::size_t columns = sizes.width / 2;
  const std::size_t count = sizes.outer * sizes.height * sizes.width * sizes.inner;
  std::vector<float> input = draw(1, count);
  if (after_relu == AfterRelu::yes) relu(std::vector<float>(input), input);
  const std::vector<float> gradient = draw(2, sizes.outer * rows * columns * sizes.inner);
  std::vector<float> output(gradient.size());
  std::vector<float> input_gradient(count, 0.0F);
  max_pool(sizes, input, output);
  max_pool_backward(sizes, after_relu, input, gradient, input_gradient);

  std::vector<float> expected(count, 0.0F);
  for (std::size_t i = 0; i < gradient.size(); ++i) {
    const std::size_t channel = i % sizes.inner;
    const std::size_t column = i / sizes.inner % columns;
    const std::size_t row = i / sizes.inner / columns % rows;
    const std::size_t outer = i / sizes.inner / columns / rows;
    std::size_t greatest = count;
    for (const std::size_t y : {2 * row, 2 * row + 1}) {
      for (const std::size_t x : {2 * column, 2 * column + 1}) {
        const std::size_t index = ((outer * sizes.height + y) * sizes.width + x) * sizes.inner + channel;
        if (greatest == count || input[index] > input[greatest]) greatest = index;
      }
    }
    ASSERT_EQ(output[i], input[greatest]) << i;
    if (after_relu == AfterRelu::no || input[greatest] > 0) expected[greatest] = gradient[i];
  }
  EXPECT_EQ(input_gradient, expected);
}

TEST(Kernels, pool_finds_the_greatest_and_gives_the_gradient_to_it_alone) {
  for (const std::size_t inner : {1, 5, 8, 16, 24}) {
    for (const AfterRelu after_relu : {AfterRelu::no, AfterRelu::yes}) {
      expect_pool({3, 6, 4, inner}, after_relu);
      expect_pool({2, 7, 5, inner}, after_relu);
    }
  }
}

TEST(Kernels, pool_gives_the_gradient_of_equal_values_to_the_first) {
  std::vector<float> input_gradient(4);
  max_pool_backward({1, 2, 2, 1}, AfterRelu::no, std::vector<float>(4, 0.0F), std::vector<float>{3},
                    input_gradient);
  EXPECT_EQ(input_gradient, (std::vector<float>{3, 0, 0, 0}));
  max_pool_backward({1, 2, 2, 1}, AfterRelu::yes, std::vector<float>(4, 0.0F), std::vector<float>{3},
                    input_gradient);
  EXPECT_EQ(input_gradient, (std::vector<float>{0, 0, 0, 0}));
}

TEST(Kernels, descend_subtracts_the_scaled_gradient) {
  const std::vector<float> gradient = draw(1);
  std::vector<float> weights = draw(2);
  const std::vector<float> before = weights;
  descend(0.5F, gradient, weights);
  for (std::size_t i = 0; i < kSize; ++i) EXPECT_FLOAT_EQ(weights[i], before[i] - 0.5F * gradient[i]);
}

TEST(Kernels, adam_follows_its_paper) {
  constexpr float kEpsilon = 0.01F;  // large enough that its place in the formula shows
  std::vector<float> weights = draw(1);
  std::vector<float> m(kSize, 0.0F);
  std::vector<float> v(kSize, 0.0F);
  std::vector<double> expected_weights(weights.begin(), weights.end());
  std::vector<double> expected_m(kSize, 0.0);
  std::vector<double> expected_v(kSize, 0.0);
  for (int t = 1; t <= 20; ++t) {
    const std::vector<float> gradient = draw(static_cast<std::uint64_t>(100 + t));
    const double first_correction = 1 - std::pow(0.9, t);
    const double second_correction = 1 - std::pow(0.999, t);
    descend_adam(
        {0.9F, 0.999F, static_cast<float>(0.01 * std::sqrt(second_correction) / first_correction), kEpsilon},
        gradient, m, v, weights);
    for (std::size_t i = 0; i < kSize; ++i) {
      const double g = gradient[i];
      expected_m[i] = 0.9 * expected_m[i] + 0.1 * g;
      expected_v[i] = 0.999 * expected_v[i] + 0.001 * g * g;
      expected_weights[i] -= 0.01 * (expected_m[i] / first_correction) /
                             ((std::sqrt(expected_v[i]) + kEpsilon) / std::sqrt(second_correction));
    }
  }
  for (std::size_t i = 0; i < kSize; ++i) EXPECT_NEAR(weights[i], expected_weights[i], 2e-6);
}

TEST(Kernels, dropout_drops_the_share_that_it_was_told) {
  std::vector<float> factors(100'000);
  for (const float probability : {0.0F, 0.1F, 0.5F, 0.9F}) {
    draw_dropout(7, probability, factors);
    const auto dropped = std::count(factors.begin(), factors.end(), 0.0F);
    const auto kept = std::count(factors.begin(), factors.end(), 1 / (1 - probability));
    EXPECT_EQ(dropped + kept, std::ssize(factors));
    // Four standard deviations of a binomial distribution.
    EXPECT_NEAR(static_cast<double>(dropped), 1e5 * probability,
                4 * std::sqrt(1e5 * probability * (1 - probability)));
  }
}

TEST(Kernels, dropout_depends_on_the_key_and_the_unit_alone) {
  std::vector<float> factors(1000);
  std::vector<float> longer(2000);
  std::vector<float> other(1000);
  draw_dropout(7, 0.5F, factors);
  draw_dropout(7, 0.5F, longer);
  draw_dropout(8, 0.5F, other);
  EXPECT_TRUE(std::equal(factors.begin(), factors.end(), longer.begin()));
  EXPECT_NE(factors, other);
}

TEST(Kernels, cross_entropy_and_its_gradient_follow_their_definition) {
  const std::vector<float> logits = {1.5F, -0.5F, 0.25F};
  std::vector<float> gradient(3);
  const SampleLoss result = softmax_cross_entropy(logits, {.label = 2}, 0.5F, gradient);
  const double sum = std::exp(1.5) + std::exp(-0.5) + std::exp(0.25);
  EXPECT_NEAR(result.loss, std::log(sum) - 0.25, 1e-6);
  EXPECT_FALSE(result.correct);
  EXPECT_NEAR(gradient[0], 0.5 * std::exp(1.5) / sum, 1e-6);
  EXPECT_NEAR(gradient[1], 0.5 * std::exp(-0.5) / sum, 1e-6);
  EXPECT_NEAR(gradient[2], 0.5 * (std::exp(0.25) / sum - 1), 1e-6);
  EXPECT_TRUE(softmax_cross_entropy(logits, {.label = 0}, 0.5F, gradient).correct);
}

TEST(Kernels, smoothing_shares_the_target_out_over_all_classes) {
  const std::vector<float> logits = {1.5F, -0.5F, 0.25F};
  std::vector<float> gradient(3);
  const SampleLoss result = softmax_cross_entropy(logits, {.label = 2, .smoothing = 0.3F}, 0.5F, gradient);
  const double sum = std::exp(1.5) + std::exp(-0.5) + std::exp(0.25);
  EXPECT_NEAR(result.loss, std::log(sum) - 0.8 * 0.25 - 0.1 * 1.5 - 0.1 * -0.5, 1e-6);
  EXPECT_NEAR(gradient[0], 0.5 * (std::exp(1.5) / sum - 0.1), 1e-6);
  EXPECT_NEAR(gradient[1], 0.5 * (std::exp(-0.5) / sum - 0.1), 1e-6);
  EXPECT_NEAR(gradient[2], 0.5 * (std::exp(0.25) / sum - 0.8), 1e-6);
}

TEST(Kernels, teachers_have_their_share_of_the_target) {
  const std::vector<float> logits = {1.5F, -0.5F, 0.25F};
  const std::vector<float> taught = {0.5F, 0.2F, 0.3F};
  std::vector<float> gradient(3);
  const Target target{.label = 2, .smoothing = 0.3F, .taught = taught, .taught_share = 0.5F};
  const SampleLoss result = softmax_cross_entropy(logits, target, 0.5F, gradient);
  const double sum = std::exp(1.5) + std::exp(-0.5) + std::exp(0.25);
  // Half of 0.1, 0.1, 0.8 and half of what is taught.
  EXPECT_NEAR(result.loss, std::log(sum) - 0.3 * 1.5 - 0.15 * -0.5 - 0.55 * 0.25, 1e-6);
  EXPECT_NEAR(gradient[0], 0.5 * (std::exp(1.5) / sum - 0.3), 1e-6);
  EXPECT_NEAR(gradient[1], 0.5 * (std::exp(-0.5) / sum - 0.15), 1e-6);
  EXPECT_NEAR(gradient[2], 0.5 * (std::exp(0.25) / sum - 0.55), 1e-6);
}

TEST(Kernels, softmax_stands_logits_of_any_size) {
  std::vector<float> probabilities(3);
  softmax(std::vector<float>{1.5F, -0.5F, 0.25F}, probabilities);
  const double sum = std::exp(1.5) + std::exp(-0.5) + std::exp(0.25);
  EXPECT_NEAR(probabilities[0], std::exp(1.5) / sum, 1e-6);
  EXPECT_NEAR(probabilities[2], std::exp(0.25) / sum, 1e-6);
  softmax(std::vector<float>{3e38F, -3e38F, 3e38F}, probabilities);
  EXPECT_EQ(probabilities, (std::vector<float>{0.5F, 0, 0.5F}));
}

TEST(Kernels, adam_is_as_exact_as_floats_whatever_the_sizes) {
  constexpr AdamStep kStep{0.9F, 0.999F, 0.01F, 1e-8F, 0.1F};
  // Whole vectors, parts of them, and gradients whose squares are too small or large for a float's comfort.
  for (const std::size_t size : {1, 15, 16, 17, 40}) {
    std::vector<float> gradient;
    for (std::size_t i = 0; i < size; ++i) {
      constexpr float kMagnitudes[] = {0, 1, 1e-25F, -1e-12F, 1e-3F, -1e15F, 3e-5F};
      gradient.push_back(kMagnitudes[i % std::size(kMagnitudes)]);
    }
    std::vector<float> weights(size, 0.5F);
    std::vector<float> m(size, 0.25F);
    std::vector<float> v(size, 0.0F);
    descend_adam(kStep, gradient, m, v, weights);
    for (std::size_t i = 0; i < size; ++i) {
      const double first = 0.9 * 0.25 + 0.1 * static_cast<double>(gradient[i]);
      const double root = std::sqrt(static_cast<double>(v[i]));
      const double expected = 0.5 - 0.1 * 0.5 - 0.01 * first / (root + 1e-8);
      EXPECT_NEAR(weights[i], expected, 1e-6 * std::abs(expected)) << gradient[i] << " of " << size;
    }
  }
}

TEST(Kernels, adam_decays_weights_apart_from_the_gradient) {
  std::vector<float> weights = {2, -4};
  std::vector<float> m(2);
  std::vector<float> v(2);
  descend_adam({0.9F, 0.999F, 0.1F, 1e-8F, 0.25F}, std::vector<float>(2, 0.0F), m, v, weights);
  EXPECT_EQ(weights, (std::vector<float>{1.5F, -3}));
}

TEST(Kernels, cross_entropy_stands_logits_of_any_size) {
  std::vector<float> gradient(2);
  const SampleLoss wrong = softmax_cross_entropy(std::vector<float>{1e4F, -1e4F}, {.label = 1}, 1, gradient);
  EXPECT_DOUBLE_EQ(wrong.loss, 2e4);
  EXPECT_EQ(gradient, (std::vector<float>{1, -1}));
  const SampleLoss right =
      softmax_cross_entropy(std::vector<float>{3e38F, -3e38F}, {.label = 0}, 1, gradient);
  EXPECT_EQ(right.loss, 0);
  EXPECT_EQ(gradient, (std::vector<float>{0, 0}));
}

}  // namespace
}  // namespace espy::nn
