#include "nn/predictor.h"

#include <gtest/gtest.h>

#include <cmath>

#include "nn/amx_convolution.h"
#include "nn/naive_network.h"
#include "nn/random.h"

namespace espy::nn {
namespace {

std::vector<float> draw(std::size_t count) {
  RandomSequence random(23);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(2 * random.next_uniform() - 1);
  return values;
}

// Compares the logits of `count` samples, all in one call, with the naive network's.
void expect_naive_logits(Predictor& predictor, const Network& network, int count) {
  SCOPED_TRACE(to_string(network.architecture) + ", count " + std::to_string(count));
  const std::size_t size = element_count(network.architecture.input);
  const std::vector<float> inputs = draw(static_cast<std::size_t>(count) * size);
  const std::span<const float> logits = predictor.logits(inputs, count);
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
    const std::vector<double> expected = naive_logits(network, std::span(inputs).subspan(i * size, size));
    ASSERT_EQ(logits.size(), static_cast<std::size_t>(count) * expected.size());
    for (std::size_t j = 0; j < expected.size(); ++j) {
      ASSERT_NEAR(logits[i * expected.size() + j], expected[j], 1e-5 * (1 + std::abs(expected[j])))
          << "sample " << i << ", logit " << j;
    }
  }
}

void expect_naive_logits(const Architecture& architecture, std::initializer_list<int> counts) {
  const Network network = *initialize(architecture, TruncatedNormal{0.2F, 0.1F}, 9);
  auto predictor = Predictor::create(network);
  ASSERT_TRUE(predictor) << predictor.error().message;
  for (const int count : counts) expect_naive_logits(**predictor, network, count);
}

TEST(Predictor, agrees_with_each_layer_by_its_definition) {
  expect_naive_logits({{3, 5, 4}, {Flatten{}, Dense{7}}}, {2});
  expect_naive_logits({{1, 9, 8}, {Convolution{5, 3}}}, {2});
  expect_naive_logits({{3, 6, 6}, {Convolution{16, 5}}}, {2});
  expect_naive_logits({{16, 6, 6}, {Convolution{32, 3}, Relu{}}}, {2});
  expect_naive_logits({{2, 7, 6}, {MaxPool{}}}, {2});
  expect_naive_logits({{2, 9, 8}, {Convolution{5, 6, 2}}}, {2});
  expect_naive_logits({{2, 9, 8}, {Convolution{16, 3, 3, Bias::none}, Relu{}}}, {2});
  expect_naive_logits({{3, 6, 5}, {MeanMaxPool{}}}, {2});
  expect_naive_logits({{2, 6, 5}, {Convolution{16, 3}, Relu{}, Convolution{16, 3}, Relu{}, Residual{2}}},
                      {2});
  expect_naive_logits({{2, 6, 5}, {Relu{}, Residual{1}, Flatten{}}}, {2});
  expect_naive_logits({{2, 3, 3}, {Relu{}, Dropout{0.9F}}}, {2});
  expect_naive_logits({{2, 3, 3}, {Convolution{16, 1}, Flatten{}, Relu{}}}, {2});
}

// Statistics as training would leave them.
void set_statistics(Network& network) {
  const std::vector<ParameterForm> forms = *parameter_forms(network.architecture);
  RandomSequence random(31);
  for (std::size_t i = 0; i < forms.size(); ++i) {
    if (forms[i].role == Role::weights || forms[i].role == Role::bias) continue;
    const bool positive = forms[i].role == Role::variance;
    for (float& value : network.parameters[i].values) {
      value = static_cast<float>(positive ? random.next_uniform() + 0.1 : 2 * random.next_uniform() - 1);
    }
  }
}

TEST(Predictor, folds_batch_norms_into_the_convolutions) {
  const Architecture architecture = {
      {1, 13, 12},
      {Convolution{16, 6, 2, Bias::none}, BatchNorm{}, Relu{}, Dropout{0.2F},
       Convolution{16, 3, 1, Bias::none}, BatchNorm{}, Dropout{0.2F}, Relu{}, Residual{5}, MaxPool{},
       Convolution{24, 3, 1, Bias::none}, BatchNorm{}, MeanMaxPool{}, Dense{10}}};
  Network network = *initialize(architecture, TruncatedNormal{0.2F, 0.1F}, 9);
  set_statistics(network);
  auto predictor = Predictor::create(network);
  ASSERT_TRUE(predictor) << predictor.error().message;
  for (const int count : {1, 5, 64}) expect_naive_logits(**predictor, network, count);
}

TEST(Predictor, answers_any_count_alike) {
  expect_naive_logits({{1, 28, 28}, {Flatten{}, Dense{128}, Relu{}, Dense{10}}}, {1, 3, 64, 200, 1});
  expect_naive_logits({{1, 12, 12},
                       {Convolution{8, 5}, Relu{}, MaxPool{}, Convolution{16, 5}, Relu{}, MaxPool{},
                        Flatten{}, Dense{32}, Relu{}, Dropout{0.5F}, Dense{10}}},
                      {1, 3, 64, 200, 17});
}

// Eight bits are right to 2^-9 of each value; the rest is the sum's.
TEST(Predictor, half_precision_answers_nearly_as_single_does) {
  if (!multiplies_bf16()) return;
  const Convolution c{32, 3, 1, Bias::none};
  for (const Architecture& architecture :
       {Architecture{{1, 28, 28}, {Flatten{}, Dense{128}, Relu{}, Dense{10}}},
        Architecture{{1, 28, 28},
                     {Convolution{32, 5}, Relu{}, MaxPool{}, Convolution{64, 5}, Relu{}, MaxPool{}, Flatten{},
                      Dense{96}, Relu{}, Dropout{0.5F}, Dense{10}}},
        Architecture{{1, 14, 14},
                     {c, BatchNorm{}, Relu{}, c, BatchNorm{}, Relu{}, Residual{3}, MaxPool{}, c, BatchNorm{},
                      Relu{}, MeanMaxPool{}, Dense{10}}}}) {
    SCOPED_TRACE(to_string(architecture));
    Network network = *initialize(architecture, HeNormal{}, 9);
    set_statistics(network);
    auto single = Predictor::create(network);
    auto half = Predictor::create(network, Precision::bf16);
    ASSERT_TRUE(half) << half.error().message;
    const std::size_t size = element_count(architecture.input);
    for (const int count : {1, 3, 64, 130}) {
      const std::vector<float> inputs = draw(static_cast<std::size_t>(count) * size);
      const std::span<const float> expected = (*single)->logits(inputs, count);
      const std::span<const float> actual = (*half)->logits(inputs, count);
      ASSERT_EQ(actual.size(), expected.size());
      double error = 0;
      double whole = 0;
      for (std::size_t i = 0; i < actual.size(); ++i) {
        error += std::pow(static_cast<double>(actual[i] - expected[i]), 2);
        whole += std::pow(static_cast<double>(expected[i]), 2);
      }
      EXPECT_LT(std::sqrt(error / whole), 0.02) << count;
      // Without AMX a first layer that is dense stays in single precision.
      if (has_amx() || has_layer<Convolution>(architecture)) {
        EXPECT_GT(error, 0) << "nothing was rounded";
      }
      EXPECT_EQ((*half)->features().size(), (*single)->features().size());
    }
  }
}

// Returns the logits that the last layer, which is Dense, makes of these features.
std::vector<double> last_layer(const Network& network, std::span<const float> features) {
  const Tensor& weights = network.parameters[network.parameters.size() - 2];
  const Tensor& bias = network.parameters.back();
  std::vector<double> logits(bias.values.begin(), bias.values.end());
  for (std::size_t i = 0; i < logits.size(); ++i) {
    for (std::size_t k = 0; k < features.size(); ++k) {
      logits[i] +=
          static_cast<double>(weights.values[i * features.size() + k]) * static_cast<double>(features[k]);
    }
  }
  return logits;
}

TEST(Predictor, features_are_what_the_last_layer_reads) {
  const std::vector<Architecture> architectures = {
      {{1, 6, 5}, {Flatten{}, Dense{7}}},
      {{1, 6, 5}, {Flatten{}, Dense{20}, Relu{}, Dropout{0.5F}, Dense{7}}},
      {{1, 9, 8}, {Convolution{16, 3}, Relu{}, MaxPool{}, Flatten{}, Dense{7}}},
      {{1, 9, 8}, {Convolution{20, 3}, Relu{}, MeanMaxPool{}, Dense{7}}}};
  for (const Architecture& architecture : architectures) {
    SCOPED_TRACE(to_string(architecture));
    const Network network = *initialize(architecture, TruncatedNormal{0.2F, 0.1F}, 9);
    const auto predictor = Predictor::create(network);
    ASSERT_TRUE(predictor);
    EXPECT_TRUE((*predictor)->features().empty());
    for (const int count : {1, 3, 70}) {
      const auto samples = static_cast<std::size_t>(count);
      const std::vector<float> inputs = draw(samples * element_count(architecture.input));
      const std::span<const float> logits = (*predictor)->logits(inputs, count);
      const std::span<const float> features = (*predictor)->features();
      const std::size_t size = features.size() / samples;
      ASSERT_EQ(size, network.parameters[network.parameters.size() - 2].shape[1]);
      for (std::size_t i = 0; i < samples; ++i) {
        const std::vector<double> expected = last_layer(network, features.subspan(i * size, size));
        for (std::size_t k = 0; k < 7; ++k) ASSERT_NEAR(logits[i * 7 + k], expected[k], 1e-5);
      }
    }
  }
}

TEST(Predictor, has_no_features_when_the_last_layer_is_not_dense) {
  const auto predictor = Predictor::create(*initialize({{2, 3, 3}, {MeanMaxPool{}}}, GlorotUniform{}, 1));
  ASSERT_TRUE(predictor);
  (*predictor)->logits(draw(18), 1);
  EXPECT_TRUE((*predictor)->features().empty());
}

TEST(Predictor, leaves_no_trace_of_an_earlier_call) {
  const Network network = *initialize({{1, 4, 4}, {Relu{}, Flatten{}, Dense{3}}}, GlorotUniform{}, 1);
  auto predictor = Predictor::create(network);
  ASSERT_TRUE(predictor);
  const std::vector<float> inputs = draw(16);
  const std::span<const float> first = (*predictor)->logits(inputs, 1);
  const std::vector<float> before(first.begin(), first.end());
  const std::vector<float> others(16 * 64, 1e30F);
  (*predictor)->logits(others, 64);
  const std::span<const float> second = (*predictor)->logits(inputs, 1);
  EXPECT_EQ(before, std::vector<float>(second.begin(), second.end()));
}

TEST(Predictor, refuses_parameters_that_do_not_fit) {
  Network network = *initialize({{1, 4, 4}, {Flatten{}, Dense{3}}}, GlorotUniform{}, 1);
  network.parameters[0].shape = {16, 3};
  const auto predictor = Predictor::create(network);
  ASSERT_FALSE(predictor);
  EXPECT_EQ(predictor.error().code, ErrorCode::invalid_input);
  EXPECT_EQ(predictor.error().message, "parameter 0 has shape 16x3, its architecture has 3x16");
}

}  // namespace
}  // namespace espy::nn
