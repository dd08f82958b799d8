// Convolutions of bfloat16 activations on AMX, the matrix unit of Intel's server processors since 2023.
//
// oneDNN 2.6 multiplies with it too, but spends most of a small network's time elsewhere: on its way back the
// kernels for weights reach 40 to 130 GFLOP/s for our networks' layers where the unit alone does 3,000
// (measured on a Xeon with 2 threads, 32 samples at a time).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "nn/normalize.h"

namespace espy::nn {

// Returns whether this processor has AMX's bfloat16 tiles and the system lets this process use them, which it
// is asked for at the first call.
bool has_amx();

// How bfloat16 activations lie for these convolutions: [samples, height + border, width + border, channels],
// where the last `border` rows of a sample and columns of a row are zero. They are border on both sides:
// left of a row is the end of the one before it, above a sample the end of the sample before it. So a
// convolution that keeps height and width is a sum of matrix products, one for each place of its kernel, of
// all pixels at once: the neighbours of consecutive pixels are consecutive pixels. In front of the first
// sample and behind the last one lie margin() values more, which are zero too.
struct BorderedSizes {
  std::size_t samples;
  std::size_t height;
  std::size_t width;
  std::size_t channels;
  std::size_t border;  // at least half the kernel's size, rounded down

  std::size_t pitch() const { return width + border; }
  std::size_t sample_pixels() const { return (height + border) * pitch(); }
  std::size_t pixels() const { return samples * sample_pixels(); }  // with borders, without margins
  // In values.
  std::size_t margin() const { return (border * pitch() + border + 64) * channels; }
  std::size_t size_with_margins() const { return pixels() * channels + 2 * margin(); }
};

// A convolution of stride 1 with an odd kernel, which keeps height and width. Pointers to activations are
// those of the first sample. Weights are f32 in [kernel, kernel, inputs, outputs].
// Threads: backward_weights() one at a time, it has scratch memory; everything else is const.
class AmxConvolution {
 public:
  // `outputs` and the channels of `source` are multiples of 16. has_amx() holds.
  AmxConvolution(const BorderedSizes& source, std::size_t outputs, std::size_t kernel);

  // In bfloat16 values.
  std::size_t forward_weights_size() const;
  std::size_t backward_weights_size() const;

  // Round the weights and lay them out for forward(), and for backward_data().
  void pack_forward_weights(std::span<const float> weights, std::uint16_t* packed) const;
  void pack_backward_weights(std::span<const float> weights, std::uint16_t* packed) const;

  // The same of a kernel of 1x1 whose weights lie in strips of outputs, [outputs / strip, inputs, strip], the
  // strip a multiple of 32, for `count` of them from `first` on. Those are whole inputs of one strip, 32 or a
  // multiple of it but for the last; or of several whole strips.
  void pack_forward_part(std::span<const float> weights, std::size_t strip, std::size_t first,
                         std::size_t count, std::uint16_t* packed) const;
  void pack_backward_part(std::span<const float> weights, std::size_t strip, std::size_t first,
                          std::size_t count, std::uint16_t* packed) const;

  // Overwrites the destination, its borders with zeros. `sums`, null when nobody needs them, become those of
  // the destination before it is rounded, as sum_channels() would find them.
  void forward(const std::uint16_t* source, const std::uint16_t* weights, std::uint16_t* destination,
               ChannelSums* sums) const;

  // Overwrites the gradient by the source, its borders with zeros. The borders of the gradient by the
  // destination must be zero.
  void backward_data(const std::uint16_t* destination_gradient, const std::uint16_t* weights,
                     std::uint16_t* source_gradient) const;

  // Overwrites the gradient by the weights; borders as before.
  void backward_weights(const std::uint16_t* source, const std::uint16_t* destination_gradient,
                        std::span<float> weights_gradient);

 private:
  BorderedSizes source_;
  std::size_t outputs_;
  std::size_t kernel_;
  std::vector<std::uint16_t> masks_;  // of each pixel: all ones, or zero in a border and behind
  // Of the way back, made when it is first taken.
  std::vector<std::uint16_t> source_columns_;  // [channels, pixels with margins]
  std::vector<std::uint16_t> gradient_pairs_;  // [outputs / 16, pixels / 2, 16, 2]
  std::vector<float> sums_;                    // of one block at every place of the kernel
};

}  // namespace espy::nn
