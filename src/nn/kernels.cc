#include "nn/kernels.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstddef>

#include "nn/multiversion.h"
#include "nn/random.h"

namespace espy::nn {

// Every loop works on plain pointers that are promised not to overlap, or it would not become vector code.

ESPY_MULTIVERSION void add(std::span<const float> addend, std::span<float> sum) {
  assert(addend.size() == sum.size());
  const float* __restrict x = addend.data();
  float* __restrict y = sum.data();
  for (std::size_t i = 0; i < sum.size(); ++i) y[i] += x[i];
}

ESPY_MULTIVERSION void multiply(std::span<const float> a, std::span<const float> b,
                                std::span<float> product) {
  assert(a.size() == product.size() && b.size() == product.size());
  const float* __restrict x = a.data();
  const float* __restrict y = b.data();
  float* __restrict z = product.data();
  for (std::size_t i = 0; i < product.size(); ++i) z[i] = x[i] * y[i];
}

ESPY_MULTIVERSION void relu(std::span<const float> input, std::span<float> output) {
  assert(input.size() == output.size());
  const float* __restrict x = input.data();
  float* __restrict y = output.data();
  for (std::size_t i = 0; i < output.size(); ++i) y[i] = x[i] > 0 ? x[i] : 0;
}

ESPY_MULTIVERSION void relu_backward(std::span<const float> output, std::span<float> gradient) {
  assert(output.size() == gradient.size());
  const float* __restrict y = output.data();
  float* __restrict g = gradient.data();
  for (std::size_t i = 0; i < gradient.size(); ++i) g[i] = y[i] > 0 ? g[i] : 0;
}

ESPY_MULTIVERSION void draw_dropout(std::uint64_t key, float probability, std::span<float> factors) {
  // A float below 1 is at most 1 - 2^-24, so the threshold fits 32 bits.
  const auto threshold = static_cast<std::uint32_t>(static_cast<double>(probability) * 0x1p32);
  const float kept = 1 / (1 - probability);
  float* __restrict f = factors.data();
  for (std::size_t i = 0; i < factors.size(); ++i) {
    const auto draw = static_cast<std::uint32_t>(mix(key + kGoldenGamma * (i + 1)) >> 32);
    f[i] = draw < threshold ? 0 : kept;
  }
}

ESPY_MULTIVERSION void descend(float learning_rate, std::span<const float> gradient,
                               std::span<float> weights) {
  assert(gradient.size() == weights.size());
  const float* __restrict g = gradient.data();
  float* __restrict w = weights.data();
  for (std::size_t i = 0; i < weights.size(); ++i) w[i] -= learning_rate * g[i];
}

ESPY_MULTIVERSION void descend_adam(const AdamStep& step, std::span<const float> gradient,
                                    std::span<float> first_moment, std::span<float> second_moment,
                                    std::span<float> weights) {
  assert(gradient.size() == weights.size() && first_moment.size() == weights.size() &&
         second_moment.size() == weights.size());
  const AdamStep s = step;
  const float* __restrict g = gradient.data();
  float* __restrict m = first_moment.data();
  float* __restrict v = second_moment.data();
  float* __restrict w = weights.data();
  for (std::size_t i = 0; i < weights.size(); ++i) {
    m[i] = s.beta1 * m[i] + (1 - s.beta1) * g[i];
    v[i] = s.beta2 * v[i] + (1 - s.beta2) * g[i] * g[i];
    w[i] -= s.corrected_learning_rate * m[i] / (std::sqrt(v[i] * s.second_correction) + s.epsilon);
  }
}

SampleLoss softmax_cross_entropy(std::span<const float> logits, int label, float scale,
                                 std::span<float> gradient) {
  assert(logits.size() == gradient.size());
  assert(label >= 0 && static_cast<std::size_t>(label) < logits.size());
  const auto answer = static_cast<std::size_t>(label);
  const auto greatest = std::max_element(logits.begin(), logits.end());
  // The greatest exponent is 0: nothing overflows, and the sum is at least 1.
  float sum = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    gradient[i] = std::exp(logits[i] - *greatest);
    sum += gradient[i];
  }
  const float factor = scale / sum;
  for (float& value : gradient) value *= factor;
  gradient[answer] -= scale;
  const double loss = std::log(static_cast<double>(sum)) - static_cast<double>(logits[answer] - *greatest);
  return {loss, greatest - logits.begin() == label};
}

}  // namespace espy::nn
