#include "nn/graph_builder.h"

#include <algorithm>
#include <utility>

#include "nn/layouts.h"

namespace espy::nn {
namespace {

using dnnl::memory;
using dnnl::prop_kind;

// Returns whether no layer needs the input's sizes before it is flattened: then the graph takes it flat.
bool starts_flat(const Architecture& architecture) {
  const auto layer =
      std::find_if(architecture.layers.begin(), architecture.layers.end(), [](const Layer& candidate) {
        return !std::holds_alternative<Relu>(candidate) && !std::holds_alternative<Dropout>(candidate);
      });
  return layer != architecture.layers.end() && std::holds_alternative<Flatten>(*layer);
}

bool ends_dense(const Architecture& architecture) {
  return !architecture.layers.empty() && std::holds_alternative<Dense>(architecture.layers.back());
}

memory::dims input_sizes(const Architecture& architecture, int samples) {
  const Shape& shape = architecture.input;
  if (starts_flat(architecture)) return {samples, static_cast<memory::dim>(element_count(shape))};
  return {samples, shape[0], shape[1], shape[2]};
}

}  // namespace

GraphBuilder::GraphBuilder(const Architecture& architecture, Purpose purpose, Precision precision,
                           Parameters& parameters, DenseGradients dense_gradients, Graph& graph)
    : architecture_(architecture),
      purpose_(purpose),
      precision_(precision),
      parameters_(parameters),
      dense_gradients_(dense_gradients),
      graph_(graph),
      shapes_(*layer_shapes(architecture)),
      activations_(architecture.layers.size() + 1),
      is_skip_(architecture.layers.size() + 1) {
  for (std::size_t i = 0; i < architecture.layers.size(); ++i) {
    if (const auto* residual = std::get_if<Residual>(&architecture.layers[i])) {
      is_skip_[i - static_cast<std::size_t>(residual->layers)] = true;
    }
    const auto* convolution = std::get_if<Convolution>(&architecture.layers[i]);
    if (convolution != nullptr && suits_amx(i)) {
      border_ = std::max(border_, static_cast<std::size_t>(convolution->kernel) / 2);
    }
  }
}

void GraphBuilder::build() {
  graph_.own_input_ = zeroed_memory(row_major(input_sizes(architecture_, graph_.samples_)));
  graph_.input_ = {graph_.own_input_.get_desc(), cpu(), graph_.own_input_.get_data_handle()};
  activation_ = graph_.input_;
  activations_[0] = activation_;
  graph_.gradients_.resize(static_cast<std::size_t>(parameters_.count()));
  graph_.dense_gradients_.resize(graph_.gradients_.size());
  for (layer_ = 0; layer_ < architecture_.layers.size(); ++layer_) {
    const std::size_t built = built_.size();
    const std::size_t input = layer_;
    std::visit([this](const auto& layer) { add_forward(layer); }, architecture_.layers[layer_]);
    activations_[layer_ + 1] = activation_;
    if (built_.size() > built) input_indices_.push_back(input);
    input_indices_.resize(built_.size(), kNone);
  }
  graph_.logits_ = in_layout(graph_.forward_, activation_, row_major(sizes_of(activation_)));
  if (purpose_ == Purpose::inference && ends_dense(architecture_)) {
    const memory& features = activations_[architecture_.layers.size() - 1];
    graph_.features_ = in_layout(graph_.forward_, features, row_major(sizes_of(features)));
  }
  if (purpose_ == Purpose::training) build_backward();
  share_scratch();
}

memory::desc GraphBuilder::half_layout(const memory::dims& sizes) const {
  if (!uses_amx()) return by_pixel(sizes, memory::data_type::bf16);
  return {sizes, memory::data_type::bf16, bordered_strides(bordered_sizes(sizes, border_of(sizes)))};
}

// Pictures of one pixel are what dense layers read: no kernel goes beyond it.
std::size_t GraphBuilder::border_of(const memory::dims& sizes) const {
  return sizes[2] == 1 && sizes[3] == 1 ? 0 : border_;
}

memory GraphBuilder::half_memory(const memory::dims& sizes) { return new_memory(half_layout(sizes)); }

memory GraphBuilder::in_half(Operations& operations, const memory& from) {
  return in_layout(operations, from, half_layout(sizes_of(from)));
}

memory GraphBuilder::new_memory(const memory::desc& layout) {
  if (!uses_amx() || layout.dims().size() != 4 || layout != half_layout(layout.dims())) {
    return zeroed_memory(layout);
  }
  const BorderedSizes bordered = bordered_sizes(layout.dims(), border_of(layout.dims()));
  const memory all = zeroed_memory({{static_cast<memory::dim>(bordered.size_with_margins())},
                                    memory::data_type::bf16,
                                    memory::format_tag::a});
  graph_.memories_.push_back(all);
  return {layout, cpu(), halves(all) + bordered.margin()};
}

memory GraphBuilder::float_memory(const memory::dims& sizes, const memory& like) {
  return zeroed_memory({sizes, memory::data_type::f32, pixel_layout(like.get_desc())->tag});
}

memory GraphBuilder::as_floats(const memory& values) {
  if (is_float(values)) return values;
  if (sizes_of(values).size() == 2) return in_layout(graph_.forward_, values, row_major(sizes_of(values)));
  return in_layout(graph_.forward_, values, by_pixel(sizes_of(values), memory::data_type::f32));
}

memory& GraphBuilder::gradient_of(int parameter) {
  return graph_.gradients_[static_cast<std::size_t>(parameter)];
}

std::size_t GraphBuilder::skip_index(std::size_t layer) const {
  return layer - static_cast<std::size_t>(std::get<Residual>(architecture_.layers[layer]).layers);
}

memory GraphBuilder::as_picture(Operations& operations, const memory& rows) {
  const memory::dims sizes = sizes_of(rows);
  const memory picture = half_memory({sizes[0], sizes[1], 1, 1});
  const memory to(row_major(sizes, memory::data_type::bf16), cpu(), picture.get_data_handle());
  const dnnl::reorder::primitive_desc reorder(cpu(), rows.get_desc(), cpu(), to.get_desc(),
                                              portable_attributes());
  add_primitive<dnnl::reorder>(operations, "reorder", reorder, {{DNNL_ARG_FROM, rows}, {DNNL_ARG_TO, to}});
  return picture;
}

memory GraphBuilder::as_rows(Operations& operations, const memory& picture) {
  const memory::dims sizes = sizes_of(picture);
  const memory::data_type type = picture.get_desc().data_type();
  const memory source = in_layout(operations, picture, by_pixel(sizes, type));
  graph_.memories_.push_back(source);
  return {row_major({sizes[0], sizes[1]}, type), cpu(), source.get_data_handle()};
}

memory GraphBuilder::view(const memory& values, const memory::dims& sizes) {
  graph_.memories_.push_back(values);
  return {row_major(sizes, values.get_desc().data_type()), cpu(), values.get_data_handle()};
}

memory GraphBuilder::in_layout(Operations& operations, const memory& from, const memory::desc& layout) {
  if (from.get_desc() == layout) return from;
  for (const auto& [source, converted] : conversions_) {
    if (source == from && converted.get_desc() == layout) return converted;
  }
  const memory to = new_memory(layout);
  const dnnl::reorder::primitive_desc reorder(cpu(), from.get_desc(), cpu(), layout, portable_attributes());
  add_primitive<dnnl::reorder>(operations, "reorder", reorder, {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}});
  conversions_.emplace_back(from, to);
  return to;
}

void GraphBuilder::add_call(Operations& operations, const Graph::OperationInfo& info,
                            const dnnl::primitive& primitive, const memory::desc& scratchpad,
                            Arguments arguments) {
  const memory scratch(scratchpad, cpu(), DNNL_MEMORY_NONE);
  scratches_.push_back(scratch);
  arguments.emplace_back(DNNL_ARG_SCRATCHPAD, scratch);
  Graph::PrimitiveCall call{primitive, {}};
  for (const auto& [argument, memory] : arguments) {
    if (memory.get_desc().get_size() == 0) continue;
    call.arguments.push_back({argument, memory.get()});
    graph_.memories_.push_back(memory);
  }
  operations.push_back({info, std::move(call)});
}

void GraphBuilder::add_kernel(Operations& operations, const std::string& name, Graph::KernelCall kernel) {
  operations.push_back({{name, "espy", 0}, std::move(kernel)});
}

void GraphBuilder::share_scratch() {
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

prop_kind GraphBuilder::kind() const {
  return purpose_ == Purpose::training ? prop_kind::forward_training : prop_kind::forward_inference;
}

}  // namespace espy::nn
