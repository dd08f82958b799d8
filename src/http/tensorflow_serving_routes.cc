// /v1: the REST API of TensorFlow Serving, and KServe's protocol version 1. Their errors are {"error":
// "message"}.
#include <charconv>
#include <string>
#include <utility>
#include <vector>

#include "base/format.h"
#include "http/call.h"
#include "http/tensorflow_serving.h"

namespace espy::http {
namespace {

constexpr std::size_t kShownBytes = 64;

// Returns the version that a path names: by its number or its label, or the one that answers without either.
Result<std::shared_ptr<const service::ServedModel>> find_servable(const service::Registry& registry,
                                                                  std::string_view name,
                                                                  std::string_view version,
                                                                  std::string_view label) {
  const std::string_view shown = name.substr(0, kShownBytes);
  // In the words of TensorFlow Serving, whose clients may look for them.
  const auto absent = [&](std::string_view which) {
    return Error{ErrorCode::not_found, format("Servable not found for request: {}", which)};
  };
  if (!label.empty()) {
    const service::ModelEntry* const entry = registry.entry(name);
    const auto found = entry == nullptr ? decltype(entry->labels.begin()){} : entry->labels.find(label);
    if (entry == nullptr) return absent(format("Latest({})", shown));
    if (found == entry->labels.end()) {
      return Error{ErrorCode::invalid_input,
                   format("Unrecognized servable version label: {}", label.substr(0, kShownBytes))};
    }
    auto served = registry.find(name, found->second);
    return served ? std::move(served) : absent(format("Specific({}, {})", shown, found->second));
  }
  if (version.empty()) {
    auto served = name.empty() ? absent("Latest()") : registry.find(name);
    return served ? std::move(served) : absent(format("Latest({})", shown));
  }
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(version.data(), version.data() + version.size(), number);
  if (error != std::errc() || end != version.data() + version.size()) {
    return Error{ErrorCode::not_found,
                 format("Malformed request: version {}", version.substr(0, kShownBytes))};
  }
  auto served = registry.find(name, number);
  return served ? std::move(served) : absent(format("Specific({}, {})", shown, number));
}

}  // namespace

Result<std::shared_ptr<const service::ServedModel>> Routes::servable(Call& call) const {
  const bool by_label = call.route->path.find("/labels/") != std::string_view::npos;
  return find_servable(call.lane.registry(), call.segments[0], by_label ? "" : call.segments[1],
                       by_label ? call.segments[1] : "");
}

void Routes::list_servables(Call& call) const {
  JsonWriter json;
  json.begin_object().key("models").begin_array();
  for (const service::ModelEntry& entry : call.lane.registry().entries()) {
    if (entry.chosen) json.value(entry.name);
  }
  json.end_array().end_object();
  call.respond(json_response(std::move(json)));
}

void Routes::show_servable(Call& call) const {
  const service::ModelEntry* const entry = call.lane.registry().entry(call.segment());
  if (entry == nullptr) {
    return call.respond(plain_error(
        404, format("Could not find any versions of model {}", call.segment().substr(0, kShownBytes))));
  }
  if (call.segments[1].empty())
    return call.respond(json_response(write_status(entry->name, entry->versions)));
  const auto model = servable(call);  // asks for the registry again, so the entry is no longer good
  if (!model) return call.respond(plain_error(model.error()));
  const service::ModelVersion version{.number = (*model)->number(), .served = *model, .reason = {}};
  call.respond(json_response(write_status((*model)->name(), {&version, 1})));
}

void Routes::show_servable_metadata(Call& call) const {
  const auto model = servable(call);
  if (!model) return call.respond(plain_error(model.error()));
  call.respond(json_response(write_metadata(**model)));
}

void Routes::classify_pictures(Call& call, std::shared_ptr<const service::ServedModel> model,
                               std::vector<service::Picture> pictures,
                               std::function<std::string(std::span<const service::Answer>)> write) const {
  std::vector<service::Request> uploads;
  for (service::Picture& picture : pictures) {
    uploads.push_back({.upload = std::move(picture.bytes),
                       .file_name = {},
                       .model = {},
                       .subject = call.request.subject,
                       .served = model,
                       .content = picture.content,
                       .id = call.request.id});
  }
  call.lane.classify_together(
      std::move(uploads), [write = std::move(write),
                           respond = std::move(call.respond)](Result<std::vector<service::Answer>> answers) {
        respond(answers ? told_of(*answers, json_response(write(*answers))) : plain_error(answers.error()));
      });
}

void Routes::predict_servable(Call& call) const {
  const auto model = servable(call);
  if (!model) return call.respond(plain_error(model.error()));
  Result<PredictRequest> request = parse_predict(call.request.body);
  if (!request) return call.respond(plain_error(request.error()));
  std::vector<service::Picture> pictures = std::exchange(request->pictures, {});
  classify_pictures(call, *model, std::move(pictures),
                    [request = *std::move(request)](std::span<const service::Answer> answers) {
                      return write_predictions(request, answers);
                    });
}

void Routes::classify_servable(Call& call) const {
  const auto model = servable(call);
  if (!model) return call.respond(plain_error(model.error()));
  Result<std::vector<service::Picture>> pictures = parse_classify(call.request.body);
  if (!pictures) return call.respond(plain_error(pictures.error()));
  classify_pictures(call, *model, *std::move(pictures),
                    [model = *model](std::span<const service::Answer> answers) {
                      return write_classes(answers, model->model().class_names());
                    });
}

void Routes::regress_servable(Call& call) const {
  const auto model = servable(call);
  if (!model) return call.respond(plain_error(model.error()));
  call.respond(plain_error(400, "Expected regression signature: this model classifies"));
}

}  // namespace espy::http
