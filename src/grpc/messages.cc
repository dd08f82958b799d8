#include "grpc/messages.h"

#include <health.pb.h>
#include <open_inference.pb.h>

#include <algorithm>
#include <climits>
#include <utility>
#include <vector>

#include "base/foreign_text.h"
#include "base/format.h"

namespace espy::grpc {
namespace {

using ::inference::InferParameter;
using ::inference::InferTensorContents;
using InputTensor = ::inference::ModelInferRequest::InferInputTensor;

constexpr std::size_t kShownBytes = 64;

Error invalid(std::string message) { return {ErrorCode::invalid_input, std::move(message)}; }

template <typename Message>
Result<Message> parse(std::string_view bytes) {
  Message message;
  if (bytes.size() > INT_MAX || !message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return invalid("the message is not what this method takes");
  }
  return message;
}

// Returns the parameter's text; an empty one when there is none.
template <typename Parameters>
Result<std::string> text_of(const Parameters& parameters, const std::string& name) {
  const auto found = parameters.find(name);
  if (found == parameters.end()) return std::string();
  if (found->second.parameter_choice_case() != InferParameter::kStringParam) {
    return invalid(format("{} must be a text", name));
  }
  return found->second.string_param();
}

// Returns the parameter's number; 0 when there is none.
template <typename Parameters>
Result<std::int64_t> number_of(const Parameters& parameters, const std::string& name) {
  const auto found = parameters.find(name);
  if (found == parameters.end()) return 0;
  if (found->second.parameter_choice_case() != InferParameter::kInt64Param) {
    return invalid(format("{} must be a whole number from 0 on", name));
  }
  return found->second.int64_param();
}

bool has_elements(const InferTensorContents& contents) { return contents.ByteSizeLong() > 0; }

Error misfit(std::size_t found, std::size_t wanted) {
  return invalid(format("the input has {} elements, must have {} as its shape says", found, wanted));
}

Result<std::vector<service::Picture>> read_contents(InferTensorContents& contents, service::DataType type,
                                                    std::span<const std::int64_t> shape) {
  const Result<std::size_t> count = service::picture_count(type, shape);
  if (!count) return count.error();
  if (type == service::DataType::bytes) {
    const auto found = static_cast<std::size_t>(contents.bytes_contents_size());
    if (found != *count) return misfit(found, *count);
    std::vector<service::Picture> pictures;
    for (std::string& picture : *contents.mutable_bytes_contents()) {
      pictures.push_back({service::Content::picture, std::move(picture)});
    }
    return pictures;
  }
  const bool is_float = type == service::DataType::fp32;
  const auto found =
      static_cast<std::size_t>(is_float ? contents.fp32_contents_size() : contents.uint_contents_size());
  if (found != *count * service::kPixels) return misfit(found, *count * service::kPixels);
  std::string pixels;
  pixels.reserve(found);
  for (const float number : contents.fp32_contents()) {
    if (!is_float) break;
    const Result<char> pixel = service::to_pixel(static_cast<double>(number), pixels.size());
    if (!pixel) return pixel.error();
    pixels += *pixel;
  }
  for (const std::uint32_t number : contents.uint_contents()) {
    if (is_float) break;
    if (number > UCHAR_MAX) {
      return invalid(
          format("element {} of the input is {}, must be from 0 to {}", pixels.size(), number, UCHAR_MAX));
    }
    pixels += static_cast<char>(static_cast<std::uint8_t>(number));
  }
  return service::split_pixels(pixels);
}

Result<std::vector<service::Picture>> read_input(::inference::ModelInferRequest& request) {
  if (request.inputs_size() != 1) {
    return invalid(format("the request has {} inputs, must have 1", request.inputs_size()));
  }
  InputTensor& input = *request.mutable_inputs(0);
  if (!service::is_input_name(input.name())) {
    return invalid(format("the input is named \"{}\", must be \"{}\"",
                          std::string_view(input.name()).substr(0, kShownBytes), service::kInputName));
  }
  const Result<service::DataType> type = service::parse_input_type(input.datatype());
  if (!type) return type.error();
  const std::vector<std::int64_t> shape(input.shape().begin(), input.shape().end());
  if (request.raw_input_contents_size() == 0) {
    if (!has_elements(input.contents())) return invalid("the input has no data");
    return read_contents(*input.mutable_contents(), *type, shape);
  }
  if (request.raw_input_contents_size() != 1) {
    return invalid(
        format("the request has {} raw_input_contents and 1 input", request.raw_input_contents_size()));
  }
  if (has_elements(input.contents())) return invalid("the input has both contents and raw_input_contents");
  return service::read_pictures(*type, shape, request.raw_input_contents(0));
}

void set(::inference::StatisticDuration* duration, const service::Timed& timed) {
  duration->set_count(timed.count);
  duration->set_ns(static_cast<std::uint64_t>(timed.time.count()));
}

void set(::inference::ModelMetadataResponse::TensorMetadata* tensor, std::string_view name,
         service::DataType type, std::span<const std::int64_t> shape) {
  tensor->set_name(std::string(name));
  tensor->set_datatype(std::string(to_string(type)));
  for (const std::int64_t size : shape) tensor->add_shape(size);
}

}  // namespace

Result<InferRequest> parse_infer(std::string_view message) {
  Result<::inference::ModelInferRequest> parsed = parse<::inference::ModelInferRequest>(message);
  if (!parsed) return std::move(parsed).error();
  InferRequest request{.model_name = std::move(*parsed->mutable_model_name()),
                       .model_version = std::move(*parsed->mutable_model_version()),
                       .inference = {}};
  service::Inference& inference = request.inference;
  if (parsed->id().size() > service::kMaxIdBytes) {
    return invalid(format("id has {} bytes, limit is {}", parsed->id().size(), service::kMaxIdBytes));
  }
  inference.id = std::move(*parsed->mutable_id());
  const Result<std::string> file_name = text_of(parsed->parameters(), "file_name");
  if (!file_name) return file_name.error();
  inference.file_name = clean_file_name(*file_name);
  Result<std::string> subject = text_of(parsed->parameters(), "subject");
  if (!subject) return std::move(subject).error();
  inference.subject = *std::move(subject);
  for (const auto& output : parsed->outputs()) {
    const Result<std::int64_t> classification = number_of(output.parameters(), "classification");
    if (!classification) return classification.error();
    if (Result<void> wanted = inference.want(output.name(), *classification); !wanted) {
      return std::move(wanted).error();
    }
  }
  Result<std::vector<service::Picture>> pictures = read_input(*parsed);
  if (!pictures) return std::move(pictures).error();
  inference.pictures = *std::move(pictures);
  return request;
}

std::string id_of_infer(std::string_view message) {
  const Result<::inference::ModelInferRequest> request = parse<::inference::ModelInferRequest>(message);
  return request && request->id().size() <= service::kMaxIdBytes ? request->id() : std::string();
}

std::string write_infer(const service::Inference& inference, const service::ServedModel& model,
                        std::span<const service::Tensor> outputs) {
  ::inference::ModelInferResponse response;
  response.set_model_name(model.name());
  response.set_model_version(std::to_string(model.number()));
  response.set_id(inference.id);
  for (const service::Tensor& tensor : outputs) {
    ::inference::ModelInferResponse::InferOutputTensor* const output = response.add_outputs();
    output->set_name(tensor.name);
    output->set_datatype(std::string(to_string(tensor.type)));
    for (const std::int64_t size : tensor.shape) output->add_shape(size);
    response.add_raw_output_contents(tensor.bytes);
  }
  return response.SerializeAsString();
}

std::string write_stream_infer(std::string_view infer_response) {
  // The field of a message is its tag, its length and its bytes, which are there already.
  constexpr int kLengthDelimited = 2;
  std::string message(
      1, static_cast<char>(::inference::ModelStreamInferResponse::kInferResponseFieldNumber << 3 |
                           kLengthDelimited));
  std::size_t rest = infer_response.size();
  for (; rest > 0x7f; rest >>= 7) message += static_cast<char>(0x80 | (rest & 0x7f));
  message += static_cast<char>(rest);
  return message.append(infer_response);
}

std::string write_stream_error(std::string_view message, std::string_view id) {
  ::inference::ModelStreamInferResponse response;
  response.set_error_message(valid_utf8(message));
  if (!id.empty()) response.mutable_infer_response()->set_id(valid_utf8(id));
  return response.SerializeAsString();
}

Result<ModelQuery> parse_model_query(std::string_view message) {
  Result<::inference::ModelReadyRequest> request = parse<::inference::ModelReadyRequest>(message);
  if (!request) return std::move(request).error();
  return ModelQuery{.name = request->name(), .version = request->version()};
}

std::string write_server_live(bool live) {
  ::inference::ServerLiveResponse response;
  response.set_live(live);
  return response.SerializeAsString();
}

std::string write_server_ready(bool ready) {
  ::inference::ServerReadyResponse response;
  response.set_ready(ready);
  return response.SerializeAsString();
}

std::string write_model_ready(bool ready) {
  ::inference::ModelReadyResponse response;
  response.set_ready(ready);
  return response.SerializeAsString();
}

std::string write_server_metadata() {
  ::inference::ServerMetadataResponse response;
  response.set_name("espy");
  response.set_version(ESPY_VERSION);
  for (const char* const extension : {"classification", "model_repository", "statistics"}) {
    response.add_extensions(extension);
  }
  return response.SerializeAsString();
}

std::string write_model_metadata(const service::Registry& registry, const service::ServedModel& model) {
  ::inference::ModelMetadataResponse response;
  response.set_name(model.name());
  for (std::string& version : service::served_versions(registry, model.name())) {
    response.add_versions(std::move(version));
  }
  response.set_platform(std::string(service::kPlatform));
  set(response.add_inputs(), service::kInputName, service::DataType::fp32, service::kInputShape);
  for (const service::OutputKind& kind : service::output_kinds()) {
    set(response.add_outputs(), kind.name, kind.type, service::output_shape(kind, model));
  }
  return response.SerializeAsString();
}

std::string write_statistics(std::span<const std::shared_ptr<const service::ServedModel>> models) {
  ::inference::ModelStatisticsResponse response;
  for (const auto& model : models) {
    const service::Statistics statistics = model->statistics();
    ::inference::ModelStatistics* const entry = response.add_model_stats();
    entry->set_name(model->name());
    entry->set_version(std::to_string(model->number()));
    if (statistics.last_inference) {
      entry->set_last_inference(
          static_cast<std::uint64_t>(statistics.last_inference->time_since_epoch().count() / 1000));
    }
    entry->set_inference_count(statistics.inferences);
    entry->set_execution_count(statistics.executions);
    ::inference::InferStatistics* const of = entry->mutable_inference_stats();
    set(of->mutable_success(), statistics.success);
    set(of->mutable_fail(), statistics.failure);
    set(of->mutable_queue(), statistics.queue);
    set(of->mutable_compute_input(), statistics.input);
    set(of->mutable_compute_infer(), statistics.inference);
  }
  return response.SerializeAsString();
}

Result<bool> parse_repository_index(std::string_view message) {
  Result<::inference::RepositoryIndexRequest> request = parse<::inference::RepositoryIndexRequest>(message);
  if (!request) return std::move(request).error();
  return request->ready();
}

std::string write_repository_index(const service::Registry& registry, bool only_ready) {
  ::inference::RepositoryIndexResponse response;
  for (const service::ModelEntry& entry : registry.entries()) {
    for (const service::ModelVersion& version : entry.versions) {
      if (only_ready && !version.served) continue;
      ::inference::RepositoryIndexResponse::ModelIndex* const model = response.add_models();
      model->set_name(entry.name);
      model->set_version(std::to_string(version.number));
      model->set_state(version.served ? "READY" : "UNAVAILABLE");
      model->set_reason(valid_utf8(version.reason));
    }
  }
  return response.SerializeAsString();
}

Result<std::string> parse_repository_change(std::string_view message) {
  Result<::inference::RepositoryModelLoadRequest> request =
      parse<::inference::RepositoryModelLoadRequest>(message);
  if (!request) return std::move(request).error();
  for (const auto& [name, value] : request->parameters()) {
    if (name == "config" || name.starts_with("file:")) {
      return invalid("a model comes from the server's own files; a request cannot bring one");
    }
  }
  return request->model_name();
}

Result<std::string> parse_health(std::string_view message) {
  Result<::grpc::health::v1::HealthCheckRequest> request =
      parse<::grpc::health::v1::HealthCheckRequest>(message);
  if (!request) return std::move(request).error();
  return request->service();
}

std::string write_health(Health health) {
  using Response = ::grpc::health::v1::HealthCheckResponse;
  Response response;
  response.set_status(static_cast<Response::ServingStatus>(health));
  return response.SerializeAsString();
}

}  // namespace espy::grpc
