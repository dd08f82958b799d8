// espy predict: what pictures show, without a record.
#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/format.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/shipped_models.h"
#include "cli/text.h"
#include "http/json.h"
#include "http/page.h"
#include "image/decode.h"
#include "image/prepare.h"
#include "model/predictor.h"

namespace espy::cli {
namespace {

// So many pictures go through the network together; `espy bench predict` measures the same number.
constexpr std::size_t kBatch = 64;

struct Settings {
  std::string model;
  std::vector<std::string> files;
  bool json = false;
};

Error about(const std::string& name, Error error) {
  error.message = format("{}: {}", name, error.message);
  return error;
}

// Returns the files to read: a folder stands for every file below it, sorted, without hidden ones.
// Errors: unavailable (a folder that cannot be read).
Result<std::vector<std::string>> walk(const std::string& name) {
  namespace fs = std::filesystem;
  std::error_code reason;
  if (name == "-" || !fs::is_directory(name, reason)) return std::vector<std::string>{name};
  std::vector<std::string> files;
  fs::recursive_directory_iterator entry(name, reason);
  for (const fs::recursive_directory_iterator end; !reason && entry != end; entry.increment(reason)) {
    std::error_code gone;  // a file that vanishes meanwhile is not a file any more
    const bool hidden = entry->path().filename().string().starts_with(".");
    if (hidden && entry->is_directory(gone)) entry.disable_recursion_pending();
    if (!hidden && entry->is_regular_file(gone)) files.push_back(entry->path().string());
  }
  if (reason) return Error{ErrorCode::unavailable, format("cannot read {}: {}", name, reason.message())};
  std::sort(files.begin(), files.end());
  return files;
}

Result<image::Input> read_input(const std::string& file, image::Preparation preparation) {
  const image::DecodeLimits limits;
  const Result<std::string> upload = read_file(file, limits.max_bytes);
  if (!upload) return upload.error();
  const Result<image::GrayImage> picture = image::decode(as_bytes(*upload), limits);
  if (!picture) return about(file, picture.error());
  return image::prepare(*picture, preparation);
}

std::string prediction_text(const model::Prediction& prediction) {
  if (prediction.verdict == Verdict::not_recognized) return "not recognized";
  return format("{} ({})", prediction.class_name, http::confidence_words(prediction.confidence));
}

std::string prediction_json(const std::string& file, const model::Prediction& prediction) {
  http::JsonWriter json;
  json.begin_object()
      .field("file", file)
      .field("label", prediction.label)
      .field("class", prediction.class_name)
      .field("confidence", prediction.confidence)
      .field("verdict", to_string(prediction.verdict));
  json.key("probabilities").begin_array();
  for (const float probability : prediction.probabilities) json.value(probability);
  json.end_array().end_object();
  return std::move(json).text() + "\n";
}

// Prints what a batch of files shows and forgets them.
void print_batch(const Settings& settings, model::Predictor& predictor, std::vector<std::string>& files,
                 std::vector<image::Input>& inputs) {
  const std::vector<model::Prediction> predictions = predictor.predict(inputs);
  for (std::size_t index = 0; index < files.size(); ++index) {
    if (settings.json) {
      print(prediction_json(files[index], predictions[index]));
    } else {
      print(format("{}: {}\n", printable(files[index]), prediction_text(predictions[index])));
    }
  }
  files.clear();
  inputs.clear();
}

ExitStatus predict(const Settings& settings) {
  const auto model = load_model(settings.model);
  if (!model) return fail(model.error());
  model::Predictor predictor(*model);

  ExitStatus status = ExitStatus::done;
  std::vector<std::string> files;
  std::vector<image::Input> inputs;
  for (const std::string& name : settings.files) {
    const auto found = walk(name);
    if (!found) {
      status = fail(found.error());
      continue;
    }
    for (const std::string& file : *found) {
      const auto input = read_input(file, (*model)->preparation());
      if (!input) {
        status = fail(input.error());
        continue;
      }
      files.push_back(file);
      inputs.push_back(*input);
      if (inputs.size() == kBatch) print_batch(settings, predictor, files, inputs);
    }
  }
  if (!inputs.empty()) print_batch(settings, predictor, files, inputs);
  return status;
}

}  // namespace

Action declare_predict(Flags& flags) {
  auto settings = std::make_shared<Settings>();
  flags.argument("MODEL", settings->model, format("a model file, {}", shipped_model_names()));
  flags.repeated_argument("FILE", settings->files,
                          "pictures (PNG, JPEG, GIF, BMP, WebP); - is standard input; a folder stands for "
                          "all files below it");
  flags.toggle("--json", settings->json, "print one JSON object a line, with all probabilities");
  return [settings] { return predict(*settings); };
}

}  // namespace espy::cli
