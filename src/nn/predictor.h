// Inference: inputs to logits.
#pragma once

#include <memory>
#include <span>

#include "base/result.h"
#include "nn/network.h"

namespace espy::nn {

// Threads: one thread at a time, and it computes on that thread alone; make one for each thread.
class Predictor {
 public:
  // Errors: invalid_input (parameters that do not fit the architecture), unavailable (no memory to be had),
  // internal (the library that computes refused).
  static Result<std::unique_ptr<Predictor>> create(const Network& network);

  virtual ~Predictor() = default;

  // Returns the logits of `count` >= 1 samples, [count, classes], valid until the next call.
  // `inputs` is [count, C, H, W] flat. Memory is planned once for each of a few batch sizes, at its first
  // use.
  virtual std::span<const float> logits(std::span<const float> inputs, int count) = 0;
};

}  // namespace espy::nn
