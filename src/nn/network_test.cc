#include "nn/network.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace espy::nn {
namespace {

const Architecture kArchitecture = {{2, 8, 8},
                                    {Convolution{16, 5}, Relu{}, MaxPool{}, Flatten{}, Dense{100}}};

double mean(const std::vector<float>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double deviation(const std::vector<float>& values) {
  const double center = mean(values);
  double squares = 0;
  for (const float value : values) squares += (value - center) * (value - center);
  return std::sqrt(squares / static_cast<double>(values.size()));
}

TEST(Initialize, fills_the_shapes_of_the_architecture) {
  for (const Initializer& initializer :
       {Initializer(Zeros{}), Initializer(TruncatedNormal{0.1F, 0.1F}), Initializer(GlorotUniform{})}) {
    const auto network = initialize(kArchitecture, initializer, 1);
    ASSERT_TRUE(network);
    EXPECT_TRUE(validate(*network));
    EXPECT_EQ(network->parameters[2].shape, (Shape{100, 256}));
  }
}

TEST(Initialize, zeros_are_zero) {
  const auto network = initialize(kArchitecture, Zeros{}, 1);
  ASSERT_TRUE(network);
  for (const Tensor& parameter : network->parameters) {
    EXPECT_EQ(std::count(parameter.values.begin(), parameter.values.end(), 0.0F),
              static_cast<std::ptrdiff_t>(parameter.values.size()));
  }
}

TEST(Initialize, truncated_normal_has_the_moments_of_its_distribution) {
  const auto network = initialize(kArchitecture, TruncatedNormal{0.1F, 0.25F}, 1);
  ASSERT_TRUE(network);
  const std::vector<float>& weights = network->parameters[2].values;
  // Cut off at two, a standard normal distribution keeps a deviation of
  // sqrt(1 - 4 phi(2) / (2 Phi(2) - 1)) = 0.8796; the mean of 25,600 draws varies by 0.00055.
  EXPECT_NEAR(mean(weights), 0, 0.002);
  EXPECT_NEAR(deviation(weights), 0.08796, 0.001);
  EXPECT_LE(*std::max_element(weights.begin(), weights.end()), 0.2F);
  EXPECT_GE(*std::min_element(weights.begin(), weights.end()), -0.2F);
  EXPECT_GT(*std::max_element(weights.begin(), weights.end()), 0.19F);
  EXPECT_EQ(network->parameters[1].values, std::vector<float>(16, 0.25F));
}

TEST(Initialize, glorot_uniform_fills_the_range_of_its_fans) {
  const auto network = initialize(kArchitecture, GlorotUniform{}, 1);
  ASSERT_TRUE(network);
  const auto expect_range = [](const std::vector<float>& weights, double limit) {
    const auto [least, greatest] = std::minmax_element(weights.begin(), weights.end());
    EXPECT_GE(*least, -limit);
    EXPECT_LE(*greatest, limit);
    EXPECT_LT(*least, -0.98 * limit);
    EXPECT_GT(*greatest, 0.98 * limit);
    EXPECT_NEAR(deviation(weights), limit / std::sqrt(3), 0.05 * limit);
  };
  expect_range(network->parameters[0].values, std::sqrt(6.0 / (2 * 25 + 16 * 25)));
  expect_range(network->parameters[2].values, std::sqrt(6.0 / (256 + 100)));
  EXPECT_EQ(network->parameters[3].values, std::vector<float>(100, 0.0F));
}

TEST(Initialize, the_same_seed_gives_the_same_values_everywhere) {
  const Architecture small = {{1, 1, 3}, {Flatten{}, Dense{1}}};
  const auto normal = initialize(small, TruncatedNormal{1.0F, 0.0F}, 42);
  const auto uniform = initialize(small, GlorotUniform{}, 42);
  ASSERT_TRUE(normal && uniform);
  // Written down from the first run: a change here breaks the promise that a seed reproduces a training.
  EXPECT_EQ(normal->parameters[0].values,
            (std::vector<float>{0x1.eeb992p-1F, -0x1.c56cc6p-1F, -0x1.47d23cp-1F}));
  EXPECT_EQ(uniform->parameters[0].values,
            (std::vector<float>{0x1.2ef4b4p-1F, -0x1.aa8502p-1F, -0x1.15aa36p-1F}));
}

TEST(Initialize, another_seed_gives_other_values) {
  const auto first = initialize(kArchitecture, GlorotUniform{}, 1);
  const auto second = initialize(kArchitecture, GlorotUniform{}, 2);
  ASSERT_TRUE(first && second);
  EXPECT_NE(first->parameters[0].values, second->parameters[0].values);
}

TEST(Initialize, refuses_what_is_no_architecture) {
  const auto network = initialize({{1, 2, 2}, {Dense{1}}}, Zeros{}, 1);
  ASSERT_FALSE(network);
  EXPECT_EQ(network.error().code, ErrorCode::invalid_input);
}

TEST(Initialize, he_normal_follows_the_fan_in_of_convolutions) {
  const Architecture architecture = {
      {8, 8, 8}, {Convolution{64, 5, 1, Bias::none}, BatchNorm{}, Relu{}, Flatten{}, Dense{100}}};
  const auto network = initialize(architecture, HeNormal{}, 1);
  ASSERT_TRUE(network);
  EXPECT_NEAR(deviation(network->parameters[0].values), std::sqrt(2.0 / 200), 0.002);
  EXPECT_EQ(network->parameters[1].values, std::vector<float>(64, 1.0F));  // scale
  EXPECT_EQ(network->parameters[2].values, std::vector<float>(64, 0.0F));  // shift
  EXPECT_EQ(network->parameters[3].values, std::vector<float>(64, 0.0F));  // mean
  EXPECT_EQ(network->parameters[4].values, std::vector<float>(64, 1.0F));  // variance
  for (const std::size_t dense : {5, 6}) {
    const std::vector<float>& values = network->parameters[dense].values;
    const double limit = 1 / std::sqrt(4096.0);
    EXPECT_LE(*std::max_element(values.begin(), values.end()), limit);
    EXPECT_GE(*std::min_element(values.begin(), values.end()), -limit);
    EXPECT_GT(*std::max_element(values.begin(), values.end()), 0.9 * limit);
  }
}

TEST(ForInference, leaves_convolutions_with_bias_and_no_dropout) {
  const Architecture architecture = {
      {1, 8, 8},
      {Convolution{4, 3, 1, Bias::none}, BatchNorm{}, Relu{}, Dropout{0.1F}, Convolution{4, 3, 1, Bias::none},
       BatchNorm{}, Relu{}, Residual{4}, MeanMaxPool{}, Dense{3}}};
  const auto folded = for_inference(*initialize(architecture, HeNormal{}, 1));
  ASSERT_TRUE(folded) << folded.error().message;
  EXPECT_EQ(to_string(folded->architecture),
            "conv 3x3x4, relu, conv 3x3x4, relu, residual 2, mean max pool, dense 3");
  EXPECT_TRUE(validate(*folded));
}

TEST(ForInference, changes_nothing_where_there_is_nothing_to_fold) {
  const Network network = *initialize(kArchitecture, GlorotUniform{}, 1);
  const auto folded = for_inference(network);
  ASSERT_TRUE(folded);
  EXPECT_EQ(to_string(folded->architecture), to_string(kArchitecture));
  for (std::size_t i = 0; i < network.parameters.size(); ++i) {
    EXPECT_EQ(folded->parameters[i].values, network.parameters[i].values);
  }
}

void expect_refused(const Network& network, const std::string& message) {
  const auto valid = validate(network);
  ASSERT_FALSE(valid);
  EXPECT_EQ(valid.error().code, ErrorCode::invalid_input);
  EXPECT_EQ(valid.error().message, message);
}

TEST(Validate, tells_which_parameter_does_not_fit) {
  Network network = *initialize(kArchitecture, Zeros{}, 1);
  network.parameters[2].values.pop_back();
  expect_refused(network, "parameter 2 has 25599 values, its shape has 25600");
  network.parameters[2].shape = {256, 100};
  expect_refused(network, "parameter 2 has shape 256x100, its architecture has 100x256");
  network.parameters.pop_back();
  expect_refused(network, "network has 3 parameters, its architecture has 4");
}

}  // namespace
}  // namespace espy::nn
