#include "nn/graph.h"

#include <gtest/gtest.h>

#include <cmath>
#include <iterator>
#include <numeric>
#include <string>
#include <string_view>

#include "nn/amx_convolution.h"
#include "nn/compute_mode.h"
#include "nn/predictor.h"
#include "nn/random.h"

namespace espy::nn {
namespace {

const std::vector<Architecture> kClassicArchitectures = {
    {{1, 28, 28}, {Flatten{}, Dense{10}}},
    {{1, 28, 28}, {Flatten{}, Dense{128}, Relu{}, Dense{10}}},
    {{1, 28, 28},
     {Convolution{32, 5}, Relu{}, MaxPool{}, Convolution{64, 5}, Relu{}, MaxPool{}, Flatten{}, Dense{1024},
      Relu{}, Dropout{0.5F}, Dense{10}}}};

// oneDNN has tuned kernels for AVX2 and later; what it has elsewhere is its own affair.
bool machine_has_tuned_kernels() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx2") != 0;
#else
  return false;
#endif
}

TEST(Graph, never_falls_back_to_reference_kernels_where_there_are_others) {
  const ComputeMode mode;
  for (const Architecture& architecture : kClassicArchitectures) {
    for (const auto& [purpose, samples] : {std::pair{Purpose::training, 13},
                                           {Purpose::training, 50},
                                           {Purpose::inference, 1},
                                           {Purpose::inference, 64}}) {
      const Network network = *initialize(architecture, Zeros{}, 0);
      Parameters parameters(network.parameters);
      const Graph graph(architecture, samples, purpose, Precision::f32, parameters);
      ASSERT_FALSE(graph.operations().empty());
      for (const Graph::OperationInfo& operation : graph.operations()) {
        if (machine_has_tuned_kernels()) {
          EXPECT_EQ(operation.implementation.find("ref"), std::string::npos)
              << operation.name << ": " << operation.implementation;
        }
      }
    }
  }
}

// A convolution, a residual block, pools and batch norms, as our own recipes have them.
const Architecture kResidualArchitecture = {
    {1, 28, 28},
    {Convolution{16, 3, 1, Bias::none}, BatchNorm{}, Relu{}, MaxPool{}, Convolution{32, 3, 1, Bias::none},
     BatchNorm{}, Relu{}, Convolution{32, 3, 1, Bias::none}, BatchNorm{}, Relu{}, Residual{3}, MaxPool{},
     Convolution{48, 3, 1, Bias::none}, BatchNorm{}, Relu{}, MeanMaxPool{}, Dense{10}}};

TEST(Graph, answers_as_in_inference_when_it_does_not_learn) {
  const ComputeMode mode;
  const Architecture architecture = {
      {1, 28, 28},
      {Convolution{16, 3, 1, Bias::none}, BatchNorm{}, Relu{}, MaxPool{}, Convolution{16, 3, 1, Bias::none},
       BatchNorm{}, Relu{}, Residual{3}, MeanMaxPool{}, Dropout{0.5F}, Dense{10}}};
  Network network = *initialize(architecture, HeNormal{}, 5);
  const std::vector<ParameterForm> forms = *parameter_forms(architecture);
  for (std::size_t i = 0; i < forms.size(); ++i) {
    // Averages that are not those of the samples below.
    if (forms[i].role != Role::mean && forms[i].role != Role::variance) continue;
    std::vector<float>& values = network.parameters[i].values;
    for (std::size_t k = 0; k < values.size(); ++k) values[k] = 0.5F + 0.1F * static_cast<float>(k % 7);
  }
  std::vector<float> inputs(4 * 28 * 28);
  for (std::size_t i = 0; i < inputs.size(); ++i) inputs[i] = static_cast<float>(i * 37 % 256) / 255;
  const auto predictor = Predictor::create(network);
  ASSERT_TRUE(predictor);
  const std::span<const float> expected = (*predictor)->logits(inputs, 4);
  for (const Precision precision : {Precision::f32, Precision::bf16}) {
    if (!check_precision(precision)) continue;
    Parameters parameters(network.parameters);
    Graph graph(architecture, 4, Purpose::training, precision, parameters);
    graph.read_input_from(inputs.data());
    graph.forward({.learns = false});
    const float tolerance = precision == Precision::f32 ? 1e-4F : 0.05F;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      EXPECT_NEAR(graph.logits()[i], expected[i], tolerance) << i;
    }
    graph.forward({});
    EXPECT_GT(std::abs(graph.logits()[0] - expected[0]), tolerance);
  }
}

// Without batch norms: biases, relus and pools that share passes, and some that cannot; a relu and a
// convolution that a residual needs, an odd number of pixels, a dense layer behind another one, one of few
// inputs.
const Architecture kPlainArchitecture = {{1, 15, 14},
                                         {Convolution{16, 5},
                                          Relu{},
                                          MaxPool{},
                                          Convolution{32, 3},
                                          Relu{},
                                          Convolution{32, 3},
                                          Relu{},
                                          Residual{2},
                                          MaxPool{},
                                          Convolution{24, 3},
                                          Convolution{24, 3, 2, Bias::none},
                                          Relu{},
                                          Convolution{24, 1},
                                          Residual{1},
                                          Flatten{},
                                          Dense{64},
                                          Relu{},
                                          Dense{64},
                                          Residual{1},
                                          Dropout{0.25F},
                                          Dense{20},
                                          Relu{},
                                          Dense{10}}};

// Logits and gradients of one pass, as vectors of one form whatever the layouts.
std::vector<Tensor> compute(const Architecture& architecture, Precision precision,
                            std::vector<std::string>* implementations = nullptr) {
  const ComputeMode mode;
  const Network network = *initialize(architecture, HeNormal{}, 1);
  Parameters parameters(network.parameters);
  Graph graph(architecture, 8, Purpose::training, precision, parameters);
  RandomSequence random(2);
  for (float& value : graph.input()) value = static_cast<float>(random.next_uniform());
  graph.forward({});
  const std::span<const float> logits = graph.logits();
  for (float& value : graph.logits_gradient()) value = static_cast<float>(random.next_uniform() - 0.5);
  graph.backward();
  std::vector<Tensor> result = {{{static_cast<int>(logits.size())}, {logits.begin(), logits.end()}}};
  // The gradients lie as the masters do, which values() turns into rows.
  for (int i = 0; i < parameters.count(); ++i) {
    std::ranges::copy(graph.gradient(i), floats(parameters.master(i)).begin());
  }
  std::ranges::move(parameters.values(), std::back_inserter(result));
  if (implementations != nullptr) {
    for (const Graph::OperationInfo& operation : graph.operations()) {
      implementations->push_back(operation.name + ": " + operation.implementation);
    }
  }
  return result;
}

double dot(const Tensor& a, const Tensor& b) {
  return std::inner_product(a.values.begin(), a.values.end(), b.values.begin(), 0.0);
}

// Other processors have nothing to test here.
TEST(Graph, half_precision_points_where_single_does) {
  if (!multiplies_bf16()) return;
  for (const Architecture& architecture :
       {kResidualArchitecture, kPlainArchitecture, kClassicArchitectures[1], kClassicArchitectures[2]}) {
    SCOPED_TRACE(to_string(architecture));
    const std::vector<Tensor> single = compute(architecture, Precision::f32);
    const std::vector<Tensor> half = compute(architecture, Precision::bf16);
    ASSERT_EQ(half.size(), single.size());
    for (std::size_t i = 0; i < single.size(); ++i) {
      const double a = std::sqrt(dot(single[i], single[i]));
      const double b = std::sqrt(dot(half[i], half[i]));
      EXPECT_GT(dot(single[i], half[i]), 0.95 * a * b) << "direction of " << i;
      EXPECT_NEAR(b, a, 0.1 * a) << "length of " << i;
    }
  }
}

// Returns how many operations are done by what has this in its name.
int count(std::string_view computes, const Architecture& architecture,
          Precision precision = Precision::bf16) {
  std::vector<std::string> implementations;
  compute(architecture, precision, &implementations);
  int found = 0;
  for (const std::string& implementation : implementations) {
    EXPECT_EQ(implementation.find("ref"), std::string::npos) << implementation;
    if (implementation.find(computes) != std::string::npos) ++found;
  }
  return found;
}

TEST(Graph, multiplies_half_precision_with_amx_where_there_is_one) {
  if (!has_amx()) return;
  EXPECT_EQ(count("amx", kResidualArchitecture), 9) << "three convolutions behind the first, three ways";
  EXPECT_EQ(count("amx", kClassicArchitectures[1]), 2) << "one dense layer, which is the first";
  EXPECT_EQ(count("amx", kClassicArchitectures[2]), 6) << "a convolution and a dense layer, three ways";
}

TEST(Graph, multiplies_dense_layers_of_single_precision_itself) {
  if (!has_avx512()) return;
  EXPECT_EQ(count("espy:avx512", kClassicArchitectures[1], Precision::f32), 2)
      << "the hidden one is the first";
  EXPECT_EQ(count("espy:avx512", kClassicArchitectures[2], Precision::f32), 3) << "three ways";
}

TEST(Graph, finds_gradients_by_weights_itself_where_there_is_no_amx) {
  if (has_amx() || !multiplies_bf16()) return;
  EXPECT_EQ(count("espy:avx512_bf16", kResidualArchitecture), 3) << "convolutions of 3x3 behind the first";
  EXPECT_EQ(count("espy:avx512_bf16", kClassicArchitectures[2]), 1) << "of the dense layer, not of 5x5";
}

}  // namespace
}  // namespace espy::nn
