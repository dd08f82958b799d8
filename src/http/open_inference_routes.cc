// /v2: the Open Inference Protocol. Its errors are {"error": "message"}.
#include <charconv>
#include <string>
#include <utility>
#include <vector>

#include "base/format.h"
#include "http/call.h"
#include "http/open_inference.h"

namespace espy::http {
namespace {

constexpr std::string_view kBinaryType = "application/octet-stream";

std::optional<std::int64_t> parse_version_number(std::string_view text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return {};
  return number;
}

void write_tensor(JsonWriter& json, std::string_view name, service::DataType type,
                  std::span<const std::int64_t> shape) {
  json.begin_object().field("name", name).field("datatype", to_string(type)).key("shape").begin_array();
  for (const std::int64_t size : shape) json.value(size);
  json.end_array().end_object();
}

void write_timed(JsonWriter& json, std::string_view name, const service::Timed& timed) {
  json.key(name).begin_object().field("count", timed.count);
  json.field("ns", static_cast<std::uint64_t>(timed.time.count())).end_object();
}

void write_statistics(JsonWriter& json, const service::ServedModel& model) {
  const service::Statistics statistics = model.statistics();
  std::int64_t last = 0;
  if (statistics.last_inference) last = statistics.last_inference->time_since_epoch().count() / 1000;
  json.begin_object()
      .field("name", model.name())
      .field("version", std::to_string(model.number()))
      .field("last_inference", last)
      .field("inference_count", statistics.inferences)
      .field("execution_count", statistics.executions);
  json.key("inference_stats").begin_object();
  write_timed(json, "success", statistics.success);
  write_timed(json, "fail", statistics.failure);
  write_timed(json, "queue", statistics.queue);
  write_timed(json, "compute_input", statistics.input);
  write_timed(json, "compute_infer", statistics.inference);
  write_timed(json, "compute_output", {});
  write_timed(json, "cache_hit", {});
  write_timed(json, "cache_miss", {});
  json.end_object().key("batch_stats").begin_array().end_array().end_object();
}

}  // namespace

void Routes::show_inference_alive(Call& call) const {
  JsonWriter json;
  json.begin_object().field("live", true).end_object();
  call.respond(json_response(std::move(json)));
}

void Routes::show_inference_ready(Call& call) const {
  if (const std::string_view why = why_not(readiness()); !why.empty()) {
    return call.respond(plain_error(503, why));
  }
  if (call.lane.registry().size() == 0) return call.respond(plain_error(503, "no model is served"));
  JsonWriter json;
  json.begin_object().field("ready", true).end_object();
  call.respond(json_response(std::move(json)));
}

void Routes::show_inference_server(Call& call) const {
  JsonWriter json;
  json.begin_object().field("name", "espy").field("version", ESPY_VERSION).key("extensions").begin_array();
  for (const char* const extension :
       {"classification", "binary_tensor_data", "model_repository", "statistics"}) {
    json.value(extension);
  }
  json.end_array().end_object();
  call.respond(json_response(std::move(json)));
}

void Routes::show_inference_model(Call& call) const {
  const service::Registry& registry = call.lane.registry();
  const auto model = service::find_version(registry, call.segments[0], call.segments[1]);
  if (!model) return call.respond(plain_error(model.error()));
  JsonWriter json;
  json.begin_object().field("name", (*model)->name()).key("versions").begin_array();
  for (const std::string& version : service::served_versions(registry, (*model)->name())) json.value(version);
  json.end_array().field("platform", service::kPlatform).key("inputs").begin_array();
  write_tensor(json, service::kInputName, service::DataType::fp32, service::kInputShape);
  json.end_array().key("outputs").begin_array();
  for (const service::OutputKind& kind : service::output_kinds()) {
    write_tensor(json, kind.name, kind.type, service::output_shape(kind, **model));
  }
  json.end_array().end_object();
  call.respond(json_response(std::move(json)));
}

void Routes::show_inference_model_ready(Call& call) const {
  const auto model = service::find_version(call.lane.registry(), call.segments[0], call.segments[1]);
  if (!model) return call.respond(plain_error(model.error()));
  JsonWriter json;
  json.begin_object().field("name", (*model)->name()).field("ready", true).end_object();
  call.respond(json_response(std::move(json)));
}

void Routes::infer(Call& call) const {
  const auto model = service::find_version(call.lane.registry(), call.segments[0], call.segments[1]);
  if (!model) return call.respond(plain_error(model.error()));
  std::optional<std::size_t> json_bytes;
  if (!call.request.json_length.empty()) {
    const std::optional<std::int64_t> length = parse_version_number(call.request.json_length);
    if (!length || *length < 0) {
      return call.respond(
          plain_error(400, "Inference-Header-Content-Length is not a whole number from 0 on"));
    }
    json_bytes = static_cast<std::size_t>(*length);
  }
  Result<InferRequest> request = parse_infer(call.request.body, json_bytes);
  if (!request) return call.respond(plain_error(request.error()));
  auto uploads = request->inference.take_requests(*model, call.request.id, call.request.subject);
  if (!uploads) return call.respond(plain_error(uploads.error()));
  call.lane.classify_together(
      *std::move(uploads), [model = *model, request = *std::move(request),
                            respond = std::move(call.respond)](Result<std::vector<service::Answer>> answers) {
        if (!answers) return respond(plain_error(answers.error()));
        const std::vector<service::Tensor> outputs =
            request.inference.make_outputs(*answers, model->model().class_names());
        InferResponse written = write_infer_response(request, model->name(), model->number(), outputs);
        Response response = json_response(std::move(written.body));
        if (written.json_bytes) {
          response.content_type = kBinaryType;
          response.fields += format("Inference-Header-Content-Length: {}\r\n", *written.json_bytes);
        }
        respond(told_of(*answers, std::move(response)));
      });
}

void Routes::show_inference_statistics(Call& call) const {
  const auto models = service::find_versions(call.lane.registry(), call.segments[0], call.segments[1]);
  if (!models) return call.respond(plain_error(models.error()));
  JsonWriter json;
  json.begin_object().key("model_stats").begin_array();
  for (const auto& model : *models) write_statistics(json, *model);
  json.end_array().end_object();
  call.respond(json_response(std::move(json)));
}

void Routes::list_repository(Call& call) const {
  const Result<RepositoryRequest> request = parse_repository_request(call.request.body);
  if (!request) return call.respond(plain_error(request.error()));
  JsonWriter json;
  json.begin_array();
  for (const service::ModelEntry& entry : call.lane.registry().entries()) {
    for (const service::ModelVersion& version : entry.versions) {
      if (request->ready && !version.served) continue;
      json.begin_object()
          .field("name", entry.name)
          .field("version", std::to_string(version.number))
          .field("state", version.served ? "READY" : "UNAVAILABLE")
          .field("reason", version.reason)
          .end_object();
    }
  }
  json.end_array();
  call.respond(json_response(std::move(json)));
}

void Routes::load_model(Call& call) const {
  change_repository(call, [name = std::string(call.segment())](service::Catalog& catalog,
                                                               service::Catalog::Completion done) {
    catalog.load(name, std::move(done));
  });
}

void Routes::unload_model(Call& call) const {
  change_repository(call, [name = std::string(call.segment())](service::Catalog& catalog,
                                                               service::Catalog::Completion done) {
    catalog.unload(name, std::move(done));
  });
}

void Routes::change_repository(Call& call, const service::Lane::Change& change) const {
  const Result<RepositoryRequest> request = parse_repository_request(call.request.body);
  if (!request) return call.respond(plain_error(request.error()));
  call.lane.change(change, [respond = std::move(call.respond)](Result<void> changed) {
    respond(changed ? json_response(std::string()) : plain_error(changed.error()));
  });
}

}  // namespace espy::http
