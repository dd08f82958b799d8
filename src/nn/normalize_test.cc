#include "nn/normalize.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

#include "nn/random.h"

namespace espy::nn {
namespace {

constexpr std::size_t kSamples = 3;
constexpr std::size_t kHeight = 5;
constexpr std::size_t kWidth = 7;

float from_bf16(std::uint16_t bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }

// Values [samples, channels, height, width] in some layout and some type.
struct Held {
  Held(Element element, std::size_t channels, std::size_t height, std::size_t width, std::size_t inner)
      : bytes(kSamples * channels * height * width * 4),
        view{.element = element,
             .values = bytes.data(),
             .samples = kSamples,
             .channels = channels,
             .height = height,
             .width = width,
             .inner = inner,
             .pitch = width,
             .block_stride = height * width * inner,
             .sample_stride = channels * height * width} {}

  std::size_t place(std::size_t sample, std::size_t channel, std::size_t pixel) const {
    return sample * view.sample_stride + channel / view.inner * view.block_stride + pixel * view.inner +
           channel % view.inner;
  }
  float get(std::size_t sample, std::size_t channel, std::size_t pixel) const {
    const std::size_t at = place(sample, channel, pixel);
    if (view.element == Element::f32) return static_cast<const float*>(view.values)[at];
    return from_bf16(static_cast<const std::uint16_t*>(view.values)[at]);
  }
  void draw(std::uint64_t seed) {
    RandomSequence random(seed);
    const std::size_t count = kSamples * view.sample_stride;
    for (std::size_t i = 0; i < count; ++i) {
      const auto value = static_cast<float>(2 * random.next_uniform() - 1);
      if (view.element == Element::f32) {
        static_cast<float*>(view.values)[i] = value;
      } else {
        static_cast<std::uint16_t*>(view.values)[i] =
            static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16);
      }
    }
  }

  std::vector<std::byte> bytes;
  Activations view;
};

struct Case {
  Element z_element;
  Element y_element;
  std::size_t channels;
  std::size_t z_inner;
  std::size_t y_inner;
};

const std::vector<Case> kCases = {
    {Element::f32, Element::f32, 3, 3, 3},      {Element::f32, Element::f32, 3, 1, 1},
    {Element::f32, Element::f32, 24, 8, 8},     {Element::f32, Element::f32, 32, 16, 16},
    {Element::f32, Element::bf16, 32, 16, 32},  {Element::f32, Element::bf16, 8, 8, 8},
    {Element::bf16, Element::bf16, 48, 48, 48}, {Element::bf16, Element::bf16, 5, 5, 5}};

// bfloat16 keeps 8 bits: half a unit in the last is 2^-9.
double tolerance(Element element, double value) {
  return element == Element::f32 ? 1e-5 * (1 + std::abs(value)) : 0x1p-8 * std::abs(value) + 1e-5;
}

void expect_normalized(const Case& c, const NormalizeSteps& steps, bool skips) {
  SCOPED_TRACE(testing::Message() << "channels " << c.channels << ", inner " << c.z_inner << " and "
                                  << c.y_inner);
  Held z(c.z_element, c.channels, kHeight, kWidth, c.z_inner);
  Held skip(c.y_element, c.channels, kHeight, kWidth, c.y_inner);
  const bool pools = steps.pool == WithPool::yes;
  const std::size_t height = pools ? kHeight / 2 : kHeight;
  const std::size_t width = pools ? kWidth / 2 : kWidth;
  Held y(c.y_element, c.channels, height, width, c.y_inner);
  Held gradient(c.y_element, c.channels, height, width, c.y_inner);
  Held unpooled(c.y_element, c.channels, kHeight, kWidth, c.y_inner);
  z.draw(1);
  skip.draw(2);
  gradient.draw(3);
  std::vector<float> factors(c.channels);
  std::vector<float> offsets(c.channels);
  for (std::size_t i = 0; i < c.channels; ++i) {
    factors[i] = i % 2 == 0 ? 1.5F : -0.5F;
    offsets[i] = 0.01F * static_cast<float>(i);
  }
  ChannelSums sums(c.channels);
  sum_channels(z.view, sums);
  ChannelSums gradient_sums(c.channels);
  normalize(steps, z.view, factors, offsets, skips ? &skip.view : nullptr, y.view);
  const Activations& whole = pools ? unpooled.view : gradient.view;
  sum_gradient(steps, z.view, factors, offsets, skips ? &skip.view : nullptr, gradient.view, whole,
               gradient_sums);
  Held before = z;
  before.view.values = before.bytes.data();
  const std::vector<float> line(c.channels, 0.25F);
  finish_gradient(steps.relu, factors, offsets, {factors, line, offsets}, whole, z.view);

  const auto normalized = [&](std::size_t s, std::size_t k, std::size_t p) {
    return static_cast<double>(before.get(s, k, p)) * factors[k] + offsets[k];
  };
  const auto summed = [&](std::size_t s, std::size_t k, std::size_t p) {
    const double value = normalized(s, k, p);
    return (steps.relu == WithRelu::yes ? std::max(value, 0.0) : value) +
           (skips ? static_cast<double>(skip.get(s, k, p)) : 0);
  };
  for (std::size_t k = 0; k < c.channels; ++k) {
    double first = 0;
    double second = 0;
    double gradient_first = 0;
    double gradient_second = 0;
    for (std::size_t s = 0; s < kSamples; ++s) {
      std::vector<double> passed(kHeight * kWidth);
      for (std::size_t row = 0; row < height; ++row) {
        for (std::size_t column = 0; column < width; ++column) {
          const std::size_t to = row * width + column;
          std::size_t greatest = pools ? 2 * row * kWidth + 2 * column : to;
          if (pools) {
            for (const std::size_t next : {greatest + 1, greatest + kWidth, greatest + kWidth + 1}) {
              if (summed(s, k, next) > summed(s, k, greatest)) greatest = next;
            }
          }
          const double expected = summed(s, k, greatest);
          ASSERT_NEAR(y.get(s, k, to), expected, tolerance(c.y_element, expected));
          passed[greatest] = static_cast<double>(gradient.get(s, k, to));
        }
      }
      for (std::size_t p = 0; p < kHeight * kWidth; ++p) {
        const auto value = static_cast<double>(before.get(s, k, p));
        const double d = steps.relu == WithRelu::no || normalized(s, k, p) > 0 ? passed[p] : 0;
        first += value;
        second += value * value;
        gradient_first += d;
        gradient_second += d * value;
        if (pools) {
          ASSERT_EQ(unpooled.get(s, k, p), static_cast<float>(passed[p]));
        }
        const double expected = factors[k] * d + 0.25 * value + offsets[k];
        ASSERT_NEAR(z.get(s, k, p), expected, tolerance(c.z_element, expected));
      }
    }
    EXPECT_NEAR(sums.first[k], first, 1e-4);
    EXPECT_NEAR(sums.second[k], second, 1e-4);
    EXPECT_NEAR(gradient_sums.first[k], gradient_first, 1e-4);
    EXPECT_NEAR(gradient_sums.second[k], gradient_second, 1e-4);
  }
}

TEST(Normalize, follows_its_definition_in_every_layout_and_type) {
  for (const Case& c : kCases) {
    for (const WithRelu relu : {WithRelu::no, WithRelu::yes}) {
      for (const WithPool pool : {WithPool::no, WithPool::yes}) {
        for (const bool skips : {false, true}) expect_normalized(c, {relu, pool}, skips);
      }
    }
  }
}

TEST(Normalize, adds_in_place) {
  for (const Case& c : kCases) {
    Held a(c.y_element, c.channels, kHeight, kWidth, c.y_inner);
    Held b(c.y_element, c.channels, kHeight, kWidth, c.y_inner);
    a.draw(1);
    b.draw(2);
    const float expected = a.get(1, 2, 3) + b.get(1, 2, 3);
    add(a.view, b.view);
    EXPECT_NEAR(b.get(1, 2, 3), expected, tolerance(c.y_element, static_cast<double>(expected)));
  }
}

TEST(Normalize, mean_max_pool_gives_both_gradients_back) {
  for (const Case& c : kCases) {
    Held input(c.y_element, c.channels, kHeight, kWidth, c.y_inner);
    Held input_gradient(c.y_element, c.channels, kHeight, kWidth, c.y_inner);
    input.draw(1);
    std::vector<float> output(kSamples * 2 * c.channels);
    std::vector<float> gradient(output.size());
    for (std::size_t i = 0; i < gradient.size(); ++i) gradient[i] = static_cast<float>(i % 13);
    mean_max_pool(input.view, output);
    mean_max_pool_backward(input.view, gradient, input_gradient.view);
    for (std::size_t s = 0; s < kSamples; ++s) {
      for (std::size_t k = 0; k < c.channels; ++k) {
        const std::size_t mean_at = s * 2 * c.channels + k;
        double mean = 0;
        std::size_t greatest = 0;
        for (std::size_t p = 0; p < kHeight * kWidth; ++p) {
          mean += static_cast<double>(input.get(s, k, p)) / (kHeight * kWidth);
          if (input.get(s, k, p) > input.get(s, k, greatest)) greatest = p;
        }
        ASSERT_NEAR(output[mean_at], mean, 1e-5);
        ASSERT_EQ(output[mean_at + c.channels], input.get(s, k, greatest));
        for (std::size_t p = 0; p < kHeight * kWidth; ++p) {
          const double expected = static_cast<double>(gradient[mean_at]) / (kHeight * kWidth) +
                                  (p == greatest ? static_cast<double>(gradient[mean_at + c.channels]) : 0);
          ASSERT_NEAR(input_gradient.get(s, k, p), expected, tolerance(c.y_element, expected));
        }
      }
    }
  }
}

}  // namespace
}  // namespace espy::nn
