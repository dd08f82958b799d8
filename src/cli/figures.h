// What a benchmark has to say, and what it measures with.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "model/dataset.h"

namespace espy::cli {

// One line of a benchmark.
struct Figure {
  std::string name;
  double value;
  std::string unit;
};

enum class FigureStyle { table, json };

// Prints the figures with the version, the build and the machine that they are of.
void print_figures(const std::vector<Figure>& figures, FigureStyle style);

// As many as MNIST has.
inline constexpr double kEpochImages = 60'000;

// Returns noise with labels: what a step costs does not depend on what is learned.
model::Dataset make_noise(std::size_t count);

}  // namespace espy::cli
