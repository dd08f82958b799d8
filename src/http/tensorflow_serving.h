// The REST API of TensorFlow Serving, which KServe calls its protocol version 1: what its requests and
// answers look like (tensorflow.org/tfx/serving/api_rest).
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "service/registry.h"
#include "service/tensor.h"

namespace espy::http {

// Which outputs a predict request gets.
enum class Signature {
  serving_default,  // the probabilities alone, bare, as TensorFlow's own examples have them
  details,          // every output by its name
};

enum class Form { rows, columns };  // "instances", "inputs"

struct PredictRequest {
  Signature signature = Signature::serving_default;
  Form form = Form::rows;
  std::vector<service::Picture> pictures;
};

// Reads the body of a predict request: {"instances": [...]} or {"inputs": ...}, each picture as numbers from
// 0 to 1 or as
// {"b64": "..."}. Errors: invalid_input.
Result<PredictRequest> parse_predict(std::string_view body);

// Reads the body of a classify request: {"examples": [{"image": {"b64": "..."}}, ...]}, at its beginning
// perhaps a "context", whose features every example has. Errors: invalid_input.
Result<std::vector<service::Picture>> parse_classify(std::string_view body);

std::string write_predictions(const PredictRequest& request, std::span<const service::Answer> answers);

// Every class of each answer with its probability, in order of the labels.
std::string write_classes(std::span<const service::Answer> answers,
                          const std::vector<std::string>& class_names);

// The state of one version, or of all; KServe's "name" and "ready" beside it.
std::string write_status(std::string_view model, std::span<const service::ModelVersion> versions);

std::string write_metadata(const service::ServedModel& model);

}  // namespace espy::http
