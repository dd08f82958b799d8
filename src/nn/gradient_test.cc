// The gradient of every layer against central differences of the naive network.
#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "nn/naive_network.h"
#include "nn/random.h"
#include "nn/trainer.h"

namespace espy::nn {
namespace {

constexpr int kBatch = 5;
constexpr std::uint64_t kSeed = 3;

// Small, so that hardly a relu or a pool changes sides within it; in double precision the loss stands that.
constexpr float kDifference = 0x1p-16F;

struct Batch {
  std::vector<std::vector<float>> inputs;
  std::vector<int> labels;
};

Batch draw_batch(const Architecture& architecture, int classes) {
  RandomSequence random(17);
  Batch batch;
  for (int i = 0; i < kBatch; ++i) {
    batch.inputs.emplace_back(element_count(architecture.input));
    for (float& value : batch.inputs.back()) value = static_cast<float>(2 * random.next_uniform() - 1);
    batch.labels.push_back(static_cast<int>(random.next() % static_cast<std::uint64_t>(classes)));
  }
  return batch;
}

double naive_loss(const Network& network, const Batch& batch) {
  const auto logits =
      naive_chunk_logits(network, batch.inputs, NaiveMode::training, {.seed = kSeed, .step = 0});
  double loss = 0;
  for (std::size_t i = 0; i < kBatch; ++i) loss += naive_cross_entropy(logits[i], batch.labels[i]);
  return loss / kBatch;
}

// Compares every `stride`-th value of each parameter's gradient, and the loss.
void expect_gradient(const Architecture& architecture, std::size_t stride, int threads) {
  SCOPED_TRACE(to_string(architecture) + ", threads " + std::to_string(threads));
  const int classes = std::get<Dense>(architecture.layers.back()).units;
  Network network = *initialize(architecture, TruncatedNormal{0.3F, 0.1F}, 5);
  const Batch batch = draw_batch(architecture, classes);
  // One step of plain descent at learning rate 1 takes the gradient from the parameters.
  auto trainer = Trainer::create(
      network, {.optimizer = GradientDescent{1}, .batch_size = kBatch, .threads = threads, .seed = kSeed});
  ASSERT_TRUE(trainer) << trainer.error().message;
  const StepResult result = (*trainer)->step([&](int index, std::span<float> input) {
    const auto i = static_cast<std::size_t>(index);
    std::copy(batch.inputs[i].begin(), batch.inputs[i].end(), input.begin());
    return batch.labels[i];
  });
  EXPECT_NEAR(result.loss, naive_loss(network, batch), 1e-5);
  const Network after = (*trainer)->network();
  const std::vector<ParameterForm> forms = *parameter_forms(architecture);
  for (std::size_t p = 0; p < network.parameters.size(); ++p) {
    if (forms[p].role == Role::mean || forms[p].role == Role::variance) continue;
    for (std::size_t i = 0; i < network.parameters[p].values.size(); i += stride) {
      float& value = network.parameters[p].values[i];
      const float before = value;
      const float above = before + kDifference;
      const float below = before - kDifference;
      value = above;
      const double loss_above = naive_loss(network, batch);
      value = below;
      const double loss_below = naive_loss(network, batch);
      value = before;
      const double expected = (loss_above - loss_below) / (static_cast<double>(above) - below);
      const double actual = static_cast<double>(before) - after.parameters[p].values[i];
      ASSERT_NEAR(actual, expected, 1e-5 + 1e-3 * std::abs(expected)) << "parameter " << p << ", value " << i;
    }
  }
}

TEST(Gradient, of_dense) {
  expect_gradient({{1, 2, 3}, {Flatten{}, Dense{4}}}, 1, 1);
  expect_gradient({{2, 2, 3}, {Flatten{}, Dense{20}, Dense{4}}}, 1, 2);
}

TEST(Gradient, of_convolution) {
  expect_gradient({{1, 5, 4}, {Convolution{3, 3}, Flatten{}, Dense{3}}}, 1, 1);
  expect_gradient({{2, 4, 6}, {Convolution{3, 1}, Convolution{2, 5}, Flatten{}, Dense{3}}}, 1, 2);
}

TEST(Gradient, of_relu_wherever_it_stands) {
  expect_gradient({{1, 4, 4}, {Relu{}, Flatten{}, Dense{9}, Relu{}, Relu{}, Dense{3}}}, 1, 1);
  expect_gradient({{1, 6, 6}, {Convolution{2, 3}, MaxPool{}, Relu{}, Flatten{}, Dense{3}}}, 1, 1);
  expect_gradient({{1, 4, 4}, {Convolution{2, 3}, Relu{}, Convolution{2, 3}, Flatten{}, Relu{}, Dense{3}}}, 1,
                  1);
}

TEST(Gradient, of_pool_of_even_and_odd_sizes) {
  expect_gradient({{1, 6, 4}, {MaxPool{}, Convolution{2, 3}, Relu{}, Flatten{}, Dense{3}}}, 1, 1);
  expect_gradient({{1, 7, 5}, {Convolution{3, 3}, Relu{}, MaxPool{}, MaxPool{}, Flatten{}, Dense{3}}}, 1, 1);
  expect_gradient({{2, 5, 6}, {Convolution{3, 3}, Relu{}, Relu{}, MaxPool{}, Flatten{}, Dense{3}}}, 1, 1);
}

TEST(Gradient, of_dropout_wherever_it_stands) {
  expect_gradient({{1, 3, 3}, {Dropout{0.3F}, Flatten{}, Dense{8}, Relu{}, Dropout{0.5F}, Dense{3}}}, 1, 2);
  expect_gradient(
      {{1, 4, 4},
       {Convolution{2, 3}, Dropout{0.5F}, Convolution{2, 3}, Relu{}, Dropout{0.2F}, Flatten{}, Dense{3}}},
      1, 3);
}

TEST(Gradient, of_strided_convolution_with_and_without_bias) {
  expect_gradient({{1, 8, 7}, {Convolution{4, 6, 2}, Flatten{}, Dense{3}}}, 1, 1);
  expect_gradient({{2, 6, 5}, {Convolution{3, 3, 2, Bias::none}, Convolution{3, 3}, Flatten{}, Dense{3}}}, 1,
                  2);
}

TEST(Gradient, of_mean_max_pool) {
  expect_gradient({{1, 6, 5}, {Convolution{3, 3}, Relu{}, MeanMaxPool{}, Dense{3}}}, 1, 1);
  expect_gradient({{1, 6, 5}, {Convolution{8, 3}, MeanMaxPool{}, Dense{3}}}, 1, 2);
}

TEST(Gradient, of_batch_norm_and_what_shares_its_pass) {
  constexpr std::size_t kStride = 41;
  const Convolution three{3, 3, 1, Bias::none};
  const Convolution eight{8, 3, 1, Bias::none};
  const Convolution sixteen{16, 3, 1, Bias::none};
  for (const Convolution& c : {three, eight, sixteen}) {
    expect_gradient({{2, 5, 4}, {c, BatchNorm{}, Flatten{}, Dense{3}}}, kStride, 1);
    expect_gradient({{1, 5, 4}, {c, BatchNorm{}, Relu{}, c, BatchNorm{}, Flatten{}, Dense{3}}}, kStride, 1);
    expect_gradient({{1, 5, 4}, {c, BatchNorm{}, MaxPool{}, MeanMaxPool{}, Dense{3}}}, kStride, 1);
    expect_gradient(
        {{1, 7, 5}, {c, BatchNorm{}, Relu{}, MaxPool{}, c, BatchNorm{}, Relu{}, Flatten{}, Dense{3}}},
        kStride, 1);
    expect_gradient(
        {{1, 7, 5},
         {c, BatchNorm{}, Relu{}, c, BatchNorm{}, Relu{}, Residual{3}, MaxPool{}, MeanMaxPool{}, Dense{3}}},
        kStride, 1);
    expect_gradient({{1, 5, 4},
                     {c, BatchNorm{}, Relu{}, c, BatchNorm{}, Residual{2}, c, BatchNorm{}, Relu{},
                      Residual{3}, MeanMaxPool{}, Dense{3}}},
                    kStride, 1);
  }
}

TEST(Gradient, of_residuals_wherever_they_stand) {
  expect_gradient(
      {{1, 4, 4}, {Convolution{2, 3}, Relu{}, Convolution{2, 3}, Residual{2}, Flatten{}, Dense{3}}}, 1, 1);
  expect_gradient(
      {{1, 3, 3}, {Flatten{}, Dense{6}, Relu{}, Dense{6}, Residual{1}, Residual{3}, Relu{}, Dense{3}}}, 1, 2);
  expect_gradient({{1, 6, 4},
                   {Convolution{4, 3, 1, Bias::none}, BatchNorm{}, Relu{}, Residual{1}, MaxPool{}, Relu{},
                    Residual{1}, Relu{}, Convolution{4, 1}, Residual{2}, Flatten{}, Dense{3}}},
                  1, 1);
}

TEST(Gradient, of_a_network_like_our_recipes) {
  expect_gradient({{1, 14, 14},
                   {Convolution{32, 6, 2, Bias::none}, BatchNorm{}, Relu{}, Convolution{32, 3, 1, Bias::none},
                    BatchNorm{}, Relu{}, Residual{3}, MaxPool{}, Convolution{48, 3, 1, Bias::none},
                    BatchNorm{}, Relu{}, MeanMaxPool{}, Dense{10}}},
                  2003, 1);
}

TEST(Gradient, of_all_together_on_one_thread_and_on_several) {
  for (const int threads : {1, 3}) {
    expect_gradient({{1, 8, 7},
                     {Convolution{16, 5}, Relu{}, MaxPool{}, Convolution{32, 3}, Relu{}, MaxPool{}, Flatten{},
                      Dense{40}, Relu{}, Dropout{0.5F}, Dense{10}}},
                    997, threads);
  }
}

}  // namespace
}  // namespace espy::nn
