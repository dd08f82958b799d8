// The trained models inside the program, and models by name or file.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "model/model.h"

namespace espy::cli {

struct ShippedModel {
  std::string_view name;
  std::span<const std::byte> file;  // ONNX
};

// Returns digits, garments.
std::span<const ShippedModel> shipped_models();

// Returns "digits or garments".
std::string shipped_model_names();

// Loads a shipped model by its name, anything else as a file; ./digits is always a file.
// Errors: as model::Model::load.
Result<std::shared_ptr<const model::Model>> load_model(const std::string& name_or_file);

}  // namespace espy::cli
