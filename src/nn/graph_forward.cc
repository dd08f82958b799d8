// The way forward, layer by layer: activation_ becomes the layer's output.
#include "nn/graph_builder.h"

#include <algorithm>
#include <cassert>
#include <optional>
#include <utility>

#include "nn/kernels.h"
#include "nn/layouts.h"
#include "nn/normalize.h"

namespace espy::nn {

using dnnl::algorithm;
using dnnl::memory;
using dnnl::prop_kind;

// Forward, layer by layer: activation_ becomes the layer's output.

void GraphBuilder::add_forward(const Convolution& convolution) {
  const bool parts = parts_bias();
  if (suits_amx(layer_)) {
    add_amx(convolution.channels, convolution.kernel);
  } else if (suits_winograd(convolution)) {
    return add_winograd(convolution);
  } else {
    add_weighted(ConvolutionPrimitives{convolution.kernel, convolution.stride}, convolution.channels,
                 parts ? Bias::none : convolution.bias);
  }
  if (parts) add_normalize(convolution.bias == Bias::added ? Normalization::bias : Normalization::none);
}

namespace {

// Of one that reads [samples, inputs].
DenseSizes dense_sizes(Element element, const memory::dims& source, int outputs) {
  const auto size = [](memory::dim dimension) { return static_cast<std::size_t>(dimension); };
  return {element, size(source[0]), size(source[1]), size(outputs), outputs % 64 == 0 ? 64U : 32U};
}

}  // namespace

void GraphBuilder::add_forward(const Dense& dense) {
  if (suits_amx(layer_)) {
    activation_ = as_picture(graph_.forward_, activation_);
    add_amx(dense.units, 1);
  } else if (parts_bias()) {
    add_weighted(DensePrimitives{}, dense.units, Bias::none);
    const memory::dims sizes = sizes_of(activation_);
    graph_.memories_.push_back(activation_);
    activation_ = {half_layout({sizes[0], sizes[1], 1, 1}), cpu(), activation_.get_data_handle()};
  } else {
    const DenseSizes sizes = dense_sizes(Element::f32, sizes_of(activation_), dense.units);
    if (DenseProduct::suits(sizes)) return add_dense(sizes);
    return add_weighted(DensePrimitives{}, dense.units, Bias::added);
  }
  add_normalize(Normalization::bias);
  activation_ = as_rows(graph_.forward_, activation_);
}

namespace {

// Of one whose source has these sizes, [samples, C, H, W].
ConvolutionSizes convolution_sizes(const memory::dims& source, int outputs) {
  const auto size = [&](std::size_t place) { return static_cast<std::size_t>(source[place]); };
  return {size(0), size(2), size(3), size(1), static_cast<std::size_t>(outputs)};
}

// Returns nothing where a primitive is as good.
std::shared_ptr<WeightsGradient> own_weights_gradient(const ConvolutionPrimitives& primitives, bool half,
                                                      const memory::dims& source, int outputs) {
  if (!half || primitives.kernel != 3 || primitives.stride != 1) return {};
  const ConvolutionSizes sizes = convolution_sizes(source, outputs);
  return WeightsGradient::suits(sizes) ? std::make_shared<WeightsGradient>(sizes) : nullptr;
}

std::shared_ptr<WeightsGradient> own_weights_gradient(const DensePrimitives&, bool, const memory::dims&,
                                                      int) {
  return {};
}

// Of a dense layer of halves. Returns nothing where a primitive must do.
std::shared_ptr<DenseGradient> own_dense_gradient(const memory::dims& source, int outputs) {
  const DenseSizes sizes = dense_sizes(Element::bf16, source, outputs);
  return DenseGradient::suits(sizes) ? std::make_shared<DenseGradient>(sizes) : nullptr;
}

}  // namespace

template <typename Primitives>
void GraphBuilder::add_weighted(const Primitives& primitives, int outputs, Bias adds) {
  const memory::dims source_sizes = sizes_of(activation_);
  const memory::dims destination_sizes = primitives.destination_sizes(source_sizes, outputs);
  const bool half = multiplies_half();
  const auto type = half ? memory::data_type::bf16 : memory::data_type::f32;
  const memory::desc source = half ? channels_last(source_sizes, type) : any_layout(source_sizes);
  const memory::desc weights = any_layout(primitives.weights_sizes(source_sizes, outputs), type);
  const memory::desc bias = adds == Bias::added ? row_major({outputs}) : memory::desc();
  memory::desc destination = half ? channels_last(destination_sizes, type) : any_layout(destination_sizes);

  const bool relu_follows = !parts_bias() && next_is<Relu>(1) && !is_skip_[layer_ + 1];
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
  if (!half && (next_is<BatchNorm>(1) || parts_bias()) && !pixel_layout(built.forward.dst_desc())) {
    destination = by_pixel(destination_sizes, type);
    built.forward = {primitives.forward(kind(), source, weights, bias, destination), attributes, cpu()};
  }
  built.source = in_layout(graph_.forward_, activation_, built.forward.src_desc());
  built.destination = zeroed_memory(built.forward.dst_desc());
  if (purpose_ == Purpose::training) {
    const memory::desc gradient = any_layout(weights.dims());
    built.weights_gradient = own_weights_gradient(primitives, half, source_sizes, outputs);
    if (built.weights_gradient) {
      parameters_.lay_out(built.weights, {weights.dims(), memory::data_type::f32, memory::format_tag::hwio});
    } else {
      built.backward_weights = {primitives.backward_weights(source, gradient, bias, destination),
                                portable_attributes(), cpu(), built.forward};
      if (half && source_sizes.size() == 2) {
        built.dense_gradient = own_dense_gradient(source_sizes, outputs);
      }
      parameters_.lay_out(built.weights, built.dense_gradient
                                             ? in_strips(weights.dims(), built.dense_gradient->sizes().strip)
                                             : built.backward_weights.diff_weights_desc());
    }
  }
  Arguments arguments = {
      {DNNL_ARG_SRC, built.source},
      {DNNL_ARG_WEIGHTS, parameters_.in_layout(built.weights, built.forward.weights_desc())},
      {DNNL_ARG_DST, built.destination}};
  if (built.has_bias) {
    arguments.emplace_back(DNNL_ARG_BIAS, parameters_.in_layout(built.weights + 1, bias));
  }
  add_primitive<typename Primitives::Forward>(graph_.forward_, built.name() + " forward", built.forward,
                                              std::move(arguments), built.flops());
  activation_ = built.destination;
  next_parameter_ += built.has_bias ? 2 : 1;
  built_.push_back(std::move(built));
  if (relu_follows) ++layer_;
}

bool GraphBuilder::uses_amx() const { return precision_ == Precision::bf16 && has_amx(); }

bool GraphBuilder::suits_amx(std::size_t layer) const {
  const std::vector<Layer>& layers = architecture_.layers;
  if (!uses_amx() || layer == 0 || shapes_[layer - 1][0] % 16 != 0) return false;
  if (const auto* dense = std::get_if<Dense>(&layers[layer])) {
    return layer + 1 < layers.size() && dense->units % 16 == 0;
  }
  const auto* convolution = std::get_if<Convolution>(&layers[layer]);
  return convolution != nullptr && convolution->stride == 1 && convolution->kernel % 2 == 1 &&
         convolution->channels % 16 == 0 &&
         (convolution->kernel == 1 || shapes_[layer][1] > 1 || shapes_[layer][2] > 1);
}

// The first layer's single channel would leave bfloat16's instructions idle. What AMX does not suit is
// oneDNN's; of the dense layers the last one stays as it is, whose results are the answer.
bool GraphBuilder::multiplies_half() const {
  const Layer& layer = architecture_.layers[layer_];
  if (precision_ != Precision::bf16 || next_parameter_ == 0) return false;
  const bool is_hidden_dense =
      std::holds_alternative<Dense>(layer) && layer_ + 1 < architecture_.layers.size();
  return std::holds_alternative<Convolution>(layer) || (is_hidden_dense && !uses_amx());
}

bool GraphBuilder::parts_bias() const {
  if (precision_ != Precision::bf16 || next_is<BatchNorm>(1)) return false;
  return std::holds_alternative<Convolution>(architecture_.layers[layer_]) || multiplies_half();
}

memory GraphBuilder::pack_for_amx(int index, Parameters::Form form,
                                  const std::shared_ptr<AmxConvolution>& computes,
                                  const std::shared_ptr<DenseGradient>& dense) {
  const bool is_forward = form == Parameters::Form::forward;
  const std::size_t size = is_forward ? computes->forward_weights_size() : computes->backward_weights_size();
  if (dense) {
    const auto pack = is_forward ? &AmxConvolution::pack_forward_part : &AmxConvolution::pack_backward_part;
    return parameters_.packed_by_parts(
        index, form, size,
        [computes, pack, strip = dense->sizes().strip](std::span<const float> master,
                                                       const Parameters::Part& part, std::uint16_t* to) {
          (*computes.*pack)(master, strip, part.first, part.count, to);
        });
  }
  const auto pack =
      is_forward ? &AmxConvolution::pack_forward_weights : &AmxConvolution::pack_backward_weights;
  return parameters_.packed(
      index, form, size,
      [computes, pack](std::span<const float> master, std::uint16_t* to) { (*computes.*pack)(master, to); });
}

void GraphBuilder::add_amx(int outputs, int kernel) {
  const memory::dims sizes = sizes_of(activation_);
  const memory source = in_half(graph_.forward_, activation_);
  const memory destination = half_memory({sizes[0], outputs, sizes[2], sizes[3]});
  const bool is_dense = std::holds_alternative<Dense>(architecture_.layers[layer_]);
  const auto computes =
      std::make_shared<AmxConvolution>(bordered_sizes(sizes, border_of(sizes)),
                                       static_cast<std::size_t>(outputs), static_cast<std::size_t>(kernel));
  const int index = next_parameter_++;
  const memory::dims weights =
      is_dense ? memory::dims{outputs, sizes[1]} : memory::dims{outputs, sizes[1], kernel, kernel};
  const auto dense_gradient = is_dense ? own_dense_gradient(sizes, outputs) : nullptr;
  if (dense_gradient) {
    parameters_.lay_out(index, in_strips(weights, dense_gradient->sizes().strip));
  } else {
    const auto tag = is_dense ? memory::format_tag::ba : memory::format_tag::hwio;
    parameters_.lay_out(index, {weights, memory::data_type::f32, tag});
  }
  const memory packed = pack_for_amx(index, Parameters::Form::forward, computes, dense_gradient);
  AmxLayer built{
      computes,
      dense_gradient,
      index,
      is_dense,
      index == 0,
      is_dense ? describe("dense", weights, {sizes[0], sizes[1]}) : describe("convolution", weights, sizes),
      count_flops(weights, sizes_of(destination)),
      source,
      destination};
  if (next_is<BatchNorm>(1)) {
    next_statistics_ = std::make_shared<Statistics>(static_cast<std::size_t>(outputs));
  }
  graph_.memories_.insert(graph_.memories_.end(), {source, packed, destination});
  graph_.forward_.push_back({{built.name + " forward", kAmx, built.flops},
                             [computes, from = halves(source), weights = halves(packed),
                              to = halves(destination), state = next_statistics_](const Pass&) {
                               computes->forward(from, weights, to, state ? &state->sums : nullptr);
                             }});
  activation_ = destination;
  built_.push_back(std::move(built));
}

void GraphBuilder::add_dense(const DenseSizes& sizes) {
  const memory::dims source_sizes = sizes_of(activation_);
  const auto outputs = static_cast<memory::dim>(sizes.outputs);
  const memory::dims weights = {outputs, source_sizes[1]};
  const memory source = in_layout(graph_.forward_, activation_, row_major(source_sizes));
  const memory destination = zeroed_memory(row_major({source_sizes[0], outputs}));
  const auto computes = std::make_shared<DenseProduct>(sizes);
  const bool relu_follows = next_is<Relu>(1) && !is_skip_[layer_ + 1];
  DenseLayer built{.product = computes,
                   .gradient = {},
                   .weights = next_parameter_,
                   .first = next_parameter_ == 0,
                   .masks_gradient = relu_follows,
                   .name = describe("dense", weights, source_sizes),
                   .flops = count_flops(weights, sizes_of(destination)),
                   .source = source,
                   .destination = destination};
  const memory::desc layout = in_strips(weights, sizes.strip);
  if (purpose_ == Purpose::training) {
    built.gradient = std::make_shared<DenseGradient>(sizes);
    parameters_.lay_out(built.weights, layout);
  }
  const memory in_strips = parameters_.in_layout(built.weights, layout);
  const std::span<const float> biases = floats(parameters_.master(built.weights + 1));
  graph_.memories_.insert(graph_.memories_.end(), {source, in_strips, destination});
  graph_.forward_.push_back({{built.name + " forward", kAvx512, built.flops},
                             [=, relu = relu_follows ? WithRelu::yes : WithRelu::no](const Pass&) {
                               computes->forward(floats(source), floats(in_strips), biases, relu,
                                                 floats(destination));
                             }});
  activation_ = destination;
  next_parameter_ += 2;
  built_.push_back(std::move(built));
  if (relu_follows) ++layer_;
}

// Not the small kernels of 3x3, though there it would be quicker too when many samples come at once: for a
// single picture its transformed weights, four times as many, cost more than it saves.
bool GraphBuilder::suits_winograd(const Convolution& convolution) const {
  if (precision_ != Precision::f32 || convolution.stride != 1 || convolution.kernel != 5) return false;
  return WinogradConvolution::suits(convolution_sizes(sizes_of(activation_), convolution.channels), 5);
}

void GraphBuilder::add_winograd(const Convolution& convolution) {
  const memory::dims sizes = sizes_of(activation_);
  const std::optional<PixelLayout> layout = pixel_layout(activation_.get_desc());
  const memory source =
      layout && layout->inner % 16 == 0
          ? activation_
          : in_layout(graph_.forward_, activation_, by_pixel(sizes, memory::data_type::f32));
  const memory destination = float_memory({sizes[0], convolution.channels, sizes[2], sizes[3]}, source);
  const auto computes = std::make_shared<WinogradConvolution>(convolution_sizes(sizes, convolution.channels),
                                                              static_cast<std::size_t>(convolution.kernel));
  const bool relu_follows = next_is<Relu>(1) && !is_skip_[layer_ + 1];
  const bool pool_follows = next_is<MaxPool>(2) && !is_skip_[layer_ + 2];
  const memory::dims weights = {convolution.channels, sizes[1], convolution.kernel, convolution.kernel};
  WinogradLayer built{.convolution = computes,
                      .weights = next_parameter_,
                      .has_bias = convolution.bias == Bias::added,
                      .first = next_parameter_ == 0,
                      .masks_gradient = relu_follows && !pool_follows,
                      .name = describe("convolution", weights, sizes),
                      .flops = count_flops(weights, sizes_of(destination)),
                      .source = source,
                      .destination = destination};
  parameters_.lay_out(built.weights, {weights, memory::data_type::f32, memory::format_tag::hwio});
  const memory transformed =
      parameters_.packed(built.weights, Parameters::Form::forward, computes->transformed_weights_size(),
                         [computes](std::span<const float> master, float* to) {
                           computes->transform_forward_weights(master, to);
                         });
  const std::span<const float> biases =
      built.has_bias ? floats(parameters_.master(built.weights + 1)) : std::span<const float>();
  graph_.memories_.insert(graph_.memories_.end(), {source, transformed, destination});
  graph_.forward_.push_back(
      {{built.name + " forward", kWinograd, built.flops},
       [computes, from = activations_of(source), weights = floats(transformed), biases,
        relu = relu_follows ? WithRelu::yes : WithRelu::no, to = activations_of(destination)](const Pass&) {
         computes->forward(from, weights.data(), biases, relu, to);
       }});
  activation_ = destination;
  next_parameter_ += built.has_bias ? 2 : 1;
  built_.push_back(std::move(built));
  if (relu_follows) ++layer_;
}

// In training alone.
void GraphBuilder::add_forward(const BatchNorm&) {
  assert(purpose_ == Purpose::training);
  add_normalize(Normalization::batch_norm);
}

void GraphBuilder::add_normalize(Normalization normalization) {
  const bool trains = purpose_ == Purpose::training;
  NormalizeLayer built{.normalization = normalization,
                       .steps = {WithRelu::no, WithPool::no},
                       .parameter = next_parameter_,
                       .z = activation_,
                       .skip = {},
                       .skip_index = 0,
                       .y = {},
                       .statistics = {}};
  const int parameters = normalization == Normalization::batch_norm ? 4
                         : normalization == Normalization::bias     ? 1
                                                                    : 0;
  next_parameter_ += parameters;
  const auto may_take = [this] { return !is_skip_[layer_ + 1]; };
  if (next_is<Relu>(1) && may_take()) {
    built.steps.relu = WithRelu::yes;
    ++layer_;
  }
  const memory::dims sizes = sizes_of(built.z);
  // In single precision y is laid out as z, which oneDNN chose for the convolutions.
  const auto new_y = [&](const memory::dims& y_sizes) {
    return precision_ == Precision::bf16 ? half_memory(y_sizes) : float_memory(y_sizes, built.z);
  };
  if (next_is<Residual>(1) && may_take() && sizes_of(activations_[skip_index(layer_ + 1)]).size() == 4) {
    ++layer_;
    built.skip_index = skip_index(layer_);
    const memory& skipped = activations_[built.skip_index];
    built.skip = precision_ == Precision::bf16
                     ? in_half(graph_.forward_, skipped)
                     : in_layout(graph_.forward_, skipped, float_memory(sizes, built.z).get_desc());
    graph_.memories_.push_back(built.skip);
  }
  if (next_is<MaxPool>(1) && may_take()) {
    built.steps.pool = WithPool::yes;
    ++layer_;
  }
  const bool pools = built.steps.pool == WithPool::yes;
  built.y = new_y(pools ? memory::dims{sizes[0], sizes[1], sizes[2] / 2, sizes[3] / 2} : sizes);
  const bool has_sums = next_statistics_ != nullptr;
  const auto state = has_sums ? std::exchange(next_statistics_, nullptr)
                              : std::make_shared<Statistics>(static_cast<std::size_t>(sizes[1]));
  built.statistics = state;
  graph_.memories_.insert(graph_.memories_.end(), {built.z, built.y});
  for (int i = built.parameter; trains && i < built.parameter + parameters; ++i) {
    gradient_of(i) = zeroed_memory(parameters_.master(i).get_desc());
  }
  const Activations z = activations_of(built.z);
  const Activations y = activations_of(built.y);
  const std::optional<Activations> skip =
      built.skip ? std::optional(activations_of(built.skip)) : std::nullopt;
  if (normalization == Normalization::batch_norm) {
    const std::span<const float> scales = floats(parameters_.master(built.parameter));
    const std::span<const float> shifts = floats(parameters_.master(built.parameter + 1));
    const std::span<const float> running_means = floats(parameters_.master(built.parameter + 2));
    const std::span<const float> running_variances = floats(parameters_.master(built.parameter + 3));
    const std::span<float> batch_means = floats(gradient_of(built.parameter + 2));
    const std::span<float> batch_variances = floats(gradient_of(built.parameter + 3));
    const auto count = static_cast<double>(z.samples * z.height * z.width);
    add_kernel(graph_.forward_, "batch norm forward", [=, steps = built.steps](const Pass& pass) {
      Statistics& statistics = *state;
      if (pass.learns && !has_sums) sum_channels(z, statistics.sums);
      for (std::size_t i = 0; i < z.channels; ++i) {
        Moments used{static_cast<double>(running_means[i]), static_cast<double>(running_variances[i])};
        if (pass.learns) {
          used = moments(statistics.sums, i, count);
          batch_means[i] = static_cast<float>(used.mean);
          batch_variances[i] = static_cast<float>(used.variance * count / std::max(count - 1, 1.0));
        }
        normalize_channel(statistics, i, used, scales[i], shifts[i]);
      }
      normalize(steps, z, statistics.factors, statistics.offsets, skip ? &*skip : nullptr, y);
    });
  } else {
    std::ranges::fill(state->factors, 1.0F);
    const bool has_bias = normalization == Normalization::bias;
    const std::span<const float> biases =
        has_bias ? floats(parameters_.master(built.parameter)) : std::span<const float>(state->offsets);
    add_kernel(graph_.forward_, "bias forward", [=, steps = built.steps](const Pass&) {
      normalize(steps, z, state->factors, biases, skip ? &*skip : nullptr, y);
    });
  }
  activation_ = built.y;
  built_.push_back(std::move(built));
}

// The sum where nothing else can take it along, in single precision.
void GraphBuilder::add_forward(const Residual&) {
  const std::size_t index = skip_index(layer_);
  const memory source = as_floats(activation_);
  const memory skip = in_layout(graph_.forward_, activations_[index], source.get_desc());
  const memory destination = zeroed_memory(source.get_desc());
  add_kernel(graph_.forward_, "residual forward", [=](const Pass&) {
    std::ranges::copy(floats(source), floats(destination).begin());
    add(floats(skip), floats(destination));
  });
  activation_ = destination;
  built_.push_back(ResidualLayer{index});
}

void GraphBuilder::add_forward(const MeanMaxPool&) {
  const memory source =
      pixel_layout(activation_.get_desc())
          ? activation_
          : in_layout(graph_.forward_, activation_, by_pixel(sizes_of(activation_), memory::data_type::f32));
  graph_.memories_.push_back(source);
  const memory::dims sizes = sizes_of(source);
  const memory destination = zeroed_memory(row_major({sizes[0], 2 * sizes[1]}));
  add_kernel(graph_.forward_, "mean and max pool forward",
             [input = activations_of(source), source, destination](const Pass&) mutable {
               input.values = source.get_data_handle();  // of the network's own input it may change
               mean_max_pool(input, floats(destination));
             });
  activation_ = destination;
  built_.push_back(MeanMaxPoolLayer{source});
}

void GraphBuilder::add_forward(const MaxPool&) {
  const memory::dims sizes = sizes_of(activation_);
  const PixelLayout layout = (is_float(activation_) ? pixel_layout(activation_.get_desc()) : std::nullopt)
                                 .value_or(PixelLayout{memory::format_tag::nchw, 1});
  const memory source = in_layout(graph_.forward_, activation_, {sizes, memory::data_type::f32, layout.tag});
  const memory destination =
      zeroed_memory({{sizes[0], sizes[1], sizes[2] / 2, sizes[3] / 2}, memory::data_type::f32, layout.tag});
  const PoolSizes pool = pool_sizes(source.get_desc(), layout.inner);
  add_kernel(graph_.forward_, "max pool forward",
             [=](const Pass&) { max_pool(pool, floats(source), floats(destination)); });
  const bool after_relu = layer_ > 0 && std::holds_alternative<Relu>(architecture_.layers[layer_ - 1]);
  built_.push_back(
      PoolLayer{after_relu ? AfterRelu::yes : AfterRelu::no, pool, source, destination.get_desc()});
  activation_ = destination;
}

void GraphBuilder::add_forward(const Relu&) {
  const memory source = as_floats(activation_);
  const memory destination = zeroed_memory(source.get_desc());
  add_kernel(graph_.forward_, "relu forward",
             [source, destination](const Pass&) { relu(floats(source), floats(destination)); });
  activation_ = destination;
  built_.push_back(ReluLayer{destination});
}

// oneDNN could multiply [samples, C, H, W] as it is, but has its fastest kernels for [samples, C * H * W].
void GraphBuilder::add_forward(const Flatten&) {
  const memory::dims sizes = sizes_of(activation_);
  if (sizes.size() == 2) return;
  const memory source =
      in_layout(graph_.forward_, activation_, row_major(sizes, activation_.get_desc().data_type()));
  activation_ = view(source, {sizes[0], sizes[1] * sizes[2] * sizes[3]});
  built_.push_back(FlattenLayer{sizes});
}

void GraphBuilder::add_forward(const Dropout& dropout) {
  if (purpose_ == Purpose::inference) return;
  // Units are counted in row-major order, whatever layout this machine prefers.
  const memory source = in_layout(graph_.forward_, activation_, row_major(sizes_of(activation_)));
  const memory destination = zeroed_memory(source.get_desc());
  const memory factors = zeroed_memory(source.get_desc());
  const float probability = dropout.probability;
  const std::size_t layer = layer_;
  const auto samples = static_cast<std::size_t>(graph_.samples_);
  add_kernel(graph_.forward_, "dropout forward", [=](const Pass& pass) {
    const std::span<float> all = floats(factors);
    const std::size_t units = all.size() / samples;
    if (!pass.learns) std::ranges::fill(all, 1.0F);
    for (std::size_t i = 0; i < samples && pass.learns; ++i) {
      draw_dropout(dropout_key(pass, layer, pass.first_sample + static_cast<int>(i)), probability,
                   all.subspan(i * units, units));
    }
    multiply(floats(source), all, floats(destination));
  });
  activation_ = destination;
  built_.push_back(DropoutLayer{factors});
}

}  // namespace espy::nn
