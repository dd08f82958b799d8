// The layers of a graph under construction as the way forward left them, for the way back.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <variant>

#include <oneapi/dnnl/dnnl.hpp>

#include "nn/amx_convolution.h"
#include "nn/batch_statistics.h"
#include "nn/dense_gradient.h"
#include "nn/dense_product.h"
#include "nn/kernels.h"
#include "nn/normalize.h"
#include "nn/weights_gradient.h"
#include "nn/winograd_convolution.h"

namespace espy::nn {

// What convolutions and dense layers have in common is written once, as templates over these two.
struct ConvolutionPrimitives {
  using Forward = dnnl::convolution_forward;
  using BackwardData = dnnl::convolution_backward_data;
  using BackwardWeights = dnnl::convolution_backward_weights;
  static constexpr const char* kName = "convolution";

  int kernel;
  int stride;

  // Not convolution_auto: where Winograd's algorithm is the better one, ours is used
  // (winograd_convolution.h).
  static constexpr dnnl::algorithm kAlgorithm = dnnl::algorithm::convolution_direct;
  dnnl::memory::dims strides() const { return {stride, stride}; }
  dnnl::memory::dims padding() const { return {(kernel - 1) / 2, (kernel - 1) / 2}; }

  dnnl::memory::dims weights_sizes(const dnnl::memory::dims& source, int outputs) const {
    return {outputs, source[1], kernel, kernel};
  }
  dnnl::memory::dims destination_sizes(const dnnl::memory::dims& source, int outputs) const {
    const dnnl::memory::dim margins = 2 * padding()[0] - kernel;
    return {source[0], outputs, (source[2] + margins) / stride + 1, (source[3] + margins) / stride + 1};
  }
  Forward::desc forward(dnnl::prop_kind kind, const dnnl::memory::desc& source,
                        const dnnl::memory::desc& weights, const dnnl::memory::desc& bias,
                        const dnnl::memory::desc& destination) const {
    return {kind, kAlgorithm, source, weights, bias, destination, strides(), padding(), padding()};
  }
  BackwardData::desc backward_data(const dnnl::memory::desc& source, const dnnl::memory::desc& weights,
                                   const dnnl::memory::desc& destination) const {
    return {kAlgorithm, source, weights, destination, strides(), padding(), padding()};
  }
  BackwardWeights::desc backward_weights(const dnnl::memory::desc& source, const dnnl::memory::desc& weights,
                                         const dnnl::memory::desc& bias,
                                         const dnnl::memory::desc& destination) const {
    return {kAlgorithm, source, weights, bias, destination, strides(), padding(), padding()};
  }
};

struct DensePrimitives {
  using Forward = dnnl::inner_product_forward;
  using BackwardData = dnnl::inner_product_backward_data;
  using BackwardWeights = dnnl::inner_product_backward_weights;
  static constexpr const char* kName = "dense";

  dnnl::memory::dims weights_sizes(const dnnl::memory::dims& source, int outputs) const {
    return {outputs, source[1]};
  }
  dnnl::memory::dims destination_sizes(const dnnl::memory::dims& source, int outputs) const {
    return {source[0], outputs};
  }
  Forward::desc forward(dnnl::prop_kind kind, const dnnl::memory::desc& source,
                        const dnnl::memory::desc& weights, const dnnl::memory::desc& bias,
                        const dnnl::memory::desc& destination) const {
    return {kind, source, weights, bias, destination};
  }
  BackwardData::desc backward_data(const dnnl::memory::desc& source, const dnnl::memory::desc& weights,
                                   const dnnl::memory::desc& destination) const {
    return {source, weights, destination};
  }
  BackwardWeights::desc backward_weights(const dnnl::memory::desc& source, const dnnl::memory::desc& weights,
                                         const dnnl::memory::desc& bias,
                                         const dnnl::memory::desc& destination) const {
    return {source, weights, bias, destination};
  }
};

// Returns "convolution 3x3x64 of 32x14x14" or "dense 10 of 256".
std::string describe(const char* kind, const dnnl::memory::dims& weights, const dnnl::memory::dims& source);

// Returns the multiplications and additions of one way, as if nothing were outside the picture.
double count_flops(const dnnl::memory::dims& weights, const dnnl::memory::dims& destination);

// The layers as the way forward left them, for the way back.
template <typename Primitives>
struct WeightedLayer {
  Primitives primitives;
  int weights;  // index of the parameter; the bias is the next
  bool has_bias;
  bool first;  // of the layers with weights: nothing before it needs a gradient
  // A relu follows whose way back is done here. Not when a pool comes next: that does it, on a quarter of the
  // values.
  bool masks_gradient;
  typename Primitives::Forward::primitive_desc forward = {};
  typename Primitives::BackwardWeights::primitive_desc backward_weights = {};
  // Null: the primitive above finds it.
  std::shared_ptr<WeightsGradient> weights_gradient = {};
  std::shared_ptr<DenseGradient> dense_gradient = {};
  dnnl::memory source = {};
  dnnl::memory destination = {};

  std::string name() const {
    return describe(Primitives::kName, forward.weights_desc().dims(), forward.src_desc().dims());
  }

  double flops() const { return count_flops(forward.weights_desc().dims(), forward.dst_desc().dims()); }
};

// A convolution that AMX computes, or a dense layer, which is one of 1x1 of pictures of one pixel.
struct AmxLayer {
  std::shared_ptr<AmxConvolution> convolution;
  std::shared_ptr<DenseGradient> dense_gradient;  // null: the convolution finds it
  int weights;                                    // index of the parameter
  bool is_dense;
  bool first;  // of the layers with weights: nothing before it needs a gradient
  std::string name;
  double flops;
  dnnl::memory source;
  dnnl::memory destination;
};

// A dense layer in single precision whose weights lie in strips.
struct DenseLayer {
  std::shared_ptr<DenseProduct> product;
  std::shared_ptr<DenseGradient> gradient;
  int weights;          // index of the parameter; the bias is the next
  bool first;           // of the layers with weights: nothing before it needs a gradient
  bool masks_gradient;  // as in WeightedLayer
  std::string name;
  double flops;
  dnnl::memory source;
  dnnl::memory destination;
};

// A convolution in single precision that Winograd's algorithm computes.
struct WinogradLayer {
  std::shared_ptr<WinogradConvolution> convolution;
  int weights;  // index of the parameter; the bias is the next
  bool has_bias;
  bool first;           // of the layers with weights: nothing before it needs a gradient
  bool masks_gradient;  // as in WeightedLayer
  std::string name;
  double flops;
  dnnl::memory source;
  dnnl::memory destination;
};

// What is done to the results of a convolution in the passes of normalize.h.
enum class Normalization {
  none,
  bias,        // each channel's constant is added
  batch_norm,  // in training
};

// That with what follows it in the same passes over the activations.
struct NormalizeLayer {
  Normalization normalization;
  NormalizeSteps steps;
  int parameter;  // index of the bias, or of the scale; shift, mean and variance are the next
  dnnl::memory z;
  dnnl::memory skip;       // null when nothing is added
  std::size_t skip_index;  // which activation that is
  dnnl::memory y;
  std::shared_ptr<Statistics> statistics;
};

struct ResidualLayer {
  std::size_t skip_index;
};

struct MeanMaxPoolLayer {
  dnnl::memory source;
};

struct PoolLayer {
  AfterRelu after_relu;
  PoolSizes pool;
  dnnl::memory source;
  dnnl::memory::desc destination_layout;
};

struct ReluLayer {
  dnnl::memory destination;
};

struct FlattenLayer {
  dnnl::memory::dims source_sizes;
};

struct DropoutLayer {
  dnnl::memory factors;
};

using BuiltLayer = std::variant<WeightedLayer<ConvolutionPrimitives>, WeightedLayer<DensePrimitives>,
                                AmxLayer, DenseLayer, WinogradLayer, NormalizeLayer, PoolLayer, ReluLayer,
                                ResidualLayer, MeanMaxPoolLayer, FlattenLayer, DropoutLayer>;

}  // namespace espy::nn
