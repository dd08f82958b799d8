#include "model/evaluate.h"

#include <gtest/gtest.h>

#include <cmath>

#include "model/synthetic.h"

namespace espy::model {
namespace {

// Answers "a" with probability 0.8 when the first pixel is ink, else "b" with probability 0.6.
std::shared_ptr<const Model> two_class_model() {
  ModelContent content = make_content(
      {.input = {1, image::kInputSide, image::kInputSide}, .layers = {nn::Flatten{}, nn::Dense{2}}});
  content.class_names = {"a", "b"};
  std::vector<float>& weights = content.network.parameters[0].values;
  std::fill(weights.begin(), weights.end(), 0.0f);
  content.network.parameters[1].values = {0, std::log(1.5f)};
  weights[0] = std::log(4.0f) + std::log(1.5f);
  return std::make_shared<const Model>(*Model::create(std::move(content)));
}

// One sample for each pair of ink and label.
Dataset samples(const std::vector<std::pair<std::uint8_t, std::uint8_t>>& inks_and_labels) {
  Dataset data{.name = "samples",
               .preparation = image::Preparation::digit,
               .class_names = {"a", "b"},
               .inputs = {},
               .labels = {}};
  for (const auto& [ink, label] : inks_and_labels) {
    data.inputs.push_back({ink});
    data.labels.push_back(label);
  }
  return data;
}

TEST(Evaluate, FiguresAreThoseComputedByHand) {
  // Answers: a a a b b; labels: a a b b a.
  const Dataset data = samples({{255, 0}, {255, 0}, {255, 1}, {0, 1}, {0, 0}});
  const Result<Evaluation> found = evaluate(two_class_model(), data, 1);
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(found->count, 5);
  EXPECT_EQ(found->correct, 3);
  EXPECT_DOUBLE_EQ(found->accuracy, 0.6);
  EXPECT_EQ(found->confusion, (std::vector<std::vector<int>>{{2, 1}, {1, 1}}));
  EXPECT_NEAR(found->negative_log_likelihood,
              -(2 * std::log(0.8) + std::log(0.2) + std::log(0.6) + std::log(0.4)) / 5, 1e-6);
  // Three answers of 0.8, two right; two of 0.6, one right: 3/5 |0.8 - 2/3| + 2/5 |0.6 - 1/2|.
  EXPECT_NEAR(found->calibration_error, 0.12, 1e-6);
  ASSERT_EQ(found->classes.size(), 2U);
  EXPECT_EQ(found->classes[0].class_name, "a");
  EXPECT_EQ(found->classes[0].count, 3);
  EXPECT_DOUBLE_EQ(found->classes[0].precision, 2.0 / 3);
  EXPECT_DOUBLE_EQ(found->classes[0].recall, 2.0 / 3);
  EXPECT_EQ(found->classes[1].count, 2);
  EXPECT_DOUBLE_EQ(found->classes[1].precision, 0.5);
  EXPECT_DOUBLE_EQ(found->classes[1].recall, 0.5);
}

TEST(Evaluate, ClassThatIsNeitherThereNorAnsweredHasZeros) {
  const Result<Evaluation> found = evaluate(two_class_model(), samples({{255, 0}}), 1);
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(found->classes[1].count, 0);
  EXPECT_EQ(found->classes[1].precision, 0);
  EXPECT_EQ(found->classes[1].recall, 0);
}

TEST(Evaluate, FiguresDoNotDependOnTheThreads) {
  const auto model = std::make_shared<const Model>(*Model::create(make_content(softmax_architecture())));
  const Dataset data = bars(2000);
  const Result<Evaluation> one = evaluate(model, data, 1);
  const Result<Evaluation> four = evaluate(model, data, 4);
  ASSERT_TRUE(one && four);
  EXPECT_EQ(one->confusion, four->confusion);
  EXPECT_EQ(one->negative_log_likelihood, four->negative_log_likelihood);
  EXPECT_EQ(one->calibration_error, four->calibration_error);
}

TEST(Evaluate, AnUncalibratedModelKnowsTheBlankAloneAndNoSets) {
  const Dataset data = samples({{255, 0}, {255, 1}, {0, 1}, {0, 0}});
  const Result<Evaluation> found = evaluate(two_class_model(), data, 1);
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(found->verdicts.recognized, 0.5);
  EXPECT_EQ(found->verdicts.blank, 0.5);
  EXPECT_EQ(found->accuracy_of_recognized, 0.5);
  EXPECT_FALSE(found->sets);
  EXPECT_FALSE(evaluate(two_class_model(), data, 1, 0.9));
  const Result<Separation> separation = separate(two_class_model(), data.inputs, data.inputs, 1);
  ASSERT_FALSE(separation);
  EXPECT_NE(separation.error().message.find("has no calibration"), std::string::npos);
}

TEST(Evaluate, RefusesDataOfAnotherKind) {
  const auto expect_error = [](const Dataset& data, std::string_view part) {
    const Result<Evaluation> found = evaluate(two_class_model(), data, 1);
    ASSERT_FALSE(found);
    EXPECT_EQ(found.error().code, ErrorCode::invalid_input);
    EXPECT_NE(found.error().message.find(part), std::string::npos) << found.error().message;
  };
  Dataset data = samples({{255, 0}});
  data.class_names = {"b", "a"};
  expect_error(data, "other class names");
  data = samples({{255, 0}});
  data.preparation = image::Preparation::plain;
  expect_error(data, "prepared as plain, the model's pictures as digit");
  expect_error(samples({}), "no samples");
}

}  // namespace
}  // namespace espy::model
