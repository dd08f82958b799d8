// The arithmetic that is not oneDNN's: loops over flat arrays. All spans of one call have the same size.
#pragma once

#include <cstdint>
#include <span>

namespace espy::nn {

// sum += addend.
void add(std::span<const float> addend, std::span<float> sum);

// product = a * b.
void multiply(std::span<const float> a, std::span<const float> b, std::span<float> product);

// output = max(input, 0).
void relu(std::span<const float> input, std::span<float> output);

// Keeps the gradient where the output of the relu was above zero, and clears it elsewhere.
void relu_backward(std::span<const float> output, std::span<float> gradient);

// Fills `factors` with 0, as often as `probability` says, and 1 / (1 - probability) elsewhere. Element i
// depends on `key`, `probability` and i alone.
void draw_dropout(std::uint64_t key, float probability, std::span<float> factors);

// weights -= learning_rate * gradient.
void descend(float learning_rate, std::span<const float> gradient, std::span<float> weights);

// The constants of one step of Adam; the corrections are those of step t = 1, 2, ...
struct AdamStep {
  float beta1;
  float beta2;
  float corrected_learning_rate;  // learning_rate / (1 - beta1^t)
  float second_correction;        // 1 / (1 - beta2^t)
  float epsilon;
};

// Kingma & Ba 2014, algorithm 1.
void descend_adam(const AdamStep& step, std::span<const float> gradient, std::span<float> first_moment,
                  std::span<float> second_moment, std::span<float> weights);

struct SampleLoss {
  double loss;
  bool correct;
};

// Cross-entropy of softmax(logits) against the label, in nats; never overflows. `gradient` becomes `scale`
// times the derivative by the logits.
SampleLoss softmax_cross_entropy(std::span<const float> logits, int label, float scale,
                                 std::span<float> gradient);

}  // namespace espy::nn
