#include "nn/dense_product.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>

#include "nn/half_pairs.h"
#endif

namespace espy::nn {

#if defined(__x86_64__)

namespace {

#define ESPY_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma")))

constexpr std::size_t kVector = 16;

// Inputs whose weights for one strip are used for all samples before the next ones are: 32 KiB, which even
// the second-level cache delivers in time, and sums go back to memory half as often as with 64.
constexpr std::size_t kInputsAtOnce = 128;

// Inputs of a lone sample that are looked through at once.
constexpr std::size_t kInputsSought = 512;

// Inputs ahead of the one that is added, whose weights are asked for.
constexpr std::size_t kInputsAhead = 16;

// Inputs whose weights for one strip are turned at once, for the way back: 16 KiB.
constexpr std::size_t kTurnedInputs = 64;

// Samples at once: with four vectors of sums for each, 24 of the 32 registers.
constexpr std::size_t kSamplesAtOnce = 6;

// One product of three matrices in memory: destination (+)= left * right.
struct Product {
  const float* left;  // [samples, depth]
  std::size_t left_stride;
  const float* right;  // [depth, vectors of 16]
  std::size_t right_stride;
  std::size_t depth;
  float* destination;
  std::size_t destination_stride;
  // What the sums begin with: a row for all samples; null for what is in the destination.
  const float* start;
  bool ends_with_relu;
  // What is needed after this, as many values as the right matrix has.
  const float* next;
};

// The loops over arrays of vectors are unrolled, or those would not stay in registers.
template <std::size_t kSamples, std::size_t kVectors, bool kPrefetches>
ESPY_AVX512 void multiply(const Product& product) {
  __m512 sums[kSamples][kVectors];
#pragma GCC unroll 6
  for (std::size_t s = 0; s < kSamples; ++s) {
    const float* from =
        product.start != nullptr ? product.start : product.destination + s * product.destination_stride;
#pragma GCC unroll 4
    for (std::size_t v = 0; v < kVectors; ++v) sums[s][v] = _mm512_loadu_ps(from + v * kVector);
  }
  const float* left = product.left;
  const float* right = product.right;
  const float* next = product.next;
  for (std::size_t step = 0; step < product.depth; ++step) {
    __m512 factors[kVectors];
#pragma GCC unroll 4
    for (std::size_t v = 0; v < kVectors; ++v) {
      factors[v] = _mm512_loadu_ps(right + v * kVector);
      if constexpr (kPrefetches) _mm_prefetch(next + v * kVector, _MM_HINT_T1);
    }
#pragma GCC unroll 6
    for (std::size_t s = 0; s < kSamples; ++s) {
      const __m512 factor = _mm512_set1_ps(left[s * product.left_stride + step]);
#pragma GCC unroll 4
      for (std::size_t v = 0; v < kVectors; ++v) sums[s][v] = _mm512_fmadd_ps(factor, factors[v], sums[s][v]);
    }
    right += product.right_stride;
    next += kVectors * kVector;
  }
#pragma GCC unroll 6
  for (std::size_t s = 0; s < kSamples; ++s) {
#pragma GCC unroll 4
    for (std::size_t v = 0; v < kVectors; ++v) {
      const __m512 sum = product.ends_with_relu ? _mm512_max_ps(sums[s][v], _mm512_setzero_ps()) : sums[s][v];
      _mm512_storeu_ps(product.destination + s * product.destination_stride + v * kVector, sum);
    }
  }
}

using Multiply = void (*)(const Product&);

template <std::size_t kVectors, bool kPrefetches, std::size_t... kSamples>
constexpr auto multiplies(std::index_sequence<kSamples...>) {
  return std::array<Multiply, sizeof...(kSamples)>{multiply<kSamples + 1, kVectors, kPrefetches>...};
}

// Of one sample, of two, ...
template <std::size_t kVectors, bool kPrefetches>
constexpr auto kMultiplies = multiplies<kVectors, kPrefetches>(std::make_index_sequence<kSamplesAtOnce>());

// `product` is the one of the first sample.
template <std::size_t kVectors>
void multiply_samples(Product product, std::size_t samples) {
  for (bool is_first = true; samples > 0; is_first = false) {
    const std::size_t groups = (samples + kSamplesAtOnce - 1) / kSamplesAtOnce;
    const std::size_t here = (samples + groups - 1) / groups;
    if (is_first) {
      kMultiplies<kVectors, true>[here - 1](product);
    } else {
      kMultiplies<kVectors, false>[here - 1](product);
    }
    product.left += here * product.left_stride;
    product.destination += here * product.destination_stride;
    samples -= here;
  }
}

void multiply_samples(std::size_t vectors, const Product& product, std::size_t samples) {
  switch (vectors) {
    case 1:
      return multiply_samples<1>(product, samples);
    case 2:
      return multiply_samples<2>(product, samples);
    case 3:
      return multiply_samples<3>(product, samples);
    default:
      assert(vectors == 4);
      return multiply_samples<4>(product, samples);
  }
}

// The inputs of one sample that are not zero.
struct Inputs {
  std::size_t count = 0;
  // Behind the last, as many more as are written or read at once.
  alignas(64) std::array<std::int32_t, kInputsSought + kVector> places;
  alignas(64) std::array<float, kInputsSought + kVector> values;
};

// Overwrites `inputs`. The number of `source` is a multiple of 16 and at most kInputsSought.
ESPY_AVX512 void find_inputs(std::span<const float> source, Inputs& inputs) {
  const __m512i steps = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  std::size_t count = 0;
  for (std::size_t place = 0; place < source.size(); place += kVector) {
    const __m512 values = _mm512_loadu_ps(source.data() + place);
    // Not a number is not zero.
    const __mmask16 found = _mm512_cmp_ps_mask(values, _mm512_setzero_ps(), _CMP_NEQ_UQ);
    const __m512i places = _mm512_add_epi32(_mm512_set1_epi32(static_cast<int>(place)), steps);
    // In a register first: the instruction that writes only what was found takes 16 times as long on Zen 4.
    _mm512_storeu_si512(inputs.places.data() + count, _mm512_maskz_compress_epi32(found, places));
    _mm512_storeu_ps(inputs.values.data() + count, _mm512_maskz_compress_ps(found, values));
    count += static_cast<std::size_t>(__builtin_popcount(found));
  }
  // What is asked for ahead of its need lies among the weights.
  _mm512_storeu_si512(inputs.places.data() + count, _mm512_setzero_si512());
  inputs.count = count;
}

// Adds to one strip of sums what the inputs give, in their order.
template <std::size_t kVectors>
ESPY_AVX512 void add_inputs(const Inputs& inputs, const float* weights, const float* start,
                            bool ends_with_relu, float* destination) {
  static_assert(kInputsAhead <= kVector);
  constexpr std::size_t kStrip = kVectors * kVector;
  __m512 sums[kVectors];
#pragma GCC unroll 4
  for (std::size_t v = 0; v < kVectors; ++v) sums[v] = _mm512_loadu_ps(start + v * kVector);
  for (std::size_t i = 0; i < inputs.count; ++i) {
    const float* right = weights + static_cast<std::size_t>(inputs.places[i]) * kStrip;
    const float* next = weights + static_cast<std::size_t>(inputs.places[i + kInputsAhead]) * kStrip;
    const __m512 factor = _mm512_set1_ps(inputs.values[i]);
#pragma GCC unroll 4
    for (std::size_t v = 0; v < kVectors; ++v) {
      _mm_prefetch(next + v * kVector, _MM_HINT_T0);
      sums[v] = _mm512_fmadd_ps(factor, _mm512_loadu_ps(right + v * kVector), sums[v]);
    }
  }
#pragma GCC unroll 4
  for (std::size_t v = 0; v < kVectors; ++v) {
    const __m512 sum = ends_with_relu ? _mm512_max_ps(sums[v], _mm512_setzero_ps()) : sums[v];
    _mm512_storeu_ps(destination + v * kVector, sum);
  }
}

// Returns the `count` values that follow as many at `block`, or those again where `values` ends before.
const float* following(std::span<const float> values, const float* block, std::size_t count) {
  const auto left = static_cast<std::size_t>(values.data() + values.size() - block);
  return left >= 2 * count ? block + count : block;
}

// turned: [columns, kTurnedInputs]; rows and columns are multiples of 16.
ESPY_AVX512 void turn(const float* values, std::size_t rows, std::size_t columns, float* turned) {
  for (std::size_t row = 0; row < rows; row += kVector) {
    for (std::size_t column = 0; column < columns; column += kVector) {
      __m512i block[kVector];
      for (std::size_t i = 0; i < kVector; ++i) {
        block[i] = _mm512_loadu_si512(values + (row + i) * columns + column);
      }
      transpose(block);
      for (std::size_t i = 0; i < kVector; ++i) {
        _mm512_storeu_si512(turned + (column + i) * kTurnedInputs + row, block[i]);
      }
    }
  }
}

#undef ESPY_AVX512

}  // namespace

void DenseProduct::forward(std::span<const float> source, std::span<const float> weights,
                           std::span<const float> biases, WithRelu relu, std::span<float> destination) const {
  assert(source.size() == sizes_.samples * sizes_.inputs);
  assert(weights.size() == sizes_.inputs * sizes_.outputs && biases.size() == sizes_.outputs);
  assert(destination.size() == sizes_.samples * sizes_.outputs);
  if (sizes_.samples == 1) return forward_one(source, weights, biases, relu, destination);
  const float* right = weights.data();
  for (std::size_t output = 0; output < sizes_.outputs; output += sizes_.strip) {
    for (std::size_t input = 0; input < sizes_.inputs; input += kInputsAtOnce) {
      const std::size_t depth = std::min(kInputsAtOnce, sizes_.inputs - input);
      multiply_samples(sizes_.strip / kVector,
                       {.left = source.data() + input,
                        .left_stride = sizes_.inputs,
                        .right = right,
                        .right_stride = sizes_.strip,
                        .depth = depth,
                        .destination = destination.data() + output,
                        .destination_stride = sizes_.outputs,
                        .start = input == 0 ? biases.data() + output : nullptr,
                        .ends_with_relu = relu == WithRelu::yes && input + depth == sizes_.inputs,
                        .next = following(weights, right, depth * sizes_.strip)},
                       sizes_.samples);
      right += depth * sizes_.strip;
    }
  }
}

// The sums are added in the order of the other way, so what is left out, zeros, changes none of them.
void DenseProduct::forward_one(std::span<const float> source, std::span<const float> weights,
                               std::span<const float> biases, WithRelu relu,
                               std::span<float> destination) const {
  Inputs inputs;
  for (std::size_t input = 0; input < sizes_.inputs; input += kInputsSought) {
    const std::size_t depth = std::min(kInputsSought, sizes_.inputs - input);
    find_inputs(source.subspan(input, depth), inputs);
    const bool ends_with_relu = relu == WithRelu::yes && input + depth == sizes_.inputs;
    for (std::size_t output = 0; output < sizes_.outputs; output += sizes_.strip) {
      const float* strip = weights.data() + output * sizes_.inputs + input * sizes_.strip;
      float* sums = destination.data() + output;
      const float* start = input == 0 ? biases.data() + output : sums;
      if (sizes_.strip == 4 * kVector) {
        add_inputs<4>(inputs, strip, start, ends_with_relu, sums);
      } else {
        assert(sizes_.strip == 2 * kVector);
        add_inputs<2>(inputs, strip, start, ends_with_relu, sums);
      }
    }
  }
}

// Of weights that lie by outputs, those of some inputs and a strip are turned, so that the vectors hold the
// sums of neighbouring inputs.
void DenseProduct::backward_data(std::span<const float> destination_gradient, std::span<const float> weights,
                                 std::span<float> source_gradient) const {
  assert(destination_gradient.size() == sizes_.samples * sizes_.outputs);
  assert(weights.size() == sizes_.inputs * sizes_.outputs);
  assert(source_gradient.size() == sizes_.samples * sizes_.inputs);
  constexpr std::array<float, kTurnedInputs> kZeros = {};
  alignas(64) std::array<float, kTurnedInputs * kTurnedInputs> turned;
  const float* right = weights.data();
  for (std::size_t output = 0; output < sizes_.outputs; output += sizes_.strip) {
    for (std::size_t input = 0; input < sizes_.inputs; input += kTurnedInputs) {
      const std::size_t inputs = std::min(kTurnedInputs, sizes_.inputs - input);
      turn(right, inputs, sizes_.strip, turned.data());
      multiply_samples(inputs / kVector,
                       {.left = destination_gradient.data() + output,
                        .left_stride = sizes_.outputs,
                        .right = turned.data(),
                        .right_stride = kTurnedInputs,
                        .depth = sizes_.strip,
                        .destination = source_gradient.data() + input,
                        .destination_stride = sizes_.inputs,
                        .start = output == 0 ? kZeros.data() : nullptr,
                        .ends_with_relu = false,
                        .next = following(weights, right, inputs * sizes_.strip)},
                       sizes_.samples);
      right += inputs * sizes_.strip;
    }
  }
}

#else

// Never called where there is no AVX-512.
void DenseProduct::forward(std::span<const float>, std::span<const float>, std::span<const float>, WithRelu,
                           std::span<float>) const {}
void DenseProduct::forward_one(std::span<const float>, std::span<const float>, std::span<const float>,
                               WithRelu, std::span<float>) const {}
void DenseProduct::backward_data(std::span<const float>, std::span<const float>, std::span<float>) const {}

#endif

DenseProduct::DenseProduct(const DenseSizes& sizes) : sizes_(sizes) { assert(suits(sizes)); }

}  // namespace espy::nn
