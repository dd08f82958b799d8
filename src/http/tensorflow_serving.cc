#include "http/tensorflow_serving.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/format.h"
#include "http/json.h"
#include "http/json_tensor.h"

namespace espy::http {
namespace {

using boost::json::array;
using boost::json::object;
using boost::json::value;

Error invalid(std::string message) { return {ErrorCode::invalid_input, std::move(message)}; }

// Returns the text of {"b64": "..."}; nullptr when the value is something else.
const boost::json::string* base64_in(const value& element) {
  const object* const wrapper = element.if_object();
  if (wrapper == nullptr || wrapper->size() != 1) return nullptr;
  const value* const text = wrapper->if_contains("b64");
  return text == nullptr ? nullptr : text->if_string();
}

// Takes the name off {"input": VALUE}.
Result<const value*> unnamed(const value& element) {
  const object* const named = element.if_object();
  if (named == nullptr || named->contains("b64")) return &element;
  if (named->size() != 1 || !service::is_input_name(view(named->begin()->key()))) {
    return invalid("an object must have \"input\", or \"b64\" where it is a picture, and nothing else");
  }
  return &named->begin()->value();
}

Result<void> append_picture(const value& element, std::vector<service::Picture>& pictures) {
  if (pictures.size() == service::kMostTogether) {
    return invalid(format("the request has more than {} pictures", service::kMostTogether));
  }
  if (const boost::json::string* const text = base64_in(element)) {
    Result<service::Picture> picture = service::picture_from_text(view(*text));
    if (!picture) return std::move(picture).error();
    pictures.push_back(*std::move(picture));
    return {};
  }
  if (!element.is_array()) {
    return invalid(format("picture {} is neither an array nor {{\"b64\": \"...\"}}", pictures.size()));
  }
  std::string pixels;
  pixels.reserve(service::kPixels);
  if (Result<void> read = append_pixels(element, service::DataType::fp32, pixels); !read) {
    return invalid(format("picture {}: {}", pictures.size(), read.error().message));
  }
  if (pixels.size() != service::kPixels) {
    return invalid(format("picture {} has {} numbers, must have {} (28 rows of 28)", pictures.size(),
                          pixels.size(), service::kPixels));
  }
  pictures.push_back({service::Content::pixels, std::move(pixels)});
  return {};
}

Result<Signature> signature_of(const object& root) {
  const value* const name = root.if_contains("signature_name");
  if (name == nullptr) return Signature::serving_default;
  const boost::json::string* const text = name->if_string();
  if (text != nullptr && (text->empty() || *text == "serving_default")) return Signature::serving_default;
  if (text != nullptr && *text == "details") return Signature::details;
  return invalid("signature_name must be \"serving_default\" or \"details\"");
}

void write_cell(JsonWriter& json, const service::Tensor& tensor, std::size_t row) {
  const std::size_t rows = static_cast<std::size_t>(tensor.shape[0]);
  if (tensor.type == service::DataType::bytes) {
    std::size_t index = 0;
    return service::for_each_text(tensor.bytes, [&](std::string_view text) {
      if (index++ == row) json.value(text);
    });
  }
  const std::size_t bytes = tensor.bytes.size() / rows;
  const char* const begin = tensor.bytes.data() + row * bytes;
  if (tensor.type == service::DataType::int64) {
    std::int64_t number = 0;
    std::memcpy(&number, begin, sizeof(number));
    json.value(number);
    return;
  }
  const bool is_list = tensor.shape.size() > 1;
  if (is_list) json.begin_array();
  for (std::size_t i = 0; i < bytes; i += sizeof(float)) {
    float number = 0;
    std::memcpy(&number, begin + i, sizeof(number));
    json.value(number);
  }
  if (is_list) json.end_array();
}

void write_column(JsonWriter& json, const service::Tensor& tensor) {
  json.begin_array();
  for (std::size_t row = 0; row < static_cast<std::size_t>(tensor.shape[0]); ++row)
    write_cell(json, tensor, row);
  json.end_array();
}

// TensorInfo and SignatureDef of tensorflow/core/protobuf/meta_graph.proto, as protobuf writes them in JSON.
void write_tensor_info(JsonWriter& json, std::string_view name, service::DataType type,
                       std::span<const std::int64_t> shape) {
  const std::string_view dtype = type == service::DataType::fp32    ? "DT_FLOAT"
                                 : type == service::DataType::int64 ? "DT_INT64"
                                 : type == service::DataType::uint8 ? "DT_UINT8"
                                                                    : "DT_STRING";
  json.key(name).begin_object().field("dtype", dtype);
  json.key("tensor_shape").begin_object().key("dim").begin_array();
  for (const std::int64_t size : shape) {
    json.begin_object().field("size", std::to_string(size)).field("name", "").end_object();
  }
  json.end_array().field("unknown_rank", false).end_object();
  json.field("name", format("{}:0", name)).end_object();
}

void write_signature(JsonWriter& json, Signature signature, std::size_t classes) {
  constexpr std::int64_t kInputShape[] = {-1, 28, 28, 1};
  json.begin_object().key("inputs").begin_object();
  write_tensor_info(json, "input", service::DataType::fp32, kInputShape);
  json.end_object().key("outputs").begin_object();
  for (const service::OutputKind& kind : service::output_kinds()) {
    if (signature == Signature::serving_default && !kind.one_a_class) continue;
    std::vector<std::int64_t> shape = {-1};
    if (kind.one_a_class) shape.push_back(static_cast<std::int64_t>(classes));
    write_tensor_info(json, kind.name, kind.type, shape);
  }
  json.end_object().field("method_name", "tensorflow/serving/predict").end_object();
}

}  // namespace

Result<PredictRequest> parse_predict(std::string_view body) {
  Result<std::unique_ptr<JsonDocument>> document = JsonDocument::parse(body);
  if (!document) return std::move(document).error();
  const object& root = (*document)->root();
  PredictRequest request;
  const Result<Signature> signature = signature_of(root);
  if (!signature) return signature.error();
  request.signature = *signature;
  const value* const instances = root.if_contains("instances");
  const value* const inputs = root.if_contains("inputs");
  if ((instances == nullptr) == (inputs == nullptr)) {
    return invalid("the body must have either \"instances\" or \"inputs\"");
  }
  const value* rows = instances;
  if (inputs != nullptr) {
    request.form = Form::columns;
    const Result<const value*> column = unnamed(*inputs);
    if (!column) return column.error();
    rows = *column;
    if (rows->is_object()) {  // one picture without an array around it
      if (Result<void> read = append_picture(*rows, request.pictures); !read) return std::move(read).error();
      return request;
    }
  }
  const array* const pictures = rows->if_array();
  if (pictures == nullptr || pictures->empty()) {
    return invalid("\"instances\" and \"inputs\" must be arrays of pictures, and not empty");
  }
  for (const value& element : *pictures) {
    const Result<const value*> picture = request.form == Form::rows ? unnamed(element) : &element;
    if (!picture) return picture.error();
    if (Result<void> read = append_picture(**picture, request.pictures); !read)
      return std::move(read).error();
  }
  return request;
}

Result<std::vector<service::Picture>> parse_classify(std::string_view body) {
  Result<std::unique_ptr<JsonDocument>> document = JsonDocument::parse(body);
  if (!document) return std::move(document).error();
  const object& root = (*document)->root();
  if (const Result<Signature> signature = signature_of(root); !signature) return signature.error();
  const value* const examples = root.if_contains("examples");
  const array* const list = examples == nullptr ? nullptr : examples->if_array();
  if (list == nullptr || list->empty()) return invalid("\"examples\" must be an array, and not empty");
  const value* const context = root.if_contains("context");
  if (context != nullptr && !context->is_object()) return invalid("\"context\" must be an object");
  std::vector<service::Picture> pictures;
  for (const value& example : *list) {
    if (!example.is_object()) return invalid("each example must be an object");
    const value* picture = nullptr;
    for (const object* const features : {&example.get_object(), context ? &context->get_object() : nullptr}) {
      if (features == nullptr || picture != nullptr) continue;
      for (const auto& feature : *features) {
        if (service::is_input_name(view(feature.key()))) picture = &feature.value();
      }
    }
    if (picture == nullptr) return invalid(format("example {} has no \"image\"", pictures.size()));
    if (Result<void> read = append_picture(*picture, pictures); !read) return std::move(read).error();
  }
  return pictures;
}

std::string write_predictions(const PredictRequest& request, std::span<const service::Answer> answers) {
  std::vector<service::Tensor> outputs;
  for (const service::OutputKind& kind : service::output_kinds()) {
    if (request.signature == Signature::details || kind.one_a_class)
      outputs.push_back(make_output(kind, answers));
  }
  JsonWriter json;
  json.begin_object();
  if (request.form == Form::columns) {
    json.key("outputs");
    if (outputs.size() == 1) {
      write_column(json, outputs[0]);
    } else {
      json.begin_object();
      for (const service::Tensor& output : outputs) {
        json.key(output.name);
        write_column(json, output);
      }
      json.end_object();
    }
  } else {
    json.key("predictions").begin_array();
    for (std::size_t row = 0; row < answers.size(); ++row) {
      if (outputs.size() == 1) {
        write_cell(json, outputs[0], row);
        continue;
      }
      json.begin_object();
      for (const service::Tensor& output : outputs) {
        json.key(output.name);
        write_cell(json, output, row);
      }
      json.end_object();
    }
    json.end_array();
  }
  json.end_object();
  return std::move(json).text();
}

std::string write_classes(std::span<const service::Answer> answers,
                          const std::vector<std::string>& class_names) {
  JsonWriter json;
  json.begin_object().key("results").begin_array();
  for (const service::Answer& answer : answers) {
    json.begin_array();
    for (std::size_t label = 0; label < class_names.size(); ++label) {
      json.begin_array().value(class_names[label]).value(answer.probabilities[label]).end_array();
    }
    json.end_array();
  }
  json.end_array().end_object();
  return std::move(json).text();
}

std::string write_status(std::string_view model, std::span<const service::ModelVersion> versions) {
  JsonWriter json;
  json.begin_object().key("model_version_status").begin_array();
  for (const service::ModelVersion& version : versions) {
    json.begin_object()
        .field("version", std::to_string(version.number))
        .field("state", version.served ? "AVAILABLE" : "END");
    json.key("status").begin_object();
    json.field("error_code", version.reason.empty() ? "OK" : "UNKNOWN")
        .field("error_message", version.reason);
    json.end_object().end_object();
  }
  const bool ready =
      std::ranges::any_of(versions, [](const auto& version) { return version.served != nullptr; });
  json.end_array().field("name", model).field("ready", ready).end_object();
  return std::move(json).text();
}

std::string write_metadata(const service::ServedModel& model) {
  JsonWriter json;
  json.begin_object().key("model_spec").begin_object();
  json.field("name", model.name())
      .field("signature_name", "")
      .field("version", std::to_string(model.number()));
  json.end_object().key("metadata").begin_object().key("signature_def").begin_object();
  json.key("signature_def").begin_object();
  const std::size_t classes = model.model().class_names().size();
  json.key("serving_default");
  write_signature(json, Signature::serving_default, classes);
  json.key("details");
  write_signature(json, Signature::details, classes);
  json.end_object().end_object().end_object().end_object();
  return std::move(json).text();
}

}  // namespace espy::http
