// What a route says of itself, for /openapi.json and /docs. The routes' table cannot be compiled without it.
#pragma once

#include <span>
#include <string_view>

namespace espy::http {

// The parts of the API, as tags.
inline constexpr std::string_view kPages = "Pages";  // what a browser shows
inline constexpr std::string_view kPredictions = "Predictions";
inline constexpr std::string_view kModels = "Models";
inline constexpr std::string_view kOpenInference = "Open Inference Protocol";
inline constexpr std::string_view kTensorFlowServing = "TensorFlow Serving";
inline constexpr std::string_view kOperations = "Operations";

// A body. `schema` is a name in schemas.json; a text's or a picture's has no further structure.
struct Content {
  std::string_view media_type;
  std::string_view schema;
};

struct Answer {
  int status;
  std::string_view text;              // what it is
  std::span<const Content> contents;  // one of them
};

struct Description {
  std::string_view id;                        // unique; what a generated client calls the function
  std::string_view tag;                       // which part of the API it belongs to
  std::span<const std::string_view> headers;  // request fields of its own; openapi.cc knows their meaning
  std::span<const Content> bodies;            // any of them; none: it takes no body
  std::span<const Answer> answers;            // besides the errors that every request may get
  std::string_view error = "Error";           // the schema of these; a borrowed dialect has its own
  bool body_required = true;                  // whether a request without a body is refused
};

}  // namespace espy::http
