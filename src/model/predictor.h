// From inputs to predictions, with one model.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/verdict.h"
#include "image/prepare.h"
#include "model/model.h"
#include "nn/predictor.h"

namespace espy::model {

struct Prediction {
  int label;
  std::string class_name;
  float confidence;  // the probability of the label
  Verdict verdict;
  Reason reason;                     // of the verdict
  int alternative;                   // the label that is next likely; `label` itself when there is one class
  std::vector<float> probabilities;  // calibrated when the model is, else softmax of the logits
  float foreignness;                 // Calibration::foreignness; 0 when the model has no calibration
};

// Threads: one thread at a time; make one for each thread.
class Predictor {
 public:
  // The processor can multiply in this precision (nn::check_precision). Thresholds and calibration were found
  // with f32.
  explicit Predictor(std::shared_ptr<const Model> model, nn::Precision precision = nn::Precision::f32);

  // Returns one prediction for each input, in order. Not recognized is what has no ink (blank), and with a
  // calibration what is foreign; unsure, with a calibration, what is ambiguous.
  std::vector<Prediction> predict(std::span<const image::Input> inputs);

  const Model& model() const { return *model_; }

 private:
  std::shared_ptr<const Model> model_;
  std::unique_ptr<nn::Predictor> network_;
  std::vector<float> inputs_;  // of the batch at hand
};

}  // namespace espy::model
