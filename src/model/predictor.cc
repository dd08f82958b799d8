#include "model/predictor.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <utility>

namespace espy::model {
namespace {

// As many as fit in the caches with their activations (compact: 100 KB each), and enough to keep the matrix
// products busy.
constexpr std::size_t kMaxBatch = 64;

constexpr std::size_t kInputSize = image::kInputSide * image::kInputSide;

// Returns the index of the greatest that is not at `without`, or `without` when there is no other.
std::size_t find_greatest(std::span<const float> values, std::size_t without) {
  std::size_t found = without;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i != without && (found == without || values[i] > values[found])) found = i;
  }
  return found;
}

Verdict verdict_for(Reason reason) {
  switch (reason) {
    case Reason::none:
      return Verdict::recognized;
    case Reason::blank:
    case Reason::foreign:
      return Verdict::not_recognized;
    case Reason::ambiguous:
      return Verdict::unsure;
  }
  assert(false);
  return Verdict::not_recognized;
}

// What the network said of one input.
struct Output {
  std::span<const float> logits;
  std::span<const float> features;
};

Prediction make_prediction(const Output& output, const image::Input& input, const Model& model) {
  // Of a model without a calibration: softmax, and no thresholds.
  static const Calibration kUncalibrated;
  const bool calibrated = model.calibration().has_value();
  const Calibration& calibration = calibrated ? *model.calibration() : kUncalibrated;
  // Finite parameters may still overflow on their way to the logits; such an answer means nothing.
  const bool finite = std::ranges::all_of(output.logits, [](float logit) { return std::isfinite(logit); });
  std::vector<float> probabilities =
      calibration.probabilities(finite ? output.logits : std::vector<float>(output.logits.size()));
  const auto label =
      static_cast<std::size_t>(std::ranges::max_element(probabilities) - probabilities.begin());
  const float foreignness =
      calibrated && finite ? calibration.foreignness(input, output.features, output.logits) : 0;

  Reason reason = Reason::none;
  if (image::is_blank(input)) {
    reason = Reason::blank;
  } else if (!finite || (calibrated && !(foreignness <= calibration.most_foreignness))) {
    reason = Reason::foreign;
  } else if (calibrated && probabilities[label] < calibration.least_confidence) {
    reason = Reason::ambiguous;
  }
  return {.label = static_cast<int>(label),
          .class_name = model.class_names()[label],
          .confidence = probabilities[label],
          .verdict = verdict_for(reason),
          .reason = reason,
          .alternative = static_cast<int>(find_greatest(probabilities, label)),
          .probabilities = std::move(probabilities),
          .foreignness = foreignness};
}

}  // namespace

Predictor::Predictor(std::shared_ptr<const Model> model, nn::Precision precision) : model_(std::move(model)) {
  // Model has checked that its parameters fit its architecture, which is all else that can fail.
  Result<std::unique_ptr<nn::Predictor>> network = nn::Predictor::create(model_->network(), precision);
  assert(network);
  network_ = *std::move(network);
}

std::vector<Prediction> Predictor::predict(std::span<const image::Input> inputs) {
  std::vector<Prediction> predictions;
  predictions.reserve(inputs.size());
  const std::size_t classes = model_->class_names().size();
  while (!inputs.empty()) {
    const std::size_t count = std::min(inputs.size(), kMaxBatch);
    inputs_.resize(count * kInputSize);
    auto place = inputs_.begin();
    for (const image::Input& input : inputs.first(count)) {
      place = std::ranges::transform(input, place, [](std::uint8_t value) {
                return static_cast<float>(value) / 255.0f;
              }).out;
    }
    const std::span<const float> logits = network_->logits(inputs_, static_cast<int>(count));
    const std::span<const float> features = network_->features();
    const std::size_t feature_count = features.size() / count;
    for (std::size_t i = 0; i < count; ++i) {
      const Output output{logits.subspan(i * classes, classes),
                          features.subspan(i * feature_count, feature_count)};
      predictions.push_back(make_prediction(output, inputs[i], *model_));
    }
    inputs = inputs.subspan(count);
  }
  return predictions;
}

}  // namespace espy::model
