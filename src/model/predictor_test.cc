#include "model/predictor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "model/synthetic.h"

namespace espy::model {
namespace {

// Its logits are its biases, whatever the picture.
std::shared_ptr<const Model> constant_model(const std::vector<float>& logits) {
  ModelContent content = make_content(softmax_architecture());
  std::fill(content.network.parameters[0].values.begin(), content.network.parameters[0].values.end(), 0.0f);
  content.network.parameters[1].values = logits;
  return std::make_shared<const Model>(*Model::create(std::move(content)));
}

TEST(Predictor, AnswersWithTheSoftmaxOfTheLogits) {
  Predictor predictor(constant_model({0, 0, 0, std::log(11.0f), 0, 0, 0, 0, 0, 0}));
  const std::vector<Prediction> predictions = predictor.predict(bars(1).inputs);
  ASSERT_EQ(predictions.size(), 1U);
  EXPECT_EQ(predictions[0].label, 3);
  EXPECT_EQ(predictions[0].class_name, "3");
  EXPECT_NEAR(predictions[0].confidence, 0.55f, 1e-6f);
  EXPECT_NEAR(predictions[0].probabilities[9], 0.05f, 1e-6f);
  EXPECT_EQ(predictions[0].verdict, Verdict::recognized);
}

TEST(Predictor, AnswersEachInputInOrderWhateverTheBatch) {
  const auto model = std::make_shared<const Model>(*Model::create(make_content(softmax_architecture())));
  Predictor predictor(model);
  const Dataset data = bars(150);  // more than one batch
  const std::vector<Prediction> together = predictor.predict(data.inputs);
  ASSERT_EQ(together.size(), 150U);
  for (const std::size_t i : {std::size_t{0}, std::size_t{63}, std::size_t{64}, std::size_t{149}}) {
    const std::vector<Prediction> alone = predictor.predict(std::span(data.inputs).subspan(i, 1));
    EXPECT_EQ(alone[0].label, together[i].label) << i;
    EXPECT_NEAR(alone[0].confidence, together[i].confidence, 1e-6f) << i;
  }
  EXPECT_TRUE(predictor.predict({}).empty());
}

TEST(Predictor, ProbabilitiesAreThoseOfTheSampleAndSumToOne) {
  const auto model = std::make_shared<const Model>(*Model::create(make_content(softmax_architecture())));
  const std::vector<Prediction> predictions = Predictor(model).predict(bars(10).inputs);
  for (const Prediction& prediction : predictions) {
    EXPECT_NEAR(std::accumulate(prediction.probabilities.begin(), prediction.probabilities.end(), 0.0), 1,
                1e-6);
    EXPECT_EQ(prediction.confidence, prediction.probabilities[static_cast<std::size_t>(prediction.label)]);
  }
}

TEST(Predictor, DoesNotRecognizeABlankPicture) {
  Predictor predictor(constant_model({9, 0, 0, 0, 0, 0, 0, 0, 0, 0}));
  const std::vector<image::Input> blank(1);
  EXPECT_EQ(predictor.predict(blank)[0].verdict, Verdict::not_recognized);
  EXPECT_EQ(predictor.predict(blank)[0].reason, Reason::blank);
}

TEST(Predictor, SurvivesLogitsOfAnySize) {
  const float greatest = std::numeric_limits<float>::max();
  Predictor large(constant_model({greatest, -greatest, 0, 0, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(large.predict(bars(1).inputs)[0].confidence, 1.0f);

  // The weights add up to infinity.
  ModelContent content = make_content(softmax_architecture());
  for (float& weight : content.network.parameters[0].values) weight = greatest;
  Predictor infinite(std::make_shared<const Model>(*Model::create(std::move(content))));
  const Prediction prediction = infinite.predict(bars(1).inputs)[0];
  EXPECT_EQ(prediction.verdict, Verdict::not_recognized);
  EXPECT_NEAR(prediction.confidence, 0.1f, 1e-6f);
}

}  // namespace
}  // namespace espy::model
