#include "model/fit_calibration.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "model/evaluate.h"
#include "model/predictor.h"
#include "model/synthetic.h"
#include "model/train.h"
#include "nn/random.h"

namespace espy::model {
namespace {

TEST(HoldOut, TakesOfEachClassItsShareAndNothingTwice) {
  std::vector<std::uint8_t> labels(12'000);
  for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = i % 3 == 0 ? 0 : 1;
  const HeldOut parts = hold_out(labels, 600, 5);
  ASSERT_EQ(parts.held_out.size(), 600U);
  EXPECT_EQ(std::ranges::count(parts.held_out, 0, [&](std::size_t i) { return labels[i]; }), 200);
  std::set<std::size_t> all(parts.held_out.begin(), parts.held_out.end());
  all.insert(parts.training.begin(), parts.training.end());
  EXPECT_EQ(all.size(), labels.size());
  EXPECT_EQ(parts.training.size(), labels.size() - 600);
  EXPECT_EQ(hold_out(labels, 600, 5).held_out, parts.held_out);
  EXPECT_NE(hold_out(labels, 600, 6).held_out, parts.held_out);
}

TEST(HoldOut, LeavesEnoughToTrainOn) {
  const std::vector<std::uint8_t> labels(3600);
  EXPECT_EQ(hold_out(labels, 5000, 1).held_out.size(), 300U);
  EXPECT_TRUE(hold_out(std::span(labels).first(2300), 5000, 1).held_out.empty());
  EXPECT_EQ(hold_out(std::span(labels).first(2300), 5000, 1).training.size(), 2300U);
  EXPECT_TRUE(hold_out(labels, 0, 1).held_out.empty());
  EXPECT_TRUE(hold_out({}, 10, 1).training.empty());
}

TEST(HoldOut, TakesNoneWhereTheSharesOfClassesAreTooFewTogether) {
  // A twelfth of all is 200, but 19 of each class with 239 samples make 195.
  std::vector<std::uint8_t> labels;
  for (std::uint8_t label = 0; label < 10; ++label) labels.insert(labels.end(), label < 5 ? 241 : 239, label);
  ASSERT_EQ(labels.size(), 2400U);
  EXPECT_TRUE(hold_out(labels, 5000, 1).held_out.empty());
  EXPECT_EQ(hold_out(labels, 5000, 1).training.size(), 2400U);
}

// Logits whose labels are drawn by the probabilities of Calibration with this temperature and exponent.
struct Drawn {
  std::vector<float> logits;
  std::vector<std::uint8_t> labels;
};

Drawn draw_labels(float temperature, float exponent, std::size_t count) {
  Calibration truth;
  truth.temperature = temperature;
  truth.exponent = exponent;
  nn::RandomSequence random(3);
  Drawn drawn;
  for (std::size_t i = 0; i < count; ++i) {
    std::vector<float> logits(4);
    for (float& logit : logits) logit = static_cast<float>(6 * random.next_uniform());
    const std::vector<float> probabilities = truth.probabilities(logits);
    double left = random.next_uniform();
    std::uint8_t label = 0;
    while (label < 3 && (left -= static_cast<double>(probabilities[label])) > 0) ++label;
    drawn.logits.insert(drawn.logits.end(), logits.begin(), logits.end());
    drawn.labels.push_back(label);
  }
  return drawn;
}

TEST(FitTemperature, FindsTheOneThatTheLabelsWereDrawnWith) {
  for (const float temperature : {0.5F, 1.0F, 2.5F}) {
    const Drawn drawn = draw_labels(temperature, 1, 40'000);
    EXPECT_NEAR(fit_temperature(drawn.logits, drawn.labels) / temperature, 1, 0.03);
  }
}

// Of two logits 0 and 1 with the greater one right in 3 of 4: 1 / temperature = log 3.
TEST(FitTemperature, AgreesWithTheExactAnswer) {
  const std::vector<float> logits = {0, 1, 0, 1, 0, 1, 0, 1};
  const std::vector<std::uint8_t> labels = {1, 1, 0, 1};
  EXPECT_NEAR(fit_temperature(logits, labels), 1 / std::log(3.0), 1e-4);
}

TEST(FitSharpness, FindsTemperatureAndExponent) {
  for (const float exponent : {0.8F, 1.0F, 1.5F}) {
    const Drawn drawn = draw_labels(1.5F, exponent, 40'000);
    const Sharpness found = fit_sharpness(drawn.logits, drawn.labels);
    EXPECT_NEAR(found.temperature, 1.5, 0.1) << exponent;
    EXPECT_NEAR(found.exponent, exponent, 0.1);
  }
}

TEST(FitSharpness, SurvivesAnswersThatAreAllRightOrAllWrong) {
  const std::vector<float> logits = {0, 1, 0, 1};
  for (const std::uint8_t label : {std::uint8_t{0}, std::uint8_t{1}}) {
    const Sharpness found = fit_sharpness(logits, std::vector<std::uint8_t>{label, label});
    EXPECT_TRUE(std::isfinite(found.temperature) && found.temperature > 0) << found.temperature;
    EXPECT_TRUE(std::isfinite(found.exponent)) << found.exponent;
  }
}

// Against a naive computation in double: the squared distances solve C x = d by Gaussian elimination.
double naive_distance(const std::vector<float>& samples, const std::vector<std::uint8_t>& labels, int classes,
                      std::span<const float> point) {
  const std::size_t size = point.size();
  const auto sample = [&](std::size_t i, std::size_t k) {
    return static_cast<double>(samples[i * size + k]);
  };
  std::vector<std::vector<double>> means(static_cast<std::size_t>(classes), std::vector<double>(size));
  std::vector<double> counts(static_cast<std::size_t>(classes));
  for (std::size_t i = 0; i < labels.size(); ++i) {
    ++counts[labels[i]];
    for (std::size_t k = 0; k < size; ++k) means[labels[i]][k] += sample(i, k);
  }
  for (std::size_t c = 0; c < means.size(); ++c) {
    for (double& value : means[c]) value /= counts[c];
  }
  std::vector<std::vector<double>> covariance(size, std::vector<double>(size));
  for (std::size_t i = 0; i < labels.size(); ++i) {
    for (std::size_t a = 0; a < size; ++a) {
      for (std::size_t b = 0; b < size; ++b) {
        covariance[a][b] += (sample(i, a) - means[labels[i]][a]) * (sample(i, b) - means[labels[i]][b]) /
                            static_cast<double>(labels.size());
      }
    }
  }
  double trace = 0;
  for (std::size_t k = 0; k < size; ++k) trace += covariance[k][k];
  for (std::size_t k = 0; k < size; ++k) covariance[k][k] += 1e-3 * trace / static_cast<double>(size);
  double least = 1e300;
  for (const std::vector<double>& mean : means) {
    std::vector<std::vector<double>> rows = covariance;
    std::vector<double> solved(size);
    for (std::size_t k = 0; k < size; ++k) solved[k] = static_cast<double>(point[k]) - mean[k];
    const std::vector<double> difference = solved;
    for (std::size_t k = 0; k < size; ++k) {
      for (std::size_t row = 0; row < size; ++row) {
        if (row == k) continue;
        const double factor = rows[row][k] / rows[k][k];
        for (std::size_t column = 0; column < size; ++column) rows[row][column] -= factor * rows[k][column];
        solved[row] -= factor * solved[k];
      }
    }
    double squared = 0;
    for (std::size_t k = 0; k < size; ++k) squared += difference[k] * solved[k] / rows[k][k];
    least = std::min(least, squared);
  }
  return least;
}

TEST(FitGaussians, DistancesAreMahalanobis) {
  constexpr std::size_t kSize = 12;
  nn::RandomSequence random(8);
  std::vector<float> samples;
  std::vector<std::uint8_t> labels;
  for (std::size_t i = 0; i < 400; ++i) {
    labels.push_back(static_cast<std::uint8_t>(i % 3));
    const double common = random.next_uniform();
    for (std::size_t k = 0; k < kSize; ++k) {
      samples.push_back(static_cast<float>(random.next_uniform() + 3 * common + (k == i % 3 ? 4 : 0)));
    }
  }
  const ClassGaussians gaussians = fit_gaussians(samples, labels, kSize, 3);
  for (std::size_t i = 0; i < 20; ++i) {
    std::vector<float> point(kSize);
    for (float& value : point) value = static_cast<float>(5 * random.next_uniform());
    const double expected = naive_distance(samples, labels, 3, point);
    EXPECT_NEAR(gaussians.distance(point), expected, 0.03 * expected);
  }
}

TEST(FitGaussians, TakesAClassWithoutSamplesAndConstantValues) {
  const std::vector<float> samples(20 * 4, 0.5F);
  const ClassGaussians gaussians = fit_gaussians(samples, std::vector<std::uint8_t>(20), 4, 3);
  const float near = gaussians.distance(std::vector<float>(4, 0.5F));
  const float far = gaussians.distance(std::vector<float>(4, 0.6F));
  EXPECT_TRUE(std::isfinite(near) && std::isfinite(far));
  EXPECT_GT(far, 1000 * near);
}

TEST(KeepScores, KeepsTheHighestAndEverFewerBelow) {
  std::vector<float> scores(5000);
  std::iota(scores.begin(), scores.end(), 0.0F);
  std::ranges::reverse(scores);
  const std::vector<RankedScore> kept = keep_scores(scores);
  EXPECT_EQ(kept.back(), (RankedScore{5000, 4999}));
  EXPECT_LT(kept.size(), 250U);
  for (std::size_t i = 0; i < kept.size(); ++i) {
    EXPECT_EQ(kept[i].score, static_cast<float>(kept[i].rank - 1));
    if (i == 0) continue;
    const int above = 5000 - kept[i].rank;
    EXPECT_LE(kept[i].rank - kept[i - 1].rank, std::max(1, above / 32)) << i;
  }
}

// The property that split conformal prediction promises, whatever the model: over all orders in which n + 1
// exchangeable scores may come, the last is within the quantile of the others at least as often as asked.
TEST(LabelSet, CoversAsOftenAsAskedInEveryOrder) {
  constexpr int kSamples = 250;
  for (const double coverage : {0.5, 0.9, 0.95, 0.99, 0.996}) {
    int covered = 0;
    for (int last = 0; last < kSamples + 1; ++last) {
      std::vector<float> scores;
      for (int i = 0; i < kSamples + 1; ++i) {
        if (i != last) scores.push_back(static_cast<float>(i) / 1000);
      }
      Calibration calibration;
      calibration.held_out = kSamples;
      calibration.conformal = keep_scores(scores);
      // The right label's score is that of `last`; the other label is the likelier one.
      const float right = 1 - static_cast<float>(last) / 1000;
      const std::vector<int> set = calibration.label_set(std::vector{right, 2.0F}, coverage);
      covered += std::ranges::find(set, 0) != set.end() ? 1 : 0;
    }
    EXPECT_GE(covered, coverage * (kSamples + 1)) << coverage;
    EXPECT_LE(covered, std::ceil(coverage * (kSamples + 1)) + 0.04 * (1 - coverage) * kSamples + 1)
        << coverage;
  }
}

// Bars with a network that was trained on them for a few hundred steps.
class Trained : public ::testing::Test {
 protected:
  static Recipe recipe() {
    return {
        .name = "small",
        .description = "for tests",
        .architecture = {.input = {1, 28, 28},
                         .layers = {nn::Convolution{.channels = 4, .kernel = 5}, nn::Relu{}, nn::MaxPool{},
                                    nn::Flatten{}, nn::Dense{32}, nn::Relu{}, nn::Dense{10}}},
        .initializer = nn::GlorotUniform{},
        .optimizer = nn::Adam{.learning_rate = 3e-3f},
        .batch_size = 20,
        .steps = 300,
        .epochs = 0,
        .held_out = 400};
  }

  static void SetUpTestSuite() {
    ModelContent content = *train(bars(4800), recipe(), {.seed = 1, .threads = 2});
    model_ =
        new std::shared_ptr<const Model>(std::make_shared<const Model>(*Model::create(std::move(content))));
  }
  static void TearDownTestSuite() { delete model_; }

  static Prediction answer(const image::Input& input) { return Predictor(*model_).predict({&input, 1})[0]; }

  static std::shared_ptr<const Model>* model_;
};

std::shared_ptr<const Model>* Trained::model_ = nullptr;

TEST_F(Trained, HasACalibrationThatItsFileCarries) {
  ASSERT_TRUE((*model_)->calibration());
  EXPECT_EQ((*model_)->calibration()->held_out, 400);
  EXPECT_EQ((*model_)->calibration()->features.dimension(), 32);
  const Result<Model> read = Model::parse(std::as_bytes(std::span((*model_)->file())));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->calibration(), (*model_)->calibration());
  EXPECT_EQ(read->file(), (*model_)->file());
}

TEST_F(Trained, RecognizesItsOwn) {
  const Dataset data = bars(4900);
  const Result<Evaluation> found = evaluate(*model_, data, 2, 0.99);
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_GT(found->verdicts.recognized, 0.97);
  EXPECT_GT(found->accuracy_of_recognized, 0.99);
  ASSERT_TRUE(found->sets);
  EXPECT_GT(found->sets->coverage, 0.985);
  EXPECT_LT(found->sets->mean_size, 1.1);
}

TEST_F(Trained, DoesNotRecognizeWhatIsForeignOrBlank) {
  EXPECT_EQ(answer({}).reason, Reason::blank);
  EXPECT_EQ(answer({}).verdict, Verdict::not_recognized);
  image::Input noise;
  nn::RandomSequence random(4);
  for (std::uint8_t& value : noise) value = static_cast<std::uint8_t>(256 * random.next_uniform());
  EXPECT_EQ(answer(noise).verdict, Verdict::not_recognized);
  EXPECT_EQ(answer(noise).reason, Reason::foreign);
  image::Input columns = {};
  for (std::size_t i = 0; i < columns.size(); ++i) columns[i] = i % 4 == 0 ? 255 : 0;
  EXPECT_EQ(answer(columns).reason, Reason::foreign);

  const Dataset data = bars(300);
  const std::vector<image::Input> foreign(5, noise);
  const Result<Separation> separation = separate(*model_, data.inputs, foreign, 2);
  ASSERT_TRUE(separation) << separation.error().message;
  EXPECT_EQ(separation->count, 5);
  EXPECT_EQ(separation->auroc, 1);
  EXPECT_EQ(separation->verdicts.foreign, 1);
  EXPECT_FALSE(separate(*model_, data.inputs, {}, 1));
}

TEST_F(Trained, IsUnsureWhereAnswersAreAmbiguous) {
  ModelContent content{.network = (*model_)->network(),
                       .preparation = (*model_)->preparation(),
                       .class_names = (*model_)->class_names(),
                       .recipe = (*model_)->recipe(),
                       .metrics = {},
                       .calibration = (*model_)->calibration()};
  content.calibration->least_confidence = 1;
  content.calibration->temperature = 20;
  Predictor predictor(std::make_shared<const Model>(*Model::create(std::move(content))));
  const Prediction prediction = predictor.predict(bars(1).inputs)[0];
  EXPECT_EQ(prediction.verdict, Verdict::unsure);
  EXPECT_EQ(prediction.reason, Reason::ambiguous);
  EXPECT_NE(prediction.alternative, prediction.label);
  const auto probability = [&](int label) {
    return prediction.probabilities[static_cast<std::size_t>(label)];
  };
  for (int label = 0; label < 10; ++label) {
    EXPECT_TRUE(label == prediction.label || probability(label) <= probability(prediction.alternative));
  }
}

TEST_F(Trained, CalibrationDoesNotDependOnTheThreads) {
  const Dataset data = bars(2400);
  const HeldOut parts = hold_out(data.labels, 200, 1);
  const auto calibrate = [&](int threads) {
    return *fit_calibration((*model_)->network(), data, parts.held_out, threads);
  };
  EXPECT_EQ(calibrate(1), calibrate(3));
}

TEST_F(Trained, ACalibrationBelongsToItsNetwork) {
  ModelContent content = make_content(softmax_architecture());
  content.calibration = (*model_)->calibration();
  const Result<Model> made = Model::create(std::move(content));
  ASSERT_FALSE(made);
  EXPECT_NE(made.error().message.find("calibration is for 32 features"), std::string::npos);
}

TEST(FitCalibration, NeedsEnoughSamplesAndFiniteAnswers) {
  const Dataset data = bars(400);
  std::vector<std::size_t> all(400);
  std::iota(all.begin(), all.end(), std::size_t{0});
  ModelContent content = make_content(softmax_architecture());
  auto fitted = fit_calibration(content.network, data, std::span(all).first(199), 1);
  ASSERT_FALSE(fitted);
  EXPECT_NE(fitted.error().message.find("199 held-out samples are too few"), std::string::npos);
  // 784 inputs are too many to have a covariance of; the rest works.
  fitted = fit_calibration(content.network, data, all, 1);
  ASSERT_TRUE(fitted) << fitted.error().message;
  EXPECT_EQ(fitted->features.dimension(), 0);
  for (float& weight : content.network.parameters[0].values) weight = 3e38F;
  fitted = fit_calibration(content.network, data, all, 1);
  ASSERT_FALSE(fitted);
  EXPECT_NE(fitted.error().message.find("not finite"), std::string::npos);
}

}  // namespace
}  // namespace espy::model
