// The products of a dense layer in single precision, on AVX-512.
//
// With as few samples as a training step has for each thread, a dense layer is read from far away more than
// it is computed: `deep`'s has 13 MB of weights. Here the weights pass by once, asked for before they are
// needed. oneDNN 2.6 reaches 122 GFLOP/s forward and 92 by data with 50 samples where the processor does 237,
// this 173 and 150 (`deep`, Xeon with AMX, 1 thread).
//
// One sample alone is nothing but reading, so what its zeros would be multiplied by is not read: paper
// around the ink is zero, and so is what a relu held back. With half of each picture zero, `mlp` answers 1.7
// times as many as with oneDNN 2.6, `deep` 1.3 to 1.4 times (Zen 4, 1 and 2 threads).
#pragma once

#include <span>

#include "nn/dense_gradient.h"
#include "nn/normalize.h"

namespace espy::nn {

// Weights lie in strips (DenseSizes), activations row-major.
// Threads: any number at once.
class DenseProduct {
 public:
  // Returns whether this processor has AVX-512, the elements are floats, inputs are a multiple of 16, and
  // strips are of 32 or 64 outputs and divide them.
  static bool suits(const DenseSizes& sizes) {
    return sizes.element == Element::f32 && DenseGradient::suits(sizes);
  }

  // suits(sizes) holds.
  explicit DenseProduct(const DenseSizes& sizes);

  // Overwrites the destination, [samples, outputs], with relu(source * weights + biases), or without the
  // relu.
  void forward(std::span<const float> source, std::span<const float> weights, std::span<const float> biases,
               WithRelu relu, std::span<float> destination) const;

  // Overwrites the gradient by the source, [samples, inputs].
  void backward_data(std::span<const float> destination_gradient, std::span<const float> weights,
                     std::span<float> source_gradient) const;

 private:
  void forward_one(std::span<const float> source, std::span<const float> weights,
                   std::span<const float> biases, WithRelu relu, std::span<float> destination) const;

  DenseSizes sizes_;
};

}  // namespace espy::nn
