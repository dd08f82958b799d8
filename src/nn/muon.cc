#include "nn/muon.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstddef>

#include <oneapi/dnnl/dnnl.hpp>

#include "nn/multiversion.h"

namespace espy::nn {
namespace {

// Of Jordan et al. 2024.
constexpr float kA = 3.4445F;
constexpr float kB = -4.7750F;
constexpr float kC = 2.0315F;

// What a gradient of zeros is divided by.
constexpr double kLeastLength = 1e-7;

double length(std::span<const float> values) {
  double squares = 0;
  for (const float value : values) squares += static_cast<double>(value) * static_cast<double>(value);
  return std::sqrt(squares);
}

enum class Transposed { no, yes };

// product[rows, columns] = left * right, all row-major; a transposed factor is stored as [its columns, its
// rows].
void multiply_matrices(Transposed transposes_left, Transposed transposes_right, int rows, int columns,
                       int inner, const float* left, const float* right, float* product) {
  const bool left_turned = transposes_left == Transposed::yes;
  const bool right_turned = transposes_right == Transposed::yes;
  dnnl::error::wrap_c_api(
      dnnl_sgemm(left_turned ? 'T' : 'N', right_turned ? 'T' : 'N', rows, columns, inner, 1, left,
                 left_turned ? rows : inner, right, right_turned ? inner : columns, 0, product, columns),
      "dnnl_sgemm");
}

}  // namespace

ESPY_MULTIVERSION void add_momentum(float momentum, std::span<float> gradient, std::span<float> average) {
  assert(gradient.size() == average.size());
  float* __restrict g = gradient.data();
  float* __restrict m = average.data();
  for (std::size_t i = 0; i < gradient.size(); ++i) {
    m[i] = momentum * m[i] + g[i];
    g[i] += momentum * m[i];
  }
}

Orthogonalizer::Orthogonalizer(int rows, int columns)
    : rows_(rows),
      columns_(columns),
      gram_(static_cast<std::size_t>(std::min(rows, columns)) *
            static_cast<std::size_t>(std::min(rows, columns))),
      polynomial_(gram_.size()),
      next_(static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns)) {}

void Orthogonalizer::run(int steps, std::span<float> matrix) {
  assert(matrix.size() == next_.size());
  const auto factor = static_cast<float>(1 / (length(matrix) + kLeastLength));
  for (float& value : matrix) value *= factor;
  // Of a tall matrix the shorter side comes last, and everything is multiplied from there.
  const bool tall = rows_ > columns_;
  const int side = std::min(rows_, columns_);
  for (int step = 0; step < steps; ++step) {
    multiply_matrices(tall ? Transposed::yes : Transposed::no, tall ? Transposed::no : Transposed::yes, side,
                      side, std::max(rows_, columns_), matrix.data(), matrix.data(), gram_.data());
    multiply_matrices(Transposed::no, Transposed::no, side, side, side, gram_.data(), gram_.data(),
                      polynomial_.data());
    for (std::size_t i = 0; i < gram_.size(); ++i) polynomial_[i] = kB * gram_[i] + kC * polynomial_[i];
    for (std::size_t i = 0; i < gram_.size(); i += static_cast<std::size_t>(side) + 1) polynomial_[i] += kA;
    multiply_matrices(Transposed::no, Transposed::no, rows_, columns_, side,
                      tall ? matrix.data() : polynomial_.data(), tall ? polynomial_.data() : matrix.data(),
                      next_.data());
    std::ranges::copy(next_, matrix.begin());
  }
}

ESPY_MULTIVERSION void descend_muon(float learning_rate, int outputs, std::span<const float> direction,
                                    std::span<float> weights) {
  assert(direction.size() == weights.size());
  const double target = std::sqrt(static_cast<double>(outputs));
  const auto factor = static_cast<float>(target / std::max(length(weights), kLeastLength));
  const float* __restrict d = direction.data();
  float* __restrict w = weights.data();
  for (std::size_t i = 0; i < weights.size(); ++i) w[i] = factor * w[i] - learning_rate * d[i];
}

}  // namespace espy::nn
