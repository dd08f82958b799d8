// Data and networks that tests make: small, and the same on every machine.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "model/dataset.h"
#include "model/model.h"

namespace espy::model {

inline std::vector<std::string> digit_names() { return {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}; }

// Ten classes that are easy to tell apart: class k has a bar at rows 2k+4 and 2k+5, whose columns and
// darkness change from sample to sample.
inline Dataset bars(std::size_t count) {
  Dataset data{.name = "bars",
               .preparation = image::Preparation::digit,
               .class_names = digit_names(),
               .inputs = {},
               .labels = {}};
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t label = i % 10;
    image::Input input{};
    for (std::size_t row = 2 * label + 4; row < 2 * label + 6; ++row) {
      for (std::size_t column = 0; column < 20; ++column) {
        input[row * image::kInputSide + column + i % 7] = static_cast<std::uint8_t>(155 + i * 31 % 101);
      }
    }
    data.inputs.push_back(input);
    data.labels.push_back(static_cast<std::uint8_t>(label));
  }
  return data;
}

// A seven of two thick strokes whose middle lies where preparation puts it.
inline image::Input make_seven() {
  constexpr std::size_t kSide = image::kInputSide;
  image::Input input = {};
  for (std::size_t row = 4; row < 7; ++row) std::fill_n(input.begin() + row * kSide + 7, 14, 255);
  for (std::size_t row = 7; row < 24; ++row)
    std::fill_n(input.begin() + row * kSide + 18 - (row - 7) / 2, 3, 255);
  return input;
}

// How many full pixels the ink of an input would fill.
inline double ink(const image::Input& input) {
  return std::accumulate(input.begin(), input.end(), 0.0) / 255;
}

// A model's content with parameters that are all different and neither tiny nor huge.
inline ModelContent make_content(nn::Architecture architecture) {
  nn::Network network{std::move(architecture), {}};
  double phase = 0;
  const std::vector<nn::Shape> shapes = *nn::parameter_shapes(network.architecture);
  for (const nn::Shape& shape : shapes) {
    nn::Tensor tensor{shape, std::vector<float>(nn::element_count(shape))};
    for (float& value : tensor.values) value = static_cast<float>(0.1 * std::sin(phase += 0.7));
    network.parameters.push_back(std::move(tensor));
  }
  return {.network = std::move(network),
          .preparation = image::Preparation::digit,
          .class_names = digit_names(),
          .recipe = "softmax",
          .metrics = {{"seed", "1"}, {"test_accuracy", "0.9921"}}};
}

inline nn::Architecture softmax_architecture() {
  return {.input = {1, image::kInputSide, image::kInputSide}, .layers = {nn::Flatten{}, nn::Dense{10}}};
}

}  // namespace espy::model
