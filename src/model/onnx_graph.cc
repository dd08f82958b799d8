#include "model/onnx_graph.h"

#include <onnx_message/onnx.pb.h>

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/format.h"
#include "base/huge_pages.h"
#include "model/file_version.h"
#include "model/float16.h"
#include "model/onnx_fields.h"

namespace espy::model {
namespace {

// ONNX's raw_data is little-endian, and so is every machine that espy is built for.
static_assert(std::endian::native == std::endian::little);

// Opset 13 of ONNX 1.8 came with IR version 7; every runtime since 2020 reads them.
constexpr std::int64_t kIrVersion = 7;
constexpr std::int64_t kOpset = 13;

// Far beyond any network of ours; a file may not ask for more work than that.
constexpr int kMaxLayers = 1000;

constexpr std::string_view kInput = "input";
constexpr std::string_view kOutput = "logits";
constexpr std::string_view kPreparationKey = "espy.preparation";
constexpr std::string_view kLabelsKey = "espy.labels";
constexpr std::string_view kRecipeKey = "espy.recipe";
constexpr std::string_view kMetricsKey = "espy.metrics";
constexpr std::string_view kCalibrationKey = "espy.calibration";

Error invalid(std::string message) { return {ErrorCode::invalid_input, std::move(message)}; }

// ---- names and messages that writing and reading share

std::string_view operator_of(const nn::Layer& layer) {
  struct Name {
    std::string_view operator()(const nn::Convolution&) { return "Conv"; }
    std::string_view operator()(const nn::BatchNorm&) { return "BatchNormalization"; }
    std::string_view operator()(const nn::Relu&) { return "Relu"; }
    std::string_view operator()(const nn::MaxPool&) { return "MaxPool"; }
    std::string_view operator()(const nn::Residual&) { return "Add"; }
    // The first of the nodes of make_mean_max_pool.
    std::string_view operator()(const nn::MeanMaxPool&) { return "GlobalAveragePool"; }
    std::string_view operator()(const nn::Flatten&) { return "Flatten"; }
    std::string_view operator()(const nn::Dense&) { return "Gemm"; }
    std::string_view operator()(const nn::Dropout&) { return "Dropout"; }
  };
  return std::visit(Name{}, layer);
}

bool has_weights(const nn::Layer& layer) {
  return std::holds_alternative<nn::Convolution>(layer) || std::holds_alternative<nn::Dense>(layer);
}

bool has_bias(const nn::Layer& layer) {
  const auto* convolution = std::get_if<nn::Convolution>(&layer);
  return convolution == nullptr ? has_weights(layer) : convolution->bias == nn::Bias::added;
}

std::string node_name(const nn::Layer& layer, std::size_t index) {
  return format("{}_{}", operator_of(layer), index);
}

// What a layer's node reads beside the values of layers before it.
std::vector<std::string> parameter_names(const nn::Layer& layer, std::size_t index) {
  std::vector<std::string> names;
  if (has_weights(layer)) names.push_back(node_name(layer, index) + "_weights");
  if (has_bias(layer)) names.push_back(node_name(layer, index) + "_bias");
  return names;
}

std::string tensor_name(const std::string& parameter, ParameterType type) {
  return type == ParameterType::f16 ? parameter + "_float16" : parameter;
}

constexpr int element_type(ParameterType type) {
  return type == ParameterType::f16 ? onnx::TensorProto::FLOAT16 : onnx::TensorProto::FLOAT;
}

constexpr std::size_t element_bytes(ParameterType type) {
  return type == ParameterType::f16 ? sizeof(std::uint16_t) : sizeof(float);
}

void add_attribute(onnx::NodeProto& node, std::string_view name, std::int64_t value) {
  onnx::AttributeProto& attribute = *node.add_attribute();
  attribute.set_name(std::string(name));
  attribute.set_type(onnx::AttributeProto::INT);
  attribute.set_i(value);
}

void add_attribute(onnx::NodeProto& node, std::string_view name, const std::vector<std::int64_t>& values) {
  onnx::AttributeProto& attribute = *node.add_attribute();
  attribute.set_name(std::string(name));
  attribute.set_type(onnx::AttributeProto::INTS);
  for (const std::int64_t value : values) attribute.add_ints(value);
}

// Adds what is not the operator's default.
void add_attributes(onnx::NodeProto& node, const nn::Layer& layer) {
  if (const auto* convolution = std::get_if<nn::Convolution>(&layer)) {
    const int pad = (convolution->kernel - 1) / 2;
    add_attribute(node, "kernel_shape", {convolution->kernel, convolution->kernel});
    add_attribute(node, "pads", {pad, pad, pad, pad});
    if (convolution->stride != 1) add_attribute(node, "strides", {convolution->stride, convolution->stride});
  } else if (std::holds_alternative<nn::MaxPool>(layer)) {
    add_attribute(node, "kernel_shape", {2, 2});
    add_attribute(node, "strides", {2, 2});
  } else if (std::holds_alternative<nn::Dense>(layer)) {
    add_attribute(node, "transB", 1);  // weights are [units, K]
  }
}

onnx::NodeProto make_node(std::string_view type, const std::string& name, std::vector<std::string> inputs,
                          const std::string& output) {
  onnx::NodeProto node;
  node.set_name(name);
  node.set_op_type(std::string(type));
  for (std::string& input : inputs) node.add_input(std::move(input));
  node.add_output(output);
  return node;
}

// GlobalAveragePool and GlobalMaxPool, [C, H, W] -> [C, 1, 1], side by side.
std::vector<onnx::NodeProto> make_mean_max_pool(const std::string& name, const std::string& input,
                                                const std::string& output) {
  std::vector<onnx::NodeProto> nodes;
  nodes.push_back(make_node("GlobalAveragePool", name, {input}, name + "_mean"));
  nodes.push_back(make_node("GlobalMaxPool", name + "_max", {input}, name + "_max"));
  nodes.push_back(make_node("Concat", name + "_concat", {name + "_mean", name + "_max"}, name + "_concat"));
  add_attribute(nodes.back(), "axis", 1);
  nodes.push_back(make_node("Flatten", name + "_flatten", {name + "_concat"}, output));
  return nodes;
}

// The nodes of one layer: one, but for MeanMaxPool and for the casts before one whose parameters are stored
// in another type. `values` are the names of the network's input and of the outputs of the layers before.
std::vector<onnx::NodeProto> make_nodes(const nn::Layer& layer, std::size_t index, ParameterType type,
                                        const std::vector<std::string>& values, const std::string& output) {
  const std::string name = node_name(layer, index);
  if (std::holds_alternative<nn::MeanMaxPool>(layer)) return make_mean_max_pool(name, values.back(), output);
  std::vector<onnx::NodeProto> nodes;
  std::vector<std::string> inputs = {values.back()};
  for (const std::string& parameter : parameter_names(layer, index)) {
    if (type == ParameterType::f16) {
      nodes.push_back(make_node("Cast", parameter + "_cast", {tensor_name(parameter, type)}, parameter));
      add_attribute(nodes.back(), "to", onnx::TensorProto::FLOAT);
    }
    inputs.push_back(parameter);
  }
  if (const auto* residual = std::get_if<nn::Residual>(&layer)) {
    inputs.push_back(values[values.size() - 1 - static_cast<std::size_t>(residual->layers)]);
  }
  nodes.push_back(make_node(operator_of(layer), name, std::move(inputs), output));
  add_attributes(nodes.back(), layer);
  return nodes;
}

// A float tensor [batch, sizes...] whose batch is free.
onnx::ValueInfoProto make_value(std::string_view name, const nn::Shape& sizes) {
  onnx::ValueInfoProto value;
  value.set_name(std::string(name));
  onnx::TypeProto::Tensor& tensor = *value.mutable_type()->mutable_tensor_type();
  tensor.set_elem_type(onnx::TensorProto::FLOAT);
  tensor.mutable_shape()->add_dim()->set_dim_param("batch");
  for (const int size : sizes) tensor.mutable_shape()->add_dim()->set_dim_value(size);
  return value;
}

bool same(const google::protobuf::MessageLite& a, const google::protobuf::MessageLite& b) {
  return a.SerializeAsString() == b.SerializeAsString();
}

// ---- writing

onnx::TensorProto make_tensor(const std::string& parameter, ParameterType type, const nn::Tensor& tensor) {
  onnx::TensorProto message;
  message.set_name(tensor_name(parameter, type));
  message.set_data_type(element_type(type));
  for (const int size : tensor.shape) message.add_dims(size);
  if (type == ParameterType::f16) {
    std::vector<std::uint16_t> values(tensor.values.size());
    std::ranges::transform(tensor.values, values.begin(), to_float16);
    message.set_raw_data(values.data(), values.size() * sizeof(std::uint16_t));
  } else {
    message.set_raw_data(tensor.values.data(), tensor.values.size() * sizeof(float));
  }
  return message;
}

onnx::GraphProto make_graph(const ModelContent& content) {
  const std::vector<nn::Layer>& layers = content.network.architecture.layers;
  onnx::GraphProto graph;
  graph.set_name(content.recipe);
  *graph.add_input() = make_value(kInput, content.network.architecture.input);
  *graph.add_output() = make_value(kOutput, {static_cast<int>(content.class_names.size())});
  std::vector<std::string> values = {std::string(kInput)};
  auto parameter = content.network.parameters.begin();
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const std::string output = i + 1 == layers.size() ? std::string(kOutput) : node_name(layers[i], i);
    for (const std::string& name : parameter_names(layers[i], i)) {
      *graph.add_initializer() = make_tensor(name, content.parameter_type, *parameter++);
    }
    for (onnx::NodeProto& node : make_nodes(layers[i], i, content.parameter_type, values, output)) {
      *graph.add_node() = std::move(node);
    }
    values.push_back(output);
  }
  assert(parameter == content.network.parameters.end());
  return graph;
}

void add_metadata(onnx::ModelProto& model, std::string_view key, std::string value) {
  onnx::StringStringEntryProto& entry = *model.add_metadata_props();
  entry.set_key(std::string(key));
  entry.set_value(std::move(value));
}

// ---- reading

std::string to_string(const onnx::TypeProto::Tensor& tensor) {
  std::string text;
  for (const auto& size : tensor.shape().dim()) {
    text += text.empty() ? "" : ", ";
    text += size.has_dim_value() ? format("{}", size.dim_value()) : "batch";
  }
  return format("[{}]", text);
}

Result<int> read_size(const onnx::TensorProto& weights, int dimension) {
  if (dimension >= weights.dims_size()) {
    return invalid(format("tensor {} has {} dimensions", weights.name(), weights.dims_size()));
  }
  const std::int64_t size = weights.dims(dimension);
  if (size < 1 || size > std::numeric_limits<int>::max()) {
    return invalid(format("tensor {} has a size of {}", weights.name(), size));
  }
  return static_cast<int>(size);
}

// Returns the stride that the node names, 1 when it names none.
Result<int> read_stride(const onnx::NodeProto& node) {
  for (const onnx::AttributeProto& attribute : node.attribute()) {
    if (attribute.name() != "strides") continue;
    if (attribute.ints_size() == 0 || attribute.ints(0) < 1 ||
        attribute.ints(0) > std::numeric_limits<int>::max()) {
      return invalid(format("node {} has strides that espy does not know", node.name()));
    }
    return static_cast<int>(attribute.ints(0));
  }
  return 1;
}

// Returns over how many layers an Add reaches: how long ago its second input came.
Result<int> read_residual(const onnx::NodeProto& node, const std::vector<std::string>& values) {
  if (node.input_size() == 2) {
    const auto found = std::find(values.rbegin(), values.rend(), node.input(1));
    if (found != values.rend()) return static_cast<int>(found - values.rbegin());
  }
  return invalid(format("node {} adds what espy does not know", node.name()));
}

// Returns the layer that a node can only be, judged by its operator and the shape of its weights; whether it
// is that layer in every detail, the caller finds by writing it again. `values`: as for make_nodes.
Result<nn::Layer> read_layer(const onnx::NodeProto& node, const onnx::TensorProto* weights,
                             const std::vector<std::string>& values) {
  const std::string& type = node.op_type();
  if (type == "Relu") return nn::Layer(nn::Relu{});
  if (type == "MaxPool") return nn::Layer(nn::MaxPool{});
  if (type == "Flatten") return nn::Layer(nn::Flatten{});
  if (type == "GlobalAveragePool") return nn::Layer(nn::MeanMaxPool{});
  if (type == "Add") {
    const Result<int> layers = read_residual(node, values);
    if (!layers) return layers.error();
    return nn::Layer(nn::Residual{*layers});
  }
  if (type != "Conv" && type != "Gemm") return invalid(format("espy does not know the operator {}", type));
  if (weights == nullptr) return invalid(format("node {} has no weights", node.name()));
  const Result<int> outputs = read_size(*weights, 0);
  if (!outputs) return outputs.error();
  if (type == "Gemm") return nn::Layer(nn::Dense{*outputs});
  const Result<int> kernel = read_size(*weights, 2);
  if (!kernel) return kernel.error();
  const Result<int> stride = read_stride(node);
  if (!stride) return stride.error();
  return nn::Layer(
      nn::Convolution{*outputs, *kernel, *stride, node.input_size() == 2 ? nn::Bias::none : nn::Bias::added});
}

// Returns the type that all parameters are stored in, if they are.
ParameterType read_parameter_type(const onnx::GraphProto& graph) {
  const bool half =
      graph.initializer_size() > 0 && graph.initializer(0).data_type() == element_type(ParameterType::f16);
  return half ? ParameterType::f16 : ParameterType::f32;
}

Result<nn::Architecture> read_architecture(const onnx::GraphProto& graph, ParameterType type) {
  const nn::Shape input = {1, image::kInputSide, image::kInputSide};
  if (graph.input_size() != 1 || !same(graph.input(0), make_value(kInput, input))) {
    return invalid(format("model's input is {}, espy's is [batch, 1, 28, 28]",
                          graph.input_size() == 1 ? to_string(graph.input(0).type().tensor_type())
                                                  : format("{} tensors", graph.input_size())));
  }
  if (graph.node_size() > kMaxLayers) {
    return invalid(format("model has {} layers, limit is {}", graph.node_size(), kMaxLayers));
  }
  nn::Architecture architecture{input, {}};
  std::vector<std::string> values = {std::string(kInput)};
  int initializer = 0;
  for (int i = 0; i < graph.node_size();) {
    int casts = 0;
    while (i + casts + 1 < graph.node_size() && graph.node(i + casts).op_type() == "Cast") ++casts;
    const onnx::NodeProto& node = graph.node(i + casts);
    const bool weights_left = initializer < graph.initializer_size();
    const Result<nn::Layer> layer =
        read_layer(node, weights_left ? &graph.initializer(initializer) : nullptr, values);
    if (!layer) return layer.error();
    const std::size_t index = architecture.layers.size();
    const int node_count = static_cast<int>(make_nodes(*layer, index, type, values, "").size());
    const bool is_last = i + node_count >= graph.node_size();
    const std::string output = is_last ? std::string(kOutput) : node_name(*layer, index);
    for (const onnx::NodeProto& expected : make_nodes(*layer, index, type, values, output)) {
      if (i >= graph.node_size() || !same(graph.node(i), expected)) {
        return invalid(format("node {} ({}) is not one that espy writes", i,
                              i < graph.node_size() ? graph.node(i).op_type() : node.op_type()));
      }
      ++i;
    }
    for (const std::string& parameter : parameter_names(*layer, index)) {
      const std::string name = tensor_name(parameter, type);
      if (initializer >= graph.initializer_size() || graph.initializer(initializer).name() != name) {
        return invalid(format("node {} ({}) has no tensor {}", i - 1, node.op_type(), name));
      }
      ++initializer;
    }
    architecture.layers.push_back(*layer);
    values.push_back(output);
  }
  return architecture;
}

// values: the tensor's, little-endian.
Result<nn::Tensor> read_tensor(const onnx::TensorProto& message, Bytes values, ParameterType type,
                               const nn::Shape& shape) {
  std::size_t bytes = element_bytes(type);
  for (const int size : shape) {
    // Cannot overflow: it is at most 2^30 before and 2^61 after.
    bytes *= static_cast<std::size_t>(size);
    if (bytes > kMaxModelBytes) break;
  }
  if (message.data_type() != element_type(type) || !std::ranges::equal(message.dims(), shape)) {
    return invalid(format("tensor {} has not the shape or the type that its layer needs", message.name()));
  }
  if (values.size() != bytes) {
    return invalid(
        format("tensor {} has {} bytes, its layer needs {}", message.name(), values.size(), bytes));
  }
  nn::Tensor tensor{shape, {}};
  const std::size_t count = bytes / element_bytes(type);
  tensor.values.reserve(count);
  prefer_huge_pages(tensor.values.data(), count * sizeof(float));
  tensor.values.resize(count);
  if (type == ParameterType::f16) {
    std::vector<std::uint16_t> halves(tensor.values.size());
    std::memcpy(halves.data(), values.data(), bytes);
    std::ranges::transform(halves, tensor.values.begin(), from_float16);
  } else {
    std::memcpy(tensor.values.data(), values.data(), bytes);
  }
  return tensor;
}

// values: those of each tensor.
Result<nn::Network> read_network(const onnx::GraphProto& graph, std::span<const Bytes> values,
                                 ParameterType type) {
  Result<nn::Architecture> architecture = read_architecture(graph, type);
  if (!architecture) return std::move(architecture).error();
  const Result<std::vector<nn::Shape>> shapes = nn::parameter_shapes(*architecture);
  if (!shapes) return shapes.error();
  if (static_cast<std::size_t>(graph.initializer_size()) != shapes->size()) {
    return invalid(
        format("model has {} tensors, its layers need {}", graph.initializer_size(), shapes->size()));
  }
  nn::Network network{*std::move(architecture), {}};
  for (int i = 0; i < graph.initializer_size(); ++i) {
    const auto at = static_cast<std::size_t>(i);
    Result<nn::Tensor> tensor = read_tensor(graph.initializer(i), values[at], type, (*shapes)[at]);
    if (!tensor) return std::move(tensor).error();
    network.parameters.push_back(*std::move(tensor));
  }
  return network;
}

std::vector<std::string> split_lines(std::string_view text) {
  std::vector<std::string> lines;
  while (true) {
    const std::size_t end = text.find('\n');
    lines.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return lines;
    text.remove_prefix(end + 1);
  }
}

// Returns nothing when there is no such entry.
const std::string* find_metadata(const onnx::ModelProto& model, std::string_view key) {
  for (const onnx::StringStringEntryProto& entry : model.metadata_props()) {
    if (entry.key() == key) return &entry.value();
  }
  return nullptr;
}

Result<std::string> metadata(const onnx::ModelProto& model, std::string_view key) {
  if (const std::string* value = find_metadata(model, key)) return *value;
  return invalid(format("model file has no {}", key));
}

Result<std::map<std::string, std::string>> read_metrics(std::string_view text) {
  std::map<std::string, std::string> metrics;
  if (text.empty()) return metrics;
  for (const std::string& line : split_lines(text)) {
    const std::size_t sign = line.find('=');
    if (sign == std::string::npos) return invalid(format("{} has a line without '='", kMetricsKey));
    metrics[line.substr(0, sign)] = line.substr(sign + 1);
  }
  return metrics;
}

}  // namespace

std::string write_onnx(const ModelContent& content) {
  onnx::ModelProto model;
  model.set_ir_version(kIrVersion);
  model.set_producer_name(std::string(kProducer));
  model.add_opset_import()->set_version(kOpset);
  *model.mutable_graph() = make_graph(content);

  std::string labels;
  for (const std::string& name : content.class_names) labels += (labels.empty() ? "" : "\n") + name;
  std::string metrics;
  for (const auto& [name, value] : content.metrics) {
    metrics += format("{}{}={}", metrics.empty() ? "" : "\n", name, value);
  }
  add_metadata(model, kVersionKey, std::string(kVersionDigits, '0'));
  add_metadata(model, kPreparationKey, std::string(image::to_string(content.preparation)));
  add_metadata(model, kLabelsKey, std::move(labels));
  add_metadata(model, kRecipeKey, content.recipe);
  add_metadata(model, kMetricsKey, std::move(metrics));
  if (content.calibration) add_metadata(model, kCalibrationKey, content.calibration->text());
  return model.SerializeAsString();
}

Result<ModelContent> read_onnx(std::span<const std::byte> file) {
  if (file.size() > kMaxModelBytes) return invalid("not an ONNX file");
  const SplitFile split = split_tensors(file);
  onnx::ModelProto model;
  if (!model.ParseFromString(split.structure) ||
      split.tensors.size() != static_cast<std::size_t>(model.graph().initializer_size())) {
    return invalid("not an ONNX file");
  }
  if (model.opset_import_size() != 1 || model.opset_import(0).version() != kOpset) {
    return invalid(format("model file is not of ONNX opset {}", kOpset));
  }
  const ParameterType parameter_type = read_parameter_type(model.graph());
  Result<nn::Network> network = read_network(model.graph(), split.tensors, parameter_type);
  if (!network) return std::move(network).error();

  const Result<std::string> preparation_name = metadata(model, kPreparationKey);
  if (!preparation_name) return preparation_name.error();
  const auto preparation = image::parse_preparation(*preparation_name);
  if (!preparation) return invalid(format("espy does not know the preparation {}", *preparation_name));
  const Result<std::string> labels = metadata(model, kLabelsKey);
  if (!labels) return labels.error();
  Result<std::string> recipe = metadata(model, kRecipeKey);
  if (!recipe) return std::move(recipe).error();
  const Result<std::string> metrics_text = metadata(model, kMetricsKey);
  if (!metrics_text) return metrics_text.error();
  Result<std::map<std::string, std::string>> metrics = read_metrics(*metrics_text);
  if (!metrics) return std::move(metrics).error();
  ModelContent content{.network = *std::move(network),
                       .preparation = *preparation,
                       .class_names = split_lines(*labels),
                       .recipe = *std::move(recipe),
                       .metrics = *std::move(metrics),
                       .parameter_type = parameter_type};
  if (const std::string* text = find_metadata(model, kCalibrationKey)) {
    Result<Calibration> calibration = Calibration::parse(*text, static_cast<int>(content.class_names.size()),
                                                         feature_count(content.network.architecture));
    if (!calibration) return std::move(calibration).error();
    content.calibration = *std::move(calibration);
  }
  return content;
}

}  // namespace espy::model
