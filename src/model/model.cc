#include "model/model.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <set>
#include <utility>
#include <variant>

#include "base/file.h"
#include "base/format.h"
#include "model/file_version.h"
#include "model/float16.h"
#include "model/onnx_graph.h"

namespace espy::model {
namespace {

Error invalid(std::string message) { return {ErrorCode::invalid_input, std::move(message)}; }

std::string to_string(const nn::Shape& shape) {
  std::string text;
  for (const int size : shape) text += format("{}{}", text.empty() ? "" : ", ", size);
  return format("[{}]", text);
}

// Looks at every value instead of leaving at the first bad one, so that it is done many at a time.
bool all_finite(std::span<const float> values) {
  constexpr std::uint32_t kInfinity = std::bit_cast<std::uint32_t>(std::numeric_limits<float>::infinity());
  std::uint32_t greatest = 0;
  for (const float value : values) {
    greatest = std::max(greatest, std::bit_cast<std::uint32_t>(std::fabs(value)));
  }
  return greatest < kInfinity;
}

Result<void> check_network(const nn::Network& network, std::size_t classes) {
  const nn::Shape expected_input = {1, image::kInputSide, image::kInputSide};
  if (network.architecture.input != expected_input) {
    return invalid(format("model's input is {}, espy's is {}", to_string(network.architecture.input),
                          to_string(expected_input)));
  }
  const Result<std::vector<nn::Shape>> layers = nn::layer_shapes(network.architecture);
  if (!layers) return layers.error();
  const nn::Shape& output = layers->empty() ? expected_input : layers->back();
  if (output.size() != 1 || static_cast<std::size_t>(output[0]) != classes) {
    return invalid(format("model's output is {}, but it has {} class names", to_string(output), classes));
  }
  const Result<std::vector<nn::Shape>> shapes = nn::parameter_shapes(network.architecture);
  if (!shapes) return shapes.error();
  if (network.parameters.size() != shapes->size()) {
    return invalid(
        format("model has {} tensors, its layers need {}", network.parameters.size(), shapes->size()));
  }
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < shapes->size(); ++i) {
    const nn::Tensor& tensor = network.parameters[i];
    if (tensor.shape != (*shapes)[i] || tensor.values.size() != nn::element_count(tensor.shape)) {
      return invalid(format("model's tensor {} is {}, its layer needs {}", i, to_string(tensor.shape),
                            to_string((*shapes)[i])));
    }
    if (!all_finite(tensor.values)) {
      return invalid(format("model's tensor {} has values that are not finite", i));
    }
    bytes += tensor.values.size() * sizeof(float);
  }
  if (bytes > kMaxModelBytes) {
    return Error{ErrorCode::too_large, format("model has {} bytes, limit is {}", bytes, kMaxModelBytes)};
  }
  return {};
}

bool has_line_break(std::string_view text) { return text.find('\n') != std::string_view::npos; }

// What is stored line by line must not have line breaks of its own.
Result<void> check_texts(const ModelContent& content) {
  std::set<std::string_view> names;
  for (const std::string& name : content.class_names) {
    if (name.empty()) return invalid(format("class name {} is empty", names.size()));
    if (has_line_break(name)) return invalid(format("class name {} has a line break", names.size()));
    if (!names.insert(name).second) return invalid(format("class name {} is there twice", name));
  }
  for (const auto& [name, value] : content.metrics) {
    if (has_line_break(name) || has_line_break(value) || name.find('=') != std::string::npos) {
      return invalid(
          format("metric {} has a line break or '=' in its name, or a line break in its value", name));
    }
  }
  return {};
}

// The calibration was fitted on this network's answers.
Result<void> check_calibration(const ModelContent& content) {
  if (!content.calibration) return {};
  const Calibration& calibration = *content.calibration;
  const int features = feature_count(content.network.architecture);
  const auto classes = static_cast<int>(content.class_names.size());
  const bool features_fit =
      calibration.features.dimension() == 0 ||
      (calibration.features.dimension() == features && calibration.features.classes() == classes);
  if (!features_fit || calibration.ink.dimension() != kInkFigures || calibration.ink.classes() != classes) {
    return invalid(format("calibration is for {} features and {} classes, the model has {} and {}",
                          calibration.features.dimension(), calibration.ink.classes(), features, classes));
  }
  return {};
}

Result<void> check(const ModelContent& content) {
  if (auto network = check_network(content.network, content.class_names.size()); !network) return network;
  if (auto calibration = check_calibration(content); !calibration) return calibration;
  return check_texts(content);
}

}  // namespace

nn::Network as_stored(nn::Network network, ParameterType type) {
  if (type == ParameterType::f32) return network;
  for (nn::Tensor& parameter : network.parameters) {
    for (float& value : parameter.values) value = from_float16(to_float16(value));
  }
  return network;
}

Model::Model(ModelContent content, std::string version, std::string file)
    : content_(std::move(content)), version_(std::move(version)), file_(std::move(file)) {}

Result<Model> Model::create(ModelContent content) {
  if (Result<void> checked = check(content); !checked) return std::move(checked).error();
  // What the file holds, since a model equals the one read from its file.
  Result<nn::Network> folded = nn::for_inference(content.network);
  if (!folded) return std::move(folded).error();
  content.network = as_stored(*std::move(folded), content.parameter_type);
  // Numbers may overflow on the way.
  if (Result<void> checked = check(content); !checked) return std::move(checked).error();
  std::string file = with_version(write_onnx(content));
  Result<std::string> version = verify_version(as_bytes(file));
  if (!version) return std::move(version).error();
  return Model(std::move(content), *std::move(version), std::move(file));
}

Result<Model> Model::from_file(std::string file) {
  Result<std::string> version = verify_version(as_bytes(file));
  if (!version) return std::move(version).error();
  Result<ModelContent> content = read_onnx(as_bytes(file));
  if (!content) return std::move(content).error();
  if (Result<void> checked = check(*content); !checked) return std::move(checked).error();
  return Model(*std::move(content), *std::move(version), std::move(file));
}

Result<Model> Model::parse(std::span<const std::byte> file) {
  return from_file(std::string(reinterpret_cast<const char*>(file.data()), file.size()));
}

Result<Model> Model::load(const std::filesystem::path& path) {
  Result<std::string> file = read_file(path, kMaxModelBytes);
  if (!file) return std::move(file).error();
  Result<Model> model = from_file(*std::move(file));
  if (!model) return Error{model.error().code, format("{}: {}", path.string(), model.error().message)};
  return model;
}

Result<void> Model::save(const std::filesystem::path& path) const {
  return write_file(path, as_bytes(file_));
}

}  // namespace espy::model
