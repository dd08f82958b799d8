// What goes over the wire of the Open Inference Protocol and of gRPC's health checking: protobuf messages
// (open_inference.proto, health.proto) to and from what they mean.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "service/inference.h"
#include "service/registry.h"

namespace espy::grpc {

struct InferRequest {
  std::string model_name;
  std::string model_version;  // empty: the chosen one
  service::Inference inference;
};

// Reads a ModelInferRequest. Its one input comes as raw_input_contents, laid out as
// service::read_pictures() has it, or as typed contents. Errors: invalid_input.
Result<InferRequest> parse_infer(std::string_view message);

// Returns the id in a ModelInferRequest that parse_infer() refuses; nothing when it has none or is none.
std::string id_of_infer(std::string_view message);

// Returns a ModelInferResponse, its outputs as raw_output_contents.
std::string write_infer(const service::Inference& inference, const service::ServedModel& model,
                        std::span<const service::Tensor> outputs);

// Returns a ModelStreamInferResponse: of a ModelInferResponse, or of an error, with the id of the request
// that it belongs to, which may be empty.
std::string write_stream_infer(std::string_view infer_response);
std::string write_stream_error(std::string_view message, std::string_view id);

// Of ModelReadyRequest, ModelMetadataRequest and ModelStatisticsRequest, which are alike.
struct ModelQuery {
  std::string name;
  std::string version;
};
Result<ModelQuery> parse_model_query(std::string_view message);

std::string write_server_live(bool live);
std::string write_server_ready(bool ready);
std::string write_model_ready(bool ready);
std::string write_server_metadata();
std::string write_model_metadata(const service::Registry& registry, const service::ServedModel& model);
std::string write_statistics(std::span<const std::shared_ptr<const service::ServedModel>> models);

// Returns whether only models are asked for that are ready.
Result<bool> parse_repository_index(std::string_view message);
std::string write_repository_index(const service::Registry& registry, bool only_ready);

// Returns the name in a RepositoryModelLoadRequest or RepositoryModelUnloadRequest, which are alike.
// Errors: invalid_input (also of parameters that bring a model along, which nobody may).
Result<std::string> parse_repository_change(std::string_view message);

enum class Health { serving = 1, not_serving = 2, service_unknown = 3 };  // as in health.proto

// Returns the name of the service in a HealthCheckRequest.
Result<std::string> parse_health(std::string_view message);
std::string write_health(Health health);

}  // namespace espy::grpc
