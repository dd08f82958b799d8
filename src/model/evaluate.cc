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

// Calls visit(index, prediction) for each input, on any thread.
template <typename Visit>
void predict_each(const std::shared_ptr<const Model>& model, std::span<const image::Input> inputs,
                  int threads, nn::Precision precision, const Visit& visit) {
  // The parts are the same for any number of threads, so the logits are too.
  constexpr std::size_t kPart = 512;
  const auto work = [&, predictor = std::shared_ptr<Predictor>()](std::size_t first,
                                                                  std::size_t last) mutable {
    if (predictor == nullptr) predictor = std::make_shared<Predictor>(model, precision);
    const auto predictions = predictor->predict(inputs.subspan(first, last - first));
    for (std::size_t i = first; i < last; ++i) visit(i, predictions[i - first]);
  };
  for_each_part(inputs.size(), kPart, threads, work);
}

// What the figures need of one sample.
struct Answer {
  std::size_t label;
  float confidence;
  float probability;  // of the right label
  Reason reason;
  std::size_t set_size;  // 0 when no set was asked for
  bool in_set;           // the right label
};

std::vector<Answer> answer(const std::shared_ptr<const Model>& model, const Dataset& data, int threads,
                           std::optional<double> coverage, nn::Precision precision) {
  std::vector<Answer> answers(data.inputs.size());
  predict_each(model, data.inputs, threads, precision, [&](std::size_t i, const Prediction& prediction) {
    std::vector<int> set;
    if (coverage) set = model->calibration()->label_set(prediction.probabilities, *coverage);
    answers[i] = {.label = static_cast<std::size_t>(prediction.label),
                  .confidence = prediction.confidence,
                  .probability = prediction.probabilities[data.labels[i]],
                  .reason = prediction.reason,
                  .set_size = set.size(),
                  .in_set = std::ranges::find(set, int{data.labels[i]}) != set.end()};
  });
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

VerdictShares verdict_shares(std::span<const Reason> reasons) {
  const auto share_of = [&](Reason reason) {
    return static_cast<double>(std::ranges::count(reasons, reason)) / static_cast<double>(reasons.size());
  };
  return {.recognized = share_of(Reason::none),
          .unsure = share_of(Reason::ambiguous),
          .foreign = share_of(Reason::foreign),
          .blank = share_of(Reason::blank)};
}

double accuracy_of_recognized(std::span<const Answer> answers, std::span<const std::uint8_t> labels) {
  int recognized = 0;
  int right = 0;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    if (answers[i].reason != Reason::none) continue;
    ++recognized;
    right += answers[i].label == labels[i] ? 1 : 0;
  }
  return share(right, recognized);
}

SetFigures set_figures(std::span<const Answer> answers) {
  double covered = 0;
  double sizes = 0;
  for (const Answer& answer : answers) {
    covered += answer.in_set ? 1 : 0;
    sizes += static_cast<double>(answer.set_size);
  }
  const auto count = static_cast<double>(answers.size());
  return {covered / count, sizes / count};
}

// The probability that one of `greater` is greater than one of `lesser`, ties counting half: Mann & Whitney
// 1947's statistic, which is the area under the receiver operating characteristic.
double area_under_curve(std::vector<float> lesser, std::span<const float> greater) {
  std::ranges::sort(lesser);
  double sum = 0;
  for (const float value : greater) {
    const auto [low, high] = std::ranges::equal_range(lesser, value);
    sum += static_cast<double>((low - lesser.begin()) + (high - lesser.begin())) / 2;
  }
  return sum / static_cast<double>(lesser.size()) / static_cast<double>(greater.size());
}

Error not_calibrated() {
  return {ErrorCode::invalid_input, "the model has no calibration: it was trained without held-out samples"};
}

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

Result<Evaluation> evaluate(std::shared_ptr<const Model> model, const Dataset& data, int threads,
                            std::optional<double> coverage, nn::Precision precision) {
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
  if (coverage && !model->calibration()) return not_calibrated();
  const std::vector<Answer> answers = answer(model, data, threads, coverage, precision);
  const std::size_t classes = data.class_names.size();
  std::vector<std::vector<int>> confusion(classes, std::vector<int>(classes));
  for (std::size_t i = 0; i < answers.size(); ++i) ++confusion[data.labels[i]][answers[i].label];
  int correct = 0;
  for (std::size_t k = 0; k < classes; ++k) correct += confusion[k][k];
  const int count = static_cast<int>(answers.size());
  std::vector<Reason> reasons(answers.size());
  std::ranges::transform(answers, reasons.begin(), &Answer::reason);
  return Evaluation{.count = count,
                    .correct = correct,
                    .accuracy = share(correct, count),
                    .verdicts = verdict_shares(reasons),
                    .accuracy_of_recognized = accuracy_of_recognized(answers, data.labels),
                    .negative_log_likelihood = negative_log_likelihood(answers),
                    .calibration_error = calibration_error(answers, data.labels),
                    .confusion = confusion,
                    .classes = class_figures(confusion, data.class_names),
                    .sets = coverage ? std::optional(set_figures(answers)) : std::nullopt};
}

Result<Separation> separate(std::shared_ptr<const Model> model, std::span<const image::Input> own,
                            std::span<const image::Input> foreign, int threads, nn::Precision precision) {
  if (!model->calibration()) return not_calibrated();
  if (own.empty() || foreign.empty()) {
    return Error{ErrorCode::invalid_input,
                 format("there are {} pictures of the model's own and {} foreign ones, "
                        "must be one of each at least",
                        own.size(), foreign.size())};
  }
  std::vector<float> own_scores(own.size());
  predict_each(model, own, threads, precision,
               [&](std::size_t i, const Prediction& prediction) { own_scores[i] = prediction.foreignness; });
  std::vector<float> foreign_scores(foreign.size());
  std::vector<Reason> reasons(foreign.size());
  predict_each(model, foreign, threads, precision, [&](std::size_t i, const Prediction& prediction) {
    foreign_scores[i] = prediction.foreignness;
    reasons[i] = prediction.reason;
  });
  return Separation{.count = static_cast<int>(foreign.size()),
                    .auroc = area_under_curve(std::move(own_scores), foreign_scores),
                    .verdicts = verdict_shares(reasons)};
}

}  // namespace espy::model
