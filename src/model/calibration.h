// What held-out samples teach about a network's answers: how likely they are right, which pictures are of a
// kind that the network has never seen, and how many classes must be named to be right as often as asked.
//
// It is fitted once, after a training, on samples that were not trained on (fit_calibration.h), and lies in
// the model file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "image/prepare.h"
#include "nn/architecture.h"

namespace espy::model {

// Features of more than these are not looked at: the triangle of their covariance would be over 128 KiB.
inline constexpr int kMaxFeatures = 512;

// Returns how many values the last layer reads when that is Dense, otherwise 0. The architecture is valid.
int feature_count(const nn::Architecture& architecture);

// How an input's ink lies, apart from what it shows: logarithms of its mean and mean square, of the mean
// steps to the pixel beside and below, of the shares of pixels with any ink and with more than half, of how
// much rows and columns differ, and of the mean second differences along both.
inline constexpr int kInkFigures = 10;
std::vector<float> ink_figures(const image::Input& input);

// Features on the unit sphere, where distances say more (Mueller & Hein 2025, "Mahalanobis++: improving OOD
// detection via feature normalization").
std::vector<float> unit_features(std::span<const float> features);

// Returns -log sum exp(logits) (Liu et al. 2020, "Energy-based out-of-distribution detection", equation 4).
float energy(std::span<const float> logits);

// One Gaussian a class, with one covariance for all (Lee et al. 2018, "A simple unified framework for
// detecting out-of-distribution samples and adversarial attacks", section 2.1). The covariance is kept as the
// inverse of its Cholesky factor, a lower triangle W with W'W = C^-1, in one byte a value and one scale a
// row; the means in bfloat16.
// Threads: immutable.
class ClassGaussians {
 public:
  ClassGaussians() = default;  // of dimension 0: everything is at distance 0

  // `means` is [classes, dimension], `inverse_factor` W row by row, dimension * (dimension + 1) / 2 values.
  ClassGaussians(int dimension, std::span<const double> means, std::span<const double> inverse_factor);

  int dimension() const { return static_cast<int>(scales_.size()); }
  int classes() const { return dimension() == 0 ? 0 : static_cast<int>(means_.size() / scales_.size()); }

  // Returns the squared Mahalanobis distance to the nearest class.
  float distance(std::span<const float> values) const;

  // Returns scales, bytes and means, as parse() reads them.
  std::string encode() const;
  // Errors: invalid_input (sizes that do not fit, values that are not finite).
  static Result<ClassGaussians> parse(std::string_view bytes, int dimension, int classes);

  bool operator==(const ClassGaussians& other) const {
    return scales_ == other.scales_ && steps_ == other.steps_ && means_ == other.means_;
  }

 private:
  void expand();

  std::vector<float> scales_;       // of each row of W
  std::vector<std::int8_t> steps_;  // W[i][j] = scales[i] * steps, row by row
  std::vector<float> means_;        // W mean, [classes, dimension]; values of bfloat16
  std::vector<float> blocks_;       // W as it is multiplied
};

// Where a score's held-out values lie: it counts as (value - median) / spread.
struct Scale {
  float median = 0;
  float spread = 1;  // 99th percentile less median; > 0

  float of(float value) const { return (value - median) / spread; }
  bool operator==(const Scale&) const = default;
};

// One of the held-out scores of a conformal set: the `rank`-th smallest, from 1.
struct RankedScore {
  int rank;
  float score;
  bool operator==(const RankedScore&) const = default;
};

// Threads: immutable.
struct Calibration {
  int held_out = 0;  // samples that it was fitted on

  // p ~ exp(-((greatest logit - logit) / temperature)^exponent). With an exponent of 1 that is temperature
  // scaling (Guo et al. 2017, "On calibration of modern neural networks", section 4.2). Networks that were
  // trained on smoothed labels cannot show a large gap, which the exponent gives back; it keeps the order of
  // the classes (Rahimi et al. 2020, "Intra order-preserving functions for calibration of multi-class neural
  // networks"). Measured on Fashion-MNIST, recipe 1m, 5,000 other samples: negative log-likelihood 0.180
  // instead of 0.192, calibration error 0.9 % instead of 1.8 %, where 0.8 % is what chance alone gives.
  float temperature = 1;
  float exponent = 1;

  // An answer with less confidence is ambiguous: 99 % of the held-out samples that were answered right have
  // as much.
  float least_confidence = 0;

  // An input with more foreignness() is foreign: at least 99 % of the held-out samples have at most that
  // (fit_calibration.h).
  float most_foreignness = 0;
  ClassGaussians features;  // of unit_features(); of dimension 0 when the network has none, or too many
  ClassGaussians ink;       // of ink_figures()
  Scale feature_scale;
  Scale energy_scale;
  Scale ink_scale;

  // Some of the held-out scores 1 - p(label), ascending; the last has the rank `held_out`.
  std::vector<RankedScore> conformal;

  // Returns the probabilities of the classes. The logits are finite and at least one.
  std::vector<float> probabilities(std::span<const float> logits) const;

  // Returns how unlike the held-out samples an input is: how far its features and its ink lie from those of
  // every class, and how little the network finds in it (its energy), each measured by its held-out values;
  // the energy counts a quarter, and the ink up to 2. Chosen so that letters, scribbles, shapes, photographs
  // and the other data set's training pictures have more of it than held-out samples and digits of fonts and
  // straight lines.
  float foreignness(const image::Input& input, std::span<const float> network_features,
                    std::span<const float> logits) const;
  // The same of what it is made from.
  float foreignness(float feature_distance, float energy_of_logits, float ink_distance) const;

  // Returns the labels that together hold the right one with at least this probability, likeliest first:
  // those with 1 - p <= the ceil((held_out + 1) coverage)-th smallest held-out score (split conformal
  // prediction: Vovk et al. 2005; the score is that of Sadinle et al. 2019, "Least ambiguous set-valued
  // classifiers"), and the likeliest in any case. All labels when there are too few held-out samples for such
  // a promise. `coverage` is from 0 to 1.
  std::vector<int> label_set(std::span<const float> class_probabilities, double coverage) const;

  // Returns lines of name=value, as parse() reads them.
  std::string text() const;
  // `feature_count` is what the network's last layer reads.
  // Errors: invalid_input (a line that is missing, unknown or there twice, a number out of its range, sizes
  // that do not fit the network).
  static Result<Calibration> parse(std::string_view text, int classes, int feature_count);

  bool operator==(const Calibration&) const = default;
};

}  // namespace espy::model
