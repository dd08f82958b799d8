// Builds a graph: chooses layouts and primitives for each layer on the way forward, then the way back through
// what that left.
//
// graph_forward.cc has the layers one by one, graph_backward.cc their way back, graph_builder.cc what both
// stand on: memory, conversions between layouts, operations.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <oneapi/dnnl/dnnl.hpp>

#include "nn/batch_statistics.h"
#include "nn/built_layers.h"
#include "nn/graph.h"

namespace espy::nn {

class GraphBuilder {
 public:
  GraphBuilder(const Architecture& architecture, Purpose purpose, Precision precision, Parameters& parameters,
               DenseGradients dense_gradients, Graph& graph);

  void build();

 private:
  using Operations = std::vector<Graph::Operation>;
  using Arguments = std::vector<std::pair<int, dnnl::memory>>;

  // Each adds the layer at layer_, and moves layer_ on where it takes the next layers along: activation_
  // becomes the output.
  void add_forward(const Convolution& convolution);
  void add_forward(const Dense& dense);
  void add_forward(const BatchNorm& norm);
  void add_forward(const Residual& residual);
  void add_forward(const MeanMaxPool& pool);
  void add_forward(const MaxPool& pool);
  void add_forward(const Relu& relu);
  void add_forward(const Flatten& flatten);
  void add_forward(const Dropout& dropout);
  template <typename Primitives>
  void add_weighted(const Primitives& primitives, int outputs, Bias adds);
  void add_amx(int outputs, int kernel);
  // Returns the weights as `computes` wants them; `dense` is null but for those in strips.
  dnnl::memory pack_for_amx(int index, Parameters::Form form, const std::shared_ptr<AmxConvolution>& computes,
                            const std::shared_ptr<DenseGradient>& dense);
  // Of a dense layer that DenseProduct suits.
  void add_dense(const DenseSizes& sizes);
  void add_winograd(const Convolution& convolution);
  // Adds a pass over the results of a convolution, and as many of the layers behind it as fit into it and
  // whose inputs nothing else needs.
  void add_normalize(Normalization normalization);

  // gradient_, by the layer's output, becomes the gradient by its input, or nothing when no layer before it
  // needs that.
  void build_backward();
  template <typename Primitives>
  void add_backward(const WeightedLayer<Primitives>& built);
  // Of the layer that read `source` and whose output's gradient is gradient_.
  void add_weights_gradient(const std::shared_ptr<WeightsGradient>& computes, const std::string& name,
                            double flops, const dnnl::memory& source, const dnnl::memory& weights_gradient);
  // Of the dense layer that read `source`, where `gradient` is the one by what it wrote, both row-major.
  void add_dense_gradient(const std::shared_ptr<DenseGradient>& computes, int weights,
                          const std::string& name, double flops, const dnnl::memory& source,
                          const dnnl::memory& gradient);
  void add_backward(const AmxLayer& built);
  void add_backward(const DenseLayer& built);
  void add_backward(const WinogradLayer& built);
  void add_backward(const NormalizeLayer& built);
  void add_backward(const ResidualLayer& built);
  void add_backward(const MeanMaxPoolLayer& built);
  void add_backward(const PoolLayer& built);
  void add_backward(const ReluLayer& built);
  void add_backward(const FlattenLayer& built);
  void add_backward(const DropoutLayer& built);
  // Adds what the residual layers found for this activation to gradient_, which is what the layers behind it
  // found.
  void add_skipped_gradients(std::size_t index);
  // Clears gradient_ in place where the output of a relu was zero.
  void mask_gradient(const dnnl::memory& output);

  // Whether activations in half precision have borders and margins.
  bool uses_amx() const;
  // Whether AMX computes this layer.
  bool suits_amx(std::size_t layer) const;
  // Whether Winograd's algorithm computes the convolution at layer_.
  bool suits_winograd(const Convolution& convolution) const;
  // Whether the layer at layer_ multiplies in half precision, and whether its bias is added by the pass
  // behind it.
  bool multiplies_half() const;
  bool parts_bias() const;
  dnnl::prop_kind kind() const;
  // Whether the layer this many places after the current one is of this kind.
  template <typename Kind>
  bool next_is(std::size_t places) const {
    const std::size_t index = layer_ + places;
    return index < architecture_.layers.size() && std::holds_alternative<Kind>(architecture_.layers[index]);
  }
  // Which activation the Residual at this place adds.
  std::size_t skip_index(std::size_t layer) const;
  dnnl::memory& gradient_of(int parameter);

  // How pictures lie in half precision: bordered where AMX will read them.
  dnnl::memory::desc half_layout(const dnnl::memory::dims& sizes) const;
  dnnl::memory half_memory(const dnnl::memory::dims& sizes);
  std::size_t border_of(const dnnl::memory::dims& sizes) const;
  dnnl::memory in_half(Operations& operations, const dnnl::memory& from);
  // Returns zeroed memory, with margins around what AMX will read.
  dnnl::memory new_memory(const dnnl::memory::desc& layout);
  // Returns new memory that is laid out as `like`, which has a pixel_layout(), for other sizes.
  static dnnl::memory float_memory(const dnnl::memory::dims& sizes, const dnnl::memory& like);
  dnnl::memory as_floats(const dnnl::memory& values);
  // Return [samples, K] as pictures of one pixel in half precision, with margins, and back.
  dnnl::memory as_picture(Operations& operations, const dnnl::memory& rows);
  dnnl::memory as_rows(Operations& operations, const dnnl::memory& picture);
  // Returns the same row-major values with other sizes.
  dnnl::memory view(const dnnl::memory& values, const dnnl::memory::dims& sizes);
  // Returns the values in this layout: the same memory when it has it, else one that is filled at this point
  // of the operations. Two users of one conversion share it.
  dnnl::memory in_layout(Operations& operations, const dnnl::memory& from, const dnnl::memory::desc& layout);

  template <typename Primitive>
  void add_primitive(Operations& operations, const std::string& name,
                     const typename Primitive::primitive_desc& description, Arguments arguments,
                     double flops = 0) {
    add_call(operations, {name, description.impl_info_str(), flops}, Primitive(description),
             description.scratchpad_desc(), std::move(arguments));
  }
  void add_call(Operations& operations, const Graph::OperationInfo& info, const dnnl::primitive& primitive,
                const dnnl::memory::desc& scratchpad, Arguments arguments);
  static void add_kernel(Operations& operations, const std::string& name, Graph::KernelCall kernel);
  // The primitives run one after the other, so they use the same scratch memory.
  void share_scratch();

  static constexpr const char* kAmx = "espy:amx_bf16";
  static constexpr const char* kAvx512 = "espy:avx512";
  static constexpr const char* kWinograd = "espy:winograd_avx512";
  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);

  const Architecture& architecture_;
  const Purpose purpose_;
  const Precision precision_;
  Parameters& parameters_;
  const DenseGradients dense_gradients_;
  Graph& graph_;
  const std::vector<Shape> shapes_;  // after each layer
  std::size_t border_ = 0;           // of half precision for AMX
  std::size_t layer_ = 0;
  int next_parameter_ = 0;
  std::shared_ptr<Statistics> next_statistics_;  // of a batch norm whose convolution sums up its channels
  dnnl::memory activation_;
  dnnl::memory gradient_;
  // Of the network's input and after each layer; null where a layer was taken along by the one before it.
  std::vector<dnnl::memory> activations_;
  std::vector<bool> is_skip_;  // which of these a residual layer adds
  std::vector<BuiltLayer> built_;
  // Which activation each of these reads, kNone for what a layer before it left to it.
  std::vector<std::size_t> input_indices_;
  std::multimap<std::size_t, dnnl::memory> skipped_gradients_;
  std::vector<std::pair<dnnl::memory, dnnl::memory>> conversions_;
  std::vector<dnnl::memory> scratches_;
};

}  // namespace espy::nn
