// The gradient by the weights of a convolution of bfloat16 activations, on AVX512-BF16.
//
// It is a sum of products over pixels, and the instruction takes two of them at once: so pixels that are
// neighbours in a row must lie side by side, once for every place that a row's pairs may begin at. oneDNN 2.6
// transposes for that; its kernels reach 38 to 67 % of the peak for 3x3 convolutions of 16 to 64 channels
// (measured on an AMD EPYC of 2.6 GHz, 32 samples at a time). Here the pairs are made by two vector
// instructions for 16 channels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace espy::nn {

// A convolution of 3x3 and stride 1, which keeps height and width.
struct ConvolutionSizes {
  std::size_t samples;
  std::size_t height;
  std::size_t width;
  std::size_t inputs;
  std::size_t outputs;
};

// Threads: one at a time, it has scratch memory.
class WeightsGradient {
 public:
  // Returns whether this processor has the instructions, and both channels are multiples of 16.
  static bool suits(const ConvolutionSizes& sizes);

  // suits(sizes) holds.
  explicit WeightsGradient(const ConvolutionSizes& sizes);

  // Overwrites `gradient`, f32 in [3, 3, inputs, outputs]. The activations are bfloat16 in [samples, height,
  // width, channels]: what the convolution read, and the gradient by what it wrote. All are finite.
  void run(const std::uint16_t* source, const std::uint16_t* destination_gradient, std::span<float> gradient);

 private:
  ConvolutionSizes sizes_;
  std::size_t group_;  // so many samples are added up at once
  // Each value of a pixel with the same of the pixel to its right: of the source for the pixels -1 to width
  // of each row, of the gradient for every other one from 0 on. What is outside the row is zero.
  std::vector<std::uint32_t> source_pairs_;    // [group, height, width + 2, inputs]
  std::vector<std::uint32_t> gradient_pairs_;  // [group, height, width / 2 rounded up, outputs]
};

}  // namespace espy::nn
