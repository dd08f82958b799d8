#include "nn/winograd_convolution.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "nn/precision.h"

namespace espy::nn {
namespace {

constexpr std::size_t kTile = 6;
constexpr std::size_t kPlaces = kTile * kTile;
constexpr std::size_t kVector = 16;

// So many tiles go through all steps at once, that what is in between stays in a core's own cache: with 32
// and 64 channels it takes 0.7 MB with the weights. A multiple of what multiply() takes at once.
constexpr std::size_t kTilesAtOnce = 24;

// From one place of the tiles to the next, in floats. An odd number of cache lines, lest all places of a tile
// compete for the same few sets of the cache.
std::size_t place_stride(std::size_t channels) { return kTilesAtOnce * channels + kVector; }

#if defined(__x86_64__)

#define ESPY_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma")))
#define ESPY_AVX512_PART \
  __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma"), always_inline)) inline

std::size_t divide_up(std::size_t a, std::size_t b) { return (a + b - 1) / b; }

// How the tiles lie over the outputs of a convolution.
struct Tiling {
  std::size_t side;  // outputs of a tile in a row
  std::size_t rows;
  std::size_t columns;
  std::size_t count;  // of all samples

  Tiling(const ConvolutionSizes& sizes, std::size_t kernel)
      : side(kTile + 1 - kernel),
        rows(divide_up(sizes.height, side)),
        columns(divide_up(sizes.width, side)),
        count(sizes.samples * rows * columns) {}
};

// A tile's first output.
struct Corner {
  std::size_t sample;
  std::size_t row;
  std::size_t column;
};

Corner corner_of(const Tiling& tiling, std::size_t tile) {
  const std::size_t in_sample = tile % (tiling.rows * tiling.columns);
  return {tile / (tiling.rows * tiling.columns), in_sample / tiling.columns * tiling.side,
          in_sample % tiling.columns * tiling.side};
}

ESPY_AVX512_PART __m512 load(const float* from) { return _mm512_loadu_ps(from); }
ESPY_AVX512_PART __m512 load(const std::uint16_t* from) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(
      _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))), 16));
}

ESPY_AVX512_PART void store(__m512 value, float* to) { _mm512_storeu_ps(to, value); }
// Rounds to the nearest, ties to even.
ESPY_AVX512_PART void store(__m512 value, std::uint16_t* to) {
  const __m512i bits = _mm512_castps_si512(value);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16)));
}

ESPY_AVX512_PART __m512 all(float value) { return _mm512_set1_ps(value); }
ESPY_AVX512_PART __m512 add(__m512 a, __m512 b) { return _mm512_add_ps(a, b); }
ESPY_AVX512_PART __m512 subtract(__m512 a, __m512 b) { return _mm512_sub_ps(a, b); }
// sum + factor * a
ESPY_AVX512_PART __m512 add_scaled(__m512 sum, float factor, __m512 a) {
  return _mm512_fmadd_ps(all(factor), a, sum);
}

// The transforms of one row or column, each by a matrix of Lavin & Gray.

// B^T: six inputs to six.
ESPY_AVX512_PART void transform_inputs(const __m512 d[kTile], __m512 t[kTile]) {
  const __m512 a = add_scaled(d[4], -4, d[2]);
  const __m512 b = add_scaled(d[3], -4, d[1]);
  const __m512 c = subtract(d[4], d[2]);
  const __m512 e = subtract(d[3], d[1]);
  t[0] = add_scaled(add_scaled(d[4], -5, d[2]), 4, d[0]);
  t[1] = add(a, b);
  t[2] = subtract(a, b);
  t[3] = add_scaled(c, 2, e);
  t[4] = add_scaled(c, -2, e);
  t[5] = add_scaled(add_scaled(d[5], -5, d[3]), 4, d[1]);
}

// A^T: six products to two or four outputs.
template <std::size_t kSide>
ESPY_AVX512_PART void transform_products(const __m512 m[kTile], __m512 y[kSide]) {
  const __m512 sum_1 = add(m[1], m[2]);
  const __m512 difference_1 = subtract(m[1], m[2]);
  const __m512 sum_2 = add(m[3], m[4]);
  const __m512 difference_2 = subtract(m[3], m[4]);
  y[0] = add(add(m[0], sum_1), sum_2);
  y[1] = add_scaled(difference_1, 2, difference_2);
  if constexpr (kSide == 4) {
    y[2] = add_scaled(sum_1, 4, sum_2);
    y[3] = add_scaled(difference_1, 8, difference_2);
  }
  y[kSide - 1] = add(y[kSide - 1], m[5]);
}

// A: the gradients by two or four outputs to those by six products.
template <std::size_t kSide>
ESPY_AVX512_PART void transform_gradients(const __m512 y[kSide], __m512 w[kTile]) {
  __m512 even_1 = y[0];
  __m512 odd_1 = y[1];
  __m512 even_2 = y[0];
  __m512 odd_2 = add(y[1], y[1]);
  if constexpr (kSide == 4) {
    even_1 = add(even_1, y[2]);
    odd_1 = add(odd_1, y[3]);
    even_2 = add_scaled(even_2, 4, y[2]);
    odd_2 = add_scaled(odd_2, 8, y[3]);
  }
  w[0] = y[0];
  w[1] = add(even_1, odd_1);
  w[2] = subtract(even_1, odd_1);
  w[3] = add(even_2, odd_2);
  w[4] = subtract(even_2, odd_2);
  w[5] = y[kSide - 1];
}

// G: three or five weights to six.
template <std::size_t kKernel>
ESPY_AVX512_PART void transform_weights(const __m512 g[kKernel], __m512 t[kTile]) {
  __m512 even_1 = add(g[0], g[2]);
  __m512 odd_1 = g[1];
  __m512 even_2 = add_scaled(g[0], 4, g[2]);
  __m512 odd_2 = add(g[1], g[1]);
  if constexpr (kKernel == 5) {
    even_1 = add(even_1, g[4]);
    odd_1 = add(odd_1, g[3]);
    even_2 = add_scaled(even_2, 16, g[4]);
    odd_2 = add_scaled(odd_2, 8, g[3]);
  }
  t[0] = _mm512_mul_ps(g[0], all(1.0F / 4));
  t[1] = _mm512_mul_ps(add(even_1, odd_1), all(-1.0F / 6));
  t[2] = _mm512_mul_ps(subtract(even_1, odd_1), all(-1.0F / 6));
  t[3] = _mm512_mul_ps(add(even_2, odd_2), all(1.0F / 24));
  t[4] = _mm512_mul_ps(subtract(even_2, odd_2), all(1.0F / 24));
  t[5] = g[kKernel - 1];
}

// G^T: the gradients by six transformed weights to those by three or five weights.
template <std::size_t kKernel>
ESPY_AVX512_PART void transform_weights_gradients(const __m512 t[kTile], __m512 g[kKernel]) {
  const __m512 sum_1 = _mm512_mul_ps(add(t[1], t[2]), all(-1.0F / 6));
  const __m512 difference_1 = _mm512_mul_ps(subtract(t[1], t[2]), all(-1.0F / 6));
  const __m512 sum_2 = _mm512_mul_ps(add(t[3], t[4]), all(1.0F / 24));
  const __m512 difference_2 = _mm512_mul_ps(subtract(t[3], t[4]), all(1.0F / 24));
  g[0] = add_scaled(add(sum_1, sum_2), 1.0F / 4, t[0]);
  g[1] = add_scaled(difference_1, 2, difference_2);
  g[2] = add_scaled(sum_1, 4, sum_2);
  if constexpr (kKernel == 5) {
    g[3] = add_scaled(difference_1, 8, difference_2);
    g[4] = add_scaled(sum_1, 16, sum_2);
  }
  g[kKernel - 1] = add(g[kKernel - 1], t[5]);
}

// The second pass of every transform but that of the outputs: what the first made of each row is transformed
// column by column. The result at a row and column is written at to + (row * kColumns + column) * stride.
template <std::size_t kFrom, std::size_t kTo, std::size_t kColumns,
          void (*kTransform)(const __m512*, __m512*)>
ESPY_AVX512_PART void transform_columns(const __m512 (&rows)[kFrom][kColumns], float* to,
                                        std::size_t stride) {
  for (std::size_t column = 0; column < kColumns; ++column) {
    __m512 from[kFrom];
    __m512 result[kTo];
    for (std::size_t row = 0; row < kFrom; ++row) from[row] = rows[row][column];
    kTransform(from, result);
    for (std::size_t row = 0; row < kTo; ++row) store(result[row], to + (row * kColumns + column) * stride);
  }
}

// Sixteen channels of one sample.
template <typename Value>
struct Plane {
  Value* values;
  std::size_t pixel_stride;
  std::size_t row_stride;

  Plane(const Activations& all, std::size_t sample, std::size_t channel)
      : values(static_cast<Value*>(all.values) + sample * all.sample_stride +
               channel / all.inner * all.block_stride + channel % all.inner),
        pixel_stride(all.inner),
        row_stride(all.pitch * all.inner) {}

  Value* at(std::size_t row, std::size_t column) const {
    return values + row * row_stride + column * pixel_stride;
  }
};

// Transforms the 6x6 inputs that the tile's outputs are made of; what is outside the picture is zero. Place p
// of the tile is written at to + p * stride.
template <std::size_t kKernel, typename Value>
ESPY_AVX512_PART void transform_input_tile(const Activations& source, const Corner& corner,
                                           std::size_t channel, float* to, std::size_t stride) {
  constexpr std::size_t kReach = kKernel / 2;
  const Plane<const Value> plane(source, corner.sample, channel);
  __m512 between[kTile][kTile];
  const bool inside = corner.column >= kReach && corner.column + kTile - kReach <= source.width;
  for (std::size_t row = 0; row < kTile; ++row) {
    const std::size_t y = corner.row + row - kReach;  // wraps to a great number above the picture
    __m512 d[kTile];
    if (y >= source.height) {
      for (__m512& value : d) value = _mm512_setzero_ps();
    } else if (inside) {
      const Value* from = plane.at(y, corner.column - kReach);
      for (std::size_t i = 0; i < kTile; ++i) d[i] = load(from + i * plane.pixel_stride);
    } else {
      for (std::size_t i = 0; i < kTile; ++i) {
        const std::size_t x = corner.column + i - kReach;
        d[i] = x < source.width ? load(plane.at(y, x)) : _mm512_setzero_ps();
      }
    }
    transform_inputs(d, between[row]);
  }
  transform_columns<kTile, kTile, kTile, transform_inputs>(between, to, stride);
}

// Of so many tiles from the first on, to [36, tiles, channels].
template <std::size_t kKernel, typename Value>
ESPY_AVX512 void transform_input_tiles(const Tiling& tiling, std::size_t first, std::size_t tiles,
                                       const Activations& source, float* to) {
  const std::size_t stride = place_stride(source.channels);
  for (std::size_t tile = 0; tile < tiles; ++tile) {
    const Corner corner = corner_of(tiling, first + tile);
    for (std::size_t channel = 0; channel < source.channels; channel += kVector) {
      transform_input_tile<kKernel, Value>(source, corner, channel, to + tile * source.channels + channel,
                                           stride);
    }
  }
}

// The way back of transform_output_tile(), whose places outside the picture add nothing.
template <std::size_t kKernel, typename Value>
ESPY_AVX512_PART void transform_gradient_tile(const Activations& gradient, const Corner& corner,
                                              std::size_t channel, float* to, std::size_t stride) {
  constexpr std::size_t kSide = kTile + 1 - kKernel;
  const Plane<const Value> plane(gradient, corner.sample, channel);
  __m512 between[kSide][kTile];
  for (std::size_t row = 0; row < kSide; ++row) {
    __m512 d[kSide];
    for (std::size_t i = 0; i < kSide; ++i) {
      const bool inside = corner.row + row < gradient.height && corner.column + i < gradient.width;
      d[i] = inside ? load(plane.at(corner.row + row, corner.column + i)) : _mm512_setzero_ps();
    }
    transform_gradients<kSide>(d, between[row]);
  }
  transform_columns<kSide, kTile, kTile, transform_gradients<kSide>>(between, to, stride);
}

template <std::size_t kKernel, typename Value>
ESPY_AVX512_PART void transform_output_tile(const float* from, std::size_t stride, __m512 bias, WithRelu relu,
                                            const Activations& destination, const Corner& corner,
                                            std::size_t channel) {
  constexpr std::size_t kSide = kTile + 1 - kKernel;
  const Plane<Value> plane(destination, corner.sample, channel);
  __m512 between[kSide][kTile];
  for (std::size_t column = 0; column < kTile; ++column) {
    __m512 m[kTile];
    __m512 y[kSide];
    for (std::size_t row = 0; row < kTile; ++row) m[row] = load(from + (row * kTile + column) * stride);
    transform_products<kSide>(m, y);
    for (std::size_t row = 0; row < kSide; ++row) between[row][column] = y[row];
  }
  // Below any number without a relu.
  const __m512 least = relu == WithRelu::yes ? _mm512_setzero_ps() : all(-__builtin_inff());
  for (std::size_t row = 0; row < kSide && corner.row + row < destination.height; ++row) {
    __m512 y[kSide];
    transform_products<kSide>(between[row], y);
    for (std::size_t i = 0; i < kSide && corner.column + i < destination.width; ++i) {
      // max() gives its second operand when one is not a number: that must not become zero.
      store(_mm512_max_ps(least, add(y[i], bias)), plane.at(corner.row + row, corner.column + i));
    }
  }
}

// Where the left factor's elements lie.
struct Strides {
  std::size_t row;
  std::size_t column;
};

// product [kRows, kVectors * 16] = left [kRows, depth] * right [depth, kVectors * 16], or added to what is
// there.
template <std::size_t kRows, std::size_t kVectors, bool kAdds>
ESPY_AVX512 void multiply_block(const float* left, const Strides& left_strides, const float* right,
                                std::size_t right_stride, std::size_t depth, float* product,
                                std::size_t product_stride) {
  // The pragmas keep the sums in registers, which an index that is not a constant would force into memory.
  __m512 sums[kRows][kVectors];
#pragma GCC unroll 8
  for (std::size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (std::size_t v = 0; v < kVectors; ++v) {
      sums[r][v] = kAdds ? load(product + r * product_stride + v * kVector) : _mm512_setzero_ps();
    }
  }
  const Strides strides = left_strides;
  for (std::size_t k = 0; k < depth; ++k) {
    __m512 factors[kVectors];
    for (std::size_t v = 0; v < kVectors; ++v) factors[v] = load(right + v * kVector);
#pragma GCC unroll 8
    for (std::size_t r = 0; r < kRows; ++r) {
      const __m512 factor = all(left[r * strides.row]);
      for (std::size_t v = 0; v < kVectors; ++v) sums[r][v] = _mm512_fmadd_ps(factor, factors[v], sums[r][v]);
    }
    left += strides.column;
    right += right_stride;
  }
#pragma GCC unroll 8
  for (std::size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (std::size_t v = 0; v < kVectors; ++v) store(sums[r][v], product + r * product_stride + v * kVector);
  }
}

struct MatrixSizes {
  std::size_t rows;  // rounded up to whole blocks: there must be memory for them
  std::size_t depth;
  std::size_t columns;
};

template <std::size_t kRows, std::size_t kVectors, bool kAdds>
ESPY_AVX512 void multiply_in_blocks(const MatrixSizes& sizes, const float* left, const Strides& left_strides,
                                    const float* right, float* product) {
  for (std::size_t column = 0; column < sizes.columns; column += kVectors * kVector) {
    for (std::size_t row = 0; row < sizes.rows; row += kRows) {
      multiply_block<kRows, kVectors, kAdds>(left + row * left_strides.row, left_strides, right + column,
                                             sizes.columns, sizes.depth,
                                             product + row * sizes.columns + column, sizes.columns);
    }
  }
}

// The blocks' sums take at most 24 of the 32 registers, and enough that every sum is ready when its turn
// comes again.
template <bool kAdds>
void multiply(const MatrixSizes& sizes, const float* left, const Strides& left_strides, const float* right,
              float* product) {
  constexpr std::size_t kFour =
      kAdds ? 4 : 6;  // rows of gradients are channels, multiples of 16 and not of 6
  const std::size_t vectors = sizes.columns / kVector;
  if (vectors % 4 == 0) {
    multiply_in_blocks<kFour, 4, kAdds>(sizes, left, left_strides, right, product);
  } else if (vectors % 3 == 0) {
    multiply_in_blocks<8, 3, kAdds>(sizes, left, left_strides, right, product);
  } else if (vectors % 2 == 0) {
    multiply_in_blocks<8, 2, kAdds>(sizes, left, left_strides, right, product);
  } else {
    multiply_in_blocks<8, 1, kAdds>(sizes, left, left_strides, right, product);
  }
}

// The convolution of pictures of `sizes.inputs` channels by transformed weights.
template <std::size_t kKernel, typename Value>
ESPY_AVX512 void convolve(const ConvolutionSizes& sizes, const Activations& source, const float* weights,
                          std::span<const float> biases, WithRelu relu, const Activations& destination,
                          float* inputs, float* products) {
  const Tiling tiling(sizes, kKernel);
  const std::size_t input_stride = place_stride(sizes.inputs);
  const std::size_t product_stride = place_stride(sizes.outputs);
  for (std::size_t first = 0; first < tiling.count; first += kTilesAtOnce) {
    const std::size_t tiles = std::min(kTilesAtOnce, tiling.count - first);
    transform_input_tiles<kKernel, Value>(tiling, first, tiles, source, inputs);
    for (std::size_t place = 0; place < kPlaces; ++place) {
      multiply<false>({tiles, sizes.inputs, sizes.outputs}, inputs + place * input_stride, {sizes.inputs, 1},
                      weights + place * sizes.inputs * sizes.outputs, products + place * product_stride);
    }
    for (std::size_t tile = 0; tile < tiles; ++tile) {
      const Corner corner = corner_of(tiling, first + tile);
      for (std::size_t channel = 0; channel < sizes.outputs; channel += kVector) {
        const __m512 bias = biases.empty() ? _mm512_setzero_ps() : load(biases.data() + channel);
        transform_output_tile<kKernel, Value>(products + tile * sizes.outputs + channel, product_stride, bias,
                                              relu, destination, corner, channel);
      }
    }
  }
}

template <std::size_t kKernel, typename Value>
ESPY_AVX512 void find_weights_gradient(const ConvolutionSizes& sizes, const Activations& source,
                                       const Activations& gradient, float* inputs, float* by_products,
                                       float* by_weights, std::span<float> weights_gradient) {
  const Tiling tiling(sizes, kKernel);
  const std::size_t input_stride = place_stride(sizes.inputs);
  const std::size_t product_stride = place_stride(sizes.outputs);
  const std::size_t weights = sizes.inputs * sizes.outputs;
  std::fill_n(by_weights, kPlaces * weights, 0.0F);
  for (std::size_t first = 0; first < tiling.count; first += kTilesAtOnce) {
    const std::size_t tiles = std::min(kTilesAtOnce, tiling.count - first);
    transform_input_tiles<kKernel, Value>(tiling, first, tiles, source, inputs);
    for (std::size_t tile = 0; tile < tiles; ++tile) {
      const Corner corner = corner_of(tiling, first + tile);
      for (std::size_t channel = 0; channel < sizes.outputs; channel += kVector) {
        transform_gradient_tile<kKernel, Value>(gradient, corner, channel,
                                                by_products + tile * sizes.outputs + channel, product_stride);
      }
    }
    for (std::size_t place = 0; place < kPlaces; ++place) {
      multiply<true>({sizes.inputs, tiles, sizes.outputs}, inputs + place * input_stride, {1, sizes.inputs},
                     by_products + place * product_stride, by_weights + place * weights);
    }
  }
  for (std::size_t i = 0; i < weights; i += kVector) {
    __m512 between[kTile][kKernel];
    for (std::size_t row = 0; row < kTile; ++row) {
      __m512 t[kTile];
      for (std::size_t column = 0; column < kTile; ++column) {
        t[column] = load(by_weights + (row * kTile + column) * weights + i);
      }
      transform_weights_gradients<kKernel>(t, between[row]);
    }
    transform_columns<kTile, kKernel, kKernel, transform_weights_gradients<kKernel>>(
        between, weights_gradient.data() + i, weights);
  }
}

template <typename Value>
ESPY_AVX512 void find_biases_gradient(const Activations& gradient, std::span<float> biases_gradient) {
  for (std::size_t channel = 0; channel < gradient.channels; channel += kVector) {
    __m512 sum = _mm512_setzero_ps();
    for (std::size_t sample = 0; sample < gradient.samples; ++sample) {
      const Plane<const Value> plane(gradient, sample, channel);
      __m512 of_sample = _mm512_setzero_ps();
      for (std::size_t row = 0; row < gradient.height; ++row) {
        for (std::size_t column = 0; column < gradient.width; ++column) {
          of_sample = add(of_sample, load(plane.at(row, column)));
        }
      }
      sum = add(sum, of_sample);
    }
    store(sum, biases_gradient.data() + channel);
  }
}

// The transformed weights of one input and sixteen outputs.
using TransformedWeights = std::array<std::array<float, kVector>, kPlaces>;

enum class Turned { no, yes };

// Turned, the kernel is rotated by half a turn, as the way back of a convolution wants it.
template <std::size_t kKernel>
ESPY_AVX512 void transform_some_weights(const ConvolutionSizes& sizes, std::span<const float> weights,
                                        Turned turned, std::size_t input, std::size_t output,
                                        TransformedWeights& to) {
  __m512 between[kKernel][kTile];
  for (std::size_t row = 0; row < kKernel; ++row) {
    __m512 g[kKernel];
    for (std::size_t column = 0; column < kKernel; ++column) {
      const std::size_t index = row * kKernel + column;
      const std::size_t place = turned == Turned::yes ? kKernel * kKernel - 1 - index : index;
      g[column] = load(weights.data() + (place * sizes.inputs + input) * sizes.outputs + output);
    }
    transform_weights<kKernel>(g, between[row]);
  }
  transform_columns<kKernel, kTile, kTile, transform_weights<kKernel>>(between, to.front().data(), kVector);
}

// To [36, inputs, outputs].
template <std::size_t kKernel>
void transform_all(const ConvolutionSizes& sizes, std::span<const float> weights, float* to) {
  TransformedWeights some;
  for (std::size_t input = 0; input < sizes.inputs; ++input) {
    for (std::size_t output = 0; output < sizes.outputs; output += kVector) {
      transform_some_weights<kKernel>(sizes, weights, Turned::no, input, output, some);
      for (std::size_t place = 0; place < kPlaces; ++place) {
        std::ranges::copy(some[place], to + (place * sizes.inputs + input) * sizes.outputs + output);
      }
    }
  }
}

// To [36, outputs, inputs], sixteen of both at once, which fill cache lines.
template <std::size_t kKernel>
void transform_all_turned(const ConvolutionSizes& sizes, std::span<const float> weights, float* to) {
  std::array<TransformedWeights, kVector> some;
  for (std::size_t output = 0; output < sizes.outputs; output += kVector) {
    for (std::size_t input = 0; input < sizes.inputs; input += kVector) {
      for (std::size_t i = 0; i < kVector; ++i) {
        transform_some_weights<kKernel>(sizes, weights, Turned::yes, input + i, output, some[i]);
      }
      for (std::size_t place = 0; place < kPlaces; ++place) {
        for (std::size_t k = 0; k < kVector; ++k) {
          float* const row = to + (place * sizes.outputs + output + k) * sizes.inputs + input;
          for (std::size_t i = 0; i < kVector; ++i) row[i] = some[i][place][k];
        }
      }
    }
  }
}

#undef ESPY_AVX512
#undef ESPY_AVX512_PART

#endif

}  // namespace

bool WinogradConvolution::suits([[maybe_unused]] const ConvolutionSizes& sizes,
                                [[maybe_unused]] std::size_t kernel) {
#if defined(__x86_64__)
  return has_avx512() && (kernel == 3 || kernel == 5) && sizes.inputs % kVector == 0 &&
         sizes.outputs % kVector == 0;
#else
  return false;
#endif
}

WinogradConvolution::WinogradConvolution(const ConvolutionSizes& sizes, std::size_t kernel)
    : sizes_(sizes),
      kernel_(kernel),
      inputs_(kPlaces * place_stride(sizes.inputs) / kVector),
      outputs_(kPlaces * place_stride(sizes.outputs) / kVector) {
  assert(suits(sizes, kernel));
}

std::size_t WinogradConvolution::transformed_weights_size() const {
  return kPlaces * sizes_.inputs * sizes_.outputs;
}

#if defined(__x86_64__)

void WinogradConvolution::transform_forward_weights(std::span<const float> weights,
                                                    float* transformed) const {
  assert(weights.size() == kernel_ * kernel_ * sizes_.inputs * sizes_.outputs);
  const auto transform = kernel_ == 3 ? transform_all<3> : transform_all<5>;
  transform(sizes_, weights, transformed);
}

void WinogradConvolution::transform_backward_weights(std::span<const float> weights,
                                                     float* transformed) const {
  assert(weights.size() == kernel_ * kernel_ * sizes_.inputs * sizes_.outputs);
  const auto transform = kernel_ == 3 ? transform_all_turned<3> : transform_all_turned<5>;
  transform(sizes_, weights, transformed);
}

namespace {

auto convolve_of(std::size_t kernel, Element element) {
  if (element == Element::f32) return kernel == 3 ? convolve<3, float> : convolve<5, float>;
  return kernel == 3 ? convolve<3, std::uint16_t> : convolve<5, std::uint16_t>;
}

auto find_weights_gradient_of(std::size_t kernel, Element element) {
  if (element == Element::f32) {
    return kernel == 3 ? find_weights_gradient<3, float> : find_weights_gradient<5, float>;
  }
  return kernel == 3 ? find_weights_gradient<3, std::uint16_t> : find_weights_gradient<5, std::uint16_t>;
}

}  // namespace

void WinogradConvolution::forward(const Activations& source, const float* weights,
                                  std::span<const float> biases, WithRelu relu,
                                  const Activations& destination) {
  assert(source.element == destination.element);
  assert(source.inner % kVector == 0 && destination.inner % kVector == 0);
  assert(biases.empty() || biases.size() == sizes_.outputs);
  convolve_of(kernel_, source.element)(sizes_, source, weights, biases, relu, destination,
                                       inputs_.front().values, outputs_.front().values);
}

void WinogradConvolution::backward_data(const Activations& destination_gradient, const float* weights,
                                        const Activations& source_gradient) {
  assert(destination_gradient.element == source_gradient.element);
  assert(destination_gradient.inner % kVector == 0 && source_gradient.inner % kVector == 0);
  ConvolutionSizes back = sizes_;
  std::swap(back.inputs, back.outputs);
  convolve_of(kernel_, source_gradient.element)(back, destination_gradient, weights, {}, WithRelu::no,
                                                source_gradient, outputs_.front().values,
                                                inputs_.front().values);
}

void WinogradConvolution::backward_weights(const Activations& source, const Activations& destination_gradient,
                                           std::span<float> weights_gradient,
                                           std::span<float> biases_gradient) {
  assert(source.element == destination_gradient.element);
  assert(source.inner % kVector == 0 && destination_gradient.inner % kVector == 0);
  assert(weights_gradient.size() == kernel_ * kernel_ * sizes_.inputs * sizes_.outputs);
  assert(biases_gradient.empty() || biases_gradient.size() == sizes_.outputs);
  gradient_.resize(transformed_weights_size() / kVector);
  find_weights_gradient_of(kernel_, source.element)(sizes_, source, destination_gradient,
                                                    inputs_.front().values, outputs_.front().values,
                                                    gradient_.front().values, weights_gradient);
  if (biases_gradient.empty()) return;
  if (source.element == Element::f32) {
    find_biases_gradient<float>(destination_gradient, biases_gradient);
  } else {
    find_biases_gradient<std::uint16_t>(destination_gradient, biases_gradient);
  }
}

#else

void WinogradConvolution::transform_forward_weights(std::span<const float>, float*) const {}
void WinogradConvolution::transform_backward_weights(std::span<const float>, float*) const {}
void WinogradConvolution::forward(const Activations&, const float*, std::span<const float>, WithRelu,
                                  const Activations&) {}
void WinogradConvolution::backward_data(const Activations&, const float*, const Activations&) {}
void WinogradConvolution::backward_weights(const Activations&, const Activations&, std::span<float>,
                                           std::span<float>) {}

#endif

}  // namespace espy::nn
