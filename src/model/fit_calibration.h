// How a calibration comes out of held-out samples.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "model/calibration.h"
#include "model/dataset.h"
#include "nn/network.h"

namespace espy::model {

// Which samples of a data set are trained on and which are held out, both ascending.
struct HeldOut {
  std::vector<std::size_t> training;
  std::vector<std::size_t> held_out;
};

// Fewer held-out samples than these would tell nothing of the one in a hundred.
inline constexpr std::size_t kLeastHeldOut = 200;

// Draws about `count` samples, of each class its share, rounded down; but at most a twelfth of all, and none
// where that leaves less than kLeastHeldOut. Every call with the same arguments draws the same.
HeldOut hold_out(std::span<const std::uint8_t> labels, std::size_t count, std::uint64_t seed);

struct Sharpness {
  float temperature;
  float exponent;
};

// Returns the temperature and the exponent (Calibration) under which the labels are likeliest. `logits` is
// [count, classes] and finite; count >= 1.
Sharpness fit_sharpness(std::span<const float> logits, std::span<const std::uint8_t> labels);

// Returns the temperature alone, for an exponent of 1 (Guo et al. 2017).
float fit_temperature(std::span<const float> logits, std::span<const std::uint8_t> labels);

// Returns the Gaussians of labelled samples, [count, dimension]; a class without samples takes the mean of
// all. The covariance is shrunk towards a multiple of the identity by a thousandth (Ledoit & Wolf 2004, "A
// well-conditioned estimator for large-dimensional covariance matrices", equation 3, with a fixed share).
ClassGaussians fit_gaussians(std::span<const float> samples, std::span<const std::uint8_t> labels,
                             int dimension, int classes);

// Returns the conformal scores to keep of these: of the highest 64 all, and below them ever fewer, so that
// the share of samples above a kept one is never more than a thirtieth less than asked.
std::vector<RankedScore> keep_scores(std::vector<float> scores);

// Fits a calibration on these samples of the data set.
//
// Means and covariances are those of the samples and of changed copies (calibration_copies.h): one worn copy
// of each, and of digits one redrawn copy. A hundredth of the samples, and of the samples and copies together
// that the network answers right, has more foreignness than the threshold, whichever threshold is greater:
// what people, pens, fonts and cameras do to a picture does not make it foreign while it can be read. Each is
// measured by Gaussians of four fifths of the samples that it does not belong to. (Measured with the
// network of recipe 5s, trained for 5 epochs on turned and bent MNIST: of digits as displays show them, 47 %
// were foreign without redrawn copies and with all ink counting, 15 % are now; of digits of straight lines
// 18 % and 6 %. Of letters that look like no digit, 47 % were foreign, and 25 % are now, while 33 % count as
// ambiguous.)
//
// Computes on `threads` threads; the result does not depend on their number. Errors: invalid_input (answers
// that are not finite; fewer samples than kLeastHeldOut), and those of nn::Predictor::create.
Result<Calibration> fit_calibration(const nn::Network& network, const Dataset& data,
                                    std::span<const std::size_t> held_out, int threads);

}  // namespace espy::model
