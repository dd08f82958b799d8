#include "cli/shipped_models.h"

#include <array>
#include <cstddef>
#include <utility>

#include "base/format.h"

// The symbols of cmake/espy_embed.cmake.
extern "C" {
extern const std::byte espy_embedded_digits[];
extern const std::byte espy_embedded_digits_end[];
extern const std::byte espy_embedded_garments[];
extern const std::byte espy_embedded_garments_end[];
}

namespace espy::cli {

std::span<const ShippedModel> shipped_models() {
  static const std::array<ShippedModel, 2> models = {{
      {"digits", {espy_embedded_digits, espy_embedded_digits_end}},
      {"garments", {espy_embedded_garments, espy_embedded_garments_end}},
  }};
  return models;
}

std::string shipped_model_names() {
  std::string names;
  for (const ShippedModel& shipped : shipped_models()) {
    if (!names.empty()) names += " or ";
    names += shipped.name;
  }
  return names;
}

Result<std::shared_ptr<const model::Model>> load_model(const std::string& name_or_file) {
  for (const ShippedModel& shipped : shipped_models()) {
    if (shipped.name != name_or_file) continue;
    Result<model::Model> parsed = model::Model::parse(shipped.file);
    if (!parsed) {
      const Error& error = parsed.error();
      return Error{error.code, format("shipped model {}: {}", shipped.name, error.message)};
    }
    return std::make_shared<const model::Model>(*std::move(parsed));
  }
  Result<model::Model> loaded = model::Model::load(name_or_file);
  if (!loaded) {
    Error error = std::move(loaded).error();
    if (error.code == ErrorCode::not_found) {
      error.message += format(" (give a model file, {})", shipped_model_names());
    }
    return error;
  }
  return std::make_shared<const model::Model>(*std::move(loaded));
}

}  // namespace espy::cli
