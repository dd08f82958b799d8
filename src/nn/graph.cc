#include "nn/graph.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "nn/kernels.h"
#include "nn/normalize.h"
#include "nn/overloaded.h"
#include "nn/random.h"

namespace espy::nn {
namespace {

using dnnl::algorithm;
using dnnl::memory;
using dnnl::prop_kind;

// Leaves the choice of the layout to oneDNN.
memory::desc any_layout(const memory::dims& sizes, memory::data_type type = memory::data_type::f32) {
  return {sizes, type, memory::format_tag::any};
}

memory::dims sizes_of(const memory& memory) { return memory.get_desc().dims(); }

// Returns whether no layer needs the input's sizes before it is flattened: then the graph takes it flat.
bool starts_flat(const Architecture& architecture) {
  const auto layer =
      std::find_if(architecture.layers.begin(), architecture.layers.end(), [](const Layer& candidate) {
        return !std::holds_alternative<Relu>(candidate) && !std::holds_alternative<Dropout>(candidate);
      });
  return layer != architecture.layers.end() && std::holds_alternative<Flatten>(*layer);
}

memory::dims input_sizes(const Architecture& architecture, int samples) {
  const Shape& shape = architecture.input;
  if (starts_flat(architecture)) return {samples, static_cast<memory::dim>(element_count(shape))};
  return {samples, shape[0], shape[1], shape[2]};
}

// What convolutions and dense layers have in common is written once, as templates over these two.
struct ConvolutionPrimitives {
  using Forward = dnnl::convolution_forward;
  using BackwardData = dnnl::convolution_backward_data;
  using BackwardWeights = dnnl::convolution_backward_weights;
  static constexpr const char* kName = "convolution";

  int kernel;
  int stride;

  // Not convolution_auto, which may choose Winograd's algorithm: quicker for 3x3 kernels, but less exact
  // (Lavin & Gray 2016, "Fast algorithms for convolutional neural networks").
  static constexpr algorithm kAlgorithm = algorithm::convolution_direct;
  memory::dims strides() const { return {stride, stride}; }
  memory::dims padding() const { return {(kernel - 1) / 2, (kernel - 1) / 2}; }

  memory::dims weights_sizes(const memory::dims& source, int outputs) const {
    return {outputs, source[1], kernel, kernel};
  }
  memory::dims destination_sizes(const memory::dims& source, int outputs) const {
    const memory::dim margins = 2 * padding()[0] - kernel;
    return {source[0], outputs, (source[2] + margins) / stride + 1, (source[3] + margins) / stride + 1};
  }
  Forward::desc forward(prop_kind kind, const memory::desc& source, const memory::desc& weights,
                        const memory::desc& bias, const memory::desc& destination) const {
    return {kind, kAlgorithm, source, weights, bias, destination, strides(), padding(), padding()};
  }
  BackwardData::desc backward_data(const memory::desc& source, const memory::desc& weights,
                                   const memory::desc& destination) const {
    return {kAlgorithm, source, weights, destination, strides(), padding(), padding()};
  }
  BackwardWeights::desc backward_weights(const memory::desc& source, const memory::desc& weights,
                                         const memory::desc& bias, const memory::desc& destination) const {
    return {kAlgorithm, source, weights, bias, destination, strides(), padding(), padding()};
  }
};

struct DensePrimitives {
  using Forward = dnnl::inner_product_forward;
  using BackwardData = dnnl::inner_product_backward_data;
  using BackwardWeights = dnnl::inner_product_backward_weights;
  static constexpr const char* kName = "dense";

  memory::dims weights_sizes(const memory::dims& source, int outputs) const { return {outputs, source[1]}; }
  memory::dims destination_sizes(const memory::dims& source, int outputs) const {
    return {source[0], outputs};
  }
  Forward::desc forward(prop_kind kind, const memory::desc& source, const memory::desc& weights,
                        const memory::desc& bias, const memory::desc& destination) const {
    return {kind, source, weights, bias, destination};
  }
  BackwardData::desc backward_data(const memory::desc& source, const memory::desc& weights,
                                   const memory::desc& destination) const {
    return {source, weights, destination};
  }
  BackwardWeights::desc backward_weights(const memory::desc& source, const memory::desc& weights,
                                         const memory::desc& bias, const memory::desc& destination) const {
    return {source, weights, bias, destination};
  }
};

// A layout that a pool or a batch norm can work in, since it keeps rows of pixels together.
struct PixelLayout {
  memory::format_tag tag;
  std::size_t inner;  // values of a pixel that lie side by side
};

// Returns nothing for any other layout.
std::optional<PixelLayout> pixel_layout(const memory::desc& layout) {
  const auto channels = static_cast<std::size_t>(layout.dims()[1]);
  for (const PixelLayout& known :
       {PixelLayout{memory::format_tag::nChw16c, 16}, PixelLayout{memory::format_tag::nChw8c, 8},
        PixelLayout{memory::format_tag::nhwc, channels}, PixelLayout{memory::format_tag::nchw, 1}}) {
    if (layout == memory::desc(layout.dims(), layout.data_type(), known.tag)) return known;
  }
  return std::nullopt;
}

bool is_float(const memory& memory) { return memory.get_desc().data_type() == memory::data_type::f32; }

// The memory has a pixel_layout().
Activations activations_of(const memory& memory) {
  const memory::desc layout = memory.get_desc();
  const auto size = [&](int dimension) {
    return static_cast<std::size_t>(layout.dims()[static_cast<std::size_t>(dimension)]);
  };
  const std::size_t inner = pixel_layout(layout)->inner;
  const std::size_t value_bytes = is_float(memory) ? sizeof(float) : sizeof(float) / 2;
  return {.element = is_float(memory) ? Element::f32 : Element::bf16,
          .values = memory.get_data_handle(),
          .samples = size(0),
          .channels = size(1),
          .height = size(2),
          .width = size(3),
          .inner = inner,
          .block_stride = size(2) * size(3) * inner,
          .sample_stride = layout.get_size() / value_bytes / size(0)};
}

PoolSizes pool_sizes(const memory::desc& layout, std::size_t inner) {
  const auto height = static_cast<std::size_t>(layout.dims()[2]);
  const auto width = static_cast<std::size_t>(layout.dims()[3]);
  return {layout.get_size() / sizeof(float) / (height * width * inner), height, width, inner};
}

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
  memory source = {};
  memory destination = {};
};

// What a batch norm knows of the samples at hand, one value of each channel.
struct Statistics {
  explicit Statistics(std::size_t channels)
      : sums(channels),
        factors(channels),
        offsets(channels),
        z_factors(channels),
        constants(channels),
        means(channels),
        inverse_deviations(channels) {}

  ChannelSums sums;
  std::vector<float> factors;  // y = factor * z + offset
  std::vector<float> offsets;
  std::vector<float> z_factors;  // of a GradientLine, whose d_factors are the factors
  std::vector<float> constants;
  std::vector<double> means;
  std::vector<double> inverse_deviations;
};

// A batch norm in training with what follows it in the same passes over the activations.
struct NormalizeLayer {
  NormalizeSteps steps;
  int scale;  // index of the parameter; shift, mean and variance are the next
  memory z;
  memory skip;             // null when nothing is added
  std::size_t skip_index;  // which activation that is
  memory y;
  std::shared_ptr<Statistics> statistics;
};

struct ResidualLayer {
  std::size_t skip_index;
};

struct MeanMaxPoolLayer {
  memory source;
};

struct PoolLayer {
  AfterRelu after_relu;
  PoolSizes pool;
  memory source;
  memory::desc destination_layout;
};

struct ReluLayer {
  memory destination;
};

struct FlattenLayer {
  memory::dims source_sizes;
};

struct DropoutLayer {
  memory factors;
};

using BuiltLayer =
    std::variant<WeightedLayer<ConvolutionPrimitives>, WeightedLayer<DensePrimitives>, NormalizeLayer,
                 PoolLayer, ReluLayer, ResidualLayer, MeanMaxPoolLayer, FlattenLayer, DropoutLayer>;

// Algorithm 1 of the paper. Returns the channel's variance over `count` values.
double normalize_channel(Statistics& statistics, std::size_t channel, double count, float scale,
                         float shift) {
  const double mean = statistics.sums.first[channel] / count;
  // Rounding may leave a constant channel a tiny negative variance.
  const double variance = std::max(statistics.sums.second[channel] / count - mean * mean, 0.0);
  const double inverse_deviation = 1 / std::sqrt(variance + static_cast<double>(kBatchNormEpsilon));
  const double factor = static_cast<double>(scale) * inverse_deviation;
  statistics.means[channel] = mean;
  statistics.inverse_deviations[channel] = inverse_deviation;
  statistics.factors[channel] = static_cast<float>(factor);
  statistics.offsets[channel] = static_cast<float>(static_cast<double>(shift) - mean * factor);
  return variance;
}

struct ScaleAndShift {
  float scale;
  float shift;
};

// The gradients of section 3, solved for d and z. Returns those by scale and shift.
ScaleAndShift differentiate_channel(Statistics& statistics, std::size_t channel, double count) {
  const double mean = statistics.means[channel];
  const double inverse_deviation = statistics.inverse_deviations[channel];
  const double by_shift = statistics.sums.first[channel];
  const double by_scale = inverse_deviation * (statistics.sums.second[channel] - mean * by_shift);
  const auto factor = static_cast<double>(statistics.factors[channel]);
  const double z_factor = -factor * inverse_deviation * by_scale / count;
  statistics.z_factors[channel] = static_cast<float>(z_factor);
  statistics.constants[channel] = static_cast<float>(-factor * by_shift / count - z_factor * mean);
  return {static_cast<float>(by_scale), static_cast<float>(by_shift)};
}

}  // namespace

std::uint64_t dropout_key(const Pass& pass, std::size_t layer, int sample) {
  std::uint64_t key = mix(pass.seed);
  for (const std::uint64_t part : {pass.step, std::uint64_t{layer}, static_cast<std::uint64_t>(sample)}) {
    key = mix(key + kGoldenGamma * (part + 1));
  }
  return key;
}

class GraphBuilder {
 public:
  GraphBuilder(const Architecture& architecture, Purpose purpose, Precision precision, Parameters& parameters,
               Graph& graph)
      : architecture_(architecture),
        purpose_(purpose),
        precision_(precision),
        parameters_(parameters),
        graph_(graph),
        activations_(architecture.layers.size() + 1),
        is_skip_(architecture.layers.size() + 1) {
    for (std::size_t i = 0; i < architecture.layers.size(); ++i) {
      if (const auto* residual = std::get_if<Residual>(&architecture.layers[i])) {
        is_skip_[i - static_cast<std::size_t>(residual->layers)] = true;
      }
    }
  }

  void build() {
    graph_.own_input_ = zeroed_memory(row_major(input_sizes(architecture_, graph_.samples_)));
    graph_.input_ = {graph_.own_input_.get_desc(), cpu(), graph_.own_input_.get_data_handle()};
    activation_ = graph_.input_;
    activations_[0] = activation_;
    graph_.gradients_.resize(static_cast<std::size_t>(parameters_.count()));
    for (layer_ = 0; layer_ < architecture_.layers.size(); ++layer_) {
      const std::size_t built = built_.size();
      const std::size_t input = layer_;
      std::visit([this](const auto& layer) { add_forward(layer); }, architecture_.layers[layer_]);
      activations_[layer_ + 1] = activation_;
      graph_.forward_ends_.push_back({input, graph_.forward_.size()});
      if (built_.size() > built) input_indices_.push_back(input);
    }
    graph_.logits_ = in_layout(graph_.forward_, activation_, row_major(sizes_of(activation_)));
    graph_.forward_ends_.back().operation = graph_.forward_.size();
    if (purpose_ == Purpose::training) build_backward();
    share_scratch();
  }

 private:
  using Operations = std::vector<Graph::Operation>;
  using Arguments = std::vector<std::pair<int, memory>>;

  void build_backward() {
    graph_.logits_gradient_ = zeroed_memory(graph_.logits_.get_desc());
    gradient_ = graph_.logits_gradient_;
    for (std::size_t i = built_.size(); i > 0 && gradient_; --i) {
      std::visit([this](const auto& built) { add_backward(built); }, built_[i - 1]);
      if (gradient_) add_skipped_gradients(input_indices_[i - 1]);
      graph_.backward_ends_.push_back({input_indices_[i - 1], graph_.backward_.size()});
    }
  }

  // Forward, layer by layer: activation_ becomes the layer's output.

  void add_forward(const Convolution& convolution) {
    add_weighted(ConvolutionPrimitives{convolution.kernel, convolution.stride}, convolution.channels,
                 convolution.bias);
  }

  void add_forward(const Dense& dense) { add_weighted(DensePrimitives{}, dense.units, Bias::added); }

  template <typename Primitives>
  void add_weighted(const Primitives& primitives, int outputs, Bias adds) {
    const memory::dims source_sizes = sizes_of(activation_);
    const memory::dims destination_sizes = primitives.destination_sizes(source_sizes, outputs);
    // The first convolution's single channel would leave bfloat16's instructions idle.
    const bool half = precision_ == Precision::bf16 && next_is<BatchNorm>(1) && next_parameter_ > 0;
    const auto type = half ? memory::data_type::bf16 : memory::data_type::f32;
    const memory::desc source = half ? by_pixel(source_sizes, type) : any_layout(source_sizes);
    const memory::desc weights = any_layout(primitives.weights_sizes(source_sizes, outputs), type);
    const memory::desc bias = adds == Bias::added ? row_major({outputs}) : memory::desc();
    memory::desc destination = half ? by_pixel(destination_sizes, type) : any_layout(destination_sizes);

    const bool relu_follows = next_is<Relu>(1) && !is_skip_[layer_ + 1];
    const bool pool_follows = next_is<MaxPool>(2) && !is_skip_[layer_ + 2];
    dnnl::primitive_attr attributes = portable_attributes();
    if (relu_follows) {
      dnnl::post_ops relu;
      relu.append_eltwise(1, algorithm::eltwise_relu, 0, 0);
      attributes.set_post_ops(relu);
    }
    WeightedLayer<Primitives> built{.primitives = primitives,
                                    .weights = next_parameter_,
                                    .has_bias = adds == Bias::added,
                                    .first = next_parameter_ == 0,
                                    .masks_gradient = relu_follows && !pool_follows};
    built.forward = {primitives.forward(kind(), source, weights, bias, destination), attributes, cpu()};
    if (next_is<BatchNorm>(1) && !pixel_layout(built.forward.dst_desc())) {
      destination = by_pixel(destination_sizes, type);
      built.forward = {primitives.forward(kind(), source, weights, bias, destination), attributes, cpu()};
    }
    built.source = in_layout(graph_.forward_, activation_, built.forward.src_desc());
    built.destination = zeroed_memory(built.forward.dst_desc());
    if (purpose_ == Purpose::training) {
      const memory::desc gradient = any_layout(weights.dims());
      built.backward_weights = {primitives.backward_weights(source, gradient, bias, destination),
                                portable_attributes(), cpu(), built.forward};
      parameters_.lay_out(built.weights, built.backward_weights.diff_weights_desc());
    }
    Arguments arguments = {
        {DNNL_ARG_SRC, built.source},
        {DNNL_ARG_WEIGHTS, parameters_.in_layout(built.weights, built.forward.weights_desc())},
        {DNNL_ARG_DST, built.destination}};
    if (built.has_bias) {
      arguments.emplace_back(DNNL_ARG_BIAS, parameters_.in_layout(built.weights + 1, bias));
    }
    add_primitive<typename Primitives::Forward>(graph_.forward_, std::string(Primitives::kName) + " forward",
                                                built.forward, std::move(arguments));
    activation_ = built.destination;
    next_parameter_ += built.has_bias ? 2 : 1;
    built_.push_back(std::move(built));
    if (relu_follows) ++layer_;
  }

  // In training alone. Takes the layers behind it along, as far as they fit in one pass and nothing else
  // needs what lies between them.
  void add_forward(const BatchNorm&) {
    assert(purpose_ == Purpose::training);
    NormalizeLayer built{.steps = {WithRelu::no, WithPool::no},
                         .scale = next_parameter_,
                         .z = activation_,
                         .skip = {},
                         .skip_index = 0,
                         .y = {},
                         .statistics = {}};
    next_parameter_ += 4;
    const auto may_take = [this] { return !is_skip_[layer_ + 1]; };
    if (next_is<Relu>(1) && may_take()) {
      built.steps.relu = WithRelu::yes;
      ++layer_;
    }
    const memory::dims sizes = sizes_of(built.z);
    // In single precision y is laid out as z, which oneDNN chose for the convolutions.
    const auto y_layout = [&](const memory::dims& y_sizes) {
      if (precision_ == Precision::bf16) return by_pixel(y_sizes, memory::data_type::bf16);
      return memory::desc(y_sizes, memory::data_type::f32, pixel_layout(built.z.get_desc())->tag);
    };
    if (next_is<Residual>(1) && may_take()) {
      ++layer_;
      built.skip_index = skip_index();
      built.skip = in_layout(graph_.forward_, activations_[built.skip_index], y_layout(sizes));
      graph_.memories_.push_back(built.skip);
    }
    if (next_is<MaxPool>(1) && may_take()) {
      built.steps.pool = WithPool::yes;
      ++layer_;
    }
    const bool pools = built.steps.pool == WithPool::yes;
    built.y =
        zeroed_memory(y_layout(pools ? memory::dims{sizes[0], sizes[1], sizes[2] / 2, sizes[3] / 2} : sizes));
    const auto state = std::make_shared<Statistics>(static_cast<std::size_t>(sizes[1]));
    built.statistics = state;
    graph_.memories_.insert(graph_.memories_.end(), {built.z, built.y});
    for (int i = built.scale; i < built.scale + 4; ++i) {
      gradient_of(i) = zeroed_memory(parameters_.master(i).get_desc());
    }
    const auto scales = parameters_.master(built.scale);
    const auto shifts = parameters_.master(built.scale + 1);
    const auto batch_means = gradient_of(built.scale + 2);
    const auto batch_variances = gradient_of(built.scale + 3);
    const Activations z = activations_of(built.z);
    const Activations y = activations_of(built.y);
    const std::optional<Activations> skip =
        built.skip ? std::optional(activations_of(built.skip)) : std::nullopt;
    const auto count = static_cast<double>(z.samples * z.height * z.width);
    graph_.forward_.push_back([=, steps = built.steps](const Pass&) {
      Statistics& statistics = *state;
      sum_channels(z, statistics.sums);
      for (std::size_t i = 0; i < z.channels; ++i) {
        const double variance = normalize_channel(statistics, i, count, floats(scales)[i], floats(shifts)[i]);
        floats(batch_means)[i] = static_cast<float>(statistics.means[i]);
        floats(batch_variances)[i] = static_cast<float>(variance * count / std::max(count - 1, 1.0));
      }
      normalize(steps, z, statistics.factors, statistics.offsets, skip ? &*skip : nullptr, y);
    });
    activation_ = built.y;
    built_.push_back(std::move(built));
  }

  // The sum where nothing else can take it along, in single precision.
  void add_forward(const Residual&) {
    const std::size_t index = skip_index();
    const memory source = as_floats(activation_);
    const memory skip = in_layout(graph_.forward_, activations_[index], source.get_desc());
    const memory destination = zeroed_memory(source.get_desc());
    graph_.forward_.push_back([=](const Pass&) {
      std::ranges::copy(floats(source), floats(destination).begin());
      add(floats(skip), floats(destination));
    });
    activation_ = destination;
    built_.push_back(ResidualLayer{index});
  }

  void add_forward(const MeanMaxPool&) {
    const memory source = pixel_layout(activation_.get_desc())
                              ? activation_
                              : in_layout(graph_.forward_, activation_,
                                          by_pixel(sizes_of(activation_), memory::data_type::f32));
    graph_.memories_.push_back(source);
    const memory::dims sizes = sizes_of(source);
    const memory destination = zeroed_memory(row_major({sizes[0], 2 * sizes[1]}));
    graph_.forward_.push_back([input = activations_of(source), source, destination](const Pass&) mutable {
      input.values = source.get_data_handle();  // of the network's own input it may change
      mean_max_pool(input, floats(destination));
    });
    activation_ = destination;
    built_.push_back(MeanMaxPoolLayer{source});
  }

  void add_forward(const MaxPool&) {
    const memory::dims sizes = sizes_of(activation_);
    const PixelLayout layout = (is_float(activation_) ? pixel_layout(activation_.get_desc()) : std::nullopt)
                                   .value_or(PixelLayout{memory::format_tag::nchw, 1});
    const memory source =
        in_layout(graph_.forward_, activation_, {sizes, memory::data_type::f32, layout.tag});
    const memory destination =
        zeroed_memory({{sizes[0], sizes[1], sizes[2] / 2, sizes[3] / 2}, memory::data_type::f32, layout.tag});
    const PoolSizes pool = pool_sizes(source.get_desc(), layout.inner);
    graph_.forward_.push_back([=](const Pass&) { max_pool(pool, floats(source), floats(destination)); });
    const bool after_relu = layer_ > 0 && std::holds_alternative<Relu>(architecture_.layers[layer_ - 1]);
    built_.push_back(
        PoolLayer{after_relu ? AfterRelu::yes : AfterRelu::no, pool, source, destination.get_desc()});
    activation_ = destination;
  }

  void add_forward(const Relu&) {
    const memory source = as_floats(activation_);
    const memory destination = zeroed_memory(source.get_desc());
    graph_.forward_.push_back(
        [source, destination](const Pass&) { relu(floats(source), floats(destination)); });
    activation_ = destination;
    built_.push_back(ReluLayer{destination});
  }

  // oneDNN could multiply [samples, C, H, W] as it is, but has its fastest kernels for [samples, C * H * W].
  void add_forward(const Flatten&) {
    const memory::dims sizes = sizes_of(activation_);
    if (sizes.size() == 2) return;
    const memory source = in_layout(graph_.forward_, activation_, row_major(sizes));
    activation_ = view(source, {sizes[0], sizes[1] * sizes[2] * sizes[3]});
    built_.push_back(FlattenLayer{sizes});
  }

  void add_forward(const Dropout& dropout) {
    if (purpose_ == Purpose::inference) return;
    // Units are counted in row-major order, whatever layout this machine prefers.
    const memory source = in_layout(graph_.forward_, activation_, row_major(sizes_of(activation_)));
    const memory destination = zeroed_memory(source.get_desc());
    const memory factors = zeroed_memory(source.get_desc());
    const float probability = dropout.probability;
    const std::size_t layer = layer_;
    const auto samples = static_cast<std::size_t>(graph_.samples_);
    graph_.forward_.push_back([=](const Pass& pass) {
      const std::span<float> all = floats(factors);
      const std::size_t units = all.size() / samples;
      for (std::size_t i = 0; i < samples; ++i) {
        draw_dropout(dropout_key(pass, layer, pass.first_sample + static_cast<int>(i)), probability,
                     all.subspan(i * units, units));
      }
      multiply(floats(source), all, floats(destination));
    });
    activation_ = destination;
    built_.push_back(DropoutLayer{factors});
  }

  // Backward: gradient_, by the layer's output, becomes the gradient by its input, or nothing when no layer
  // before it needs that.

  template <typename Primitives>
  void add_backward(const WeightedLayer<Primitives>& built) {
    if (built.masks_gradient) mask_gradient(built.destination);

    const auto& weights = built.backward_weights;
    for (int i = built.weights; i <= built.weights + (built.has_bias ? 1 : 0); ++i) {
      gradient_of(i) = zeroed_memory(parameters_.master(i).get_desc());
    }
    Arguments arguments = {
        {DNNL_ARG_SRC, in_layout(graph_.backward_, built.source, weights.src_desc())},
        {DNNL_ARG_DIFF_DST, in_layout(graph_.backward_, gradient_, weights.diff_dst_desc())},
        {DNNL_ARG_DIFF_WEIGHTS, gradient_of(built.weights)}};
    if (built.has_bias) arguments.emplace_back(DNNL_ARG_DIFF_BIAS, gradient_of(built.weights + 1));
    add_primitive<typename Primitives::BackwardWeights>(graph_.backward_,
                                                        std::string(Primitives::kName) + " backward weights",
                                                        weights, std::move(arguments));
    if (built.first) {
      gradient_ = {};
      return;
    }

    const auto type = built.forward.dst_desc().data_type();
    const bool half = type == memory::data_type::bf16;
    const auto layout = [&](const memory& memory) {
      return half ? by_pixel(sizes_of(memory), type) : any_layout(sizes_of(memory));
    };
    const typename Primitives::BackwardData::primitive_desc data(
        built.primitives.backward_data(layout(built.source),
                                       any_layout(built.forward.weights_desc().dims(), type),
                                       layout(built.destination)),
        portable_attributes(), cpu(), built.forward);
    const memory source_gradient = zeroed_memory(data.diff_src_desc());
    add_primitive<typename Primitives::BackwardData>(
        graph_.backward_, std::string(Primitives::kName) + " backward data", data,
        {{DNNL_ARG_DIFF_DST, in_layout(graph_.backward_, gradient_, data.diff_dst_desc())},
         {DNNL_ARG_WEIGHTS, parameters_.in_layout(built.weights, data.weights_desc())},
         {DNNL_ARG_DIFF_SRC, source_gradient}});
    gradient_ = source_gradient;
  }

  void add_backward(const NormalizeLayer& built) {
    const memory gradient = in_layout(graph_.backward_, gradient_, built.y.get_desc());
    memory unpooled = gradient;
    if (built.steps.pool == WithPool::yes) {
      const auto tag = pixel_layout(built.y.get_desc())->tag;
      unpooled = zeroed_memory({sizes_of(built.z), built.y.get_desc().data_type(), tag});
    }
    const memory scale_gradient = gradient_of(built.scale);
    const memory shift_gradient = gradient_of(built.scale + 1);
    graph_.memories_.insert(graph_.memories_.end(), {gradient, unpooled});
    const Activations z = activations_of(built.z);
    const Activations from = activations_of(gradient);
    const Activations to = activations_of(unpooled);
    const std::optional<Activations> skip =
        built.skip ? std::optional(activations_of(built.skip)) : std::nullopt;
    const auto count = static_cast<double>(z.samples * z.height * z.width);
    graph_.backward_.push_back([=, steps = built.steps, state = built.statistics](const Pass&) {
      Statistics& statistics = *state;
      sum_gradient(steps, z, statistics.factors, statistics.offsets, skip ? &*skip : nullptr, from, to,
                   statistics.sums);
      for (std::size_t i = 0; i < z.channels; ++i) {
        const ScaleAndShift by = differentiate_channel(statistics, i, count);
        floats(scale_gradient)[i] = by.scale;
        floats(shift_gradient)[i] = by.shift;
      }
      finish_gradient(steps.relu, statistics.factors, statistics.offsets,
                      {statistics.factors, statistics.z_factors, statistics.constants}, to, z);
    });
    if (built.skip) skipped_gradients_.emplace(built.skip_index, unpooled);
    // Another name of the same place: conversions of what it held before must not be taken for the
    // gradient's.
    gradient_ = {built.z.get_desc(), cpu(), built.z.get_data_handle()};
  }

  void add_backward(const ResidualLayer& built) {
    // A copy, since the layers before may change the gradient in place.
    const memory source = gradient_;
    const memory copy = zeroed_memory(source.get_desc());
    graph_.backward_.push_back([=](const Pass&) {
      std::memcpy(copy.get_data_handle(), source.get_data_handle(), copy.get_desc().get_size());
    });
    skipped_gradients_.emplace(built.skip_index, copy);
  }

  void add_backward(const MeanMaxPoolLayer& built) {
    const memory gradient = in_layout(graph_.backward_, gradient_, row_major(sizes_of(gradient_)));
    const memory source_gradient = zeroed_memory(built.source.get_desc());
    graph_.memories_.push_back(source_gradient);
    graph_.backward_.push_back([gradient, input = activations_of(built.source),
                                input_gradient = activations_of(source_gradient)](const Pass&) {
      mean_max_pool_backward(input, floats(gradient), input_gradient);
    });
    gradient_ = source_gradient;
  }

  // Adds what the residual layers found for this activation to gradient_, which is what the layers behind it
  // found.
  void add_skipped_gradients(std::size_t index) {
    const auto [first, last] = skipped_gradients_.equal_range(index);
    for (auto skipped = first; skipped != last; ++skipped) {
      const memory sum = gradient_;
      const memory addend = in_layout(graph_.backward_, skipped->second, sum.get_desc());
      if (is_float(sum)) {
        graph_.backward_.push_back([=](const Pass&) { add(floats(addend), floats(sum)); });
      } else {
        graph_.memories_.insert(graph_.memories_.end(), {addend, sum});
        graph_.backward_.push_back(
            [from = activations_of(addend), to = activations_of(sum)](const Pass&) { add(from, to); });
      }
    }
  }

  void add_backward(const PoolLayer& built) {
    const memory gradient = in_layout(graph_.backward_, gradient_, built.destination_layout);
    const memory source_gradient = zeroed_memory(built.source.get_desc());
    graph_.backward_.push_back([gradient, source_gradient, pool = built.pool, after_relu = built.after_relu,
                                source = built.source](const Pass&) {
      max_pool_backward(pool, after_relu, floats(source), floats(gradient), floats(source_gradient));
    });
    gradient_ = source_gradient;
  }

  void add_backward(const ReluLayer& built) { mask_gradient(built.destination); }

  void add_backward(const FlattenLayer& built) {
    const memory source = in_layout(graph_.backward_, gradient_, row_major(sizes_of(gradient_)));
    gradient_ = view(source, built.source_sizes);
  }

  void add_backward(const DropoutLayer& built) {
    const memory source = in_layout(graph_.backward_, gradient_, built.factors.get_desc());
    const memory destination = zeroed_memory(source.get_desc());
    graph_.backward_.push_back([source, destination, factors = built.factors](const Pass&) {
      multiply(floats(source), floats(factors), floats(destination));
    });
    gradient_ = destination;
  }

  // Clears gradient_ in place where the output of a relu was zero.
  void mask_gradient(const memory& output) {
    const memory gradient = in_layout(graph_.backward_, gradient_, output.get_desc());
    graph_.backward_.push_back(
        [output, gradient](const Pass&) { relu_backward(floats(output), floats(gradient)); });
    gradient_ = gradient;
  }

  static memory::desc by_pixel(const memory::dims& sizes, memory::data_type type) {
    return {sizes, type, memory::format_tag::nhwc};
  }

  memory as_floats(const memory& values) {
    if (is_float(values)) return values;
    return in_layout(graph_.forward_, values, by_pixel(sizes_of(values), memory::data_type::f32));
  }

  memory& gradient_of(int parameter) { return graph_.gradients_[static_cast<std::size_t>(parameter)]; }

  // Which activation the Residual at layer_ adds.
  std::size_t skip_index() const {
    return layer_ - static_cast<std::size_t>(std::get<Residual>(architecture_.layers[layer_]).layers);
  }

  // Returns the same row-major values with other sizes.
  memory view(const memory& values, const memory::dims& sizes) {
    graph_.memories_.push_back(values);
    return {row_major(sizes), cpu(), values.get_data_handle()};
  }

  // Returns the values in this layout: the same memory when it has it, else one that is filled at this point
  // of the operations. Two users of one conversion share it.
  memory in_layout(Operations& operations, const memory& from, const memory::desc& layout) {
    if (from.get_desc() == layout) return from;
    for (const auto& [source, converted] : conversions_) {
      if (source == from && converted.get_desc() == layout) return converted;
    }
    const memory to = zeroed_memory(layout);
    const dnnl::reorder::primitive_desc reorder(cpu(), from.get_desc(), cpu(), layout, portable_attributes());
    add_primitive<dnnl::reorder>(operations, "reorder", reorder, {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}});
    conversions_.emplace_back(from, to);
    return to;
  }

  template <typename Primitive>
  void add_primitive(Operations& operations, const std::string& name,
                     const typename Primitive::primitive_desc& description, Arguments arguments) {
    const memory scratch(description.scratchpad_desc(), cpu(), DNNL_MEMORY_NONE);
    scratches_.push_back(scratch);
    arguments.emplace_back(DNNL_ARG_SCRATCHPAD, scratch);
    Graph::PrimitiveCall call{Primitive(description), {}, graph_.implementations_.size()};
    for (const auto& [argument, memory] : arguments) {
      if (memory.get_desc().get_size() == 0) continue;
      call.arguments.push_back({argument, memory.get()});
      graph_.memories_.push_back(memory);
    }
    operations.emplace_back(std::move(call));
    graph_.implementations_.push_back(name + ": " + description.impl_info_str());
  }

  // The primitives run one after the other, so they use the same scratch memory.
  void share_scratch() {
    const auto size = [](const memory& scratch) { return scratch.get_desc().get_size(); };
    const auto largest = std::max_element(scratches_.begin(), scratches_.end(),
                                          [&](const auto& a, const auto& b) { return size(a) < size(b); });
    if (largest == scratches_.end() || size(*largest) == 0) return;
    const memory shared(largest->get_desc(), cpu());
    graph_.memories_.push_back(shared);
    for (memory& scratch : scratches_) {
      if (size(scratch) > 0) scratch.set_data_handle(shared.get_data_handle());
    }
  }

  prop_kind kind() const {
    return purpose_ == Purpose::training ? prop_kind::forward_training : prop_kind::forward_inference;
  }

  // Whether the layer this many places after the current one is of this kind.
  template <typename Kind>
  bool next_is(std::size_t places) const {
    const std::size_t index = layer_ + places;
    return index < architecture_.layers.size() && std::holds_alternative<Kind>(architecture_.layers[index]);
  }

  const Architecture& architecture_;
  const Purpose purpose_;
  const Precision precision_;
  Parameters& parameters_;
  Graph& graph_;
  std::size_t layer_ = 0;
  int next_parameter_ = 0;
  memory activation_;
  memory gradient_;
  // Of the network's input and after each layer; null where a layer was taken along by the one before it.
  std::vector<memory> activations_;
  std::vector<bool> is_skip_;  // which of these a residual layer adds
  std::vector<BuiltLayer> built_;
  std::vector<std::size_t> input_indices_;  // which activation each of these reads
  std::multimap<std::size_t, memory> skipped_gradients_;
  std::vector<std::pair<memory, memory>> conversions_;
  std::vector<memory> scratches_;
};

Graph::Graph(const Architecture& architecture, int samples, Purpose purpose, Precision precision,
             Parameters& parameters)
    : samples_(samples), stream_(cpu()) {
  GraphBuilder(architecture, purpose, precision, parameters, *this).build();
}

void Graph::read_input_from(const float* input) { input_.set_data_handle(const_cast<float*>(input)); }

void Graph::run(const std::vector<Operation>& operations, const Pass& pass) {
  for (const Operation& operation : operations) run(operation, pass);
}

void Graph::run(const Operation& operation, const Pass& pass) {
  const Overloaded execute{
      [this](const PrimitiveCall& call) {
        [[maybe_unused]] const dnnl_status_t status =
            dnnl_primitive_execute(call.primitive.get(), stream_.get(),
                                   static_cast<int>(call.arguments.size()), call.arguments.data());
        assert(status == dnnl_success);
      },
      [&pass](const KernelCall& kernel) { kernel(pass); },
  };
  std::visit(execute, operation);
}

std::vector<Graph::OperationTime> Graph::time(const std::vector<Operation>& operations,
                                              const std::vector<LayerEnd>& ends, const Pass& pass) {
  std::vector<OperationTime> times;
  auto end = ends.begin();
  auto before = std::chrono::steady_clock::now();
  for (std::size_t i = 0; i < operations.size(); ++i) {
    while (end->operation <= i) ++end;
    const auto* call = std::get_if<PrimitiveCall>(&operations[i]);
    run(operations[i], pass);
    const auto now = std::chrono::steady_clock::now();
    times.push_back(
        {end->layer, call ? implementations_[call->implementation] : std::string_view(), now - before});
    before = now;
  }
  return times;
}

}  // namespace espy::nn
