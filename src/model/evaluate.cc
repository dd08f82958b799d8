#include "model/evaluate.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <utility>

#include "base/format.h"
#include "model/parallel.h"
#include "model/predictor.h"

namespace espy::model {
namespace {

constexpr std::size_t kBins = 15;

// What the figures need of one sample.
struct Answer {
  std::size_t label;
  float confidence;
  float probability;  // of the right label
};

std::vector<Answer> answer(const std::shared_ptr<const Model>& model, const Dataset& data, int threads) {
  // The parts are the same for any number of threads, so the logits are too.
  constexpr std::size_t kPart = 512;
  std::vector<Answer> answers(data.inputs.size());
  const auto work = [&, predictor = std::shared_ptr<Predictor>()](std::size_t first,
                                                                  std::size_t last) mutable {
    if (predictor == nullptr) predictor = std::make_shared<Predictor>(model);
    const auto predictions = predictor->predict(std::span(data.inputs).subspan(first, last - first));
    for (std::size_t i = first; i < last; ++i) {
      const Prediction& prediction = predictions[i - first];
      answers[i] = {static_cast<std::size_t>(prediction.label), prediction.confidence,
                    prediction.probabilities[data.labels[i]]};
    }
  };
  for_each_part(data.inputs.size(), kPart, threads, work);
  return answers;
}

// Guo et al. 2017, "On Calibration of Modern Neural Networks", equations 1 to 3: bin m is ((m - 1) / M, m /
// M].
double calibration_error(std::span<const Answer> answers, std::span<const std::uint8_t> labels) {
  std::vector<double> surplus(kBins);  // confidences less right answers
  for (std::size_t i = 0; i < answers.size(); ++i) {
    const double confidence = static_cast<double>(answers[i].confidence);
    const auto bin = static_cast<std::size_t>(std::max(std::ceil(confidence * kBins), 1.0)) - 1;
    surplus[std::min(bin, kBins - 1)] += confidence - (answers[i].label == labels[i] ? 1.0 : 0.0);
  }
  double sum = 0;
  for (const double value : surplus) sum += std::abs(value);
  return sum / static_cast<double>(answers.size());
}

double negative_log_likelihood(std::span<const Answer> answers) {
  // A probability that a float cannot hold counts as the smallest that it can: 87 nats, not infinitely many.
  constexpr float kLeast = std::numeric_limits<float>::min();
  double sum = 0;
  for (const Answer& answer : answers)
    sum -= std::log(static_cast<double>(std::max(answer.probability, kLeast)));
  return sum / static_cast<double>(answers.size());
}

double share(int part, int whole) { return whole == 0 ? 0.0 : static_cast<double>(part) / whole; }

std::vector<ClassFigures> class_figures(const std::vector<std::vector<int>>& confusion,
                                        const std::vector<std::string>& names) {
  std::vector<ClassFigures> figures;
  for (std::size_t k = 0; k < names.size(); ++k) {
    int labelled = 0;
    int answered = 0;
    for (std::size_t other = 0; other < names.size(); ++other) {
      labelled += confusion[k][other];
      answered += confusion[other][k];
    }
    const int right = confusion[k][k];
    figures.push_back({names[k], labelled, share(right, answered), share(right, labelled)});
  }
  return figures;
}

}  // namespace

Result<Evaluation> evaluate(std::shared_ptr<const Model> model, const Dataset& data, int threads) {
  if (model->class_names() != data.class_names) {
    return Error{ErrorCode::invalid_input,
                 format("data set {} has other class names than the model", data.name)};
  }
  if (model->preparation() != data.preparation) {
    return Error{ErrorCode::invalid_input,
                 format("data set {} is prepared as {}, the model's pictures as {}", data.name,
                        image::to_string(data.preparation), image::to_string(model->preparation()))};
  }
  if (data.inputs.empty()) {
    return Error{ErrorCode::invalid_input, format("data set {} has no samples", data.name)};
  }
  const std::vector<Answer> answers = answer(model, data, threads);
  const std::size_t classes = data.class_names.size();
  std::vector<std::vector<int>> confusion(classes, std::vector<int>(classes));
  for (std::size_t i = 0; i < answers.size(); ++i) ++confusion[data.labels[i]][answers[i].label];
  int correct = 0;
  for (std::size_t k = 0; k < classes; ++k) correct += confusion[k][k];
  const int count = static_cast<int>(answers.size());
  return Evaluation{.count = count,
                    .correct = correct,
                    .accuracy = share(correct, count),
                    .negative_log_likelihood = negative_log_likelihood(answers),
                    .calibration_error = calibration_error(answers, data.labels),
                    .confusion = confusion,
                    .classes = class_figures(confusion, data.class_names)};
}

}  // namespace espy::model
