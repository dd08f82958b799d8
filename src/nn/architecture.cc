#include "nn/architecture.h"

#include <span>
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
  return std::visit(
      Overloaded{
          [](const Convolution& convolution) {
            return format("conv {}x{}x{}{}{}", convolution.kernel, convolution.kernel, convolution.channels,
                          convolution.stride == 1 ? "" : format(" stride {}", convolution.stride),
                          convolution.bias == Bias::added ? "" : " no bias");
          },
          [](const BatchNorm&) { return std::string("batch norm"); },
          [](const Relu&) { return std::string("relu"); },
          [](const MaxPool&) { return std::string("pool"); },
          [](const Residual& residual) { return format("residual {}", residual.layers); },
          [](const MeanMaxPool&) { return std::string("mean max pool"); },
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

// The size behind a convolution; 0 or less when the kernel finds no place.
int size_after(const Convolution& convolution, int size) {
  const int room = size + 2 * ((convolution.kernel - 1) / 2) - convolution.kernel;
  return room < 0 ? 0 : room / convolution.stride + 1;
}

struct ShapeAfter {
  const Shape& input;
  const std::vector<Layer>& layers;  // of the whole architecture
  std::span<const Shape> shapes;     // before the first of its layers, and after each one before this

  Result<Shape> operator()(const Convolution& convolution) const {
    if (auto ok = check_rank(input, 3); !ok) return std::move(ok).error();
    if (auto ok = check_size("number of channels", convolution.channels); !ok) return std::move(ok).error();
    if (auto ok = check_size("kernel", convolution.kernel, kMaxKernel); !ok) return std::move(ok).error();
    if (auto ok = check_size("stride", convolution.stride, kMaxKernel); !ok) return std::move(ok).error();
    if (convolution.kernel % 2 == 0 && convolution.stride == 1) {
      return Error{ErrorCode::invalid_input, format("kernel is {}, must be odd", convolution.kernel)};
    }
    if (size_after(convolution, input[1]) < 1 || size_after(convolution, input[2]) < 1) {
      return Error{ErrorCode::invalid_input, format("input is {}x{}, too small for a kernel of {}", input[1],
                                                    input[2], convolution.kernel)};
    }
    if (auto ok = check_elements("weights", weights_shape(input, convolution)); !ok) {
      return std::move(ok).error();
    }
    return Shape{convolution.channels, size_after(convolution, input[1]), size_after(convolution, input[2])};
  }

  Result<Shape> operator()(const BatchNorm&) const {
    const std::size_t before = shapes.size() - 1;
    const auto* convolution = before == 0 ? nullptr : std::get_if<Convolution>(&layers[before - 1]);
    if (convolution == nullptr || convolution->bias == Bias::added) {
      return Error{ErrorCode::invalid_input, "must follow a convolution without bias"};
    }
    return input;
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

  Result<Shape> operator()(const Residual& residual) const {
    const int before = static_cast<int>(shapes.size()) - 1;
    if (residual.layers < 1 || residual.layers > before) {
      return Error{ErrorCode::invalid_input,
                   format("reaches over {} layers, must be 1 to {}", residual.layers, before)};
    }
    const auto first = static_cast<std::size_t>(before - residual.layers);
    if (std::holds_alternative<BatchNorm>(layers[first])) {
      return Error{ErrorCode::invalid_input, "parts a batch norm from its convolution"};
    }
    const Shape& source = shapes[first];
    if (source != input) {
      return Error{ErrorCode::invalid_input,
                   format("adds shape {} to shape {}", to_string(source), to_string(input))};
    }
    return input;
  }

  Result<Shape> operator()(const MeanMaxPool&) const {
    if (auto ok = check_rank(input, 3); !ok) return std::move(ok).error();
    return Shape{2 * input[0]};
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

  // From the input on.
  std::vector<Shape> shapes = {architecture.input};
  for (const Layer& layer : architecture.layers) {
    Result<Shape> output = std::visit(ShapeAfter{shapes.back(), architecture.layers, shapes}, layer);
    if (output) {
      if (auto ok = check_elements("output", *output); !ok) output = std::move(ok).error();
    }
    if (!output) {
      return Error{output.error().code,
                   format("layer {} ({}): {}", shapes.size(), describe(layer), output.error().message)};
    }
    shapes.push_back(*std::move(output));
  }
  shapes.erase(shapes.begin());
  return shapes;
}

Result<std::vector<ParameterForm>> parameter_forms(const Architecture& architecture) {
  Result<std::vector<Shape>> outputs = layer_shapes(architecture);
  if (!outputs) return std::move(outputs).error();
  std::vector<ParameterForm> forms;
  const Shape* input = &architecture.input;
  for (std::size_t i = 0; i < architecture.layers.size(); ++i) {
    const Layer& layer = architecture.layers[i];
    if (const auto* convolution = std::get_if<Convolution>(&layer)) {
      forms.push_back({weights_shape(*input, *convolution), Role::weights});
      if (convolution->bias == Bias::added) forms.push_back({{convolution->channels}, Role::bias});
    }
    if (std::holds_alternative<BatchNorm>(layer)) {
      for (const Role role : {Role::scale, Role::shift, Role::mean, Role::variance}) {
        forms.push_back({{(*input)[0]}, role});
      }
    }
    if (const auto* dense = std::get_if<Dense>(&layer)) {
      forms.push_back({weights_shape(*input, *dense), Role::weights});
      forms.push_back({{dense->units}, Role::bias});
    }
    input = &(*outputs)[i];
  }
  return forms;
}

Result<std::vector<Shape>> parameter_shapes(const Architecture& architecture) {
  Result<std::vector<ParameterForm>> forms = parameter_forms(architecture);
  if (!forms) return std::move(forms).error();
  std::vector<Shape> shapes;
  for (ParameterForm& form : *forms) shapes.push_back(std::move(form.shape));
  return shapes;
}

std::string to_string(const Architecture& architecture) {
  std::string text;
  for (const Layer& layer : architecture.layers) text += (text.empty() ? "" : ", ") + describe(layer);
  return text;
}

}  // namespace espy::nn
