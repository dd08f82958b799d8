#include "nn/dense_gradient.h"

#include <algorithm>
#include <cassert>

#if defined(__x86_64__)
#include <immintrin.h>

#include "nn/amx_tiles.h"
#include "nn/half_pairs.h"
#endif

#include "nn/amx_convolution.h"
#include "nn/precision.h"

namespace espy::nn {
namespace {

constexpr std::size_t kVector = 16;     // floats, or pairs of halves
constexpr std::size_t kTileDepth = 16;  // pairs that one instruction of AMX multiplies for each sum

#if defined(__x86_64__)

// Where a processor has no bfloat16 the functions of floats run all the same: no compiler chooses its
// instructions unasked.
#define ESPY_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")))
#define ESPY_AVX512_PART \
  __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16"), always_inline)) inline

// Both factors of sums over samples, or over pairs of them, from the first input and output that are asked
// for.
template <typename Value>
struct Factors {
  const Value* left;
  std::size_t input_stride;
  std::size_t left_step;  // to the next sample
  const Value* right;
  std::size_t vector_stride;  // from 16 outputs to the next
  std::size_t right_step;
  std::size_t steps;
};

ESPY_AVX512_PART __m512 multiply_add(const float* left, const float* right, __m512 sum) {
  return _mm512_fmadd_ps(_mm512_set1_ps(*left), _mm512_loadu_ps(right), sum);
}

ESPY_AVX512_PART __m512 multiply_add(const std::uint32_t* left, const std::uint32_t* right, __m512 sum) {
  __m512i pair = _mm512_set1_epi32(static_cast<int>(*left));
  asm("" : "+v"(pair));  // Clang 16 crashes when it may put the broadcast into the product
  return _mm512_dpbf16_ps(sum, (__m512bh)pair, (__m512bh)_mm512_loadu_si512(right));
}

// The gradient of kInputs inputs and kVectors vectors of outputs, which are a row of `gradient`. 16 sums are
// enough for two units of four cycles, and half as many values are read as products begin.
template <std::size_t kInputs, std::size_t kVectors, typename Value>
ESPY_AVX512 void add_products(const Factors<Value>& factors, float* gradient) {
  // Unrolled, or the sums would not stay in registers.
  __m512 sums[kInputs][kVectors];
#pragma GCC unroll 8
  for (auto& row : sums) {
#pragma GCC unroll 8
    for (__m512& sum : row) sum = _mm512_setzero_ps();
  }
  const Value* left = factors.left;
  const Value* right = factors.right;
  for (std::size_t step = 0; step < factors.steps; ++step) {
#pragma GCC unroll 8
    for (std::size_t i = 0; i < kInputs; ++i) {
#pragma GCC unroll 8
      for (std::size_t v = 0; v < kVectors; ++v) {
        sums[i][v] =
            multiply_add(left + i * factors.input_stride, right + v * factors.vector_stride, sums[i][v]);
      }
    }
    left += factors.left_step;
    right += factors.right_step;
  }
#pragma GCC unroll 8
  for (std::size_t i = 0; i < kInputs; ++i) {
#pragma GCC unroll 8
    for (std::size_t v = 0; v < kVectors; ++v) {
      _mm512_storeu_ps(gradient + (i * kVectors + v) * kVector, sums[i][v]);
    }
  }
}

// `inputs` is a multiple of 16.
template <typename Value>
void add_all_products(Factors<Value> factors, std::size_t strip, std::size_t inputs, float* gradient) {
  const bool is_wide = strip == 4 * kVector;
  const std::size_t at_once = is_wide ? 4 : 8;
  for (std::size_t input = 0; input < inputs; input += at_once) {
    if (is_wide) {
      add_products<4, 4>(factors, gradient);
    } else {
      add_products<8, 2>(factors, gradient);
    }
    factors.left += at_once * factors.input_stride;
    gradient += at_once * strip;
  }
}

// Two tiles of inputs, or one, by two of outputs: sums in tiles 0 to 3, factors in 4 to 7.
struct AmxFactors {
  const std::uint32_t* left;
  std::size_t pairs;
  const std::uint32_t* right;
};

template <bool kBoth>
ESPY_AMX void multiply_on_amx(const AmxFactors& factors, std::size_t strip, float* gradient) {
  const std::size_t stride = strip * sizeof(float);
  float* below = gradient + kVector * strip;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  const std::size_t left_stride = factors.pairs * sizeof(std::uint32_t);
  for (std::size_t pair = 0; pair < factors.pairs; pair += kTileDepth) {
    const std::uint32_t* right = factors.right + pair * kVector;
    _tile_loadd(4, factors.left + pair, left_stride);
    _tile_loadd(6, right, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, right + factors.pairs * kVector, 64);
    _tile_dpbf16ps(1, 4, 7);
    if constexpr (kBoth) {
      _tile_loadd(5, factors.left + kVector * factors.pairs + pair, left_stride);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_stored(0, gradient, stride);
  _tile_stored(1, gradient + kVector, stride);
  if constexpr (kBoth) {
    _tile_stored(2, below, stride);
    _tile_stored(3, below + kVector, stride);
  }
}

ESPY_AMX void multiply_all_on_amx(const AmxFactors& factors, std::size_t strip, std::size_t inputs,
                                  float* gradient) {
  const Tiles tiles;
  for (std::size_t input = 0; input < inputs; input += 2 * kVector) {
    for (std::size_t output = 0; output < strip; output += 2 * kVector) {
      const AmxFactors these = {factors.left + input * factors.pairs, factors.pairs,
                                factors.right + output * factors.pairs};
      float* to = gradient + input * strip + output;
      if (input + kVector < inputs) {
        multiply_on_amx<true>(these, strip, to);
      } else {
        multiply_on_amx<false>(these, strip, to);
      }
    }
  }
}

// Rows of `width` halves. What follows the last of `samples` is zero.
struct Rows {
  const std::uint16_t* values;
  const std::uint16_t* zeros;
  std::size_t samples;
  std::size_t width;

  const std::uint16_t* at(std::size_t sample) const {
    return sample < samples ? values + sample * width : zeros;
  }
};

// columns: [width, pairs]
ESPY_AVX512 void turn_into_columns(const Rows& rows, std::size_t pairs, std::uint32_t* columns) {
  for (std::size_t first = 0; first < pairs; first += kTileDepth) {
    for (std::size_t i = 0; i < rows.width; i += kVector) {
      __m512i block[16];
      for (std::size_t pair = 0; pair < kTileDepth; ++pair) {
        block[pair] = pair_up(rows.at(2 * (first + pair)) + i, rows.at(2 * (first + pair) + 1) + i);
      }
      transpose(block);
      for (std::size_t k = 0; k < kVector; ++k) {
        _mm512_storeu_si512(columns + (i + k) * pairs + first, block[k]);
      }
    }
  }
}

// vectors: [width / 16, pairs, 16]
ESPY_AVX512 void turn_into_vectors(const Rows& rows, std::size_t pairs, std::uint32_t* vectors) {
  for (std::size_t pair = 0; pair < pairs; ++pair) {
    for (std::size_t i = 0; i < rows.width; i += kVector) {
      _mm512_storeu_si512(vectors + i * pairs + pair * kVector,
                          pair_up(rows.at(2 * pair) + i, rows.at(2 * pair + 1) + i));
    }
  }
}

#undef ESPY_AVX512
#undef ESPY_AVX512_PART

#endif

}  // namespace

bool DenseGradient::suits([[maybe_unused]] const DenseSizes& sizes) {
#if defined(__x86_64__)
  const bool has_instructions = sizes.element == Element::f32 ? has_avx512() : multiplies_bf16();
  return has_instructions && sizes.inputs % kVector == 0 && (sizes.strip == 32 || sizes.strip == 64) &&
         sizes.outputs % sizes.strip == 0;
#else
  return false;
#endif
}

DenseGradient::DenseGradient(const DenseSizes& sizes) : sizes_(sizes) {
  assert(suits(sizes));
  if (sizes.element == Element::f32) return;
  on_amx_ = has_amx();
  pairs_ = (sizes.samples + 2 * kTileDepth - 1) / (2 * kTileDepth) * kTileDepth;
  source_pairs_.resize(sizes.inputs * pairs_);
  gradient_pairs_.resize(sizes.outputs * pairs_);
  zeros_.resize(std::max(sizes.inputs, sizes.outputs));
}

const char* DenseGradient::implementation() const {
  if (sizes_.element == Element::f32) return "espy:avx512";
  return on_amx_ ? "espy:amx_bf16" : "espy:avx512_bf16";
}

void DenseGradient::take(const void* source, const void* destination_gradient) {
  if (sizes_.element == Element::f32) {
    source_ = static_cast<const float*>(source);
    gradient_ = static_cast<const float*>(destination_gradient);
    return;
  }
#if defined(__x86_64__)
  const auto rows = [this](const void* values, std::size_t width) {
    return Rows{static_cast<const std::uint16_t*>(values), zeros_.data(), sizes_.samples, width};
  };
  turn_into_columns(rows(source, sizes_.inputs), pairs_, source_pairs_.data());
  turn_into_vectors(rows(destination_gradient, sizes_.outputs), pairs_, gradient_pairs_.data());
#endif
}

void DenseGradient::run(std::size_t first, std::span<float> gradient) const {
  const std::size_t strip_size = sizes_.inputs * sizes_.strip;
  assert(first % (kVector * sizes_.strip) == 0 && gradient.size() % (kVector * sizes_.strip) == 0);
  assert(gradient.empty() || first / strip_size == (first + gradient.size() - 1) / strip_size);
#if defined(__x86_64__)
  const std::size_t output = first / strip_size * sizes_.strip;
  const std::size_t input = first % strip_size / sizes_.strip;
  const std::size_t inputs = gradient.size() / sizes_.strip;
  if (sizes_.element == Element::f32) {
    const Factors<float> factors = {
        source_ + input, 1, sizes_.inputs, gradient_ + output, kVector, sizes_.outputs, sizes_.samples};
    return add_all_products(factors, sizes_.strip, inputs, gradient.data());
  }
  const std::uint32_t* left = source_pairs_.data() + input * pairs_;
  const std::uint32_t* right = gradient_pairs_.data() + output * pairs_;
  if (on_amx_) return multiply_all_on_amx({left, pairs_, right}, sizes_.strip, inputs, gradient.data());
  const std::size_t steps = (sizes_.samples + 1) / 2;
  const Factors<std::uint32_t> factors = {left, pairs_, 1, right, pairs_ * kVector, kVector, steps};
  add_all_products(factors, sizes_.strip, inputs, gradient.data());
#endif
}

void DenseGradient::run_all(std::span<float> gradient) const {
  const std::size_t strip_size = sizes_.inputs * sizes_.strip;
  assert(gradient.size() == sizes_.inputs * sizes_.outputs);
  for (std::size_t first = 0; first < gradient.size(); first += strip_size) {
    run(first, gradient.subspan(first, strip_size));
  }
}

}  // namespace espy::nn
