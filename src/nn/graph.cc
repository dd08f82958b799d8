#include "nn/graph.h"

#include <algorithm>
#include <cassert>
#include <optional>
#include <utility>

#include "nn/kernels.h"
#include "nn/overloaded.h"
#include "nn/random.h"

namespace espy::nn {
namespace {

using dnnl::algorithm;
using dnnl::memory;
using dnnl::prop_kind;

// Leaves the choice of the layout to oneDNN.
memory::desc any_layout(const memory::dims& sizes) {
  return {sizes, memory::data_type::f32, memory::format_tag::any};
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

  // Not convolution_auto, which may choose Winograd's algorithm: quicker for 3x3 kernels, but less exact
  // (Lavin & Gray 2016, "Fast algorithms for convolutional neural networks").
  static constexpr algorithm kAlgorithm = algorithm::convolution_direct;
  memory::dims strides() const { return {1, 1}; }
  memory::dims padding() const { return {kernel / 2, kernel / 2}; }

  memory::dims weights_sizes(const memory::dims& source, int outputs) const {
    return {outputs, source[1], kernel, kernel};
  }
  memory::dims destination_sizes(const memory::dims& source, int outputs) const {
    return {source[0], outputs, source[2], source[3]};
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

// A layout that a pool can work in, since it keeps rows of pixels together.
struct PoolLayout {
  memory::format_tag tag;
  std::size_t inner;  // values of a pixel that lie side by side
};

// Returns nothing for any other layout.
std::optional<PoolLayout> pool_layout(const memory::desc& layout) {
  const auto channels = static_cast<std::size_t>(layout.dims()[1]);
  for (const PoolLayout& known :
       {PoolLayout{memory::format_tag::nChw16c, 16}, PoolLayout{memory::format_tag::nChw8c, 8},
        PoolLayout{memory::format_tag::nhwc, channels}, PoolLayout{memory::format_tag::nchw, 1}}) {
    if (layout == memory::desc(layout.dims(), memory::data_type::f32, known.tag)) return known;
  }
  return std::nullopt;
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
  bool first;   // of the layers with weights: nothing before it needs a gradient
  // A relu follows whose way back is done here. Not when a pool comes next: that does it, on a quarter of the
  // values.
  bool masks_gradient;
  typename Primitives::Forward::primitive_desc forward = {};
  typename Primitives::BackwardWeights::primitive_desc backward_weights = {};
  memory source = {};
  memory destination = {};
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

using BuiltLayer = std::variant<WeightedLayer<ConvolutionPrimitives>, WeightedLayer<DensePrimitives>,
                                PoolLayer, ReluLayer, FlattenLayer, DropoutLayer>;

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
  GraphBuilder(const Architecture& architecture, Purpose purpose, Parameters& parameters, Graph& graph)
      : architecture_(architecture), purpose_(purpose), parameters_(parameters), graph_(graph) {}

  void build() {
    graph_.own_input_ = zeroed_memory(row_major(input_sizes(architecture_, graph_.samples_)));
    graph_.input_ = {graph_.own_input_.get_desc(), cpu(), graph_.own_input_.get_data_handle()};
    activation_ = graph_.input_;
    for (layer_ = 0; layer_ < architecture_.layers.size(); ++layer_) {
      std::visit([this](const auto& layer) { add_forward(layer); }, architecture_.layers[layer_]);
    }
    graph_.logits_ = in_layout(graph_.forward_, activation_, row_major(sizes_of(activation_)));
    if (purpose_ == Purpose::training) build_backward();
    share_scratch();
  }

 private:
  using Operations = std::vector<Graph::Operation>;
  using Arguments = std::vector<std::pair<int, memory>>;

  void build_backward() {
    graph_.logits_gradient_ = zeroed_memory(graph_.logits_.get_desc());
    graph_.gradients_.resize(static_cast<std::size_t>(parameters_.count()));
    gradient_ = graph_.logits_gradient_;
    for (auto layer = built_.rbegin(); layer != built_.rend() && gradient_; ++layer) {
      std::visit([this](const auto& built) { add_backward(built); }, *layer);
    }
  }

  // Forward, layer by layer: activation_ becomes the layer's output.

  void add_forward(const Convolution& convolution) {
    add_weighted(ConvolutionPrimitives{convolution.kernel}, convolution.channels);
  }

  void add_forward(const Dense& dense) { add_weighted(DensePrimitives{}, dense.units); }

  template <typename Primitives>
  void add_weighted(const Primitives& primitives, int outputs) {
    const memory::dims source_sizes = sizes_of(activation_);
    const memory::desc source = any_layout(source_sizes);
    const memory::desc weights = any_layout(primitives.weights_sizes(source_sizes, outputs));
    const memory::desc bias = row_major({outputs});
    const memory::desc destination = any_layout(primitives.destination_sizes(source_sizes, outputs));

    const bool relu_follows = next_is<Relu>(1);
    dnnl::primitive_attr attributes = portable_attributes();
    if (relu_follows) {
      dnnl::post_ops relu;
      relu.append_eltwise(1, algorithm::eltwise_relu, 0, 0);
      attributes.set_post_ops(relu);
    }
    WeightedLayer<Primitives> built{.primitives = primitives,
                                    .weights = next_parameter_,
                                    .first = next_parameter_ == 0,
                                    .masks_gradient = relu_follows && !next_is<MaxPool>(2)};
    built.forward = {primitives.forward(kind(), source, weights, bias, destination), attributes, cpu()};
    built.source = in_layout(graph_.forward_, activation_, built.forward.src_desc());
    built.destination = zeroed_memory(built.forward.dst_desc());
    if (purpose_ == Purpose::training) {
      built.backward_weights = {primitives.backward_weights(source, weights, bias, destination),
                                portable_attributes(), cpu(), built.forward};
      parameters_.lay_out(built.weights, built.backward_weights.diff_weights_desc());
    }
    add_primitive<typename Primitives::Forward>(
        graph_.forward_, std::string(Primitives::kName) + " forward", built.forward,
        {{DNNL_ARG_SRC, built.source},
         {DNNL_ARG_WEIGHTS, parameters_.in_layout(built.weights, built.forward.weights_desc())},
         {DNNL_ARG_BIAS, parameters_.in_layout(built.weights + 1, bias)},
         {DNNL_ARG_DST, built.destination}});
    activation_ = built.destination;
    built_.push_back(std::move(built));
    next_parameter_ += 2;
    if (relu_follows) ++layer_;
  }

  void add_forward(const MaxPool&) {
    const memory::dims sizes = sizes_of(activation_);
    const PoolLayout layout =
        pool_layout(activation_.get_desc()).value_or(PoolLayout{memory::format_tag::nchw, 1});
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
    const memory source = activation_;
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
    for (const int i : {built.weights, built.weights + 1}) {
      graph_.gradients_[static_cast<std::size_t>(i)] = zeroed_memory(parameters_.master(i).get_desc());
    }
    add_primitive<typename Primitives::BackwardWeights>(
        graph_.backward_, std::string(Primitives::kName) + " backward weights", weights,
        {{DNNL_ARG_SRC, in_layout(graph_.backward_, built.source, weights.src_desc())},
         {DNNL_ARG_DIFF_DST, in_layout(graph_.backward_, gradient_, weights.diff_dst_desc())},
         {DNNL_ARG_DIFF_WEIGHTS, graph_.gradients_[static_cast<std::size_t>(built.weights)]},
         {DNNL_ARG_DIFF_BIAS, graph_.gradients_[static_cast<std::size_t>(built.weights + 1)]}});
    if (built.first) {
      gradient_ = {};
      return;
    }

    const typename Primitives::BackwardData::primitive_desc data(
        built.primitives.backward_data(any_layout(sizes_of(built.source)),
                                       any_layout(built.forward.weights_desc().dims()),
                                       any_layout(sizes_of(built.destination))),
        portable_attributes(), cpu(), built.forward);
    const memory source_gradient = zeroed_memory(data.diff_src_desc());
    add_primitive<typename Primitives::BackwardData>(
        graph_.backward_, std::string(Primitives::kName) + " backward data", data,
        {{DNNL_ARG_DIFF_DST, in_layout(graph_.backward_, gradient_, data.diff_dst_desc())},
         {DNNL_ARG_WEIGHTS, parameters_.in_layout(built.weights, data.weights_desc())},
         {DNNL_ARG_DIFF_SRC, source_gradient}});
    gradient_ = source_gradient;
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
    Graph::PrimitiveCall call{Primitive(description), {}};
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
  Parameters& parameters_;
  Graph& graph_;
  std::size_t layer_ = 0;
  int next_parameter_ = 0;
  memory activation_;
  memory gradient_;
  std::vector<BuiltLayer> built_;
  std::vector<std::pair<memory, memory>> conversions_;
  std::vector<memory> scratches_;
};

Graph::Graph(const Architecture& architecture, int samples, Purpose purpose, Parameters& parameters)
    : samples_(samples), stream_(cpu()) {
  GraphBuilder(architecture, purpose, parameters, *this).build();
}

void Graph::read_input_from(const float* input) { input_.set_data_handle(const_cast<float*>(input)); }

void Graph::run(const std::vector<Operation>& operations, const Pass& pass) {
  const Overloaded execute{
      [this](const PrimitiveCall& call) {
        [[maybe_unused]] const dnnl_status_t status =
            dnnl_primitive_execute(call.primitive.get(), stream_.get(),
                                   static_cast<int>(call.arguments.size()), call.arguments.data());
        assert(status == dnnl_success);
      },
      [&pass](const KernelCall& kernel) { kernel(pass); },
  };
  for (const Operation& operation : operations) std::visit(execute, operation);
}

}  // namespace espy::nn
