#include "nn/kernels.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstddef>
#include <limits>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "nn/multiversion.h"
#include "nn/precision.h"
#include "nn/random.h"

namespace espy::nn {
namespace {

// Calls visit(offset of the window's first input, offset of its output) for each window of `inner` values.
template <typename Visit>
[[gnu::always_inline]] inline void for_each_window(const PoolSizes& sizes, std::size_t inner,
                                                   const Visit& visit) {
  const std::size_t rows = sizes.height / 2;
  const std::size_t columns = sizes.width / 2;
  for (std::size_t outer = 0; outer < sizes.outer; ++outer) {
    for (std::size_t row = 0; row < rows; ++row) {
      const std::size_t input = (outer * sizes.height + 2 * row) * sizes.width * inner;
      const std::size_t output = (outer * rows + row) * columns * inner;
      for (std::size_t column = 0; column < columns; ++column) {
        visit(input + 2 * column * inner, output + column * inner);
      }
    }
  }
}

[[gnu::always_inline]] inline void pool_windows(const PoolSizes& sizes, std::size_t inner,
                                                const float* __restrict input, float* __restrict output) {
  const std::size_t down = sizes.width * inner;
  for_each_window(sizes, inner, [=](std::size_t from, std::size_t to) {
    const float* upper = input + from;
    const float* lower = upper + down;
    for (std::size_t i = 0; i < inner; ++i) {
      const float above = std::max(upper[i], upper[inner + i]);
      const float below = std::max(lower[i], lower[inner + i]);
      output[to + i] = std::max(above, below);
    }
  });
}

[[gnu::always_inline]] inline void route_windows(const PoolSizes& sizes, std::size_t inner, float threshold,
                                                 const float* __restrict input,
                                                 const float* __restrict gradient,
                                                 float* __restrict input_gradient) {
  const std::size_t down = sizes.width * inner;
  for_each_window(sizes, inner, [=](std::size_t to, std::size_t from) {
    const float* a = input + to;
    const float* b = a + inner;
    const float* c = a + down;
    const float* d = c + inner;
    float* a_gradient = input_gradient + to;
    float* b_gradient = a_gradient + inner;
    float* c_gradient = a_gradient + down;
    float* d_gradient = c_gradient + inner;
    // The compiler cannot know that these four do not overlap.
#pragma omp simd
    for (std::size_t i = 0; i < inner; ++i) {
      const float above = std::max(a[i], b[i]);
      const float below = std::max(c[i], d[i]);
      const float whole = gradient[from + i];
      const float passed = std::max(above, below) > threshold ? whole : 0;
      const float passed_above = above >= below ? passed : 0;
      const float passed_below = above >= below ? 0 : passed;
      a_gradient[i] = a[i] >= b[i] ? passed_above : 0;
      b_gradient[i] = a[i] >= b[i] ? 0 : passed_above;
      c_gradient[i] = c[i] >= d[i] ? passed_below : 0;
      d_gradient[i] = c[i] >= d[i] ? 0 : passed_below;
    }
  });
}

}  // namespace

// Every loop works on plain pointers that are promised not to overlap, or it would not become vector code.

ESPY_MULTIVERSION void add(std::span<const float> addend, std::span<float> sum) {
  assert(addend.size() == sum.size());
  const float* __restrict x = addend.data();
  float* __restrict y = sum.data();
  for (std::size_t i = 0; i < sum.size(); ++i) y[i] += x[i];
}

ESPY_MULTIVERSION void sum_rows(std::span<const float> values, std::span<float> sums) {
  assert(!sums.empty() && values.size() % sums.size() == 0);
  std::ranges::fill(sums, 0.0F);
  for (std::size_t row = 0; row < values.size(); row += sums.size()) {
    const float* __restrict x = values.data() + row;
    float* __restrict y = sums.data();
    for (std::size_t i = 0; i < sums.size(); ++i) y[i] += x[i];
  }
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

// The blocks that oneDNN likes get loops of a constant length: one vector, without the bookkeeping around it.

ESPY_MULTIVERSION void max_pool(const PoolSizes& sizes, std::span<const float> input,
                                std::span<float> output) {
  assert(input.size() == sizes.outer * sizes.height * sizes.width * sizes.inner);
  assert(output.size() == sizes.outer * (sizes.height / 2) * (sizes.width / 2) * sizes.inner);
  switch (sizes.inner) {
    case 16:
      return pool_windows(sizes, 16, input.data(), output.data());
    case 8:
      return pool_windows(sizes, 8, input.data(), output.data());
    default:
      return pool_windows(sizes, sizes.inner, input.data(), output.data());
  }
}

ESPY_MULTIVERSION void max_pool_backward(const PoolSizes& sizes, AfterRelu after_relu,
                                         std::span<const float> input, std::span<const float> gradient,
                                         std::span<float> input_gradient) {
  assert(input.size() == sizes.outer * sizes.height * sizes.width * sizes.inner);
  assert(gradient.size() == sizes.outer * (sizes.height / 2) * (sizes.width / 2) * sizes.inner);
  assert(input_gradient.size() == input.size());
  // The greatest of a window is above zero after the relu exactly when it was before.
  const float threshold = after_relu == AfterRelu::yes ? 0 : -std::numeric_limits<float>::infinity();
  switch (sizes.inner) {
    case 16:
      return route_windows(sizes, 16, threshold, input.data(), gradient.data(), input_gradient.data());
    case 8:
      return route_windows(sizes, 8, threshold, input.data(), gradient.data(), input_gradient.data());
    default:
      return route_windows(sizes, sizes.inner, threshold, input.data(), gradient.data(),
                           input_gradient.data());
  }
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

namespace {

#if defined(__x86_64__)

// Roots and quotients take a vector unit 18 and 16 cycles (Xeon with AMX), four fifths of the loop. Estimates
// with errors below 2^-14 and one step of Newton's method each, which squares that, leave one or two units in
// the last place.
__attribute__((target("avx512f,avx512dq"))) void descend_adam_avx512(const AdamStep& step, const float* g,
                                                                     float* m, float* v, float* w,
                                                                     std::size_t count) {
  constexpr std::size_t kVector = 16;
  const __m512 beta1 = _mm512_set1_ps(step.beta1);
  const __m512 beta2 = _mm512_set1_ps(step.beta2);
  const __m512 rest1 = _mm512_set1_ps(1 - step.beta1);
  const __m512 rest2 = _mm512_set1_ps(1 - step.beta2);
  const __m512 kept = _mm512_set1_ps(1 - step.decay);
  const __m512 learning_rate = _mm512_set1_ps(step.corrected_learning_rate);
  const __m512 epsilon = _mm512_set1_ps(step.epsilon);
  for (std::size_t i = 0; i < count; i += kVector) {
    const auto inside = static_cast<__mmask16>(count - i >= kVector ? 0xffff : (1U << (count - i)) - 1);
    const __m512 gradient = _mm512_maskz_loadu_ps(inside, g + i);
    const __m512 first = _mm512_fmadd_ps(beta1, _mm512_maskz_loadu_ps(inside, m + i), rest1 * gradient);
    const __m512 second =
        _mm512_fmadd_ps(beta2, _mm512_maskz_loadu_ps(inside, v + i), rest2 * gradient * gradient);
    // y ~ 1 / sqrt(x): y * (3 - x y^2) / 2. Of zero it is infinite, and the product nothing that is needed.
    const __m512 estimate = _mm512_rsqrt14_ps(second);
    const __m512 half = _mm512_set1_ps(0.5F) * second * estimate;
    const __m512 reciprocal_root = estimate * _mm512_fnmadd_ps(half, estimate, _mm512_set1_ps(1.5F));
    const __mmask16 positive = _mm512_cmp_ps_mask(second, _mm512_setzero_ps(), _CMP_GT_OQ);
    const __m512 divisor = _mm512_maskz_mul_ps(positive, second, reciprocal_root) + epsilon;
    // y ~ 1 / x: y * (2 - x y).
    const __m512 reciprocal = _mm512_rcp14_ps(divisor);
    const __m512 quotient = reciprocal * _mm512_fnmadd_ps(divisor, reciprocal, _mm512_set1_ps(2));
    const __m512 decayed = kept * _mm512_maskz_loadu_ps(inside, w + i);
    _mm512_mask_storeu_ps(m + i, inside, first);
    _mm512_mask_storeu_ps(v + i, inside, second);
    _mm512_mask_storeu_ps(w + i, inside, _mm512_fnmadd_ps(learning_rate * first, quotient, decayed));
  }
}

#endif

ESPY_MULTIVERSION void descend_adam_portably(const AdamStep& step, const float* __restrict g,
                                             float* __restrict m, float* __restrict v, float* __restrict w,
                                             std::size_t count) {
  const AdamStep s = step;
  for (std::size_t i = 0; i < count; ++i) {
    // Not read back from where they were just written: a vector that crosses a cache line cannot be forwarded
    // from its store, and that wait was two thirds of the loop (Zen 4).
    const float first = s.beta1 * m[i] + (1 - s.beta1) * g[i];
    const float second = s.beta2 * v[i] + (1 - s.beta2) * g[i] * g[i];
    const float decayed = w[i] - s.decay * w[i];
    m[i] = first;
    v[i] = second;
    w[i] = decayed - s.corrected_learning_rate * first / (std::sqrt(second) + s.epsilon);
  }
}

}  // namespace

void descend_adam(const AdamStep& step, std::span<const float> gradient, std::span<float> first_moment,
                  std::span<float> second_moment, std::span<float> weights) {
  assert(gradient.size() == weights.size() && first_moment.size() == weights.size() &&
         second_moment.size() == weights.size());
  const auto descend = [&](const auto& by) {
    by(step, gradient.data(), first_moment.data(), second_moment.data(), weights.data(), weights.size());
  };
#if defined(__x86_64__)
  static const bool is_wide = has_avx512();
  if (is_wide) return descend(descend_adam_avx512);
#endif
  descend(descend_adam_portably);
}

void softmax(std::span<const float> logits, std::span<float> probabilities) {
  assert(logits.size() == probabilities.size());
  // The greatest exponent is 0: nothing overflows, and the sum is at least 1.
  const float greatest = *std::ranges::max_element(logits);
  float sum = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    probabilities[i] = std::exp(logits[i] - greatest);
    sum += probabilities[i];
  }
  for (float& probability : probabilities) probability /= sum;
}

SampleLoss softmax_cross_entropy(std::span<const float> logits, const Target& target, float scale,
                                 std::span<float> gradient) {
  assert(logits.size() == gradient.size());
  assert(target.label >= 0 && static_cast<std::size_t>(target.label) < logits.size());
  assert(target.taught_share == 0 || target.taught.size() == logits.size());
  const auto answer = static_cast<std::size_t>(target.label);
  const auto greatest = std::max_element(logits.begin(), logits.end());
  // The greatest exponent is 0: nothing overflows, and the sum is at least 1.
  float sum = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    gradient[i] = std::exp(logits[i] - *greatest);
    sum += gradient[i];
  }
  const float factor = scale / sum;
  for (float& value : gradient) value *= factor;
  const float labels_share = 1 - target.taught_share;
  const float own = labels_share * (1 - target.smoothing);
  gradient[answer] -= scale * own;
  // The mean of the logits under the target, above the greatest.
  double mean = static_cast<double>(own) * static_cast<double>(logits[answer] - *greatest);
  const float everyones = labels_share * target.smoothing / static_cast<float>(logits.size());
  if (everyones > 0) {
    for (std::size_t i = 0; i < logits.size(); ++i) {
      gradient[i] -= scale * everyones;
      mean += static_cast<double>(everyones) * static_cast<double>(logits[i] - *greatest);
    }
  }
  if (target.taught_share > 0) {
    for (std::size_t i = 0; i < logits.size(); ++i) {
      const float taught = target.taught_share * target.taught[i];
      gradient[i] -= scale * taught;
      mean += static_cast<double>(taught) * static_cast<double>(logits[i] - *greatest);
    }
  }
  const double loss = std::log(static_cast<double>(sum)) - mean;
  return {loss, greatest - logits.begin() == target.label};
}

}  // namespace espy::nn
