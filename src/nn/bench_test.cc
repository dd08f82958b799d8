#include "nn/bench.h"

#include <gtest/gtest.h>

#include <numeric>

namespace espy::nn {
namespace {

const Architecture kNetwork = {{1, 8, 8},
                               {Convolution{16, 3, 1, Bias::none}, BatchNorm{}, Relu{}, MaxPool{},
                                Convolution{16, 3}, Relu{}, Flatten{}, Dense{10}}};

TEST(Operations, AreCountedByHand) {
  // 8x8 pixels, 16 channels, 3x3 from 1; 4x4 pixels, 16 channels, 3x3 from 16; 256 to 10.
  constexpr std::int64_t kFirst = 8 * 8 * 16 * 9;
  constexpr std::int64_t kOthers = 4 * 4 * 16 * 9 * 16 + 256 * 10;
  EXPECT_EQ(*inference_operations(kNetwork), 2 * (kFirst + kOthers));
  EXPECT_EQ(*training_operations(kNetwork), 2 * (2 * kFirst + 3 * kOthers));
  EXPECT_EQ(inference_operations({{1, 2, 2}, {Dense{2}}}).error().code, ErrorCode::invalid_input);
}

TEST(Peak, IsThatOfAProcessor) {
  for (const Precision precision : {Precision::f32, Precision::bf16}) {
    if (precision == Precision::bf16 && !multiplies_bf16()) continue;
    const Result<Peak> peak = measure_peak(precision, 1);
    ASSERT_TRUE(peak) << peak.error().message;
    // From a slow core under a sanitizer to ten times the fastest that we have met.
    EXPECT_GT(peak->matrices, 1e8);
    EXPECT_LT(peak->matrices, 3e13);
    EXPECT_LT(peak->instructions, 3e13);
#if defined(__x86_64__)
    EXPECT_GT(peak->instructions, 1e8);
#endif
  }
  EXPECT_EQ(measure_peak(Precision::f32, 0).error().message, "number of threads is 0, must be 1 or more");
}

TEST(Operations, AreTimedOneByOne) {
  const Network network = *initialize(kNetwork, HeNormal{}, 1);
  const auto times = measure_operations(network, 4, Precision::f32);
  ASSERT_TRUE(times) << times.error().message;
  std::vector<std::string> counted;
  std::int64_t operations = 0;
  for (const OperationTime& time : *times) {
    EXPECT_GE(time.seconds, 0);
    operations += time.operations;
    if (time.operations > 0) counted.push_back(time.name);
  }
  EXPECT_EQ(counted, (std::vector<std::string>{
                         "convolution 3x3x16 of 1x8x8 forward", "convolution 3x3x16 of 16x4x4 forward",
                         "dense 10 of 256 forward", "dense 10 of 256 backward weights",
                         "dense 10 of 256 backward data", "convolution 3x3x16 of 16x4x4 backward weights",
                         "convolution 3x3x16 of 16x4x4 backward data",
                         "convolution 3x3x16 of 1x8x8 backward weights"}));
  EXPECT_EQ(operations, 4 * *training_operations(kNetwork));
}

}  // namespace
}  // namespace espy::nn
