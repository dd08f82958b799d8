#include "model/calibration.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/base64.h"
#include "nn/random.h"

namespace espy::model {
namespace {

std::vector<double> draw(std::size_t count, std::uint64_t seed) {
  nn::RandomSequence random(seed);
  std::vector<double> values(count);
  for (double& value : values) value = 2 * random.next_uniform() - 1;
  return values;
}

// A triangle with a diagonal that is far from 0.
std::vector<double> draw_factor(std::size_t size) {
  std::vector<double> factor = draw(size * (size + 1) / 2, 5);
  for (std::size_t i = 0; i < size; ++i) factor[i * (i + 1) / 2 + i] += 3;
  return factor;
}

// By the definition: the least |W (x - mean)|^2.
double naive_distance(std::span<const double> means, std::span<const double> factor,
                      std::span<const float> values) {
  const std::size_t size = values.size();
  double least = std::numeric_limits<double>::infinity();
  for (std::size_t begin = 0; begin < means.size(); begin += size) {
    double squares = 0;
    for (std::size_t row = 0; row < size; ++row) {
      double sum = 0;
      for (std::size_t column = 0; column <= row; ++column) {
        sum += factor[row * (row + 1) / 2 + column] *
               (static_cast<double>(values[column]) - means[begin + column]);
      }
      squares += sum * sum;
    }
    least = std::min(least, squares);
  }
  return least;
}

TEST(ClassGaussians, DistanceAgreesWithItsDefinition) {
  for (const std::size_t size : {1, 2, 10, 33, 192}) {
    const std::vector<double> means = draw(3 * size, 7);
    const std::vector<double> factor = draw_factor(size);
    const ClassGaussians gaussians(static_cast<int>(size), means, factor);
    EXPECT_EQ(gaussians.dimension(), size);
    EXPECT_EQ(gaussians.classes(), 3);
    const std::vector<double> drawn = draw(size, 9);
    const std::vector<float> values(drawn.begin(), drawn.end());
    const double expected = naive_distance(means, factor, values);
    // A byte a value and bfloat16 cost about a hundredth.
    EXPECT_NEAR(gaussians.distance(values), expected, 0.02 * expected + 0.01) << size;
  }
}

TEST(ClassGaussians, WithoutADimensionEverythingIsNear) { EXPECT_EQ(ClassGaussians().distance({}), 0); }

TEST(ClassGaussians, ComesBackFromItsBytes) {
  const ClassGaussians made(7, draw(4 * 7, 1), draw_factor(7));
  const Result<ClassGaussians> read = ClassGaussians::parse(made.encode(), 7, 4);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, made);
  const std::vector<float> values(7, 0.25F);
  EXPECT_EQ(read->distance(values), made.distance(values));
}

TEST(InkFigures, AreThoseComputedByHand) {
  image::Input input = {};
  // Two pixels beside each other, half and full.
  input[10 * 28 + 10] = 127;
  input[10 * 28 + 11] = 255;
  const std::vector<float> figures = ink_figures(input);
  const auto expect_figure = [&](std::size_t index, double expected) {
    EXPECT_NEAR(figures[index], std::log(expected + 1e-3), 1e-5) << index;
  };
  const double half = 127.0 / 255;
  expect_figure(0, (1 + half) / 784);
  expect_figure(1, (1 + half * half) / 784);
  expect_figure(2, (half + (1 - half) + 1) / 756);
  expect_figure(3, 2 * (1 + half) / 756);
  expect_figure(4, 2.0 / 784);
  expect_figure(5, 1.0 / 784);
  const double sum = (1 + half) / 28;
  expect_figure(6, std::sqrt((1 + half) * (1 + half) / 28 - sum * sum) / 28);
  expect_figure(7, std::sqrt((1 + half * half) / 28 - sum * sum) / 28);
  expect_figure(8, (half + std::abs(1 - 2 * half) + (2 - half) + 1) / 728);
  expect_figure(9, 4 * (1 + half) / 728);
}

Calibration make_calibration() {
  Calibration calibration;
  calibration.held_out = 99;
  calibration.temperature = 0.7F;
  calibration.exponent = 1.3F;
  calibration.least_confidence = 0.6F;
  calibration.most_foreignness = 2.5F;
  calibration.features = {6, draw(3 * 6, 1), draw_factor(6)};
  calibration.ink = {kInkFigures, draw(3 * kInkFigures, 2), draw_factor(kInkFigures)};
  calibration.feature_scale = {3.5F, 1.25F};
  calibration.energy_scale = {-4, 2};
  calibration.ink_scale = {9, 0.1F};
  for (int rank = 1; rank <= 99; ++rank) {
    calibration.conformal.push_back({rank, static_cast<float>(rank) / 100});
  }
  return calibration;
}

TEST(Calibration, ProbabilitiesAreASoftmaxWithATemperature) {
  Calibration calibration;
  const std::vector<float> logits = {1, 3, -2};
  std::vector<float> probabilities = calibration.probabilities(logits);
  const double sum = std::exp(-2.0) + 1 + std::exp(-5.0);
  EXPECT_NEAR(probabilities[0], std::exp(-2.0) / sum, 1e-6);
  EXPECT_NEAR(probabilities[1], 1 / sum, 1e-6);
  calibration.temperature = 2;
  probabilities = calibration.probabilities(logits);
  EXPECT_NEAR(probabilities[0] / probabilities[1], std::exp(-1.0), 1e-6);
  calibration.exponent = 1.5F;
  probabilities = calibration.probabilities(logits);
  EXPECT_NEAR(probabilities[2] / probabilities[1], std::exp(-std::pow(2.5, 1.5)), 1e-6);
}

TEST(Calibration, EnergyIsThatOfThePaper) {
  EXPECT_NEAR(energy(std::vector<float>{1, 2}), -std::log(std::exp(1.0) + std::exp(2.0)), 1e-6);
  EXPECT_NEAR(energy(std::vector<float>{1e30F, 0}), -1e30, 1e24);
}

TEST(Calibration, ForeignnessAddsUpWhatIsMeasured) {
  const Calibration calibration = make_calibration();
  EXPECT_NEAR(calibration.foreignness(6, 2, 9.1F), (6 - 3.5) / 1.25 + 0.25 * (2 + 4) / 2 + 0.1 / 0.1, 1e-4);
  // Of ink, only so much counts.
  EXPECT_NEAR(calibration.foreignness(6, 2, 9.5F), (6 - 3.5) / 1.25 + 0.25 * (2 + 4) / 2 + 2, 1e-4);
  image::Input input = {};
  input[100] = 200;
  const std::vector<float> features = {3, 0, 0, 4, 0, 0};
  const std::vector<float> logits = {1, 2, 3};
  EXPECT_EQ(calibration.foreignness(input, features, logits),
            calibration.foreignness(calibration.features.distance(std::vector<float>{0.6F, 0, 0, 0.8F, 0, 0}),
                                    energy(logits), calibration.ink.distance(ink_figures(input))));
}

TEST(Calibration, SetsHoldTheLikeliestAndAllThatScoreBelowTheQuantile) {
  const Calibration calibration = make_calibration();
  const std::vector<float> probabilities = {0.15F, 0.6F, 0.25F};
  // The ceil(100 * 0.8) = 80th score is 0.8: 1 - 0.15 is more.
  EXPECT_EQ(calibration.label_set(probabilities, 0.8), (std::vector{1, 2}));
  EXPECT_EQ(calibration.label_set(probabilities, 0.86), (std::vector{1, 2, 0}));
  EXPECT_EQ(calibration.label_set(probabilities, 0.75), (std::vector{1, 2}));
  EXPECT_EQ(calibration.label_set(probabilities, 0.74), (std::vector{1}));
  EXPECT_EQ(calibration.label_set(probabilities, 0), (std::vector{1}));
  // 99 samples can promise 99 in a hundred, and no more than that.
  EXPECT_EQ(calibration.label_set(std::vector{0.995F, 0.004F, 0.001F}, 0.99).size(), 1U);
  EXPECT_EQ(calibration.label_set(std::vector{0.995F, 0.004F, 0.001F}, 0.991).size(), 3U);
}

TEST(Calibration, ARankThatWasNotKeptGivesWayToTheNext) {
  Calibration calibration = make_calibration();
  calibration.conformal = {{50, 0.1F}, {80, 0.5F}, {99, 0.9F}};
  EXPECT_EQ(calibration.label_set(std::vector{0.55F, 0.44F, 0.01F}, 0.6).size(), 1U);
  EXPECT_EQ(calibration.label_set(std::vector{0.5F, 0.5F, 0.0F}, 0.6).size(), 2U);
  EXPECT_EQ(calibration.label_set(std::vector{0.5F, 0.3F, 0.2F}, 0.9).size(), 3U);
}

TEST(Calibration, ComesBackFromItsText) {
  const Calibration made = make_calibration();
  Result<Calibration> read = Calibration::parse(made.text(), 3, 6);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, made);

  Calibration without = made;
  without.features = {};
  read = Calibration::parse(without.text(), 3, 6);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, without);
}

void expect_error(const std::string& text, std::string_view part) {
  const Result<Calibration> read = Calibration::parse(text, 3, 6);
  ASSERT_FALSE(read) << part;
  EXPECT_EQ(read.error().code, ErrorCode::invalid_input);
  EXPECT_NE(read.error().message.find(part), std::string::npos) << read.error().message;
}

// With the value of one name exchanged; an empty value takes the line out.
std::string changed(const std::string& name, const std::string& value) {
  std::string text = "\n" + make_calibration().text() + "\n";
  const std::size_t begin = text.find("\n" + name + "=") + 1;
  const std::size_t end = text.find('\n', begin);
  text.replace(begin, end - begin + 1, value.empty() ? "" : name + "=" + value + "\n");
  return text.substr(1, text.size() - 2);
}

TEST(Calibration, RefusesWhatIsBroken) {
  expect_error("", "has no held_out");
  expect_error("nonsense", "without '='");
  expect_error(make_calibration().text() + "\nheld_out=99", "has held_out twice");
  expect_error(make_calibration().text() + "\nmore=1", "lines that espy does not know");
  for (const std::string name :
       {"temperature", "exponent", "feature_spread", "energy_spread", "ink_spread"}) {
    for (const std::string value : {"0", "-1", "nan", "inf", "1e39", "", "1x", "x"}) {
      expect_error(changed(name, value), name);
    }
  }
  for (const std::string name : {"least_confidence", "most_foreignness", "feature_median", "ink_median"}) {
    for (const std::string value : {"nan", "inf", "-inf", "1 "}) expect_error(changed(name, value), name);
  }
  expect_error(changed("least_confidence", "1.01"), "from 0 to 1");
  expect_error(changed("held_out", "0"), "held_out is not a number from 1");
  expect_error(changed("held_out", "98"), "end at rank 99, must be 98");
  expect_error(changed("feature_count", "5"), "is for 5 features, the model has 6");
  expect_error(changed("feature_count", "-1"), "feature_count is not a number");
  expect_error(changed("feature_count", "0"), "features: has 81 bytes, must have 0");
  expect_error(changed("features", "AAAA"), "features: has 3 bytes, must have 81");
  expect_error(changed("ink", "*"), "ink is not base64");
  expect_error(changed("conformal", "AAAA"), "conformal has 3 bytes");
  expect_error(changed("conformal", to_base64(std::string(16, '\0'))), "conformal score 0 is out of order");
  std::string bytes = make_calibration().features.encode();
  bytes[3] = '\x7f';  // a scale of infinity or more
  bytes[2] = '\x80';
  expect_error(changed("features", to_base64(bytes)), "not finite");
  for (std::size_t size = 0; size + 1 < make_calibration().text().size(); ++size) {
    ASSERT_FALSE(Calibration::parse(make_calibration().text().substr(0, size), 3, 6)) << size;
  }
}

}  // namespace
}  // namespace espy::model
