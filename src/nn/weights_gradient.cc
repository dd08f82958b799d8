#include "nn/weights_gradient.h"

#include <algorithm>
#include <cassert>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "nn/precision.h"

namespace espy::nn {
namespace {

constexpr std::size_t kKernel = 3;
constexpr std::size_t kVector = 16;  // floats, or pairs of halves

// So many inputs at once: with up to three vectors of outputs their sums fill 24 of the 32 registers.
constexpr std::size_t kInputs = 8;

// What is added up before the sums go back to memory: enough steps that this does not count, and so few that
// the pairs stay in a core's own cache.
constexpr std::size_t kStepsAtOnce = 96;

std::size_t pairs_of(std::size_t width) { return (width + 1) / 2; }

#if defined(__x86_64__)

#define ESPY_AVX512_BF16 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")))

// pairs[i] = (left[i], right[i]); a null pointer stands for zeros.
ESPY_AVX512_BF16 void join(const std::uint16_t* left, const std::uint16_t* right, std::size_t channels,
                           std::uint32_t* pairs) {
  for (std::size_t i = 0; i < channels; i += kVector) {
    __m512i low = _mm512_setzero_si512();
    __m512i high = low;
    if (left != nullptr) {
      low = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(left + i)));
    }
    if (right != nullptr) {
      high = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(right + i)));
    }
    _mm512_storeu_si512(pairs + i, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
  }
}

// A place of the kernel.
struct Place {
  std::size_t row;
  std::size_t column;
};

// Adds the products of kInputs inputs and kVectors vectors of outputs over all pixels of `samples` samples to
// `sums`, rows of `sizes.outputs` values, or begins with zero.
template <std::size_t kVectors>
ESPY_AVX512_BF16 void add_products(const ConvolutionSizes& sizes, std::size_t samples, const Place& place,
                                   const std::uint32_t* source, const std::uint32_t* gradient, bool begins,
                                   float* sums) {
  __m512 kept[kInputs][kVectors];
  for (std::size_t i = 0; i < kInputs; ++i) {
    for (std::size_t v = 0; v < kVectors; ++v) {
      kept[i][v] = begins ? _mm512_setzero_ps() : _mm512_loadu_ps(sums + i * sizes.outputs + v * kVector);
    }
  }
  const std::size_t pairs = pairs_of(sizes.width);
  const std::size_t pitch = sizes.width + 2;
  // Rows whose neighbour would be outside add nothing.
  const std::size_t begin = place.row == 0 ? 1 : 0;
  const std::size_t end = sizes.height - (place.row == 2 ? 1 : 0);
  for (std::size_t sample = 0; sample < samples; ++sample) {
    for (std::size_t y = begin; y < end; ++y) {
      const std::uint32_t* by = gradient + (sample * sizes.height + y) * pairs * sizes.outputs;
      const std::uint32_t* from =
          source + ((sample * sizes.height + y + place.row - 1) * pitch + place.column) * sizes.inputs;
      for (std::size_t pair = 0; pair < pairs; ++pair) {
        __m512i outputs[kVectors];
        for (std::size_t v = 0; v < kVectors; ++v) {
          outputs[v] = _mm512_loadu_si512(by + v * kVector);
        }
        for (std::size_t i = 0; i < kInputs; ++i) {
          __m512i input = _mm512_set1_epi32(static_cast<int>(from[i]));
          asm("" : "+v"(input));  // Clang 16 crashes when it may put the broadcast into the product
          for (std::size_t v = 0; v < kVectors; ++v) {
            kept[i][v] = _mm512_dpbf16_ps(kept[i][v], (__m512bh)input, (__m512bh)outputs[v]);
          }
        }
        by += sizes.outputs;
        from += 2 * sizes.inputs;
      }
    }
  }
  for (std::size_t i = 0; i < kInputs; ++i) {
    for (std::size_t v = 0; v < kVectors; ++v) {
      _mm512_storeu_ps(sums + i * sizes.outputs + v * kVector, kept[i][v]);
    }
  }
}

#undef ESPY_AVX512_BF16

using AddProducts = void (*)(const ConvolutionSizes& sizes, std::size_t samples, const Place& place,
                             const std::uint32_t* source, const std::uint32_t* gradient, bool begins,
                             float* sums);

#endif

}  // namespace

bool WeightsGradient::suits([[maybe_unused]] const ConvolutionSizes& sizes) {
#if defined(__x86_64__)
  // oneDNN's set with these instructions contains all that is used here.
  return multiplies_bf16() && sizes.inputs % kVector == 0 && sizes.outputs % kVector == 0;
#else
  return false;
#endif
}

WeightsGradient::WeightsGradient(const ConvolutionSizes& sizes)
    : sizes_(sizes),
      group_(
          std::clamp<std::size_t>(kStepsAtOnce / (sizes.height * pairs_of(sizes.width)), 1, sizes.samples)),
      source_pairs_(group_ * sizes.height * (sizes.width + 2) * sizes.inputs),
      gradient_pairs_(group_ * sizes.height * pairs_of(sizes.width) * sizes.outputs) {
  assert(suits(sizes));
}

void WeightsGradient::run([[maybe_unused]] const std::uint16_t* source,
                          [[maybe_unused]] const std::uint16_t* destination_gradient,
                          [[maybe_unused]] std::span<float> gradient) {
  assert(gradient.size() == kKernel * kKernel * sizes_.inputs * sizes_.outputs);
#if defined(__x86_64__)
  const std::size_t width = sizes_.width;
  const std::size_t vectors = sizes_.outputs / kVector;
  const std::size_t at_once = vectors % 3 == 0 ? 3 : vectors % 2 == 0 ? 2 : 1;
  constexpr AddProducts kAddProducts[] = {add_products<1>, add_products<2>, add_products<3>};
  const AddProducts add = kAddProducts[at_once - 1];
  for (std::size_t first = 0; first < sizes_.samples; first += group_) {
    const std::size_t samples = std::min(group_, sizes_.samples - first);
    std::uint32_t* source_pair = source_pairs_.data();
    std::uint32_t* gradient_pair = gradient_pairs_.data();
    for (std::size_t row = first * sizes_.height; row < (first + samples) * sizes_.height; ++row) {
      const std::uint16_t* const from = source + row * width * sizes_.inputs;
      const std::uint16_t* const by = destination_gradient + row * width * sizes_.outputs;
      for (std::size_t x = 0; x < width + 2; ++x) {  // one to the right of the pixel that it begins at
        join(x > 0 && x <= width ? from + (x - 1) * sizes_.inputs : nullptr,
             x < width ? from + x * sizes_.inputs : nullptr, sizes_.inputs, source_pair);
        source_pair += sizes_.inputs;
      }
      for (std::size_t x = 0; x < width; x += 2) {
        join(by + x * sizes_.outputs, x + 1 < width ? by + (x + 1) * sizes_.outputs : nullptr, sizes_.outputs,
             gradient_pair);
        gradient_pair += sizes_.outputs;
      }
    }
    // The places of the kernel are innermost: they read the same few inputs and outputs of each pixel.
    for (std::size_t output = 0; output < sizes_.outputs; output += at_once * kVector) {
      for (std::size_t input = 0; input < sizes_.inputs; input += kInputs) {
        for (std::size_t place = 0; place < kKernel * kKernel; ++place) {
          add(sizes_, samples, {place / kKernel, place % kKernel}, source_pairs_.data() + input,
              gradient_pairs_.data() + output, first == 0,
              gradient.data() + (place * sizes_.inputs + input) * sizes_.outputs + output);
        }
      }
    }
  }
#endif
}

}  // namespace espy::nn
