// The arithmetic between one convolution and the next: batch norm, relu, the sum of a residual block and the
// pool, each pass over the activations doing all of them at once.
//
// Formulas: Ioffe & Szegedy 2015, "Batch normalization", algorithm 1 and the gradients in section 3.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace espy::nn {

// float, or its upper half (bfloat16).
enum class Element { f32, bf16 };

// Activations of some samples, wherever a convolution wants them: pixels hold `inner` channels side by side,
// and the channels beyond these follow `block_stride` values later.
struct Activations {
  Element element = Element::f32;
  void* values = nullptr;
  std::size_t samples = 0;
  std::size_t channels = 0;
  std::size_t height = 0;
  std::size_t width = 0;
  std::size_t inner = 0;
  std::size_t pitch = 0;  // pixels from one row to the next, at least the width
  std::size_t block_stride = 0;
  std::size_t sample_stride = 0;
};

enum class WithRelu { no, yes };
enum class WithPool { no, yes };

// What happens to each normalised value: y = pool(skip + relu(factor * z + offset)). Height and width of y
// are those of z, or half of them, rounded down, with the pool.
struct NormalizeSteps {
  WithRelu relu;
  WithPool pool;
};

// Sums over all samples and pixels, one of each channel.
struct ChannelSums {
  explicit ChannelSums(std::size_t channels) : first(channels), second(channels) {}
  std::vector<double> first;
  std::vector<double> second;
};

// first = sum of z, second = sum of z * z.
void sum_channels(const Activations& z, ChannelSums& sums);

// `skip`, shaped as z and laid out as y, is null when nothing is to be added; `factors` and `offsets` have
// one value of each channel.
void normalize(const NormalizeSteps& steps, const Activations& z, std::span<const float> factors,
               std::span<const float> offsets, const Activations* skip, const Activations& y);

// The first pass of the way back. d is the gradient by factor * z + offset: first = sum of d, second = sum of
// d * z. With the pool `unpooled`, shaped as z and laid out as y, becomes the gradient by the pool's input,
// which is also the gradient by the skip; without it `unpooled` is `gradient` itself.
void sum_gradient(const NormalizeSteps& steps, const Activations& z, std::span<const float> factors,
                  std::span<const float> offsets, const Activations* skip, const Activations& gradient,
                  const Activations& unpooled, ChannelSums& sums);

// The gradient by z as a function of d and z: d_factor * d + z_factor * z + constant, one of each for each
// channel.
struct GradientLine {
  std::span<const float> d_factors;
  std::span<const float> z_factors;
  std::span<const float> constants;
};

// The second pass: overwrites z with the gradient by it.
void finish_gradient(WithRelu relu, std::span<const float> factors, std::span<const float> offsets,
                     const GradientLine& line, const Activations& unpooled, const Activations& z);

// sum += addend; equally shaped, in one layout.
void add(const Activations& addend, const Activations& sum);

// means_and_maxima: [samples, 2 * channels], the means of all channels first.
void mean_max_pool(const Activations& input, std::span<float> means_and_maxima);

// Gives each maximum's gradient to the first input that is the greatest of its channel.
void mean_max_pool_backward(const Activations& input, std::span<const float> gradient,
                            const Activations& input_gradient);

}  // namespace espy::nn
