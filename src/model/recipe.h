// Recipes: architecture, start, optimizer, augmentation and length of a training, as data.
#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "image/prepare.h"
#include "model/augment.h"
#include "model/model.h"
#include "nn/architecture.h"
#include "nn/network.h"
#include "nn/trainer.h"

namespace espy::model {

// A learning rate's course, linear between knots: the factor that it is multiplied by after a share of all
// steps.
struct Knot {
  double done;  // from 0 to 1, ascending
  double factor;
};

// Returns the factor after the share `done` of a training; 1 without knots.
double learning_rate_factor(std::span<const Knot> schedule, double done);

// Networks that are trained before the recipe's own, each from a start of its own and in every other respect
// as the recipe says, and whose mean answer is then a part of what the recipe's network learns
// (nn::TrainerOptions). They are not kept.
struct Teachers {
  int count = 0;
  nn::Architecture architecture = {};
  double epochs = 0;  // of each
  float share = 0;    // of the target
};

struct Recipe {
  std::string_view name;
  std::string_view description;  // one line
  nn::Architecture architecture;
  nn::Initializer initializer;
  nn::Optimizer optimizer;  // unless digits_optimizer takes its place
  int batch_size;
  // The length of a training is one of the two; the other is 0.
  int steps;
  double epochs;
  int chunk_size = 0;  // of nn::TrainerOptions
  float label_smoothing = 0;
  // Samples that are not trained on but calibrated with (fit_calibration.h); 0: the model has no calibration.
  int held_out = 0;
  std::vector<Knot> schedule = {};
  Augmentation digits = {};    // of pictures prepared as digits
  Augmentation garments = {};  // as garments; those prepared plainly stay as they are
  Teachers teachers = {};
  ParameterType parameter_type = ParameterType::f32;   // of the model file
  std::optional<nn::Optimizer> digits_optimizer = {};  // where pictures are prepared as digits
};

// Returns what the recipe does to pictures of this preparation.
Augmentation augmentation(const Recipe& recipe, image::Preparation preparation);

// Returns what trains on pictures of this preparation.
const nn::Optimizer& optimizer(const Recipe& recipe, image::Preparation preparation);

// Returns every recipe, in the order that help shows them:
//   softmax  TensorFlow's "MNIST for ML beginners"
//   deep     TensorFlow's "Deep MNIST for experts"
//   mlp      TensorFlow's "Basic classification: classify images of clothing", 15 epochs
//   5s       four convolutions, a little more than an epoch: five seconds at most
//   1m       a residual network on changed copies of the pictures: about a minute there
//   10m      a wider one, longer: ten minutes at most
//   60m      a deeper one, longer still: an hour at most
//   compact  the network of 1m, taught by a larger one, in half the bytes; what espy ships
std::span<const Recipe> recipes();

// Returns nullptr when there is none of that name.
const Recipe* find_recipe(std::string_view name);

}  // namespace espy::model
