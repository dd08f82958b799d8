#include "nn/muon.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "nn/compute_mode.h"
#include "nn/random.h"

namespace espy::nn {
namespace {

std::vector<float> draw(std::size_t count) {
  RandomSequence random(11);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(2 * random.next_uniform() - 1);
  return values;
}

// The iteration by its definition, in double precision, on rows.
std::vector<double> naive_orthogonal(std::vector<double> x, std::size_t rows, std::size_t columns,
                                     int steps) {
  double squares = 0;
  for (const double value : x) squares += value * value;
  for (double& value : x) value /= std::sqrt(squares);
  for (int step = 0; step < steps; ++step) {
    std::vector<double> a(rows * rows);
    for (std::size_t i = 0; i < rows; ++i) {
      for (std::size_t j = 0; j < rows; ++j) {
        for (std::size_t k = 0; k < columns; ++k) a[i * rows + j] += x[i * columns + k] * x[j * columns + k];
      }
    }
    std::vector<double> next(x.size());
    for (std::size_t i = 0; i < rows; ++i) {
      for (std::size_t j = 0; j < rows; ++j) {
        double factor = (i == j ? 3.4445 : 0) - 4.7750 * a[i * rows + j];
        for (std::size_t k = 0; k < rows; ++k) factor += 2.0315 * a[i * rows + k] * a[k * rows + j];
        for (std::size_t k = 0; k < columns; ++k) next[i * columns + k] += factor * x[j * columns + k];
      }
    }
    x = next;
  }
  return x;
}

TEST(Muon, makes_wide_and_tall_matrices_orthogonal_by_its_iteration) {
  const ComputeMode mode;
  constexpr std::size_t kShort = 6;
  constexpr std::size_t kLong = 17;
  const std::vector<float> values = draw(kShort * kLong);
  const std::vector<double> expected =
      naive_orthogonal(std::vector<double>(values.begin(), values.end()), kShort, kLong, 3);
  std::vector<float> wide = values;
  Orthogonalizer(kShort, kLong).run(3, wide);
  std::vector<float> tall(values.size());
  for (std::size_t i = 0; i < kShort; ++i) {
    for (std::size_t j = 0; j < kLong; ++j) tall[j * kShort + i] = values[i * kLong + j];
  }
  Orthogonalizer(kLong, kShort).run(3, tall);
  for (std::size_t i = 0; i < kShort; ++i) {
    for (std::size_t j = 0; j < kLong; ++j) {
      EXPECT_NEAR(wide[i * kLong + j], expected[i * kLong + j], 1e-4);
      EXPECT_NEAR(tall[j * kShort + i], expected[i * kLong + j], 1e-4);
    }
  }
}

TEST(Muon, stands_a_gradient_of_zeros) {
  const ComputeMode mode;
  std::vector<float> matrix(12, 0.0F);
  Orthogonalizer(3, 4).run(3, matrix);
  EXPECT_EQ(matrix, std::vector<float>(12, 0.0F));
}

TEST(Muon, momentum_looks_ahead) {
  std::vector<float> average = {1, 2};
  std::vector<float> gradient = {10, 20};
  add_momentum(0.5F, gradient, average);
  EXPECT_EQ(average, (std::vector<float>{10.5F, 21}));
  EXPECT_EQ(gradient, (std::vector<float>{15.25F, 30.5F}));
}

TEST(Muon, keeps_the_length_of_the_weights) {
  std::vector<float> weights = {3, 0, 0, 4};
  descend_muon(0.5F, 4, std::vector<float>{0, 2, 0, 0}, weights);
  EXPECT_FLOAT_EQ(weights[0], 1.2F);
  EXPECT_FLOAT_EQ(weights[1], -1);
  EXPECT_FLOAT_EQ(weights[3], 1.6F);
}

}  // namespace
}  // namespace espy::nn
