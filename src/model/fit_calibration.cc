#include "model/fit_calibration.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <numeric>
#include <utility>

#include "base/format.h"
#include "model/calibration_copies.h"
#include "model/parallel.h"
#include "nn/predictor.h"
#include "nn/random.h"

namespace espy::model {
namespace {

constexpr std::size_t kPixels = image::kInputSide * image::kInputSide;
constexpr std::size_t kFolds = 5;

// Of 99 in a hundred held-out samples.
constexpr double kAccepted = 0.99;

// ---- the network's answers

struct Answers {
  std::size_t feature_count = 0;  // 0 when there are none to look at
  std::vector<float> logits;      // [count, classes]
  std::vector<float> features;    // unit_features(), [count, feature_count]
  std::vector<float> ink;         // [count, kInkFigures]
};

Result<Answers> answer(const nn::Network& network, std::span<const image::Input> inputs, std::size_t classes,
                       int threads) {
  Result<std::unique_ptr<nn::Predictor>> first = nn::Predictor::create(network);
  if (!first) return std::move(first).error();
  (*first)->logits(std::vector<float>(kPixels), 1);
  Answers answers;
  answers.feature_count = (*first)->features().size();
  if (answers.feature_count > kMaxFeatures) answers.feature_count = 0;
  const std::size_t size = answers.feature_count;
  answers.logits.resize(inputs.size() * classes);
  answers.features.resize(inputs.size() * size);
  answers.ink.resize(inputs.size() * kInkFigures);
  constexpr std::size_t kPart = 64;
  const auto work = [&, predictor = std::shared_ptr<nn::Predictor>()](std::size_t begin,
                                                                      std::size_t end) mutable {
    // What could fail has failed with the first.
    if (!predictor) predictor = *nn::Predictor::create(network);
    std::vector<float> values((end - begin) * kPixels);
    for (std::size_t i = begin; i < end; ++i) {
      std::ranges::transform(inputs[i], values.begin() + static_cast<std::ptrdiff_t>((i - begin) * kPixels),
                             [](std::uint8_t value) { return static_cast<float>(value) / 255.0F; });
    }
    const std::span<const float> logits = predictor->logits(values, static_cast<int>(end - begin));
    std::ranges::copy(logits, answers.logits.begin() + static_cast<std::ptrdiff_t>(begin * classes));
    for (std::size_t i = begin; i < end; ++i) {
      if (size > 0) {
        const std::vector<float> unit =
            unit_features(predictor->features().subspan((i - begin) * size, size));
        std::ranges::copy(unit, answers.features.begin() + static_cast<std::ptrdiff_t>(i * size));
      }
      std::ranges::copy(ink_figures(inputs[i]),
                        answers.ink.begin() + static_cast<std::ptrdiff_t>(i * kInkFigures));
    }
  };
  for_each_part(inputs.size(), kPart, threads, work);
  const auto is_finite = [](float value) { return std::isfinite(value); };
  if (!std::ranges::all_of(answers.logits, is_finite) || !std::ranges::all_of(answers.features, is_finite)) {
    return Error{ErrorCode::invalid_input, "the network's answers to held-out samples are not finite"};
  }
  return answers;
}

std::span<const float> logits_of(const Answers& answers, std::size_t sample, std::size_t classes) {
  return std::span(answers.logits).subspan(sample * classes, classes);
}

std::vector<float> energies_of(const Answers& answers, std::size_t classes) {
  std::vector<float> energies(answers.logits.size() / classes);
  for (std::size_t i = 0; i < energies.size(); ++i) energies[i] = energy(logits_of(answers, i, classes));
  return energies;
}

// Returns the held-out samples as they are, and after them their copies of each kind.
std::vector<std::vector<image::Input>> forms_of(const Dataset& data, std::span<const std::size_t> held_out,
                                                int threads) {
  const bool drawn = data.preparation == image::Preparation::digit;  // of strokes
  std::vector<std::vector<image::Input>> forms(drawn ? 3 : 2, std::vector<image::Input>(held_out.size()));
  constexpr std::size_t kPart = 64;
  for_each_part(held_out.size(), kPart, threads, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      const std::size_t sample = held_out[i];
      forms[0][i] = data.inputs[sample];
      forms[1][i] = worn_copy(data.inputs[sample], sample);
      if (drawn) forms[2][i] = redrawn_copy(data.inputs[sample], sample);
    }
  });
  return forms;
}

// ---- Gaussians

// What Gaussians need of samples; sums of parts add up to those of the whole.
struct Moments {
  Moments(std::size_t size, std::size_t classes)
      : counts(classes), sums(classes * size), products(size * size) {}

  void add(std::span<const float> sample, std::uint8_t label) {
    const std::size_t size = sample.size();
    ++counts[label];
    for (std::size_t i = 0; i < size; ++i) {
      const auto value = static_cast<double>(sample[i]);
      sums[label * size + i] += value;
      if (value == 0) continue;
      double* row = products.data() + i * size;
      for (std::size_t j = 0; j <= i; ++j) row[j] += value * static_cast<double>(sample[j]);
    }
  }

  void add(const Moments& other, double factor) {
    const auto add_up = [factor](std::vector<double>& to, const std::vector<double>& from) {
      for (std::size_t i = 0; i < to.size(); ++i) to[i] += factor * from[i];
    };
    add_up(counts, other.counts);
    add_up(sums, other.sums);
    add_up(products, other.products);
  }

  std::vector<double> counts;    // of each class
  std::vector<double> sums;      // [classes, size]
  std::vector<double> products;  // lower triangle of sums of value * value, [size, size]
};

// Replaces a positive definite matrix's lower triangle, [size, size], by its Cholesky factor's inverse.
void invert_factor(std::vector<double>& matrix, std::size_t size) {
  const auto entry = [&](std::size_t row, std::size_t column) -> double& {
    return matrix[row * size + column];
  };
  for (std::size_t j = 0; j < size; ++j) {
    for (std::size_t i = j; i < size; ++i) {
      double sum = entry(i, j);
      for (std::size_t k = 0; k < j; ++k) sum -= entry(i, k) * entry(j, k);
      entry(i, j) = i == j ? std::sqrt(std::max(sum, std::numeric_limits<double>::min())) : sum / entry(j, j);
    }
  }
  // Row by row: row i of the inverse needs those above it, which already are the inverse's.
  std::vector<double> row(size);
  for (std::size_t i = 0; i < size; ++i) {
    const double diagonal = entry(i, i);
    std::fill_n(row.begin(), i, 0.0);
    for (std::size_t k = 0; k < i; ++k) {
      const double factor = entry(i, k);
      for (std::size_t j = 0; j <= k; ++j) row[j] -= factor * entry(k, j);
    }
    for (std::size_t j = 0; j < i; ++j) entry(i, j) = row[j] / diagonal;
    entry(i, i) = 1 / diagonal;
  }
}

ClassGaussians make_gaussians(const Moments& moments, std::size_t size) {
  constexpr double kShrinkage = 1e-3;
  constexpr double kLeastVariance = 1e-12;
  const std::size_t classes = moments.counts.size();
  const double count = std::accumulate(moments.counts.begin(), moments.counts.end(), 0.0);
  std::vector<double> means(classes * size);
  std::vector<double> covariance = moments.products;
  for (std::size_t i = 0; i < size; ++i) {
    double all = 0;
    for (std::size_t k = 0; k < classes; ++k) all += moments.sums[k * size + i];
    for (std::size_t k = 0; k < classes; ++k) {
      means[k * size + i] =
          moments.counts[k] > 0 ? moments.sums[k * size + i] / moments.counts[k] : all / count;
    }
  }
  for (std::size_t k = 0; k < classes; ++k) {
    for (std::size_t i = 0; i < size; ++i) {
      for (std::size_t j = 0; j <= i; ++j) {
        covariance[i * size + j] -= moments.counts[k] * means[k * size + i] * means[k * size + j];
      }
    }
  }
  double trace = 0;
  for (double& value : covariance) value /= count;
  for (std::size_t i = 0; i < size; ++i) trace += covariance[i * size + i];
  for (std::size_t i = 0; i < size; ++i) {
    covariance[i * size + i] += kShrinkage * trace / static_cast<double>(size) + kLeastVariance;
  }
  invert_factor(covariance, size);
  std::vector<double> factor;
  for (std::size_t i = 0; i < size; ++i) {
    const auto row = covariance.begin() + static_cast<std::ptrdiff_t>(i * size);
    factor.insert(factor.end(), row, row + static_cast<std::ptrdiff_t>(i + 1));
  }
  return {static_cast<int>(size), means, factor};
}

// Gaussians of all forms, and the distances of each form's samples by those of the folds that they are not
// in.
struct CrossFitted {
  ClassGaussians gaussians;
  std::vector<std::vector<float>> distances;  // [form][sample]
};

// A form is [count, size]: the samples as they are, or one changed copy of each.
CrossFitted cross_fit(std::span<const std::span<const float>> forms, std::span<const std::uint8_t> labels,
                      std::size_t size, std::size_t classes, int threads) {
  CrossFitted fitted;
  fitted.distances.assign(forms.size(), std::vector<float>(labels.size()));
  if (size == 0) return fitted;
  std::vector<Moments> folds(kFolds, Moments(size, classes));
  for_each_part(kFolds, 1, threads, [&](std::size_t fold, std::size_t) {
    for (const std::span<const float> form : forms) {
      for (std::size_t i = fold; i < labels.size(); i += kFolds) {
        folds[fold].add(form.subspan(i * size, size), labels[i]);
      }
    }
  });
  Moments all(size, classes);
  for (const Moments& fold : folds) all.add(fold, 1);
  fitted.gaussians = make_gaussians(all, size);
  for_each_part(kFolds, 1, threads, [&](std::size_t fold, std::size_t) {
    Moments others = all;
    others.add(folds[fold], -1);
    const ClassGaussians gaussians = make_gaussians(others, size);
    for (std::size_t form = 0; form < forms.size(); ++form) {
      for (std::size_t i = fold; i < labels.size(); i += kFolds) {
        fitted.distances[form][i] = gaussians.distance(forms[form].subspan(i * size, size));
      }
    }
  });
  return fitted;
}

// ---- thresholds

// Returns the ceil((n + 1) share)-th smallest: a new sample is at most that with at least this probability
// (Vovk et al. 2005), or the greatest when there are too few.
float upper_bound(std::vector<float> values, double share) {
  const double rank = std::ceil((static_cast<double>(values.size()) + 1) * share);
  const auto index = std::min(values.size(), static_cast<std::size_t>(rank)) - 1;
  std::ranges::nth_element(values, values.begin() + static_cast<std::ptrdiff_t>(index));
  return values[index];
}

Scale scale_of(const std::vector<float>& values) {
  const float median = upper_bound(values, 0.5);
  return {median, std::max(upper_bound(values, kAccepted) - median, 1e-6F)};
}

// Mean negative log-likelihood of probabilities ~ exp(-factor * powers), [count, classes], and its first two
// derivatives by the factor.
struct Likelihood {
  double loss = 0;
  double slope = 0;
  double curvature = 0;
};

Likelihood likelihood(std::span<const float> powers, std::span<const std::uint8_t> labels, double factor) {
  const std::size_t classes = powers.size() / labels.size();
  Likelihood sum;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const std::span<const float> sample = powers.subspan(i * classes, classes);
    double weights = 0;
    double first = 0;
    double second = 0;
    for (const float power : sample) {
      const auto value = static_cast<double>(power);
      const double weight = std::exp(-factor * value);
      weights += weight;
      first += weight * value;
      second += weight * value * value;
    }
    const auto own = static_cast<double>(sample[labels[i]]);
    const double mean = first / weights;
    sum.loss += factor * own + std::log(weights);
    sum.slope += own - mean;
    sum.curvature += second / weights - mean * mean;
  }
  const auto count = static_cast<double>(labels.size());
  return {sum.loss / count, sum.slope / count, sum.curvature / count};
}

struct Fit {
  double factor;
  double loss;
};

// Returns the likeliest factor: the loss is convex in it. Newton's steps, halving the bounds where one leaves
// them.
Fit fit_factor(std::span<const float> powers, std::span<const std::uint8_t> labels) {
  double least = 1e-3;
  double greatest = 1e3;
  double factor = 1;
  for (int step = 0; step < 60; ++step) {
    const Likelihood found = likelihood(powers, labels, factor);
    (found.slope > 0 ? greatest : least) = factor;
    double next = found.curvature > 0 ? factor - found.slope / found.curvature : 0;
    if (!(next > least && next < greatest)) next = std::sqrt(least * greatest);
    if (std::abs(next - factor) < 1e-6 * factor) break;
    factor = next;
  }
  return {factor, likelihood(powers, labels, factor).loss};
}

// How far each logit lies below its sample's greatest.
std::vector<float> gaps_of(std::span<const float> logits, std::size_t classes) {
  std::vector<float> gaps(logits.begin(), logits.end());
  for (std::size_t begin = 0; begin < gaps.size(); begin += classes) {
    const std::span<float> sample = std::span(gaps).subspan(begin, classes);
    const float greatest = *std::ranges::max_element(sample);
    for (float& gap : sample) gap = greatest - gap;
  }
  return gaps;
}

Fit fit_exponent(std::span<const float> gaps, std::span<const std::uint8_t> labels, double exponent) {
  std::vector<float> powers(gaps.size());
  std::ranges::transform(gaps, powers.begin(), [exponent](float gap) {
    return static_cast<float>(std::pow(static_cast<double>(gap), exponent));
  });
  return fit_factor(powers, labels);
}

// The factor on powers of gaps is temperature^-exponent.
float temperature_of(double factor, double exponent) {
  return static_cast<float>(std::clamp(std::pow(factor, -1 / exponent), 1e-5, 1e5));
}

}  // namespace

HeldOut hold_out(std::span<const std::uint8_t> labels, std::size_t count, std::uint64_t seed) {
  constexpr std::size_t kLeastRatio = 12;
  count = std::min(count, labels.size() / kLeastRatio);
  std::vector<std::vector<std::size_t>> of_class(256);
  for (std::size_t i = 0; i < labels.size(); ++i) of_class[labels[i]].push_back(i);
  const auto share_of = [&](const std::vector<std::size_t>& samples) {
    return labels.empty() ? 0 : samples.size() * count / labels.size();
  };
  std::size_t shares = 0;
  for (const std::vector<std::size_t>& samples : of_class) shares += share_of(samples);
  if (shares < kLeastHeldOut) count = 0;
  nn::RandomSequence random(seed);
  HeldOut parts;
  for (std::vector<std::size_t>& samples : of_class) {
    const std::size_t share = share_of(samples);
    for (std::size_t i = 0; i < share; ++i) {
      const auto rest = static_cast<double>(samples.size() - i);
      std::swap(samples[i], samples[i + static_cast<std::size_t>(random.next_uniform() * rest)]);
    }
    const auto end = samples.begin() + static_cast<std::ptrdiff_t>(share);
    parts.held_out.insert(parts.held_out.end(), samples.begin(), end);
    parts.training.insert(parts.training.end(), end, samples.end());
  }
  std::ranges::sort(parts.training);
  std::ranges::sort(parts.held_out);
  return parts;
}

float fit_temperature(std::span<const float> logits, std::span<const std::uint8_t> labels) {
  const std::vector<float> gaps = gaps_of(logits, logits.size() / labels.size());
  return temperature_of(fit_factor(gaps, labels).factor, 1);
}

Sharpness fit_sharpness(std::span<const float> logits, std::span<const std::uint8_t> labels) {
  const std::vector<float> gaps = gaps_of(logits, logits.size() / labels.size());
  // Golden-section search of the exponent's logarithm (Kiefer 1953, "Sequential minimax search for a
  // maximum").
  constexpr double kGolden = 0.618033988749895;
  constexpr double kPrecise = 0.005;
  double low = std::log(0.5);
  double high = std::log(3.0);
  const auto loss = [&](double logarithm) { return fit_exponent(gaps, labels, std::exp(logarithm)).loss; };
  double left = high - kGolden * (high - low);
  double right = low + kGolden * (high - low);
  double left_loss = loss(left);
  double right_loss = loss(right);
  while (high - low > kPrecise) {
    if (left_loss < right_loss) {
      high = std::exchange(right, left);
      right_loss = left_loss;
      left = high - kGolden * (high - low);
      left_loss = loss(left);
    } else {
      low = std::exchange(left, right);
      left_loss = right_loss;
      right = low + kGolden * (high - low);
      right_loss = loss(right);
    }
  }
  const double exponent = std::exp((low + high) / 2);
  return {temperature_of(fit_exponent(gaps, labels, exponent).factor, exponent),
          static_cast<float>(exponent)};
}

ClassGaussians fit_gaussians(std::span<const float> samples, std::span<const std::uint8_t> labels,
                             int dimension, int classes) {
  const auto size = static_cast<std::size_t>(dimension);
  Moments moments(size, static_cast<std::size_t>(classes));
  for (std::size_t i = 0; i < labels.size(); ++i) moments.add(samples.subspan(i * size, size), labels[i]);
  return make_gaussians(moments, size);
}

std::vector<RankedScore> keep_scores(std::vector<float> scores) {
  std::ranges::sort(scores);
  constexpr std::size_t kAllAbove = 64;
  constexpr std::size_t kPart = 32;  // of what lies above, the next one leaves out at most this part
  std::vector<RankedScore> kept;
  for (std::size_t above = 0; above < scores.size(); above += above < kAllAbove ? 1 : above / kPart) {
    const std::size_t rank = scores.size() - above;
    kept.push_back({static_cast<int>(rank), scores[rank - 1]});
  }
  std::ranges::reverse(kept);
  return kept;
}

Result<Calibration> fit_calibration(const nn::Network& network, const Dataset& data,
                                    std::span<const std::size_t> held_out, int threads) {
  if (held_out.size() < kLeastHeldOut) {
    return Error{ErrorCode::invalid_input,
                 format("{} held-out samples are too few to calibrate with, must be {}", held_out.size(),
                        kLeastHeldOut)};
  }
  const std::size_t classes = data.class_names.size();
  std::vector<std::uint8_t> labels;
  for (const std::size_t sample : held_out) labels.push_back(data.labels[sample]);
  std::vector<Answers> answers;
  for (const std::vector<image::Input>& form : forms_of(data, held_out, threads)) {
    Result<Answers> answered = answer(network, form, classes, threads);
    if (!answered) return std::move(answered).error();
    answers.push_back(*std::move(answered));
  }
  const Answers& unchanged = answers.front();

  Calibration calibration;
  calibration.held_out = static_cast<int>(labels.size());
  const Sharpness sharpness = fit_sharpness(unchanged.logits, labels);
  calibration.temperature = sharpness.temperature;
  calibration.exponent = sharpness.exponent;

  std::vector<float> right_confidences;  // negated, so that a bound from above is one from below
  std::vector<float> scores;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const std::vector<float> probabilities = calibration.probabilities(logits_of(unchanged, i, classes));
    const auto likeliest = std::ranges::max_element(probabilities);
    if (likeliest - probabilities.begin() == labels[i]) right_confidences.push_back(-*likeliest);
    scores.push_back(1 - probabilities[labels[i]]);
  }
  calibration.least_confidence = right_confidences.empty() ? 0 : -upper_bound(right_confidences, kAccepted);
  calibration.conformal = keep_scores(std::move(scores));

  std::vector<std::span<const float>> feature_forms;
  std::vector<std::span<const float>> ink_forms;
  for (const Answers& form : answers) {
    feature_forms.emplace_back(form.features);
    ink_forms.emplace_back(form.ink);
  }
  CrossFitted features = cross_fit(feature_forms, labels, unchanged.feature_count, classes, threads);
  CrossFitted ink = cross_fit(ink_forms, labels, kInkFigures, classes, threads);
  calibration.features = std::move(features.gaussians);
  calibration.ink = std::move(ink.gaussians);
  if (unchanged.feature_count > 0) calibration.feature_scale = scale_of(features.distances.front());
  calibration.energy_scale = scale_of(energies_of(unchanged, classes));
  calibration.ink_scale = scale_of(ink.distances.front());

  std::vector<float> own;    // of the unchanged samples
  std::vector<float> right;  // of those and the copies, where they are answered right
  for (std::size_t form = 0; form < answers.size(); ++form) {
    for (std::size_t i = 0; i < labels.size(); ++i) {
      const std::span<const float> logits = logits_of(answers[form], i, classes);
      const float foreignness =
          calibration.foreignness(features.distances[form][i], energy(logits), ink.distances[form][i]);
      if (form == 0) own.push_back(foreignness);
      if (std::ranges::max_element(logits) - logits.begin() == labels[i]) right.push_back(foreignness);
    }
  }
  calibration.most_foreignness = upper_bound(std::move(own), kAccepted);
  if (!right.empty()) {
    calibration.most_foreignness =
        std::max(calibration.most_foreignness, upper_bound(std::move(right), kAccepted));
  }
  return calibration;
}

}  // namespace espy::model
