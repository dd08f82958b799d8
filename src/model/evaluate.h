// How good a model is on a labelled data set.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/dataset.h"
#include "model/model.h"

namespace espy::model {

struct ClassFigures {
  std::string class_name;
  int count;         // samples with this label
  double precision;  // of those answered so, the share that is; 0 when none was
  double recall;     // of those that are, the share answered so; 0 when there is none
};

struct Evaluation {
  int count;
  int correct;
  double accuracy;
  double negative_log_likelihood;  // mean, in nats
  // Expected calibration error over 15 equal bins of confidence (Guo et al. 2017, equation 3).
  double calibration_error;
  std::vector<std::vector<int>> confusion;  // [label][answer]
  std::vector<ClassFigures> classes;
};

// Computes on `threads` threads; the figures do not depend on their number.
// Errors: invalid_input (a data set that is empty, has other class names than the model, or is prepared
// otherwise).
Result<Evaluation> evaluate(std::shared_ptr<const Model> model, const Dataset& data, int threads);

}  // namespace espy::model
