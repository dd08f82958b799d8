// The gradient by the weights of a dense layer, some of the weights at a time.
//
// Such a layer has few samples for many weights, so its gradient costs less to find than to write to memory
// and to read back, above all when several chunks of a batch have one each. Here an optimizer finds the
// gradient of as many weights as it is about to change, of all chunks at once, in the core's own cache.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "nn/normalize.h"

namespace espy::nn {

// Weights and gradient lie in strips of outputs: [outputs / strip, inputs, strip].
struct DenseSizes {
  Element element;  // of the activations
  std::size_t samples;
  std::size_t inputs;
  std::size_t outputs;
  std::size_t strip;
};

// Threads: take() from one at a time; run() from several at once.
class DenseGradient {
 public:
  // Returns whether this processor has the instructions (AVX-512, for halves AVX512-BF16), inputs are a
  // multiple of 16, and strips are of 32 or 64 outputs and divide them.
  static bool suits(const DenseSizes& sizes);

  // suits(sizes) holds.
  explicit DenseGradient(const DenseSizes& sizes);

  // Returns what computes: "espy:amx_bf16", "espy:avx512_bf16" or "espy:avx512".
  const char* implementation() const;

  const DenseSizes& sizes() const { return sizes_; }

  // Starts from what the layer read, [samples, inputs], and the gradient by what it wrote, [samples,
  // outputs], both of sizes().element. Floats must stay as they are until the last run().
  void take(const void* source, const void* destination_gradient);

  // Overwrites `gradient` with that of as many weights from `first` on. They are of one strip, `first` and
  // their number multiples of 16 * strip. What a weight gets does not depend on the others.
  void run(std::size_t first, std::span<float> gradient) const;

  // Overwrites `gradient` with that of all weights.
  void run_all(std::span<float> gradient) const;

 private:
  DenseSizes sizes_;
  bool on_amx_ = false;
  // Of floats.
  const float* source_ = nullptr;
  const float* gradient_ = nullptr;
  // Of halves: those of two samples side by side, [inputs, pairs] and [outputs / 16, pairs, 16].
  std::size_t pairs_ = 0;  // of samples, zeros behind the last: a multiple of a tile's depth
  std::vector<std::uint32_t> source_pairs_;
  std::vector<std::uint32_t> gradient_pairs_;
  std::vector<std::uint16_t> zeros_;  // of a sample that is not there
};

}  // namespace espy::nn
