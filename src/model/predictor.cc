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

// exp(logit - greatest) over the sum of these, which cannot overflow (Goodfellow et al., "Deep
// Learning", 4.1).
std::vector<float> softmax(std::span<const float> logits) {
  const float greatest = *std::ranges::max_element(logits);
  std::vector<float> probabilities(logits.size());
  double sum = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    probabilities[i] = std::exp(logits[i] - greatest);
    sum += static_cast<double>(probabilities[i]);
  }
  for (float& probability : probabilities)
    probability = static_cast<float>(static_cast<double>(probability) / sum);
  return probabilities;
}

Prediction make_prediction(std::span<const float> logits, const image::Input& input, const Model& model) {
  // Finite parameters may still overflow on their way to the logits; such an answer means nothing.
  const bool finite = std::ranges::all_of(logits, [](float logit) { return std::isfinite(logit); });
  std::vector<float> probabilities = finite ? softmax(logits) : softmax(std::vector<float>(logits.size()));
  const auto label = std::ranges::max_element(probabilities) - probabilities.begin();
  const auto index = static_cast<std::size_t>(label);
  return {.label = static_cast<int>(label),
          .class_name = model.class_names()[index],
          .confidence = probabilities[index],
          .verdict = finite && !image::is_blank(input) ? Verdict::recognized : Verdict::not_recognized,
          .probabilities = std::move(probabilities)};
}

}  // namespace

Predictor::Predictor(std::shared_ptr<const Model> model) : model_(std::move(model)) {
  // Model has checked that its parameters fit its architecture, which is all that can fail.
  Result<std::unique_ptr<nn::Predictor>> network = nn::Predictor::create(model_->network());
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
    for (std::size_t i = 0; i < count; ++i) {
      predictions.push_back(make_prediction(logits.subspan(i * classes, classes), inputs[i], *model_));
    }
    inputs = inputs.subspan(count);
  }
  return predictions;
}

}  // namespace espy::model
