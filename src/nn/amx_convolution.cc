#include "nn/amx_convolution.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "nn/amx_tiles.h"
#include "nn/half_pairs.h"
#endif

namespace espy::nn {

#if defined(__x86_64__)

namespace {

#define ESPY_AMX_INLINED ESPY_AMX __attribute__((always_inline))

// A tile has 16 rows of 64 bytes: as a factor 16 x 32 bfloat16, as a sum 16 x 16 floats.
constexpr std::size_t kTileRows = 16;
constexpr std::size_t kTileColumns = 16;
constexpr std::size_t kTileDepth = 32;
constexpr std::size_t kTileValues = kTileRows * kTileDepth;

// How many pixels of source and gradient the way back multiplies for each place of the kernel before it goes
// on: with 32 channels each they take 32 of the 48 KiB of the first-level cache.
constexpr std::size_t kPixelsAtATime = 6 * kTileDepth;

std::size_t round_up(std::size_t value, std::size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Which processor features a program may use, and how it asks: Linux, Documentation/arch/x86/xstate.rst.
constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
constexpr long kTileData = 18;               // XFEATURE_XTILE_DATA

bool ask_for_amx() {
  // Intel's Software Developer's Manual, CPUID leaf 7: EDX bit 22 AMX-BF16, bit 24 AMX-TILE; sub-leaf 1: EAX
  // bit 5 AVX512_BF16.
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  const bool has_tiles = (d >> 22 & 1) != 0 && (d >> 24 & 1) != 0;
  if (__get_cpuid_count(7, 1, &a, &b, &c, &d) == 0) return false;
  const bool has_vectors = (a >> 5 & 1) != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
                           __builtin_cpu_supports("avx512vl") != 0 && __builtin_cpu_supports("avx512dq") != 0;
  return has_tiles && has_vectors && syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

// Tiles 0 to 3 are sums, 4 and 5 left factors, 6 and 7 right ones.

// Increases the sums by the products of two left tiles, one below the other, and kRight right ones, side by
// side. Strides are in values, those of tile instructions in bytes.
template <int kRight>
ESPY_AMX_INLINED inline void multiply(const std::uint16_t* left, std::size_t left_stride,
                                      const std::uint16_t* right) {
  _tile_loadd(4, left, left_stride * 2);
  _tile_loadd(6, right, kTileDepth * 2);
  _tile_dpbf16ps(0, 4, 6);
  if constexpr (kRight == 2) {
    _tile_loadd(7, right + kTileValues, kTileDepth * 2);
    _tile_dpbf16ps(1, 4, 7);
  }
  _tile_loadd(5, left + kTileRows * left_stride, left_stride * 2);
  _tile_dpbf16ps(2, 5, 6);
  if constexpr (kRight == 2) _tile_dpbf16ps(3, 5, 7);
}

ESPY_AMX_INLINED inline void clear_sums() {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
}

// What a convolution is made of here, in either direction: forward from source to destination, backward from
// the one's gradient to the other's.
struct Product {
  std::size_t inputs;
  std::size_t outputs;
  std::size_t kernel;
  std::size_t pitch;
  std::size_t pixels;

  std::size_t output_tiles() const { return outputs / kTileColumns; }
  // The values that one row of the kernel multiplies are those of `kernel` pixels side by side.
  std::size_t row_depth() const { return kernel * inputs; }
  std::size_t row_tiles() const { return (row_depth() + kTileDepth - 1) / kTileDepth; }
  // Right tiles of weights one below the other.
  std::size_t depth_tiles() const { return kernel * row_tiles(); }
  std::size_t packed_size() const { return depth_tiles() * output_tiles() * kTileValues; }
  // Where a tile of packed weights begins. What multiply_pixels() reads lies in one piece: two tiles side by
  // side, then the two below them. The weights of a dense layer come from far away, where 64 KiB between one
  // pair of tiles and the next are a page each (`deep`, one picture at a time, 1 thread, median of 14 runs in
  // turns: 934 -> 1,690 images/s).
  std::size_t packed_place(std::size_t depth_tile, std::size_t output_tile) const {
    const std::size_t pair = output_tile / 2 * 2;
    const std::size_t width = std::min<std::size_t>(2, output_tiles() - pair);
    return (pair * depth_tiles() + depth_tile * width + output_tile % 2) * kTileValues;
  }
};

ESPY_AMX_INLINED inline void add_to(double* sums, __m512 addend) {
  _mm512_storeu_pd(sums, _mm512_loadu_pd(sums) + _mm512_cvtps_pd(_mm512_castps512_ps256(addend)));
  _mm512_storeu_pd(sums + 8, _mm512_loadu_pd(sums + 8) + _mm512_cvtps_pd(_mm512_extractf32x8_ps(addend, 1)));
}

// Computes 32 pixels of kRight tiles of outputs. `left`: the source's value that the kernel's first place
// meets at the first of these pixels.
template <int kRight, bool kSums>
ESPY_AMX_INLINED inline void multiply_pixels(const Product& product, const std::uint16_t* left,
                                             const std::uint16_t* weights, const std::uint16_t* masks,
                                             std::uint16_t* destination, double* first, double* second) {
  clear_sums();
  for (std::size_t row = 0; row < product.kernel; ++row) {
    for (std::size_t tile = 0; tile < product.row_tiles(); ++tile) {
      multiply<kRight>(left + tile * kTileDepth, product.inputs, weights);
      weights += kRight * kTileValues;
    }
    left += product.pitch * product.inputs;
  }
  alignas(64) float values[4 * kTileRows * kTileColumns];
  constexpr std::size_t kSize = kTileRows * kTileColumns;
  _tile_stored(0, values, 64);
  if constexpr (kRight == 2) _tile_stored(1, values + kSize, 64);
  _tile_stored(2, values + 2 * kSize, 64);
  if constexpr (kRight == 2) _tile_stored(3, values + 3 * kSize, 64);

  __m512 sums[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
  __m512 squares[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
  for (std::size_t pixel = 0; pixel < 2 * kTileRows; ++pixel) {
    const __mmask16 inside = masks[pixel];
    const float* row = values + pixel / kTileRows * 2 * kSize + pixel % kTileRows * kTileColumns;
    std::uint16_t* to = destination + pixel * product.outputs;
    const __m512 low = _mm512_maskz_load_ps(inside, row);
    if constexpr (kRight == 2) {
      const __m512 high = _mm512_maskz_load_ps(inside, row + kSize);
      _mm512_storeu_si512(to, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low)));
      if constexpr (kSums) {
        sums[1] += high;
        squares[1] = _mm512_fmadd_ps(high, high, squares[1]);
      }
    } else {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(low)));
    }
    if constexpr (kSums) {
      sums[0] += low;
      squares[0] = _mm512_fmadd_ps(low, low, squares[0]);
    }
  }
  if constexpr (kSums) {
    for (std::size_t tile = 0; tile < kRight; ++tile) {
      add_to(first + tile * kTileColumns, sums[tile]);
      add_to(second + tile * kTileColumns, squares[tile]);
    }
  }
}

template <bool kSums>
ESPY_AMX void multiply_all(const Product& product, const std::uint16_t* source, const std::uint16_t* weights,
                           const std::uint16_t* masks, std::uint16_t* destination, double* first,
                           double* second) {
  const Tiles tiles;
  const std::size_t reach = product.kernel / 2;
  const std::uint16_t* left = source - (reach * product.pitch + reach) * product.inputs;
  // The weights of two tiles of outputs stay in the first-level cache while the pixels pass by.
  for (std::size_t tile = 0; tile < product.output_tiles(); tile += 2) {
    const std::size_t output = tile * kTileColumns;
    const std::uint16_t* factors = weights + product.packed_place(0, tile);
    const bool both = tile + 1 < product.output_tiles();
    for (std::size_t pixel = 0; pixel < product.pixels; pixel += 2 * kTileRows) {
      const std::uint16_t* from = left + pixel * product.inputs;
      std::uint16_t* to = destination + pixel * product.outputs + output;
      if (both) {
        multiply_pixels<2, kSums>(product, from, factors, masks + pixel, to, first + output, second + output);
      } else {
        multiply_pixels<1, kSums>(product, from, factors, masks + pixel, to, first + output, second + output);
      }
    }
  }
}

// columns: [channels, stride]; pixels is a multiple of 32.
ESPY_AMX void turn_into_columns(const std::uint16_t* values, std::size_t channels, std::size_t pixels,
                                std::size_t stride, std::uint16_t* columns) {
  for (std::size_t pixel = 0; pixel < pixels; pixel += 2 * kTileRows) {
    for (std::size_t channel = 0; channel < channels; channel += 16) {
      __m512i rows[16];
      for (std::size_t i = 0; i < 16; ++i) {
        const std::uint16_t* even = values + (pixel + 2 * i) * channels + channel;
        rows[i] = pair_up(even, even + channels);
      }
      transpose(rows);
      for (std::size_t i = 0; i < 16; ++i) {
        _mm512_storeu_si512(columns + (channel + i) * stride + pixel, rows[i]);
      }
    }
  }
}

// pairs: [channels / 16, pixels / 2, 16, 2], so that what a tile takes lies together; pixels is even.
ESPY_AMX void turn_into_pairs(const std::uint16_t* values, std::size_t channels, std::size_t pixels,
                              std::uint16_t* pairs) {
  for (std::size_t pixel = 0; pixel < pixels; pixel += 2) {
    std::uint16_t* to = pairs + pixel * kTileColumns;
    for (std::size_t channel = 0; channel < channels; channel += kTileColumns, to += pixels * kTileColumns) {
      const std::uint16_t* even = values + pixel * channels + channel;
      _mm512_storeu_si512(to, pair_up(even, even + channels));
    }
  }
}

// 32 rows (inputs) and 32 columns (outputs) of the gradient by the weights at one place of the kernel: four
// tiles, each by itself. At their places in the gradient they would lie over each other in the caches, where
// a row has a multiple of 4 KiB.
constexpr std::size_t kTileSums = kTileRows * kTileColumns;
constexpr std::size_t kSumValues = 4 * kTileSums;

template <int kRight>
ESPY_AMX_INLINED inline void load_sums(bool both_rows, const float* sums) {
  constexpr std::size_t kStride = kTileColumns * sizeof(float);
  _tile_loadd(0, sums, kStride);
  if constexpr (kRight == 2) _tile_loadd(1, sums + kTileSums, kStride);
  if (both_rows) {
    _tile_loadd(2, sums + 2 * kTileSums, kStride);
    if constexpr (kRight == 2) _tile_loadd(3, sums + 3 * kTileSums, kStride);
  }
}

template <int kRight>
ESPY_AMX_INLINED inline void store_sums(bool both_rows, float* sums) {
  constexpr std::size_t kStride = kTileColumns * sizeof(float);
  _tile_stored(0, sums, kStride);
  if constexpr (kRight == 2) _tile_stored(1, sums + kTileSums, kStride);
  if (both_rows) {
    _tile_stored(2, sums + 2 * kTileSums, kStride);
    if constexpr (kRight == 2) _tile_stored(3, sums + 3 * kTileSums, kStride);
  }
}

template <int kRight>
ESPY_AMX_INLINED inline void store_gradient(bool both_rows, std::size_t outputs, float* gradient) {
  const std::size_t stride = outputs * sizeof(float);
  _tile_stored(0, gradient, stride);
  if constexpr (kRight == 2) _tile_stored(1, gradient + kTileColumns, stride);
  if (both_rows) {
    float* below = gradient + kTileRows * outputs;
    _tile_stored(2, below, stride);
    if constexpr (kRight == 2) _tile_stored(3, below + kTileColumns, stride);
  }
}

struct GradientOperands {
  const std::uint16_t* columns;  // of the source, at its first pixel
  std::size_t column_stride;
  const std::uint16_t* pairs;  // of the gradient
  std::size_t pair_stride;     // from 16 outputs to the next
};

// Adds the products of some pixels at one place of the kernel to the sums.
template <int kRight>
ESPY_AMX_INLINED inline void multiply_gradient(std::size_t pixels, bool both_rows,
                                               const GradientOperands& operands, const std::uint16_t* columns,
                                               const std::uint16_t* pairs) {
  const std::size_t stride = operands.column_stride;
  for (std::size_t pixel = 0; pixel < pixels; pixel += kTileDepth) {
    const std::uint16_t* right = pairs + pixel * kTileColumns;
    _tile_loadd(4, columns + pixel, stride * 2);
    _tile_loadd(6, right, 64);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (kRight == 2) {
      _tile_loadd(7, right + operands.pair_stride, 64);
      _tile_dpbf16ps(1, 4, 7);
    }
    if (both_rows) {
      _tile_loadd(5, columns + kTileRows * stride + pixel, stride * 2);
      _tile_dpbf16ps(2, 5, 6);
      if constexpr (kRight == 2) _tile_dpbf16ps(3, 5, 7);
    }
  }
}

// One block of the gradient for every place of the kernel. `sums` has room for those of every place.
template <int kRight>
ESPY_AMX_INLINED inline void multiply_gradient_block(const Product& product, const GradientOperands& operands,
                                                     std::size_t input, std::size_t output, float* sums,
                                                     float* gradient) {
  const std::size_t reach = product.kernel / 2;
  const std::size_t pixels = round_up(product.pixels, kTileDepth);
  const bool both_rows = input + kTileRows < product.inputs;
  const std::uint16_t* pairs = operands.pairs + output / kTileColumns * operands.pair_stride;
  float* row_gradient = gradient + input * product.outputs + output;
  for (std::size_t pixel = 0; pixel < pixels; pixel += kPixelsAtATime) {
    const std::size_t count = std::min(kPixelsAtATime, pixels - pixel);
    float* place_gradient = row_gradient;
    float* place_sums = sums;
    for (std::size_t row = 0; row < product.kernel; ++row) {
      const std::uint16_t* columns = operands.columns + input * operands.column_stride + row * product.pitch -
                                     reach * product.pitch - reach;
      for (std::size_t column = 0; column < product.kernel; ++column) {
        if (pixel == 0) {
          clear_sums();
        } else {
          load_sums<kRight>(both_rows, place_sums);
        }
        multiply_gradient<kRight>(count, both_rows, operands, columns + pixel + column,
                                  pairs + pixel * kTileColumns);
        if (pixel + count < pixels) {
          store_sums<kRight>(both_rows, place_sums);
        } else {
          store_gradient<kRight>(both_rows, product.outputs, place_gradient);
        }
        place_gradient += product.inputs * product.outputs;
        place_sums += kSumValues;
      }
    }
  }
}

ESPY_AMX void multiply_gradients(const Product& product, const GradientOperands& operands, float* sums,
                                 float* gradient) {
  const Tiles tiles;
  for (std::size_t input = 0; input < product.inputs; input += 2 * kTileRows) {
    for (std::size_t output = 0; output < product.outputs; output += 2 * kTileColumns) {
      if (output + kTileColumns < product.outputs) {
        multiply_gradient_block<2>(product, operands, input, output, sums, gradient);
      } else {
        multiply_gradient_block<1>(product, operands, input, output, sums, gradient);
      }
    }
  }
}

// The upper half of a float, rounded to the nearest, ties to even.
std::uint16_t rounded(float value) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  return static_cast<std::uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// Calls at(depth, output) for the weight of each value of a row of the kernel, and lays them out as right
// tiles; the depth beyond the row's is zero.
template <typename At>
void pack(const Product& product, const At& at, std::uint16_t* packed) {
  for (std::size_t row = 0; row < product.kernel; ++row) {
    for (std::size_t tile = 0; tile < product.row_tiles(); ++tile) {
      const std::size_t depth = tile * kTileDepth;
      for (std::size_t output = 0; output < product.outputs; output += kTileColumns) {
        std::uint16_t* to =
            packed + product.packed_place(row * product.row_tiles() + tile, output / kTileColumns);
        for (std::size_t pair = 0; pair < kTileRows; ++pair) {
          for (std::size_t i = 0; i < kTileColumns; ++i) {
            for (std::size_t half = 0; half < 2; ++half) {
              const std::size_t d = depth + 2 * pair + half;
              *to++ = d < product.row_depth() ? rounded(at(row, d, output + i)) : std::uint16_t{0};
            }
          }
        }
      }
    }
  }
}

// Which weights are packed, and how they lie: in strips of `strip` outputs, one after the other. All outputs
// of a kernel of more than 1x1 are one strip.
struct Packing {
  std::size_t strip;
  std::size_t first_input;
  std::size_t end_input;
  std::size_t first_output;
  std::size_t end_output;
};

// pack() of consecutive outputs. The depth counts the inputs of every place in a row of the kernel.
ESPY_AMX void pack_rows(const Product& product, const Packing& packing, const float* weights,
                        std::uint16_t* packed) {
  const std::size_t first_tile = packing.first_input / kTileDepth;
  const std::size_t end_tile = round_up(packing.end_input, kTileDepth) / kTileDepth;
  for (std::size_t row = 0; row < product.kernel; ++row) {
    for (std::size_t tile = first_tile; tile < end_tile; ++tile) {
      const std::size_t depth = tile * kTileDepth;
      for (std::size_t output = packing.first_output; output < packing.end_output; output += kTileColumns) {
        std::uint16_t* to =
            packed + product.packed_place(row * product.row_tiles() + tile, output / kTileColumns);
        const float* strip = weights + row * product.row_depth() * product.outputs +
                             output / packing.strip * product.row_depth() * packing.strip +
                             output % packing.strip;
        for (std::size_t pair = 0; pair < kTileRows; ++pair, to += kTileDepth) {
          if (depth + 2 * pair >= product.row_depth()) {
            _mm512_storeu_si512(to, _mm512_setzero_si512());
            continue;
          }
          const float* even = strip + (depth + 2 * pair) * packing.strip;
          const auto half = [](const float* from) ESPY_AMX_INLINED {
            return _mm512_cvtepu16_epi32(
                reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_loadu_ps(from))));
          };
          _mm512_storeu_si512(to,
                              _mm512_or_si512(half(even), _mm512_slli_epi32(half(even + packing.strip), 16)));
        }
      }
    }
  }
}

// The same of the way back: `product` is the one of the way back, the weights are those of the forward one,
// whose kernel is turned by half a turn, inputs and outputs swapped: of `packing` the inputs are this
// product's outputs. The number of inputs here is a multiple of a tile's depth, and so is the strip.
ESPY_AMX void pack_turned_rows(const Product& product, const Packing& packing, const float* weights,
                               std::uint16_t* packed) {
  const std::size_t places = product.kernel * product.kernel;
  for (std::size_t place = 0; place < places; ++place) {
    const float* kernel = weights + (places - 1 - place) * product.inputs * product.outputs;
    for (std::size_t depth = packing.first_output; depth < packing.end_output; depth += kTileDepth) {
      const std::size_t depth_tile = (place * product.inputs + depth) / kTileDepth;
      const float* strip =
          kernel + depth / packing.strip * product.outputs * packing.strip + depth % packing.strip;
      for (std::size_t input = packing.first_input; input < packing.end_input; input += kTileColumns) {
        std::uint16_t* to = packed + product.packed_place(depth_tile, input / kTileColumns);
        __m512i rows[16];
        for (std::size_t i = 0; i < 16; ++i) {
          const float* from = strip + (input + i) * packing.strip;
          rows[i] = reinterpret_cast<__m512i>(
              _mm512_cvtne2ps_pbh(_mm512_loadu_ps(from + 16), _mm512_loadu_ps(from)));
        }
        transpose(rows);
        for (std::size_t i = 0; i < 16; ++i) _mm512_storeu_si512(to + i * kTileDepth, rows[i]);
      }
    }
  }
}

// Calls pack(packing) for the weights from `first` on, which are whole inputs of one strip, or strips.
template <typename Pack>
void pack_part(std::size_t inputs, std::size_t strip, std::size_t first, std::size_t count,
               const Pack& pack) {
  const std::size_t strip_size = inputs * strip;
  assert(strip % kTileDepth == 0 && first % strip_size % (kTileDepth * strip) == 0);
  for (std::size_t end = first + count; first < end;) {
    const std::size_t output = first / strip_size * strip;
    const std::size_t input = first % strip_size / strip;
    const std::size_t here = std::min(end - first, strip_size - first % strip_size);
    pack(Packing{strip, input, input + here / strip, output, output + strip});
    first += here;
  }
}

Product forward_product(const BorderedSizes& source, std::size_t outputs, std::size_t kernel) {
  return {source.channels, outputs, kernel, source.pitch(), source.pixels()};
}

Product backward_product(const BorderedSizes& source, std::size_t outputs, std::size_t kernel) {
  return {outputs, source.channels, kernel, source.pitch(), source.pixels()};
}

}  // namespace

bool has_amx() {
  static const bool granted = ask_for_amx();
  return granted;
}

AmxConvolution::AmxConvolution(const BorderedSizes& source, std::size_t outputs, std::size_t kernel)
    : source_(source), outputs_(outputs), kernel_(kernel) {
  assert(has_amx());
  assert(source.channels % kTileColumns == 0 && outputs % kTileColumns == 0);
  assert(kernel % 2 == 1 && source.border >= kernel / 2);
  const std::size_t pixels = round_up(source.pixels(), kTileDepth);
  masks_.resize(pixels);
  for (std::size_t sample = 0; sample < source.samples; ++sample) {
    for (std::size_t row = 0; row < source.height; ++row) {
      const auto first = masks_.begin() +
                         static_cast<std::ptrdiff_t>(sample * source.sample_pixels() + row * source.pitch());
      std::fill_n(first, source.width, std::uint16_t{0xffff});
    }
  }
}

std::size_t AmxConvolution::forward_weights_size() const {
  return forward_product(source_, outputs_, kernel_).packed_size();
}

std::size_t AmxConvolution::backward_weights_size() const {
  return backward_product(source_, outputs_, kernel_).packed_size();
}

void AmxConvolution::pack_forward_weights(std::span<const float> weights, std::uint16_t* packed) const {
  assert(weights.size() == kernel_ * kernel_ * source_.channels * outputs_);
  const Product product = forward_product(source_, outputs_, kernel_);
  pack_rows(product, {outputs_, 0, product.row_depth(), 0, outputs_}, weights.data(), packed);
}

void AmxConvolution::pack_backward_weights(std::span<const float> weights, std::uint16_t* packed) const {
  assert(weights.size() == kernel_ * kernel_ * source_.channels * outputs_);
  if (outputs_ % kTileDepth == 0) {
    return pack_turned_rows(backward_product(source_, outputs_, kernel_),
                            {outputs_, 0, source_.channels, 0, outputs_}, weights.data(), packed);
  }
  pack(
      backward_product(source_, outputs_, kernel_),
      [&](std::size_t row, std::size_t depth, std::size_t input) {
        const std::size_t place = row * kernel_ + depth / outputs_;
        const std::size_t turned = kernel_ * kernel_ - 1 - place;
        return weights[(turned * source_.channels + input) * outputs_ + depth % outputs_];
      },
      packed);
}

void AmxConvolution::pack_forward_part(std::span<const float> weights, std::size_t strip, std::size_t first,
                                       std::size_t count, std::uint16_t* packed) const {
  assert(kernel_ == 1 && weights.size() == source_.channels * outputs_);
  pack_part(source_.channels, strip, first, count, [&](const Packing& packing) {
    pack_rows(forward_product(source_, outputs_, kernel_), packing, weights.data(), packed);
  });
}

void AmxConvolution::pack_backward_part(std::span<const float> weights, std::size_t strip, std::size_t first,
                                        std::size_t count, std::uint16_t* packed) const {
  assert(kernel_ == 1 && weights.size() == source_.channels * outputs_);
  pack_part(source_.channels, strip, first, count, [&](const Packing& packing) {
    pack_turned_rows(backward_product(source_, outputs_, kernel_), packing, weights.data(), packed);
  });
}

void AmxConvolution::forward(const std::uint16_t* source, const std::uint16_t* weights,
                             std::uint16_t* destination, ChannelSums* sums) const {
  const Product product = forward_product(source_, outputs_, kernel_);
  if (sums == nullptr) {
    return multiply_all<false>(product, source, weights, masks_.data(), destination, nullptr, nullptr);
  }
  assert(sums->first.size() == outputs_);
  std::ranges::fill(sums->first, 0.0);
  std::ranges::fill(sums->second, 0.0);
  multiply_all<true>(product, source, weights, masks_.data(), destination, sums->first.data(),
                     sums->second.data());
}

void AmxConvolution::backward_data(const std::uint16_t* destination_gradient, const std::uint16_t* weights,
                                   std::uint16_t* source_gradient) const {
  multiply_all<false>(backward_product(source_, outputs_, kernel_), destination_gradient, weights,
                      masks_.data(), source_gradient, nullptr, nullptr);
}

void AmxConvolution::backward_weights(const std::uint16_t* source, const std::uint16_t* destination_gradient,
                                      std::span<float> weights_gradient) {
  assert(weights_gradient.size() == kernel_ * kernel_ * source_.channels * outputs_);
  const std::size_t pixels = masks_.size();
  // A stride of a multiple of 4 KiB would lay the rows of a tile over each other in the caches.
  const std::size_t stride =
      round_up(pixels + 2 * (source_.margin() / source_.channels), 2 * kTileDepth) + kTileDepth;
  const std::size_t margin = (stride - pixels) / 2;
  source_columns_.resize(source_.channels * stride);
  gradient_pairs_.resize(pixels * outputs_);
  sums_.resize(kernel_ * kernel_ * kSumValues);
  turn_into_columns(source, source_.channels, pixels, stride, source_columns_.data() + margin);
  turn_into_pairs(destination_gradient, outputs_, pixels, gradient_pairs_.data());
  multiply_gradients(forward_product(source_, outputs_, kernel_),
                     {source_columns_.data() + margin, stride, gradient_pairs_.data(), pixels * kTileColumns},
                     sums_.data(), weights_gradient.data());
}

#else

// Never called where there is no AMX.
bool has_amx() { return false; }
AmxConvolution::AmxConvolution(const BorderedSizes& source, std::size_t outputs, std::size_t kernel)
    : source_(source), outputs_(outputs), kernel_(kernel) {
  assert(false);
}
std::size_t AmxConvolution::forward_weights_size() const { return 0; }
std::size_t AmxConvolution::backward_weights_size() const { return 0; }
void AmxConvolution::pack_forward_weights(std::span<const float>, std::uint16_t*) const {}
void AmxConvolution::pack_backward_weights(std::span<const float>, std::uint16_t*) const {}
void AmxConvolution::pack_forward_part(std::span<const float>, std::size_t, std::size_t, std::size_t,
                                       std::uint16_t*) const {}
void AmxConvolution::pack_backward_part(std::span<const float>, std::size_t, std::size_t, std::size_t,
                                        std::uint16_t*) const {}
void AmxConvolution::forward(const std::uint16_t*, const std::uint16_t*, std::uint16_t*, ChannelSums*) const {
}
void AmxConvolution::backward_data(const std::uint16_t*, const std::uint16_t*, std::uint16_t*) const {}
void AmxConvolution::backward_weights(const std::uint16_t*, const std::uint16_t*, std::span<float>) {}

#endif

}  // namespace espy::nn
