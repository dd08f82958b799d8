// How good a model is on a labelled data set.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/dataset.h"
#include "model/model.h"
#include "nn/precision.h"

namespace espy::model {

struct ClassFigures {
  std::string class_name;
  int count;         // samples with this label
  double precision;  // of those answered so, the share that is; 0 when none was
  double recall;     // of those that are, the share answered so; 0 when there is none
};

// What a model makes of samples, as shares of them.
struct VerdictShares {
  double recognized = 0;
  double unsure = 0;
  double foreign = 0;  // not recognized as such
  double blank = 0;    // likewise
};

// Of the sets of labels that Calibration::label_set gives.
struct SetFigures {
  double coverage;   // the share that has the right label
  double mean_size;  // in labels
};

struct Evaluation {
  int count;
  int correct;
  double accuracy;
  VerdictShares verdicts;
  double accuracy_of_recognized;   // 0 when none was
  double negative_log_likelihood;  // mean, in nats
  // Expected calibration error over 15 equal bins of confidence (Guo et al. 2017, equation 3).
  double calibration_error;
  std::vector<std::vector<int>> confusion;  // [label][answer]
  std::vector<ClassFigures> classes;
  std::optional<SetFigures> sets;  // when a coverage was asked for
};

// Computes on `threads` threads in a precision that the processor has; the figures do not depend on their
// number. With a coverage, from 0 to 1, also the sets of that coverage. Errors: invalid_input (a data set
// that is empty, has other class names than the model, or is prepared otherwise; a coverage for a model
// without a calibration).
Result<Evaluation> evaluate(std::shared_ptr<const Model> model, const Dataset& data, int threads,
                            std::optional<double> coverage = std::nullopt,
                            nn::Precision precision = nn::Precision::f32);

// How well a model tells foreign pictures from its own.
struct Separation {
  int count;               // of foreign pictures
  double auroc;            // the probability that a foreign picture has more foreignness than one of its own
  VerdictShares verdicts;  // on the foreign ones
};

// `foreign` are inputs of the model's own preparation. Errors: invalid_input (a model without a calibration,
// no inputs on either side).
Result<Separation> separate(std::shared_ptr<const Model> model, std::span<const image::Input> own,
                            std::span<const image::Input> foreign, int threads,
                            nn::Precision precision = nn::Precision::f32);

}  // namespace espy::model
