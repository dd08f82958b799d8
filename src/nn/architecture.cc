#include "nn/architecture.h"

#include <utility>

#include "base/format.h"
#include "nn/overloaded.h"

namespace espy::nn {
namespace {

// Of one size, and of one sample's activations or one parameter: 2^28 floats are 1 GiB, the limit of a model
// file.
constexpr int kMaxSize = 1 << 16;
constexpr int kMaxKernel = 255;
constexpr std::size_t kMaxElements = std::size_t{1} << 28;

std::string describe(const Layer& layer) {
  return std::visit(Overloaded{
                        [](const Convolution& convolution) {
                          return format("conv {}x{}x{}", convolution.kernel, convolution.kernel,
                                        convolution.channels);
                        },
                        [](const Relu&) { return std::string("relu"); },
                        [](const MaxPool&) { return std::string("pool"); },
                        [](const Flatten&) { return std::string("flatten"); },
                        [](const Dense& dense) { return format("dense {}", dense.units); },
                        [](const Dropout& dropout) { return format("dropout {}", dropout.probability); },
                    },
                    layer);
}

Result<void> check_size(const char* what, int size, int limit = kMaxSize) {
  if (size >= 1 && size <= limit) return {};
  return Error{ErrorCode::invalid_input, format("{} is {}, must be 1 to {}", what, size, limit)};
}

Result<void> check_elements(const char* what, const Shape& shape) {
  // No overflow: a product is at most 2^16 channels * 2^16 channels * 2^8 * 2^8, or 2^28 inputs * 2^16 units.
  if (element_count(shape) <= kMaxElements) return {};
  return Error{ErrorCode::invalid_input, format("{} of shape {} has {} elements, limit is {}", what,
                                                to_string(shape), element_count(shape), kMaxElements)};
}

Result<void> check_rank(const Shape& shape, std::size_t rank) {
  if (shape.size() == rank) return {};
  return Error{ErrorCode::invalid_input,
               format("input has shape {}, must have {} sizes", to_string(shape), rank)};
}

Shape weights_shape(const Shape& input, const Convolution& convolution) {
  return {convolution.channels, input[0], convolution.kernel, convolution.kernel};
}

Shape weights_shape(const Shape& input, const Dense& dense) { return {dense.units, input[0]}; }

struct ShapeAfter {
  const Shape& input;

  Result<Shape> operator()(const Convolution& convolution) const {
    if (auto ok = check_rank(input, 3); !ok) return std::move(ok).error();
    if (auto ok = check_size("number of channels", convolution.channels); !ok) return std::move(ok).error();
    if (auto ok = check_size("kernel", convolution.kernel, kMaxKernel); !ok) return std::move(ok).error();
    if (convolution.kernel % 2 == 0) {
      return Error{ErrorCode::invalid_input, format("kernel is {}, must be odd", convolution.kernel)};
    }
    if (auto ok = check_elements("weights", weights_shape(input, convolution)); !ok) {
      return std::move(ok).error();
    }
    return Shape{convolution.channels, input[1], input[2]};
  }

  Result<Shape> operator()(const Relu&) const { return input; }

  Result<Shape> operator()(const MaxPool&) const {
    if (auto ok = check_rank(input, 3); !ok) return std::move(ok).error();
    if (input[1] < 2 || input[2] < 2) {
      return Error{ErrorCode::invalid_input,
                   format("input is {}x{}, must be at least 2x2", input[1], input[2])};
    }
    return Shape{input[0], input[1] / 2, input[2] / 2};
  }

  Result<Shape> operator()(const Flatten&) const {
    if (auto ok = check_rank(input, 3); !ok) return std::move(ok).error();
    return Shape{static_cast<int>(element_count(input))};
  }

  Result<Shape> operator()(const Dense& dense) const {
    if (auto ok = check_rank(input, 1); !ok) return std::move(ok).error();
    if (auto ok = check_size("number of units", dense.units); !ok) return std::move(ok).error();
    if (auto ok = check_elements("weights", weights_shape(input, dense)); !ok) return std::move(ok).error();
    return Shape{dense.units};
  }

  Result<Shape> operator()(const Dropout& dropout) const {
    if (!(dropout.probability >= 0 && dropout.probability < 1)) {
      return Error{ErrorCode::invalid_input,
                   format("probability is {}, must be at least 0 and below 1", dropout.probability)};
    }
    return input;
  }
};

}  // namespace

Result<std::vector<Shape>> layer_shapes(const Architecture& architecture) {
  if (auto ok = check_rank(architecture.input, 3); !ok) return std::move(ok).error();
  for (const int size : architecture.input) {
    if (auto ok = check_size("size of the input", size); !ok) return std::move(ok).error();
  }
  if (auto ok = check_elements("input", architecture.input); !ok) return std::move(ok).error();
  if (architecture.layers.empty()) return Error{ErrorCode::invalid_input, "architecture has no layers"};

  std::vector<Shape> shapes;
  const Shape* input = &architecture.input;
  shapes.reserve(architecture.layers.size());
  for (const Layer& layer : architecture.layers) {
    Result<Shape> output = std::visit(ShapeAfter{*input}, layer);
    if (output) {
      if (auto ok = check_elements("output", *output); !ok) output = std::move(ok).error();
    }
    if (!output) {
      return Error{output.error().code,
                   format("layer {} ({}): {}", shapes.size() + 1, describe(layer), output.error().message)};
    }
    shapes.push_back(*std::move(output));
    input = &shapes.back();
  }
  return shapes;
}

Result<std::vector<Shape>> parameter_shapes(const Architecture& architecture) {
  Result<std::vector<Shape>> outputs = layer_shapes(architecture);
  if (!outputs) return std::move(outputs).error();
  std::vector<Shape> shapes;
  const Shape* input = &architecture.input;
  for (std::size_t i = 0; i < architecture.layers.size(); ++i) {
    const auto add = [&](const auto& layer, int outputs_of_layer) {
      shapes.push_back(weights_shape(*input, layer));
      shapes.push_back({outputs_of_layer});
    };
    const Layer& layer = architecture.layers[i];
    if (const auto* convolution = std::get_if<Convolution>(&layer)) add(*convolution, convolution->channels);
    if (const auto* dense = std::get_if<Dense>(&layer)) add(*dense, dense->units);
    input = &(*outputs)[i];
  }
  return shapes;
}

std::string to_string(const Architecture& architecture) {
  std::string text;
  for (const Layer& layer : architecture.layers) text += (text.empty() ? "" : ", ") + describe(layer);
  return text;
}

}  // namespace espy::nn
