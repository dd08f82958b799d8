// Muon: the direction of a step for a matrix of weights is its averaged gradient with all singular values
// made about equal (Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks").
#pragma once

#include <span>
#include <vector>

namespace espy::nn {

// gradient' = gradient + momentum * m, after m' = momentum * m + gradient (Nesterov's form).
void add_momentum(float momentum, std::span<float> gradient, std::span<float> average);

// Replaces a matrix by its nearest one with orthogonal rows, or columns if those are fewer, about: some steps
// of the quintic Newton-Schulz iteration X <- a X + (b A + c A A) X with A = X X^T, from X / |X|. The
// coefficients push every singular value into about [0.7, 1.2] rather than to 1, which takes fewer steps.
// Threads: one at a time; it computes on the caller's under a ComputeMode.
class Orthogonalizer {
 public:
  Orthogonalizer(int rows, int columns);

  // matrix: [rows, columns], row-major.
  // Errors: dnnl::error.
  void run(int steps, std::span<float> matrix);

 private:
  int rows_;
  int columns_;
  std::vector<float> gram_;  // A
  std::vector<float> polynomial_;
  std::vector<float> next_;
};

// weights <- sqrt(outputs) / |weights| * weights - learning_rate * direction. Behind a batch norm the length
// of the weights does not matter; held constant, it gives the learning rate the same meaning in every layer
// and step.
void descend_muon(float learning_rate, int outputs, std::span<const float> direction,
                  std::span<float> weights);

}  // namespace espy::nn
