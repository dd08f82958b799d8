// Convolutions by Winograd's algorithm on AVX-512: of each tile of 6x6 inputs and each channel 36 sums are
// made, multiplied by 36 sums of the weights, and added up to 2x2 (kernel 5) or 4x4 (kernel 3) outputs. That
// takes 2.8 or 4 times fewer multiplications than the definition, which the fastest direct kernel, at 90 % of
// the processor's peak, cannot make up for.
//
// Algorithm: Lavin & Gray 2016, "Fast algorithms for convolutional neural networks", section 4: F(4x4, 3x3)
// and, by the same six points 0, 1, -1, 2, -2 and infinity, F(2x2, 5x5). Exactness: single precision
// throughout; the test holds the error below 1e-5 of the greatest sum's magnitude.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "nn/normalize.h"
#include "nn/weights_gradient.h"

namespace espy::nn {

// A convolution of stride 1 which keeps height and width. Activations are f32 or bf16 and have 16 channels
// side by side, `inner` being a multiple of 16; weights are f32 in [kernel, kernel, inputs, outputs].
// Threads: one at a time, it has scratch memory; the functions of weights are const.
class WinogradConvolution {
 public:
  // Returns whether this processor has the instructions, both channels are multiples of 16 and the kernel is
  // 3 or 5.
  static bool suits(const ConvolutionSizes& sizes, std::size_t kernel);

  // suits(sizes, kernel) holds.
  WinogradConvolution(const ConvolutionSizes& sizes, std::size_t kernel);

  // In floats, of either way.
  std::size_t transformed_weights_size() const;

  // Transform the weights for forward(), and for backward_data().
  void transform_forward_weights(std::span<const float> weights, float* transformed) const;
  void transform_backward_weights(std::span<const float> weights, float* transformed) const;

  // Overwrites the destination. `biases` holds one value of each output, or none to add nothing.
  void forward(const Activations& source, const float* weights, std::span<const float> biases, WithRelu relu,
               const Activations& destination);

  // Overwrites the gradient by the source.
  void backward_data(const Activations& destination_gradient, const float* weights,
                     const Activations& source_gradient);

  // Overwrites the gradient by the weights, and that by the biases unless it is empty.
  void backward_weights(const Activations& source, const Activations& destination_gradient,
                        std::span<float> weights_gradient, std::span<float> biases_gradient);

 private:
  struct alignas(64) Line {
    float values[16];
  };

  ConvolutionSizes sizes_;
  std::size_t kernel_;
  std::vector<Line> inputs_;    // of a group of tiles, transformed: [36, tiles, inputs]
  std::vector<Line> outputs_;   // likewise: [36, tiles, outputs]
  std::vector<Line> gradient_;  // by the transformed weights: [36, inputs, outputs]; made when it is needed
};

}  // namespace espy::nn
