// /api/models: what is served, and which version answers.
#include <string>
#include <utility>

#include "base/format.h"
#include "http/call.h"
#include "http/json_input.h"
#include "image/prepare.h"

namespace espy::http {

void Routes::list_models(Call& call) const {
  const service::Registry& registry = call.lane.registry();
  JsonWriter json;
  json.begin_object().key("models").begin_array();
  bool is_default = true;
  for (const service::ModelEntry& entry : registry.entries()) {
    json.begin_object().field("name", entry.name);
    if (entry.chosen) {
      const model::Model& model = entry.chosen->model();
      json.field("version", model.version())
          .field("number", entry.chosen->number())
          .field("recipe", model.recipe())
          .field("preparation", image::to_string(model.preparation()));
      json.key("classes").begin_array();
      for (const std::string& name : model.class_names()) json.value(name);
      json.end_array().key("metrics").begin_object();
      for (const auto& [name, value] : model.metrics()) json.field(name, value);
      json.end_object();
      json.field("calibrated", model.calibration().has_value());
    }
    json.key("versions").begin_array();
    for (const service::ModelVersion& version : entry.versions) {
      json.begin_object().field("number", version.number);
      json.field_or_null("version", version.served ? version.served->model().version() : "");
      json.field("state", version.served ? "ready" : "unavailable");
      json.field_or_null("reason", version.reason).end_object();
    }
    json.end_array().key("labels").begin_object();
    for (const auto& [label, number] : entry.labels) json.field(label, number);
    json.end_object();
    json.field("default", entry.chosen && std::exchange(is_default, false)).end_object();
  }
  json.end_array().end_object();
  call.respond(json_response(std::move(json)));
}

// As for corrections: a form on a foreign page can send no JSON here.
void Routes::choose_version(Call& call) const {
  if (!call.request.content_type.starts_with(kJsonType)) {
    return respond_error(
        call, 400, format("the content type is \"{}\", must be {}", call.request.content_type, kJsonType));
  }
  Result<VersionInput> input = parse_version(call.request.body);
  if (!input) return respond_error(call, input.error());
  call.lane.change(
      [name = std::string(call.segment()), input = *std::move(input)](service::Catalog& catalog,
                                                                      service::Catalog::Completion done) {
        if (input.label) return catalog.label(name, *input.label, input.version, std::move(done));
        catalog.choose(name, *input.version, std::move(done));
      },
      [respond = std::move(call.respond)](Result<void> changed) {
        if (!changed) return respond(json_error(status_of(changed.error().code), told(changed.error())));
        JsonWriter json;
        json.begin_object().field("status", "ok").end_object();
        respond(json_response(std::move(json)));
      });
}

}  // namespace espy::http
