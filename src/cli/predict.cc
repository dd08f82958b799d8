// espy predict: what pictures show, without a record.
#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/format.h"
#include "cli/commands.h"
#include "cli/environment.h"
#include "cli/output.h"
#include "cli/shipped_models.h"
#include "cli/text.h"
#include "http/json.h"
#include "http/page.h"
#include "image/decode.h"
#include "image/prepare.h"
#include "model/predictor.h"
#include "store/record.h"

namespace espy::cli {
namespace {

// So many pictures go through the network together; `espy bench predict` measures the same number.
constexpr std::size_t kBatch = 64;

struct Settings {
  std::string model;
  std::vector<std::string> files;
  std::optional<double> coverage;
  std::string precision = "f32";
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

// What is printed of a picture.
struct Shown {
  store::Record record;  // only what the words are made from
  std::vector<float> probabilities;
  std::vector<std::string> set;  // when a coverage was asked for
};

Shown show(const model::Model& model, model::Prediction prediction, std::optional<double> coverage) {
  const std::vector<std::string>& names = model.class_names();
  Shown shown;
  shown.record.label = prediction.label;
  shown.record.class_name = std::move(prediction.class_name);
  shown.record.confidence = prediction.confidence;
  shown.record.verdict = prediction.verdict;
  shown.record.reason = prediction.reason;
  if (prediction.verdict == Verdict::unsure) {
    shown.record.alternative = names[static_cast<std::size_t>(prediction.alternative)];
  }
  if (coverage) {
    for (const int label : model.calibration()->label_set(prediction.probabilities, *coverage)) {
      shown.set.push_back(names[static_cast<std::size_t>(label)]);
    }
  }
  shown.probabilities = std::move(prediction.probabilities);
  return shown;
}

std::string prediction_text(const Shown& shown) {
  const store::Record& record = shown.record;
  std::string text = http::answer_words(record);
  text += record.verdict == Verdict::not_recognized
              ? format(": {}", http::reason_words(record))
              : format(" ({})", http::confidence_words(record.confidence));
  if (!shown.set.empty()) text += format(" {{{}}}", join(shown.set, ", "));
  return text;
}

std::string prediction_json(const std::string& file, const Shown& shown) {
  const store::Record& prediction = shown.record;
  http::JsonWriter json;
  json.begin_object()
      .field("file", file)
      .field("label", prediction.label)
      .field("class", prediction.class_name)
      .field("confidence", prediction.confidence)
      .field("verdict", to_string(prediction.verdict));
  json.key("reason");
  if (prediction.reason == Reason::none) {
    json.null();
  } else {
    json.value(to_string(prediction.reason));
  }
  json.key("probabilities").begin_array();
  for (const float probability : shown.probabilities) json.value(probability);
  json.end_array();
  if (!shown.set.empty()) {
    json.key("set").begin_array();
    for (const std::string& name : shown.set) json.value(name);
    json.end_array();
  }
  json.end_object();
  return std::move(json).text() + "\n";
}

// Prints what a batch of files shows and forgets them.
void print_batch(const Settings& settings, model::Predictor& predictor, std::vector<std::string>& files,
                 std::vector<image::Input>& inputs) {
  std::vector<model::Prediction> predictions = predictor.predict(inputs);
  for (std::size_t index = 0; index < files.size(); ++index) {
    const Shown shown = show(predictor.model(), std::move(predictions[index]), settings.coverage);
    if (settings.json) {
      print(prediction_json(files[index], shown));
    } else {
      print(format("{}: {}\n", printable(files[index]), prediction_text(shown)));
    }
  }
  files.clear();
  inputs.clear();
}

ExitStatus predict(const Settings& settings) {
  const auto model = load_model(settings.model);
  if (!model) return fail(model.error());
  if (settings.coverage && !(*model)->calibration()) {
    return fail({ErrorCode::invalid_input,
                 format("model {} has no calibration, so it has no sets of a coverage", settings.model)});
  }
  const auto precision = usable_precision(settings.precision);
  if (!precision) return fail(precision.error());
  model::Predictor predictor(*model, *precision);

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
  flags.optional_number<double>("--coverage", "SHARE", settings->coverage, {0, 1},
                                "also name the set of classes that holds the right one so often, 0 to 1");
  flags.choice("--precision", {"f32", "bf16"}, settings->precision,
               "numbers to multiply in; bf16 is quicker where the processor has it, and less exact");
  flags.toggle("--json", settings->json, "print one JSON object a line, with all probabilities");
  return [settings] { return predict(*settings); };
}

}  // namespace espy::cli
