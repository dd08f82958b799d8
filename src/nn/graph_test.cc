#include "nn/graph.h"

#include <gtest/gtest.h>

#include "nn/compute_mode.h"

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
      ASSERT_FALSE(graph.implementations().empty());
      for (const std::string& implementation : graph.implementations()) {
        if (machine_has_tuned_kernels()) {
          EXPECT_EQ(implementation.find("ref"), std::string::npos) << implementation;
        }
      }
    }
  }
}

}  // namespace
}  // namespace espy::nn
