// The arithmetic that is not oneDNN's: loops over flat arrays. Where nothing else is said, all spans of
// one call have the same size.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace espy::nn {

// sum += addend.
void add(std::span<const float> addend, std::span<float> sum);

// sums[i] = the sum of values[k * sums.size() + i] over the rows k.
void sum_rows(std::span<const float> values, std::span<float> sums);

// product = a * b.
void multiply(std::span<const float> a, std::span<const float> b, std::span<float> product);

// output = max(input, 0).
void relu(std::span<const float> input, std::span<float> output);

// Keeps the gradient where the output of the relu was above zero, and clears it elsewhere.
void relu_backward(std::span<const float> output, std::span<float> gradient);

// An activation as the pools see it: [outer, height, width, inner], whether the channels lie outside the
// pixels (inner is 1), inside them, or in blocks.
struct PoolSizes {
  std::size_t outer;
  std::size_t height;
  std::size_t width;
  std::size_t inner;
};

// The greatest of each 2x2 window: input has `sizes`, output half of height and width, rounded down.
void max_pool(const PoolSizes& sizes, std::span<const float> input, std::span<float> output);

enum class AfterRelu { no, yes };

// Gives each output's gradient to the first input of its window that is the greatest, and 0 to the other
// three; a last row or column that is in no window is left alone. After a relu, whose output `input` then is,
// the gradient becomes the one by the relu's input on the way.
void max_pool_backward(const PoolSizes& sizes, AfterRelu after_relu, std::span<const float> input,
                       std::span<const float> gradient, std::span<float> input_gradient);

// Fills `factors` with 0, as often as `probability` says, and 1 / (1 - probability) elsewhere. Element i
// depends on `key`, `probability` and i alone.
void draw_dropout(std::uint64_t key, float probability, std::span<float> factors);

// weights -= learning_rate * gradient.
void descend(float learning_rate, std::span<const float> gradient, std::span<float> weights);

// The constants of one step of Adam; the corrections are those of step t = 1, 2, ...
struct AdamStep {
  float beta1;
  float beta2;
  float corrected_learning_rate;  // learning_rate * sqrt(1 - beta2^t) / (1 - beta1^t)
  float epsilon;
  float decay = 0;  // learning_rate * weight_decay
};

// weights -= corrected_learning_rate * m / (sqrt(v) + epsilon): Kingma & Ba 2014, in the order of
// computation that the end of section 2 gives, whose epsilon-hat is TensorFlow's and Keras' epsilon. Before
// it, weights -= decay * weights: decoupled, as Loshchilov & Hutter 2019 have it.
void descend_adam(const AdamStep& step, std::span<const float> gradient, std::span<float> first_moment,
                  std::span<float> second_moment, std::span<float> weights);

struct SampleLoss {
  double loss;
  bool correct;
};

// What the probabilities of one sample's classes ought to be: 1 - smoothing for the label, and smoothing
// shared out evenly over all classes, the label too (Szegedy et al. 2016, "Rethinking the Inception
// architecture", section 7); but with a share above 0 that much of it is what teachers say (Hinton, Vinyals &
// Dean 2015, "Distilling the knowledge in a neural network", at temperature 1).
struct Target {
  int label;
  float smoothing = 0;
  std::span<const float> taught = {};  // a probability of each class, where taught_share is above 0
  float taught_share = 0;
};

// Cross-entropy of softmax(logits) against the target, in nats; never overflows. `gradient` becomes `scale`
// times the derivative by the logits.
SampleLoss softmax_cross_entropy(std::span<const float> logits, const Target& target, float scale,
                                 std::span<float> gradient);

// probabilities = softmax(logits); never overflows.
void softmax(std::span<const float> logits, std::span<float> probabilities);

}  // namespace espy::nn
