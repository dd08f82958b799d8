// The way back.
#include "nn/graph_builder.h"

#include <cstring>
#include <optional>
#include <utility>

#include "nn/kernels.h"
#include "nn/layouts.h"
#include "nn/normalize.h"

namespace espy::nn {

using dnnl::algorithm;
using dnnl::memory;
using dnnl::prop_kind;

void GraphBuilder::build_backward() {
  graph_.logits_gradient_ = zeroed_memory(graph_.logits_.get_desc());
  gradient_ = graph_.logits_gradient_;
  for (std::size_t i = built_.size(); i > 0 && gradient_; --i) {
    std::visit([this](const auto& built) { add_backward(built); }, built_[i - 1]);
    if (gradient_) add_skipped_gradients(input_indices_[i - 1]);
  }
}

// Backward: gradient_, by the layer's output, becomes the gradient by its input, or nothing when no layer
// before it needs that.

template <typename Primitives>
void GraphBuilder::add_backward(const WeightedLayer<Primitives>& built) {
  if (built.masks_gradient) mask_gradient(built.destination);
  // Of a dense layer whose bias was added to pictures of one pixel.
  if (sizes_of(gradient_).size() > sizes_of(built.destination).size()) {
    gradient_ = as_rows(graph_.backward_, gradient_);
  }

  for (int i = built.weights; i <= built.weights + (built.has_bias ? 1 : 0); ++i) {
    if (i == built.weights && built.dense_gradient) continue;
    gradient_of(i) = zeroed_memory(parameters_.master(i).get_desc());
  }
  if (built.dense_gradient) {
    const auto by_rows = [this](const memory& values) {
      return in_layout(graph_.backward_, values, row_major(sizes_of(values), memory::data_type::bf16));
    };
    add_dense_gradient(built.dense_gradient, built.weights, built.name(), built.flops(),
                       by_rows(built.source), by_rows(gradient_));
  } else if (built.weights_gradient) {
    add_weights_gradient(built.weights_gradient, built.name(), built.flops(), built.source,
                         gradient_of(built.weights));
  } else {
    const auto& weights = built.backward_weights;
    Arguments arguments = {
        {DNNL_ARG_SRC, in_layout(graph_.backward_, built.source, weights.src_desc())},
        {DNNL_ARG_DIFF_DST, in_layout(graph_.backward_, gradient_, weights.diff_dst_desc())},
        {DNNL_ARG_DIFF_WEIGHTS, gradient_of(built.weights)}};
    if (built.has_bias) arguments.emplace_back(DNNL_ARG_DIFF_BIAS, gradient_of(built.weights + 1));
    add_primitive<typename Primitives::BackwardWeights>(graph_.backward_, built.name() + " backward weights",
                                                        weights, std::move(arguments), built.flops());
  }
  if (built.first) {
    gradient_ = {};
    return;
  }

  const auto type = built.forward.dst_desc().data_type();
  const bool half = type == memory::data_type::bf16;
  const auto layout = [&](const memory& memory) {
    return half ? channels_last(sizes_of(memory), type) : any_layout(sizes_of(memory));
  };
  const typename Primitives::BackwardData::primitive_desc data(
      built.primitives.backward_data(layout(built.source),
                                     any_layout(built.forward.weights_desc().dims(), type),
                                     layout(built.destination)),
      portable_attributes(), cpu(), built.forward);
  const memory source_gradient = zeroed_memory(data.diff_src_desc());
  add_primitive<typename Primitives::BackwardData>(
      graph_.backward_, built.name() + " backward data", data,
      {{DNNL_ARG_DIFF_DST, in_layout(graph_.backward_, gradient_, data.diff_dst_desc())},
       {DNNL_ARG_WEIGHTS, parameters_.in_layout(built.weights, data.weights_desc())},
       {DNNL_ARG_DIFF_SRC, source_gradient}},
      built.flops());
  gradient_ = source_gradient;
}

void GraphBuilder::add_dense_gradient(const std::shared_ptr<DenseGradient>& computes, int weights,
                                      const std::string& name, double flops, const memory& source,
                                      const memory& gradient) {
  const auto values = [](const memory& rows) { return static_cast<const void*>(rows.get_data_handle()); };
  graph_.memories_.insert(graph_.memories_.end(), {source, gradient});
  const auto take = [computes, source, gradient, values](const Pass&) {
    computes->take(values(source), values(gradient));
  };
  if (dense_gradients_ == DenseGradients::left) {
    graph_.dense_gradients_[static_cast<std::size_t>(weights)] = computes;
    return add_kernel(graph_.backward_, name + " backward weights, begun", take);
  }
  gradient_of(weights) = zeroed_memory(parameters_.master(weights).get_desc());
  graph_.backward_.push_back({{name + " backward weights", computes->implementation(), flops},
                              [take, computes, to = floats(gradient_of(weights))](const Pass& pass) {
                                take(pass);
                                computes->run_all(to);
                              }});
}

void GraphBuilder::add_weights_gradient(const std::shared_ptr<WeightsGradient>& computes,
                                        const std::string& name, double flops, const memory& source,
                                        const memory& weights_gradient) {
  const auto by_pixels = [this](const memory& values) {
    return in_layout(graph_.backward_, values, by_pixel(sizes_of(values), memory::data_type::bf16));
  };
  const memory from = by_pixels(source);
  const memory by = by_pixels(gradient_);
  graph_.memories_.insert(graph_.memories_.end(), {from, by, weights_gradient});
  graph_.backward_.push_back({{name + " backward weights", "espy:avx512_bf16", flops},
                              [computes, from = halves(from), by = halves(by),
                               to = floats(weights_gradient)](const Pass&) { computes->run(from, by, to); }});
}

void GraphBuilder::add_backward(const AmxLayer& built) {
  const auto& computes = built.convolution;
  const memory gradient = in_half(graph_.backward_, gradient_);
  if (built.dense_gradient) {
    add_dense_gradient(built.dense_gradient, built.weights, built.name, built.flops, built.source, gradient);
  } else {
    gradient_of(built.weights) = zeroed_memory(parameters_.master(built.weights).get_desc());
    const memory weights_gradient = gradient_of(built.weights);
    graph_.memories_.push_back(gradient);
    graph_.backward_.push_back(
        {{built.name + " backward weights", kAmx, built.flops},
         [computes, from = halves(built.source), by = halves(gradient), weights_gradient](const Pass&) {
           computes->backward_weights(from, by, floats(weights_gradient));
         }});
  }
  if (built.first) {
    gradient_ = {};
    return;
  }

  const memory source_gradient = half_memory(sizes_of(built.source));
  const memory packed =
      pack_for_amx(built.weights, Parameters::Form::backward, computes, built.dense_gradient);
  graph_.memories_.insert(graph_.memories_.end(), {packed, source_gradient});
  graph_.backward_.push_back(
      {{built.name + " backward data", kAmx, built.flops},
       [computes, by = halves(gradient), weights = halves(packed),
        to = halves(source_gradient)](const Pass&) { computes->backward_data(by, weights, to); }});
  gradient_ = built.is_dense ? as_rows(graph_.backward_, source_gradient) : source_gradient;
}

void GraphBuilder::add_backward(const DenseLayer& built) {
  if (built.masks_gradient) mask_gradient(built.destination);
  const memory gradient = in_layout(graph_.backward_, gradient_, built.destination.get_desc());
  add_dense_gradient(built.gradient, built.weights, built.name, built.flops, built.source, gradient);
  gradient_of(built.weights + 1) = zeroed_memory(parameters_.master(built.weights + 1).get_desc());
  add_kernel(graph_.backward_, "dense bias backward",
             [gradient, by_biases = floats(gradient_of(built.weights + 1))](const Pass&) {
               sum_rows(floats(gradient), by_biases);
             });
  if (built.first) {
    gradient_ = {};
    return;
  }

  const memory source_gradient = zeroed_memory(built.source.get_desc());
  const memory weights = parameters_.master(built.weights);
  graph_.memories_.push_back(source_gradient);
  graph_.backward_.push_back({{built.name + " backward data", kAvx512, built.flops},
                              [computes = built.product, gradient, weights, source_gradient](const Pass&) {
                                computes->backward_data(floats(gradient), floats(weights),
                                                        floats(source_gradient));
                              }});
  gradient_ = source_gradient;
}

void GraphBuilder::add_backward(const WinogradLayer& built) {
  if (built.masks_gradient) mask_gradient(built.destination);
  const auto& computes = built.convolution;
  for (int i = built.weights; i <= built.weights + (built.has_bias ? 1 : 0); ++i) {
    gradient_of(i) = zeroed_memory(parameters_.master(i).get_desc());
  }
  const memory gradient = in_layout(graph_.backward_, gradient_, built.destination.get_desc());
  const std::span<float> by_weights = floats(gradient_of(built.weights));
  const std::span<float> by_biases =
      built.has_bias ? floats(gradient_of(built.weights + 1)) : std::span<float>();
  graph_.memories_.push_back(gradient);
  graph_.backward_.push_back(
      {{built.name + " backward weights", kWinograd, built.flops},
       [computes, from = activations_of(built.source), by = activations_of(gradient), by_weights,
        by_biases](const Pass&) { computes->backward_weights(from, by, by_weights, by_biases); }});
  if (built.first) {
    gradient_ = {};
    return;
  }

  const memory source_gradient = zeroed_memory(built.source.get_desc());
  const memory transformed =
      parameters_.packed(built.weights, Parameters::Form::backward, computes->transformed_weights_size(),
                         [computes](std::span<const float> master, float* to) {
                           computes->transform_backward_weights(master, to);
                         });
  graph_.memories_.insert(graph_.memories_.end(), {transformed, source_gradient});
  graph_.backward_.push_back({{built.name + " backward data", kWinograd, built.flops},
                              [computes, by = activations_of(gradient), weights = floats(transformed),
                               to = activations_of(source_gradient)](const Pass&) {
                                computes->backward_data(by, weights.data(), to);
                              }});
  gradient_ = source_gradient;
}

void GraphBuilder::add_backward(const NormalizeLayer& built) {
  if (sizes_of(gradient_).size() == 2) gradient_ = as_picture(graph_.backward_, gradient_);
  const memory gradient = is_float(built.y) ? in_layout(graph_.backward_, gradient_, built.y.get_desc())
                                            : in_half(graph_.backward_, gradient_);
  memory unpooled = gradient;
  if (built.steps.pool == WithPool::yes) {
    unpooled = is_float(built.y) ? float_memory(sizes_of(built.z), built.y) : half_memory(sizes_of(built.z));
  }
  graph_.memories_.insert(graph_.memories_.end(), {gradient, unpooled});
  const Activations z = activations_of(built.z);
  const Activations from = activations_of(gradient);
  const Activations to = activations_of(unpooled);
  const std::optional<Activations> skip =
      built.skip ? std::optional(activations_of(built.skip)) : std::nullopt;
  const auto add = [&](const char* name, const auto& biases, const auto& differentiate) {
    add_kernel(graph_.backward_, name, [=, steps = built.steps, state = built.statistics](const Pass&) {
      Statistics& statistics = *state;
      sum_gradient(steps, z, statistics.factors, biases(statistics), skip ? &*skip : nullptr, from, to,
                   statistics.sums);
      for (std::size_t i = 0; i < z.channels; ++i) differentiate(statistics, i);
      finish_gradient(steps.relu, statistics.factors, biases(statistics),
                      {statistics.factors, statistics.z_factors, statistics.constants}, to, z);
    });
  };
  const auto offsets = [](const Statistics& statistics) {
    return std::span<const float>(statistics.offsets);
  };
  switch (built.normalization) {
    case Normalization::batch_norm: {
      const std::span<float> scale_gradient = floats(gradient_of(built.parameter));
      const std::span<float> shift_gradient = floats(gradient_of(built.parameter + 1));
      const auto count = static_cast<double>(z.samples * z.height * z.width);
      add("batch norm backward", offsets, [=](Statistics& statistics, std::size_t i) {
        const ScaleAndShift by = differentiate_channel(statistics, i, count);
        scale_gradient[i] = by.scale;
        shift_gradient[i] = by.shift;
      });
      break;
    }
    case Normalization::bias: {
      // The factors are 1, and the gradient's line is d itself.
      const std::span<const float> biases = floats(parameters_.master(built.parameter));
      const std::span<float> bias_gradient = floats(gradient_of(built.parameter));
      add(
          "bias backward", [=](const Statistics&) { return biases; },
          [=](const Statistics& statistics, std::size_t i) {
            bias_gradient[i] = static_cast<float>(statistics.sums.first[i]);
          });
      break;
    }
    case Normalization::none:
      add("relu backward", offsets, [](const Statistics&, std::size_t) {});
  }
  if (built.skip) skipped_gradients_.emplace(built.skip_index, unpooled);
  // Another name of the same place: conversions of what it held before must not be taken for the
  // gradient's.
  gradient_ = {built.z.get_desc(), cpu(), built.z.get_data_handle()};
}

void GraphBuilder::add_backward(const ResidualLayer& built) {
  // A copy, since the layers before may change the gradient in place.
  const memory source = gradient_;
  const memory copy = zeroed_memory(source.get_desc());
  add_kernel(graph_.backward_, "residual backward", [=](const Pass&) {
    std::memcpy(copy.get_data_handle(), source.get_data_handle(), copy.get_desc().get_size());
  });
  skipped_gradients_.emplace(built.skip_index, copy);
}

void GraphBuilder::add_backward(const MeanMaxPoolLayer& built) {
  const memory gradient = in_layout(graph_.backward_, gradient_, row_major(sizes_of(gradient_)));
  const memory source_gradient = new_memory(built.source.get_desc());
  graph_.memories_.push_back(source_gradient);
  add_kernel(
      graph_.backward_, "mean and max pool backward",
      [gradient, input = activations_of(built.source), input_gradient = activations_of(source_gradient)](
          const Pass&) { mean_max_pool_backward(input, floats(gradient), input_gradient); });
  gradient_ = source_gradient;
}

void GraphBuilder::add_skipped_gradients(std::size_t index) {
  const auto [first, last] = skipped_gradients_.equal_range(index);
  for (auto skipped = first; skipped != last; ++skipped) {
    if (!is_float(gradient_)) {
      gradient_ = sizes_of(gradient_).size() == 4
                      ? in_half(graph_.backward_, gradient_)
                      : in_layout(graph_.backward_, gradient_, row_major(sizes_of(gradient_)));
    }
    const memory sum = gradient_;
    const memory addend = is_float(sum) ? in_layout(graph_.backward_, skipped->second, sum.get_desc())
                                        : in_half(graph_.backward_, skipped->second);
    if (is_float(sum)) {
      add_kernel(graph_.backward_, "residual gradient",
                 [=](const Pass&) { add(floats(addend), floats(sum)); });
    } else {
      graph_.memories_.insert(graph_.memories_.end(), {addend, sum});
      add_kernel(graph_.backward_, "residual gradient",
                 [from = activations_of(addend), to = activations_of(sum)](const Pass&) { add(from, to); });
    }
  }
}

void GraphBuilder::add_backward(const PoolLayer& built) {
  const memory gradient = in_layout(graph_.backward_, gradient_, built.destination_layout);
  const memory source_gradient = zeroed_memory(built.source.get_desc());
  add_kernel(graph_.backward_, "max pool backward",
             [gradient, source_gradient, pool = built.pool, after_relu = built.after_relu,
              source = built.source](const Pass&) {
               max_pool_backward(pool, after_relu, floats(source), floats(gradient), floats(source_gradient));
             });
  gradient_ = source_gradient;
}

void GraphBuilder::add_backward(const ReluLayer& built) { mask_gradient(built.destination); }

void GraphBuilder::add_backward(const FlattenLayer& built) {
  const memory source = in_layout(graph_.backward_, gradient_,
                                  row_major(sizes_of(gradient_), gradient_.get_desc().data_type()));
  gradient_ = view(source, built.source_sizes);
}

void GraphBuilder::add_backward(const DropoutLayer& built) {
  const memory source = in_layout(graph_.backward_, gradient_, built.factors.get_desc());
  const memory destination = zeroed_memory(source.get_desc());
  add_kernel(graph_.backward_, "dropout backward",
             [source, destination, factors = built.factors](const Pass&) {
               multiply(floats(source), floats(factors), floats(destination));
             });
  gradient_ = destination;
}

void GraphBuilder::mask_gradient(const memory& output) {
  const memory gradient = in_layout(graph_.backward_, gradient_, output.get_desc());
  add_kernel(graph_.backward_, "relu backward",
             [output, gradient](const Pass&) { relu_backward(floats(output), floats(gradient)); });
  gradient_ = gradient;
}

}  // namespace espy::nn
