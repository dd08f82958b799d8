#include "http/open_inference.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/foreign_text.h"
#include "base/format.h"
#include "http/json.h"
#include "http/json_tensor.h"
#include "image/decode.h"

namespace espy::http {
namespace {

constexpr std::size_t kShownBytes = 64;

using boost::json::array;
using boost::json::object;
using boost::json::value;

Error invalid(std::string message) { return {ErrorCode::invalid_input, std::move(message)}; }

// Returns the member's text; an empty one when there is none.
Result<std::string> text_of(const object& parent, std::string_view name, std::size_t limit) {
  const value* const found = parent.if_contains(boost::json::string_view(name.data(), name.size()));
  if (found == nullptr || found->is_null()) return std::string();
  const boost::json::string* const text = found->if_string();
  if (text == nullptr) return invalid(format("{} must be a text", name));
  if (text->size() > limit) return invalid(format("{} has {} bytes, limit is {}", name, text->size(), limit));
  return std::string(text->data(), text->size());
}

Result<bool> truth_of(const object& parent, std::string_view name, bool otherwise) {
  const value* const found = parent.if_contains(boost::json::string_view(name.data(), name.size()));
  if (found == nullptr) return otherwise;
  if (!found->is_bool()) return invalid(format("{} must be true or false", name));
  return found->get_bool();
}

// Returns the member's object; nullptr when there is none.
Result<const object*> object_of(const object& parent, std::string_view name) {
  const value* const found = parent.if_contains(boost::json::string_view(name.data(), name.size()));
  if (found == nullptr || found->is_null()) return static_cast<const object*>(nullptr);
  if (!found->is_object()) return invalid(format("{} must be an object", name));
  return &found->get_object();
}

Result<const array*> array_of(const object& parent, std::string_view name) {
  const value* const found = parent.if_contains(boost::json::string_view(name.data(), name.size()));
  if (found == nullptr || found->is_null()) return static_cast<const array*>(nullptr);
  if (!found->is_array()) return invalid(format("{} must be an array", name));
  return &found->get_array();
}

Result<std::vector<std::int64_t>> shape_of(const object& input) {
  const Result<const array*> shape = array_of(input, "shape");
  if (!shape) return shape.error();
  if (*shape == nullptr) return invalid("the input has no shape");
  std::vector<std::int64_t> dimensions;
  for (const value& dimension : **shape) {
    const std::int64_t* const number = dimension.if_int64();
    if (number == nullptr || *number < 0) return invalid("the input's shape is not made of whole numbers");
    dimensions.push_back(*number);
  }
  return dimensions;
}

// Reads texts that are nested as deep as the shape has dimensions, or flat.
Result<void> append_texts(const array& values, std::vector<service::Picture>& pictures) {
  for (const value& element : values) {
    if (const array* const nested = element.if_array()) {
      if (Result<void> appended = append_texts(*nested, pictures); !appended) return appended;
      continue;
    }
    const boost::json::string* const text = element.if_string();
    if (text == nullptr) return invalid(format("element {} of the input is not a text", pictures.size()));
    Result<service::Picture> picture = service::picture_from_text(view(*text));
    if (!picture) return std::move(picture).error();
    if (pictures.size() == service::kMostTogether)
      return invalid("the input has more pictures than its shape says");
    pictures.push_back(*std::move(picture));
  }
  return {};
}

Result<std::vector<service::Picture>> pictures_in(const array& data, service::DataType type,
                                                  std::span<const std::int64_t> shape) {
  const Result<std::size_t> count = service::picture_count(type, shape);
  if (!count) return count.error();
  const auto misfit = [&](std::size_t found, std::size_t wanted) {
    return invalid(format("the input has {} elements, must have {} as its shape says", found, wanted));
  };
  if (type == service::DataType::bytes) {
    std::vector<service::Picture> pictures;
    if (Result<void> read = append_texts(data, pictures); !read) return std::move(read).error();
    if (pictures.size() != *count) return misfit(pictures.size(), *count);
    return pictures;
  }
  std::string pixels;
  pixels.reserve(*count * service::kPixels);
  for (const value& element : data) {
    if (Result<void> read = append_pixels(element, type, pixels); !read) return std::move(read).error();
  }
  if (pixels.size() != *count * service::kPixels) return misfit(pixels.size(), *count * service::kPixels);
  return service::split_pixels(pixels);
}

Result<std::vector<service::Picture>> read_input(const object& input, std::string_view tail) {
  const Result<std::string> name = text_of(input, "name", kShownBytes);
  if (!name) return name.error();
  if (!service::is_input_name(*name))
    return invalid(format("the input is named \"{}\", must be \"input\"", *name));
  const Result<std::string> datatype = text_of(input, "datatype", kShownBytes);
  if (!datatype) return datatype.error();
  const Result<service::DataType> type = service::parse_input_type(*datatype);
  if (!type) return type.error();
  const Result<std::vector<std::int64_t>> shape = shape_of(input);
  if (!shape) return shape.error();
  const Result<const object*> parameters = object_of(input, "parameters");
  if (!parameters) return parameters.error();
  const Result<const array*> data = array_of(input, "data");
  if (!data) return data.error();

  const value* const size = *parameters == nullptr ? nullptr : (*parameters)->if_contains("binary_data_size");
  if (size != nullptr) {
    const std::int64_t* const number = size->if_int64();
    if (number == nullptr || *number < 0) return invalid("binary_data_size must be a whole number from 0 on");
    if (*data != nullptr) return invalid("the input has both data and a binary_data_size");
    if (static_cast<std::uint64_t>(*number) != tail.size()) {
      return invalid(format("the input has {} binary bytes, {} follow the JSON", *number, tail.size()));
    }
    return service::read_pictures(*type, *shape, tail);
  }
  if (*data == nullptr) {
    // With one input alone the size may be left out.
    if (!tail.empty()) return service::read_pictures(*type, *shape, tail);
    return invalid("the input has no data");
  }
  if (!tail.empty()) return invalid(format("{} bytes follow the JSON, and no input is binary", tail.size()));
  return pictures_in(**data, *type, *shape);
}

Result<void> read_output(const value& output, InferRequest& request) {
  if (!output.is_object()) return invalid("each output must be an object");
  const Result<std::string> name = text_of(output.get_object(), "name", kShownBytes);
  if (!name) return name.error();
  const Result<const object*> parameters = object_of(output.get_object(), "parameters");
  if (!parameters) return parameters.error();
  std::int64_t classification = 0;
  std::optional<Encoding> encoding;
  if (*parameters != nullptr) {
    if (const value* const count = (*parameters)->if_contains("classification")) {
      const std::int64_t* const number = count->if_int64();
      if (number == nullptr) return invalid("classification must be a whole number from 0 on");
      classification = *number;
    }
    if ((*parameters)->if_contains("binary_data") != nullptr) {
      const Result<bool> binary = truth_of(**parameters, "binary_data", false);
      if (!binary) return binary.error();
      encoding = *binary ? Encoding::binary : Encoding::json;
    }
  }
  request.encodings.push_back(encoding);
  return request.inference.want(*name, classification);
}

Result<InferRequest> parse_raw(std::string_view body) {
  InferRequest request;
  request.encoding = Encoding::binary;
  constexpr std::int64_t kOne[] = {1, static_cast<std::int64_t>(service::kPixels)};
  const bool is_picture{image::detect_format(std::as_bytes(std::span(body)))};
  if (!is_picture && (body.size() == service::kPixels || body.size() == service::kPixels * sizeof(float))) {
    Result<std::vector<service::Picture>> pictures = service::read_pictures(
        body.size() == service::kPixels ? service::DataType::uint8 : service::DataType::fp32, kOne, body);
    if (!pictures) return std::move(pictures).error();
    request.inference.pictures = *std::move(pictures);
  } else {
    request.inference.pictures.push_back({service::Content::picture, std::string(body)});
  }
  return request;
}

void write_element(JsonWriter& json, const service::Tensor& tensor) {
  const auto write_numbers = [&]<typename Number>(Number number) {
    for (std::size_t i = 0; i + sizeof(Number) <= tensor.bytes.size(); i += sizeof(Number)) {
      std::memcpy(&number, tensor.bytes.data() + i, sizeof(Number));
      json.value(number);
    }
  };
  switch (tensor.type) {
    case service::DataType::fp32:
      return write_numbers(float{});
    case service::DataType::int64:
      return write_numbers(std::int64_t{});
    case service::DataType::uint8:
      for (const char byte : tensor.bytes) json.value(int{static_cast<std::uint8_t>(byte)});
      return;
    case service::DataType::bytes:
      return service::for_each_text(tensor.bytes, [&](std::string_view text) { json.value(text); });
  }
}

}  // namespace

Result<InferRequest> parse_infer(std::string_view body, std::optional<std::size_t> json_bytes) {
  if (json_bytes && *json_bytes > body.size()) {
    return invalid(format("the body has {} bytes, of which {} cannot be JSON", body.size(), *json_bytes));
  }
  if (json_bytes == 0u) return parse_raw(body);
  const std::size_t split = json_bytes.value_or(body.size());
  Result<std::unique_ptr<JsonDocument>> document = JsonDocument::parse(body.substr(0, split));
  if (!document) return std::move(document).error();
  const object& root = (*document)->root();

  InferRequest request;
  Result<std::string> id = text_of(root, "id", service::kMaxIdBytes);
  if (!id) return std::move(id).error();
  request.inference.id = *std::move(id);
  const Result<const object*> parameters = object_of(root, "parameters");
  if (!parameters) return parameters.error();
  if (*parameters != nullptr) {
    const Result<bool> binary = truth_of(**parameters, "binary_data_output", false);
    if (!binary) return binary.error();
    if (*binary) request.encoding = Encoding::binary;
    Result<std::string> file_name = text_of(**parameters, "file_name", body.size());
    if (!file_name) return std::move(file_name).error();
    request.inference.file_name = clean_file_name(*file_name);
    Result<std::string> subject = text_of(**parameters, "subject", service::kMaxIdBytes);
    if (!subject) return std::move(subject).error();
    request.inference.subject = *std::move(subject);
  }
  const Result<const array*> outputs = array_of(root, "outputs");
  if (!outputs) return outputs.error();
  if (*outputs != nullptr) {
    for (const value& output : **outputs) {
      if (Result<void> read = read_output(output, request); !read) return std::move(read).error();
    }
  }
  const Result<const array*> inputs = array_of(root, "inputs");
  if (!inputs) return inputs.error();
  if (*inputs == nullptr || (*inputs)->size() != 1 || !(**inputs)[0].is_object()) {
    return invalid(
        format("the request has {} inputs, must have 1", *inputs == nullptr ? 0 : (*inputs)->size()));
  }
  Result<std::vector<service::Picture>> pictures = read_input((**inputs)[0].get_object(), body.substr(split));
  if (!pictures) return std::move(pictures).error();
  request.inference.pictures = *std::move(pictures);
  return request;
}

InferResponse write_infer_response(const InferRequest& request, std::string_view model, std::int64_t version,
                                   std::span<const service::Tensor> outputs) {
  JsonWriter json;
  json.begin_object().field("model_name", model).field("model_version", std::to_string(version));
  if (!request.inference.id.empty()) json.field("id", request.inference.id);
  json.key("outputs").begin_array();
  std::string tail;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const service::Tensor& tensor = outputs[i];
    json.begin_object().field("name", tensor.name).field("datatype", to_string(tensor.type));
    json.key("shape").begin_array();
    for (const std::int64_t dimension : tensor.shape) json.value(dimension);
    json.end_array();
    const Encoding encoding =
        i < request.encodings.size() ? request.encodings[i].value_or(request.encoding) : request.encoding;
    if (encoding == Encoding::binary) {
      json.key("parameters").begin_object();
      json.field("binary_data_size", std::uint64_t{tensor.bytes.size()}).end_object();
      tail += tensor.bytes;
    } else {
      json.key("data").begin_array();
      write_element(json, tensor);
      json.end_array();
    }
    json.end_object();
  }
  json.end_array().end_object();
  InferResponse response{.body = std::move(json).text(), .json_bytes = {}};
  if (!tail.empty()) {
    response.json_bytes = response.body.size();
    response.body += tail;
  }
  return response;
}

Result<RepositoryRequest> parse_repository_request(std::string_view body) {
  RepositoryRequest request;
  if (body.empty()) return request;
  Result<std::unique_ptr<JsonDocument>> document = JsonDocument::parse(body);
  if (!document) return std::move(document).error();
  const Result<bool> ready = truth_of((*document)->root(), "ready", false);
  if (!ready) return ready.error();
  request.ready = *ready;
  const Result<const object*> parameters = object_of((*document)->root(), "parameters");
  if (!parameters) return parameters.error();
  if (*parameters != nullptr) {
    for (const auto& parameter : **parameters) {
      const std::string_view name = view(parameter.key());
      if (name == "config" || name.starts_with("file:")) {
        return invalid("a model comes from the server's own files; a request cannot bring one");
      }
    }
  }
  return request;
}

}  // namespace espy::http
