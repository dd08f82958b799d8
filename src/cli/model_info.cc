// espy model info: what a model file holds.
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/format.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/shipped_models.h"
#include "cli/text.h"
#include "http/json.h"
#include "image/prepare.h"
#include "nn/architecture.h"
#include "nn/tensor.h"

namespace espy::cli {
namespace {

struct Settings {
  std::string model;
  bool json = false;
};

std::uint64_t parameter_count(const model::Model& model) {
  std::uint64_t count = 0;
  for (const nn::Tensor& parameter : model.network().parameters) count += nn::element_count(parameter.shape);
  return count;
}

std::string calibration_text(const model::Model& model) {
  if (!model.calibration()) return "no: it tells the blank, but neither the foreign nor the ambiguous";
  const model::Calibration& calibration = *model.calibration();
  return format(
      "on {} held-out samples: temperature {:.3f}, exponent {:.3f}, least confidence {:.3f}, most "
      "foreignness {:.3f}",
      grouped(static_cast<std::uint64_t>(calibration.held_out)), calibration.temperature,
      calibration.exponent, calibration.least_confidence, calibration.most_foreignness);
}

std::string info_json(const model::Model& model) {
  http::JsonWriter json;
  json.begin_object()
      .field("version", model.version())
      .field("full_version", model.full_version())
      .field("recipe", model.recipe())
      .field("preparation", image::to_string(model.preparation()));
  json.key("classes").begin_array();
  for (const std::string& name : model.class_names()) json.value(name);
  json.end_array();
  json.field("network", nn::to_string(model.network().architecture))
      .field("parameters", parameter_count(model))
      .field("bytes", model.file().size())
      .field("calibrated", model.calibration().has_value());
  json.key("metrics").begin_object();
  for (const auto& [name, value] : model.metrics()) json.field(name, value);
  json.end_object().end_object();
  return std::move(json).text() + "\n";
}

std::string info_text(const model::Model& model) {
  std::vector<std::pair<std::string, std::string>> fields = {
      {"version", model.full_version()},
      {"recipe", model.recipe()},
      {"preparation", std::string(image::to_string(model.preparation()))},
      {"classes", join(model.class_names(), ", ")},
      {"network", nn::to_string(model.network().architecture)},
      {"parameters", grouped(parameter_count(model))},
      {"size", to_size_text(model.file().size())},
      {"calibrated", calibration_text(model)},
  };
  for (const auto& [name, value] : model.metrics()) fields.emplace_back(name, value);
  return field_list(fields);
}

ExitStatus info(const Settings& settings) {
  const auto model = load_model(settings.model);
  if (!model) return fail(model.error());
  print(settings.json ? info_json(**model) : info_text(**model));
  return ExitStatus::done;
}

}  // namespace

Action declare_model_info(Flags& flags) {
  auto settings = std::make_shared<Settings>();
  flags.argument("MODEL", settings->model, format("a model file, {}", shipped_model_names()));
  flags.toggle("--json", settings->json, "print one JSON object");
  return [settings] { return info(*settings); };
}

}  // namespace espy::cli
