#include "model/recipe.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace espy::model {
namespace {

const Recipe& recipe(std::string_view name) {
  const Recipe* found = find_recipe(name);
  EXPECT_NE(found, nullptr) << name;
  return *found;
}

std::size_t parameter_count(const Recipe& recipe) {
  std::size_t count = 0;
  const std::vector<nn::Shape> shapes = *nn::parameter_shapes(recipe.architecture);
  for (const nn::Shape& shape : shapes) count += nn::element_count(shape);
  return count;
}

TEST(Recipe, AllAreThereInOrder) {
  std::vector<std::string_view> names;
  for (const Recipe& each : recipes()) names.push_back(each.name);
  EXPECT_EQ(names,
            (std::vector<std::string_view>{"softmax", "deep", "mlp", "5s", "1m", "10m", "60m", "compact"}));
  EXPECT_EQ(find_recipe("Deep"), nullptr);
  EXPECT_EQ(find_recipe(""), nullptr);
}

TEST(Recipe, EachEndsInTenClassesAndHasOneLength) {
  for (const Recipe& each : recipes()) {
    const auto shapes = nn::layer_shapes(each.architecture);
    ASSERT_TRUE(shapes) << each.name;
    EXPECT_EQ(shapes->back(), nn::Shape{10}) << each.name;
    EXPECT_NE(each.steps > 0, each.epochs > 0) << each.name;
  }
}

TEST(Recipe, SoftmaxIsTheTutorials) {
  const Recipe& softmax = recipe("softmax");
  EXPECT_EQ(parameter_count(softmax), 784U * 10 + 10);
  EXPECT_TRUE(std::holds_alternative<nn::Zeros>(softmax.initializer));
  EXPECT_EQ(std::get<nn::GradientDescent>(softmax.optimizer).learning_rate, 0.5f);
  EXPECT_EQ(softmax.batch_size, 100);
  EXPECT_EQ(softmax.steps, 1000);
}

TEST(Recipe, DeepIsTheTutorials) {
  const Recipe& deep = recipe("deep");
  EXPECT_EQ(parameter_count(deep), 832U + 51264 + 3212288 + 10250);
  const auto start = std::get<nn::TruncatedNormal>(deep.initializer);
  EXPECT_EQ(start.standard_deviation, 0.1f);
  EXPECT_EQ(start.bias, 0.1f);
  const auto adam = std::get<nn::Adam>(deep.optimizer);
  EXPECT_EQ(adam.learning_rate, 1e-4f);
  EXPECT_EQ(adam.epsilon, 1e-8f);
  EXPECT_EQ(std::get<nn::Dropout>(deep.architecture.layers[9]).probability, 0.5f);
  EXPECT_EQ(deep.batch_size, 50);
  EXPECT_EQ(deep.steps, 20000);
}

TEST(Recipe, MlpIsTheTutorials) {
  const Recipe& mlp = recipe("mlp");
  EXPECT_EQ(parameter_count(mlp), 784U * 128 + 128 + 1280 + 10);
  EXPECT_TRUE(std::holds_alternative<nn::GlorotUniform>(mlp.initializer));
  const auto adam = std::get<nn::Adam>(mlp.optimizer);
  EXPECT_EQ(adam.learning_rate, 1e-3f);
  EXPECT_EQ(adam.beta1, 0.9f);
  EXPECT_EQ(adam.beta2, 0.999f);
  EXPECT_EQ(adam.epsilon, 1e-7f);
  EXPECT_EQ(mlp.batch_size, 32);
  EXPECT_EQ(mlp.epochs, 15);
}

TEST(Recipe, LearningRateFollowsItsKnots) {
  const std::vector<Knot> knots = {{0, 0}, {0.2, 1}, {1, 0}};
  EXPECT_EQ(learning_rate_factor({}, 0.3), 1);
  EXPECT_DOUBLE_EQ(learning_rate_factor(knots, 0), 0);
  EXPECT_DOUBLE_EQ(learning_rate_factor(knots, 0.05), 0.25);
  EXPECT_DOUBLE_EQ(learning_rate_factor(knots, 0.2), 1);
  EXPECT_DOUBLE_EQ(learning_rate_factor(knots, 0.6), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate_factor(knots, 1), 0);
}

TEST(Recipe, DigitsMayHaveAnOptimizerOfTheirOwn) {
  const auto rate = [](image::Preparation preparation) {
    return std::get<nn::Muon>(optimizer(recipe("1m"), preparation)).learning_rate;
  };
  EXPECT_LT(rate(image::Preparation::digit), rate(image::Preparation::garment));
  EXPECT_EQ(rate(image::Preparation::plain), rate(image::Preparation::garment));
  EXPECT_EQ(&optimizer(recipe("deep"), image::Preparation::digit), &recipe("deep").optimizer);
}

TEST(Recipe, DigitsAndLettersAreNeverMirrored) {
  for (const Recipe& each : recipes()) {
    EXPECT_EQ(augmentation(each, image::Preparation::digit).mirror, Mirror::never) << each.name;
    EXPECT_EQ(augmentation(each, image::Preparation::plain).mirror, Mirror::never) << each.name;
  }
}

TEST(Recipe, OwnNetworksStaySmall) {
  EXPECT_LT(parameter_count(recipe("5s")), 100'000U);
  EXPECT_LT(parameter_count(recipe("1m")), 160'000U);
  EXPECT_LT(parameter_count(recipe("10m")), 600'000U);
  EXPECT_LT(parameter_count(recipe("60m")), 600'000U);
  // In two bytes each, beside a calibration of some tens of kilobytes.
  EXPECT_EQ(recipe("compact").parameter_type, ParameterType::f16);
  EXPECT_LT(parameter_count(recipe("compact")), 160'000U);
}

TEST(Recipe, TeachersKnowWhatTheirPupilIsAsked) {
  for (const Recipe& each : recipes()) {
    const Teachers& teachers = each.teachers;
    EXPECT_EQ(teachers.count > 0, teachers.share > 0) << each.name;
    EXPECT_EQ(teachers.count > 0, teachers.epochs > 0) << each.name;
    if (teachers.count == 0) continue;
    EXPECT_EQ(teachers.architecture.input, each.architecture.input) << each.name;
    EXPECT_EQ(nn::layer_shapes(teachers.architecture)->back(), nn::Shape{10}) << each.name;
  }
}

}  // namespace
}  // namespace espy::model
