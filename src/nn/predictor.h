// Inference: inputs to logits and features.
#pragma once

#include <memory>
#include <span>

#include "base/result.h"
#include "nn/network.h"
#include "nn/precision.h"

namespace espy::nn {

// Threads: one thread at a time, and it computes on that thread alone; make one for each thread.
class Predictor {
 public:
  // In bf16 the logits are those of f32 but for the rounding of weights and activations to eight bits, at
  // every layer but the first convolution and the last dense one.
  // Errors: invalid_input (parameters that do not fit the architecture, bf16 where the processor has none),
  // unavailable (no memory to be had), internal (the library that computes refused).
  static Result<std::unique_ptr<Predictor>> create(const Network& network,
                                                   Precision precision = Precision::f32);

  virtual ~Predictor() = default;

  // Returns the logits of `count` >= 1 samples, [count, classes], valid until the next call.
  // `inputs` is [count, C, H, W] flat. Memory is planned once for each of a few batch sizes, at its first
  // use.
  virtual std::span<const float> logits(std::span<const float> inputs, int count) = 0;

  // Returns what the last layer read when these logits were computed, [count, K], valid until the next call;
  // nothing before the first, and nothing when the last layer is not Dense.
  virtual std::span<const float> features() const = 0;
};

}  // namespace espy::nn
