// Recipes: architecture, start, optimizer and length of a training, as data.
#pragma once

#include <span>
#include <string_view>

#include "nn/architecture.h"
#include "nn/network.h"
#include "nn/trainer.h"

namespace espy::model {

struct Recipe {
  std::string_view name;
  std::string_view description;  // one line
  nn::Architecture architecture;
  nn::Initializer initializer;
  nn::Optimizer optimizer;
  int batch_size;
  // The length of a training is one of the two; the other is 0.
  int steps;
  int epochs;
};

// Returns every recipe, in the order that help shows them:
//   softmax  TensorFlow's "MNIST for ML beginners"
//   deep     TensorFlow's "Deep MNIST for experts"
//   mlp      TensorFlow's "Basic classification: classify images of clothing", 15 epochs
//   compact  a smaller deep, below 1 MB; what espy ships
std::span<const Recipe> recipes();

// Returns nullptr when there is none of that name.
const Recipe* find_recipe(std::string_view name);

}  // namespace espy::model
