#include "nn/normalize.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstdint>
#include <cstring>
#include <type_traits>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "nn/multiversion.h"
#include "nn/precision.h"

namespace espy::nn {
namespace {

// How many channels lie side by side wherever a vector of them may begin: 16, 8 or 1.
int width_of(const Activations& activations) {
  for (const std::size_t width : {16, 8}) {
    if (activations.channels % width == 0 && activations.inner % width == 0) return static_cast<int>(width);
  }
  return 1;
}

}  // namespace
}  // namespace espy::nn

#define ESPY_KERNELS portable
#define ESPY_KERNEL ESPY_MULTIVERSION
#define ESPY_KERNEL_PART __attribute__((always_inline))
#include "nn/normalize_kernels.h"
#undef ESPY_KERNELS
#undef ESPY_KERNEL
#undef ESPY_KERNEL_PART

#if defined(__x86_64__)
#define ESPY_TARGET "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,fma"
#define ESPY_KERNELS avx512_bf16
#define ESPY_KERNEL __attribute__((target(ESPY_TARGET)))
#define ESPY_KERNEL_PART __attribute__((target(ESPY_TARGET), always_inline))
#define ESPY_AVX512_BF16
#include "nn/normalize_kernels.h"
#else
namespace espy::nn {
namespace avx512_bf16 = portable;
}
#endif

namespace espy::nn {
namespace {

// Returns whether the instructions for bfloat16 serve activations like these, and are there.
bool suits_avx512_bf16(const Activations& activations) {
  static const bool available = multiplies_bf16();
  return available && activations.element == Element::bf16 && width_of(activations) == 16;
}

}  // namespace

void sum_channels(const Activations& z, ChannelSums& sums) {
  if (suits_avx512_bf16(z)) return avx512_bf16::sum_channels(z, sums);
  portable::sum_channels(z, sums);
}

void normalize(const NormalizeSteps& steps, const Activations& z, std::span<const float> factors,
               std::span<const float> offsets, const Activations* skip, const Activations& y) {
  if (suits_avx512_bf16(y) && width_of(z) == 16)
    return avx512_bf16::normalize(steps, z, factors, offsets, skip, y);
  portable::normalize(steps, z, factors, offsets, skip, y);
}

void sum_gradient(const NormalizeSteps& steps, const Activations& z, std::span<const float> factors,
                  std::span<const float> offsets, const Activations* skip, const Activations& gradient,
                  const Activations& unpooled, ChannelSums& sums) {
  if (suits_avx512_bf16(gradient) && width_of(z) == 16)
    return avx512_bf16::sum_gradient(steps, z, factors, offsets, skip, gradient, unpooled, sums);
  portable::sum_gradient(steps, z, factors, offsets, skip, gradient, unpooled, sums);
}

void finish_gradient(WithRelu relu, std::span<const float> factors, std::span<const float> offsets,
                     const GradientLine& line, const Activations& unpooled, const Activations& z) {
  if (suits_avx512_bf16(unpooled) && width_of(z) == 16)
    return avx512_bf16::finish_gradient(relu, factors, offsets, line, unpooled, z);
  portable::finish_gradient(relu, factors, offsets, line, unpooled, z);
}

void add(const Activations& addend, const Activations& sum) {
  if (suits_avx512_bf16(sum)) return avx512_bf16::add(addend, sum);
  portable::add(addend, sum);
}

void mean_max_pool(const Activations& input, std::span<float> means_and_maxima) {
  if (suits_avx512_bf16(input)) return avx512_bf16::mean_max_pool(input, means_and_maxima);
  portable::mean_max_pool(input, means_and_maxima);
}

void mean_max_pool_backward(const Activations& input, std::span<const float> gradient,
                            const Activations& input_gradient) {
  if (suits_avx512_bf16(input)) return avx512_bf16::mean_max_pool_backward(input, gradient, input_gradient);
  portable::mean_max_pool_backward(input, gradient, input_gradient);
}

}  // namespace espy::nn
