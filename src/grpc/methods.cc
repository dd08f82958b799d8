#include "grpc/methods.h"

#include <utility>

#include "base/log.h"

namespace espy::grpc {
namespace {

using Respond = Method::Respond;

constexpr std::string_view kInferenceService = "inference.GRPCInferenceService";
constexpr std::string_view kHealthService = "grpc.health.v1.Health";

Outcome answer(std::string body) { return {.code = Code::ok, .body = std::move(body)}; }

void server_live(const Context&, std::string_view, Respond respond) {
  respond(answer(write_server_live(true)));
}

void server_ready(const Context& context, std::string_view, Respond respond) {
  respond(answer(write_server_ready(context.why_not_ready.empty())));
}

void model_ready(const Context& context, std::string_view message, Respond respond) {
  const Result<ModelQuery> query = parse_model_query(message);
  if (!query) return respond(failure(query.error()));
  const auto model = service::find_version(context.lane.registry(), query->name, query->version);
  respond(answer(write_model_ready(static_cast<bool>(model))));
}

void server_metadata(const Context&, std::string_view, Respond respond) {
  respond(answer(write_server_metadata()));
}

void model_metadata(const Context& context, std::string_view message, Respond respond) {
  const Result<ModelQuery> query = parse_model_query(message);
  if (!query) return respond(failure(query.error()));
  const service::Registry& registry = context.lane.registry();
  const auto model = service::find_version(registry, query->name, query->version);
  if (!model) return respond(failure(model.error()));
  respond(answer(write_model_metadata(registry, **model)));
}

void model_infer(const Context& context, std::string_view message, Respond respond) {
  Result<InferRequest> request = parse_infer(message);
  const auto refuse = [id = request ? request->inference.id : id_of_infer(message)](const Error& error) {
    Outcome refused = failure(error);
    refused.request_id = id;
    return refused;
  };
  if (!request) return respond(refuse(request.error()));
  const auto model =
      service::find_version(context.lane.registry(), request->model_name, request->model_version);
  if (!model) return respond(refuse(model.error()));
  auto uploads = request->inference.take_requests(*model, context.id, context.subject);
  if (!uploads) return respond(refuse(uploads.error()));
  context.lane.classify_together(
      *std::move(uploads), [model = *model, inference = std::move(request->inference), refuse,
                            respond = std::move(respond)](Result<std::vector<service::Answer>> answers) {
        if (!answers) return respond(refuse(answers.error()));
        const auto outputs = inference.make_outputs(*answers, model->model().class_names());
        Outcome outcome = answer(write_infer(inference, *model, outputs));
        outcome.model = model->name();
        for (const service::Answer& each : *answers) outcome.records.push_back(each.record.id);
        respond(std::move(outcome));
      });
}

void model_stream_infer(const Context& context, std::string_view message, Respond respond) {
  model_infer(context, message, [respond = std::move(respond)](Outcome outcome) {
    if (outcome.code != Code::ok) return respond(failure_in_stream(std::move(outcome)));
    outcome.body = write_stream_infer(outcome.body);
    respond(std::move(outcome));
  });
}

void model_statistics(const Context& context, std::string_view message, Respond respond) {
  const Result<ModelQuery> query = parse_model_query(message);
  if (!query) return respond(failure(query.error()));
  const auto models = service::find_versions(context.lane.registry(), query->name, query->version);
  respond(models ? answer(write_statistics(*models)) : failure(models.error()));
}

void repository_index(const Context& context, std::string_view message, Respond respond) {
  const Result<bool> only_ready = parse_repository_index(message);
  if (!only_ready) return respond(failure(only_ready.error()));
  respond(answer(write_repository_index(context.lane.registry(), *only_ready)));
}

using Change = void (service::Catalog::*)(std::string, service::Catalog::Completion);

void change_repository(Change change, const Context& context, std::string_view message, Respond respond) {
  const Result<std::string> name = parse_repository_change(message);
  if (!name) return respond(failure(name.error()));
  context.lane.change(
      [change, name = *name](service::Catalog& catalog, service::Catalog::Completion done) {
        (catalog.*change)(name, std::move(done));
      },
      [respond = std::move(respond)](Result<void> changed) {
        respond(changed ? answer({}) : failure(changed.error()));
      });
}

void load_model(const Context& context, std::string_view message, Respond respond) {
  change_repository(&service::Catalog::load, context, message, std::move(respond));
}

void unload_model(const Context& context, std::string_view message, Respond respond) {
  change_repository(&service::Catalog::unload, context, message, std::move(respond));
}

void check_health(const Context& context, std::string_view message, Respond respond) {
  const Result<std::string> service = parse_health(message);
  if (!service) return respond(failure(service.error()));
  const Health health = health_of(*service, context.why_not_ready);
  if (health == Health::service_unknown) {
    return respond({.code = Code::not_found, .message = "there is no such service"});
  }
  respond(answer(write_health(health)));
}

}  // namespace

int http_status(Code code) {
  switch (code) {
    case Code::ok:
      return 200;
    case Code::cancelled:
      return 499;
    case Code::invalid_argument:
      return 400;
    case Code::deadline_exceeded:
      return 504;
    case Code::not_found:
      return 404;
    case Code::permission_denied:
      return 403;
    case Code::resource_exhausted:
      return 429;
    case Code::unimplemented:
      return 501;
    case Code::internal:
      return 500;
    case Code::unavailable:
      return 503;
    case Code::unauthenticated:
      return 401;
  }
  return 500;
}

Code code_of_status(int status) {
  switch (status) {
    case 400:
      return Code::invalid_argument;
    case 401:
      return Code::unauthenticated;
    case 403:
      return Code::permission_denied;
    case 404:
      return Code::not_found;
    case 429:
      return Code::resource_exhausted;
    case 503:
      return Code::unavailable;
    default:
      return Code::internal;
  }
}

Outcome failure(const Error& error) {
  switch (error.code) {
    case ErrorCode::invalid_input:
    case ErrorCode::too_large:
      return {.code = Code::invalid_argument, .message = error.message};
    case ErrorCode::not_found:
      return {.code = Code::not_found, .message = error.message};
    case ErrorCode::unavailable:
      return {.code = Code::unavailable, .message = error.message};
    case ErrorCode::corrupt:
    case ErrorCode::internal:
      break;
  }
  log::error(error.message);
  return {.code = Code::internal, .message = "internal error"};
}

std::span<const Method> methods() {
  using http::Scope;
  static constexpr Method kMethods[] = {
      {"/inference.GRPCInferenceService/ModelInfer", Kind::unary, Scope::predict, true, model_infer},
      {"/inference.GRPCInferenceService/ModelStreamInfer", Kind::stream, Scope::predict, true,
       model_stream_infer},
      {"/inference.GRPCInferenceService/ServerLive", Kind::unary, Scope::none, false, server_live},
      {"/inference.GRPCInferenceService/ServerReady", Kind::unary, Scope::none, false, server_ready},
      {"/inference.GRPCInferenceService/ServerMetadata", Kind::unary, Scope::predict, true, server_metadata},
      {"/inference.GRPCInferenceService/ModelReady", Kind::unary, Scope::predict, true, model_ready},
      {"/inference.GRPCInferenceService/ModelMetadata", Kind::unary, Scope::predict, true, model_metadata},
      {"/inference.GRPCInferenceService/ModelStatistics", Kind::unary, Scope::predict, true,
       model_statistics},
      {"/inference.GRPCInferenceService/RepositoryIndex", Kind::unary, Scope::predict, true,
       repository_index},
      {"/inference.GRPCInferenceService/RepositoryModelLoad", Kind::unary, Scope::admin, true, load_model},
      {"/inference.GRPCInferenceService/RepositoryModelUnload", Kind::unary, Scope::admin, true,
       unload_model},
      {"/grpc.health.v1.Health/Check", Kind::unary, Scope::none, false, check_health},
      {"/grpc.health.v1.Health/Watch", Kind::watch, Scope::none, false, nullptr},
  };
  return kMethods;
}

Outcome failure_in_stream(Outcome failed) {
  failed.body = write_stream_error(failed.message, failed.request_id);
  return failed;
}

Health health_of(std::string_view service, std::string_view why_not_ready) {
  if (!service.empty() && service != kInferenceService && service != kHealthService) {
    return Health::service_unknown;
  }
  return why_not_ready.empty() ? Health::serving : Health::not_serving;
}

}  // namespace espy::grpc
