#include "model/calibration.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <numeric>
#include <optional>
#include <utility>
#include <variant>

#include "base/base64.h"
#include "base/format.h"
#include "nn/multiversion.h"

namespace espy::model {
namespace {

// What is stored is little-endian, and so is every machine that espy is built for.
static_assert(std::endian::native == std::endian::little);

constexpr std::size_t kSide = image::kInputSide;
constexpr float kLeastFigure = 1e-3F;

Error invalid(std::string message) { return {ErrorCode::invalid_input, std::move(message)}; }

std::size_t triangle(std::size_t dimension) { return dimension * (dimension + 1) / 2; }

template <typename T>
void append_bytes(std::string& bytes, const std::vector<T>& values) {
  bytes.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

// Takes `count` values from the front of the bytes, which has so many.
template <typename T>
std::vector<T> take_values(std::string_view& bytes, std::size_t count) {
  std::vector<T> values(count);
  // Not of nothing: neither pointer may be null.
  if (count > 0) std::memcpy(values.data(), bytes.data(), count * sizeof(T));
  bytes.remove_prefix(count * sizeof(T));
  return values;
}

// The upper half of a float, rounded to the nearest.
std::uint16_t to_bfloat16(float value) {
  return static_cast<std::uint16_t>((std::bit_cast<std::uint32_t>(value) + 0x8000U) >> 16);
}

float from_bfloat16(std::uint16_t bits) { return std::bit_cast<float>(std::uint32_t{bits} << 16); }

bool all_finite(std::span<const float> values) {
  return std::ranges::all_of(values, [](float value) { return std::isfinite(value); });
}

// So many rows of W lie together, column by column: their sums stay in registers.
constexpr std::size_t kBlock = 32;

std::size_t block_count(std::size_t dimension) { return (dimension + kBlock - 1) / kBlock; }

// Computes W x, [dimension] filled up to whole blocks. Each block has the columns up to its last row's.
ESPY_MULTIVERSION void multiply(const float* __restrict blocks, const float* __restrict x,
                                std::size_t dimension, float* __restrict z) {
  for (std::size_t block = 0; block < block_count(dimension); ++block) {
    const std::size_t columns = std::min(dimension, (block + 1) * kBlock);
    float sums[kBlock] = {};
    for (std::size_t column = 0; column < columns; ++column) {
      for (std::size_t row = 0; row < kBlock; ++row) sums[row] += x[column] * blocks[column * kBlock + row];
    }
    std::copy_n(sums, kBlock, z + block * kBlock);
    blocks += columns * kBlock;
  }
}

ESPY_MULTIVERSION float squared_distance(const float* a, const float* b, std::size_t count) {
  // One sum a lane, which the compiler may then add to side by side.
  constexpr std::size_t kLanes = 16;
  std::array<float, kLanes> sums = {};
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const float difference = a[i + lane] - b[i + lane];
      sums[lane] += difference * difference;
    }
  }
  float sum = std::accumulate(sums.begin(), sums.end(), 0.0F);
  for (; i < count; ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}

// Sums over the bytes of an input, exact in integers.
struct InkSums {
  std::uint32_t ink = 0;
  std::uint32_t squares = 0;
  std::uint32_t steps_across = 0;
  std::uint32_t steps_down = 0;
  std::uint32_t any = 0;
  std::uint32_t dark = 0;
  std::uint32_t bends_across = 0;
  std::uint32_t bends_down = 0;
  std::array<std::uint32_t, kSide> rows = {};
  std::array<std::uint32_t, kSide> columns = {};
};

// Rows side by side in lanes of 16 bits: the sums of a column of 28 bytes, of their steps and of their bends
// (at most 510 each) fit in them.
constexpr std::size_t kLanes = 32;
using Lanes = std::array<std::uint16_t, kLanes>;

[[gnu::always_inline]] inline void add_steps(const std::uint8_t* from, const std::uint8_t* to, Lanes& sums) {
  for (std::size_t i = 0; i < kLanes; ++i) {
    sums[i] = static_cast<std::uint16_t>(sums[i] + (std::max(from[i], to[i]) - std::min(from[i], to[i])));
  }
}

[[gnu::always_inline]] inline void add_bends(const std::uint8_t* from, std::size_t stride, Lanes& sums) {
  for (std::size_t i = 0; i < kLanes; ++i) {
    const auto bend = static_cast<std::int16_t>(from[i] + from[i + 2 * stride] - 2 * from[i + stride]);
    sums[i] = static_cast<std::uint16_t>(sums[i] + std::max(bend, static_cast<std::int16_t>(-bend)));
  }
}

ESPY_MULTIVERSION void sum_ink(const std::uint8_t* input, InkSums& sums) {
  // Zeros on the right, so that every lane of every row can be read, shifted by two as well.
  constexpr std::size_t kStride = kLanes + 2;
  std::array<std::uint8_t, kSide* kStride> framed = {};
  for (std::size_t row = 0; row < kSide; ++row) {
    std::copy_n(input + row * kSide, kSide, framed.data() + row * kStride);
  }
  Lanes ink = {};
  Lanes any = {};
  Lanes dark = {};
  Lanes steps_across = {};
  Lanes steps_down = {};
  Lanes bends_across = {};
  Lanes bends_down = {};
  std::array<std::uint32_t, kLanes> squares = {};
  for (std::size_t row = 0; row < kSide; ++row) {
    const std::uint8_t* here = framed.data() + row * kStride;
    std::uint32_t row_sum = 0;
    for (std::size_t i = 0; i < kLanes; ++i) {
      row_sum += here[i];
      ink[i] = static_cast<std::uint16_t>(ink[i] + here[i]);
      any[i] = static_cast<std::uint16_t>(any[i] + (here[i] > 0 ? 1 : 0));
      dark[i] = static_cast<std::uint16_t>(dark[i] + (here[i] >> 7));
      squares[i] += std::uint32_t{here[i]} * here[i];
    }
    sums.rows[row] = row_sum;
    add_steps(here, here + 1, steps_across);
    add_bends(here, 1, bends_across);
    if (row + 1 < kSide) add_steps(here, here + kStride, steps_down);
    if (row + 2 < kSide) add_bends(here, kStride, bends_down);
  }
  for (std::size_t column = 0; column < kSide; ++column) {
    sums.columns[column] = ink[column];
    sums.ink += ink[column];
    sums.squares += squares[column];
    sums.any += any[column];
    sums.dark += dark[column];
    sums.steps_down += steps_down[column];
    sums.bends_down += bends_down[column];
    // The last columns have no neighbours on their right.
    if (column + 1 < kSide) sums.steps_across += steps_across[column];
    if (column + 2 < kSide) sums.bends_across += bends_across[column];
  }
}

float deviation(const std::array<std::uint32_t, kSide>& sums) {
  double sum = 0;
  double squares = 0;
  for (const std::uint32_t value : sums) {
    sum += value;
    squares += static_cast<double>(value) * value;
  }
  const double mean = sum / kSide;
  return static_cast<float>(std::sqrt(std::max(squares / kSide - mean * mean, 0.0)));
}

// ---- reading

class Lines {
 public:
  // Errors: invalid_input (a line without '=', a name that is there twice).
  static Result<Lines> parse(std::string_view text) {
    Lines lines;
    while (!text.empty()) {
      const std::string_view line = text.substr(0, text.find('\n'));
      text.remove_prefix(std::min(text.size(), line.size() + 1));
      const std::size_t sign = line.find('=');
      if (sign == line.npos) return invalid("calibration has a line without '='");
      if (!lines.values_.emplace(line.substr(0, sign), line.substr(sign + 1)).second) {
        return invalid(format("calibration has {} twice", line.substr(0, sign)));
      }
    }
    return lines;
  }

  std::size_t count() const { return values_.size(); }

  Result<std::string_view> text(std::string_view name) const {
    const auto found = values_.find(name);
    if (found == values_.end()) return invalid(format("calibration has no {}", name));
    return found->second;
  }

  template <typename Number>
  Result<Number> number(std::string_view name, Number least, Number greatest) const {
    const Result<std::string_view> value = text(name);
    if (!value) return value.error();
    Number number{};
    const auto [end, error] = std::from_chars(value->data(), value->data() + value->size(), number);
    if (error != std::errc() || end != value->data() + value->size() ||
        !(number >= least && number <= greatest)) {
      return invalid(format("calibration's {} is not a number from {} to {}", name, least, greatest));
    }
    return number;
  }

  Result<std::string> bytes(std::string_view name) const {
    const Result<std::string_view> value = text(name);
    if (!value) return value.error();
    std::optional<std::string> decoded = from_base64(*value);
    if (!decoded) return invalid(format("calibration's {} is not base64", name));
    return *std::move(decoded);
  }

 private:
  std::map<std::string_view, std::string_view> values_;
};

constexpr float kLargest = 1e30F;

Result<ClassGaussians> read_gaussians(const Lines& lines, std::string_view name, int dimension, int classes) {
  const Result<std::string> bytes = lines.bytes(name);
  if (!bytes) return bytes.error();
  Result<ClassGaussians> gaussians = ClassGaussians::parse(*bytes, dimension, classes);
  if (!gaussians) return invalid(format("calibration's {}: {}", name, gaussians.error().message));
  return gaussians;
}

// Ranks ascend to `held_out`, and scores with them, from 0 to 1.
Result<std::vector<RankedScore>> read_conformal(std::string_view bytes, int held_out) {
  constexpr std::size_t kBytes = sizeof(std::int32_t) + sizeof(float);
  if (bytes.empty() || bytes.size() % kBytes != 0) {
    return invalid(
        format("calibration's conformal has {} bytes, must be a multiple of {}", bytes.size(), kBytes));
  }
  const std::size_t count = bytes.size() / kBytes;
  const std::vector<std::int32_t> ranks = take_values<std::int32_t>(bytes, count);
  const std::vector<float> values = take_values<float>(bytes, count);
  std::vector<RankedScore> scores;
  for (std::size_t i = 0; i < count; ++i) {
    const bool ascends = i == 0 ? ranks[i] >= 1 : ranks[i] > ranks[i - 1] && values[i] >= values[i - 1];
    if (!ascends || !(values[i] >= 0 && values[i] <= 1)) {
      return invalid(format("calibration's conformal score {} is out of order", i));
    }
    scores.push_back({ranks[i], values[i]});
  }
  if (scores.back().rank != held_out) {
    return invalid(
        format("calibration's conformal scores end at rank {}, must be {}", scores.back().rank, held_out));
  }
  return scores;
}

}  // namespace

int feature_count(const nn::Architecture& architecture) {
  const Result<std::vector<nn::Shape>> shapes = nn::layer_shapes(architecture);
  if (!shapes || shapes->empty() || !std::holds_alternative<nn::Dense>(architecture.layers.back())) return 0;
  const nn::Shape& read = shapes->size() == 1 ? architecture.input : (*shapes)[shapes->size() - 2];
  return static_cast<int>(nn::element_count(read));
}

std::vector<float> ink_figures(const image::Input& input) {
  InkSums sums;
  sum_ink(input.data(), sums);
  constexpr float kPixels = kSide * kSide;
  constexpr float kSteps = kSide * (kSide - 1);
  constexpr float kBends = kSide * (kSide - 2);
  constexpr float kShade = 255;
  const std::array<float, kInkFigures> figures = {
      static_cast<float>(sums.ink) / (kShade * kPixels),
      static_cast<float>(sums.squares) / (kShade * kShade * kPixels),
      static_cast<float>(sums.steps_across) / (kShade * kSteps),
      static_cast<float>(sums.steps_down) / (kShade * kSteps),
      static_cast<float>(sums.any) / kPixels,
      static_cast<float>(sums.dark) / kPixels,
      deviation(sums.rows) / (kShade * kSide),
      deviation(sums.columns) / (kShade * kSide),
      static_cast<float>(sums.bends_across) / (kShade * kBends),
      static_cast<float>(sums.bends_down) / (kShade * kBends)};
  std::vector<float> logarithms(kInkFigures);
  std::ranges::transform(figures, logarithms.begin(),
                         [](float figure) { return std::log(figure + kLeastFigure); });
  return logarithms;
}

std::vector<float> unit_features(std::span<const float> features) {
  double squares = 0;
  for (const float value : features) squares += static_cast<double>(value) * static_cast<double>(value);
  // Features that are all zero stay so.
  const auto factor = static_cast<float>(1 / std::max(std::sqrt(squares), 1e-30));
  std::vector<float> unit(features.begin(), features.end());
  for (float& value : unit) value *= factor;
  return unit;
}

float energy(std::span<const float> logits) {
  const float greatest = *std::ranges::max_element(logits);
  float sum = 0;
  for (const float logit : logits) sum += std::exp(logit - greatest);
  return -(greatest + std::log(sum));
}

ClassGaussians::ClassGaussians(int dimension, std::span<const double> means,
                               std::span<const double> inverse_factor) {
  const auto size = static_cast<std::size_t>(dimension);
  assert(dimension > 0 && means.size() % size == 0 && inverse_factor.size() == triangle(size));
  constexpr double kMostSteps = 127;
  for (std::size_t row = 0; row < size; ++row) {
    const std::span<const double> values = inverse_factor.subspan(triangle(row), row + 1);
    double greatest = 0;
    for (const double value : values) greatest = std::max(greatest, std::abs(value));
    const auto scale = static_cast<float>(std::max(greatest / kMostSteps, 1e-30));
    scales_.push_back(scale);
    for (const double value : values) {
      const double steps = std::round(value / static_cast<double>(scale));
      steps_.push_back(static_cast<std::int8_t>(std::clamp(steps, -kMostSteps, kMostSteps)));
    }
  }
  expand();
  for (std::size_t begin = 0; begin < means.size(); begin += size) {
    for (std::size_t row = 0; row < size; ++row) {
      double sum = 0;
      for (std::size_t column = 0; column <= row; ++column) {
        sum += static_cast<double>(scales_[row]) * steps_[triangle(row) + column] * means[begin + column];
      }
      means_.push_back(from_bfloat16(to_bfloat16(static_cast<float>(sum))));
    }
  }
}

void ClassGaussians::expand() {
  const std::size_t size = scales_.size();
  blocks_.clear();
  for (std::size_t block = 0; block < block_count(size); ++block) {
    for (std::size_t column = 0; column < std::min(size, (block + 1) * kBlock); ++column) {
      for (std::size_t row = block * kBlock; row < (block + 1) * kBlock; ++row) {
        const bool inside = row < size && column <= row;
        blocks_.push_back(inside ? scales_[row] * static_cast<float>(steps_[triangle(row) + column]) : 0);
      }
    }
  }
}

float ClassGaussians::distance(std::span<const float> values) const {
  const std::size_t size = scales_.size();
  if (size == 0) return 0;
  assert(values.size() == size);
  std::vector<float> z(block_count(size) * kBlock);
  multiply(blocks_.data(), values.data(), size, z.data());
  float least = std::numeric_limits<float>::infinity();
  for (std::size_t begin = 0; begin < means_.size(); begin += size) {
    least = std::min(least, squared_distance(z.data(), means_.data() + begin, size));
  }
  return least;
}

std::string ClassGaussians::encode() const {
  std::string bytes;
  append_bytes(bytes, scales_);
  append_bytes(bytes, steps_);
  std::vector<std::uint16_t> means(means_.size());
  std::ranges::transform(means_, means.begin(), to_bfloat16);
  append_bytes(bytes, means);
  return bytes;
}

Result<ClassGaussians> ClassGaussians::parse(std::string_view bytes, int dimension, int classes) {
  const auto size = static_cast<std::size_t>(dimension);
  const std::size_t mean_count = size * static_cast<std::size_t>(classes);
  const std::size_t wanted = size * sizeof(float) + triangle(size) + mean_count * sizeof(std::uint16_t);
  if (bytes.size() != wanted) return invalid(format("has {} bytes, must have {}", bytes.size(), wanted));
  ClassGaussians gaussians;
  gaussians.scales_ = take_values<float>(bytes, size);
  gaussians.steps_ = take_values<std::int8_t>(bytes, triangle(size));
  for (const std::uint16_t bits : take_values<std::uint16_t>(bytes, mean_count)) {
    gaussians.means_.push_back(from_bfloat16(bits));
  }
  if (!all_finite(gaussians.scales_) || !all_finite(gaussians.means_)) {
    return invalid("has values that are not finite");
  }
  gaussians.expand();
  return gaussians;
}

std::vector<float> Calibration::probabilities(std::span<const float> logits) const {
  const float greatest = *std::ranges::max_element(logits);
  std::vector<float> probabilities(logits.size());
  double sum = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const float gap = (greatest - logits[i]) / temperature;
    probabilities[i] = std::exp(-(exponent == 1 ? gap : std::pow(gap, exponent)));
    sum += static_cast<double>(probabilities[i]);
  }
  for (float& probability : probabilities) {
    probability = static_cast<float>(static_cast<double>(probability) / sum);
  }
  return probabilities;
}

float Calibration::foreignness(const image::Input& input, std::span<const float> network_features,
                               std::span<const float> logits) const {
  const float feature_distance =
      features.dimension() == 0 ? 0 : features.distance(unit_features(network_features));
  return foreignness(feature_distance, energy(logits), ink.distance(ink_figures(input)));
}

float Calibration::foreignness(float feature_distance, float energy_of_logits, float ink_distance) const {
  constexpr float kEnergyShare = 0.25F;
  // Pens and fonts lay ink unlike that of the samples, so ink alone makes a picture foreign to a degree only.
  constexpr float kMostOfInk = 2;
  return feature_scale.of(feature_distance) + kEnergyShare * energy_scale.of(energy_of_logits) +
         std::min(ink_scale.of(ink_distance), kMostOfInk);
}

std::vector<int> Calibration::label_set(std::span<const float> class_probabilities, double coverage) const {
  std::vector<int> labels(class_probabilities.size());
  std::iota(labels.begin(), labels.end(), 0);
  const auto probability = [&](int label) { return class_probabilities[static_cast<std::size_t>(label)]; };
  std::ranges::stable_sort(labels, std::greater<>(), probability);
  // What rounding adds to an exact product must not ask for one rank more.
  constexpr double kRounding = 1e-9;
  const double rank = std::ceil((held_out + 1) * coverage - kRounding);
  const auto score =
      std::ranges::find_if(conformal, [rank](const RankedScore& known) { return known.rank >= rank; });
  if (score == conformal.end()) return labels;
  const auto beyond =
      std::ranges::find_if(labels, [&](int label) { return 1 - probability(label) > score->score; });
  labels.erase(std::max(labels.begin() + 1, beyond), labels.end());
  return labels;
}

std::string Calibration::text() const {
  std::vector<std::int32_t> ranks;
  std::vector<float> scores;
  for (const RankedScore& known : conformal) {
    ranks.push_back(known.rank);
    scores.push_back(known.score);
  }
  std::string conformal_bytes;
  append_bytes(conformal_bytes, ranks);
  append_bytes(conformal_bytes, scores);
  std::string text = format(
      "held_out={}\ntemperature={}\nexponent={}\nleast_confidence={}\nmost_foreignness={}\n"
      "feature_median={}\nfeature_spread={}\nenergy_median={}\nenergy_spread={}\nink_median={}\nink_spread={}"
      "\n",
      held_out, temperature, exponent, least_confidence, most_foreignness, feature_scale.median,
      feature_scale.spread, energy_scale.median, energy_scale.spread, ink_scale.median, ink_scale.spread);
  text += format("feature_count={}\nfeatures={}\nink={}\nconformal={}", features.dimension(),
                 to_base64(features.encode()), to_base64(ink.encode()), to_base64(conformal_bytes));
  return text;
}

Result<Calibration> Calibration::parse(std::string_view text, int classes, int feature_count) {
  const Result<Lines> lines = Lines::parse(text);
  if (!lines) return lines.error();
  Calibration calibration;
  // As far as a float counts one by one.
  constexpr int kMostHeldOut = 1 << 24;
  const Result<int> held_out = lines->number("held_out", 1, kMostHeldOut);
  if (!held_out) return held_out.error();
  calibration.held_out = *held_out;

  struct Field {
    std::string_view name;
    float* value;
    float least;
    float greatest;
  };
  const Field fields[] = {
      {"temperature", &calibration.temperature, 1e-6F, 1e6F},
      {"exponent", &calibration.exponent, 0.01F, 100},
      {"least_confidence", &calibration.least_confidence, 0, 1},
      {"most_foreignness", &calibration.most_foreignness, -kLargest, kLargest},
      {"feature_median", &calibration.feature_scale.median, -kLargest, kLargest},
      {"feature_spread", &calibration.feature_scale.spread, 1e-30F, kLargest},
      {"energy_median", &calibration.energy_scale.median, -kLargest, kLargest},
      {"energy_spread", &calibration.energy_scale.spread, 1e-30F, kLargest},
      {"ink_median", &calibration.ink_scale.median, -kLargest, kLargest},
      {"ink_spread", &calibration.ink_scale.spread, 1e-30F, kLargest},
  };
  for (const Field& field : fields) {
    const Result<float> number = lines->number(field.name, field.least, field.greatest);
    if (!number) return number.error();
    *field.value = *number;
  }

  const Result<int> dimension = lines->number("feature_count", 0, kMaxFeatures);
  if (!dimension) return dimension.error();
  if (*dimension != 0 && *dimension != feature_count) {
    return invalid(format("calibration is for {} features, the model has {}", *dimension, feature_count));
  }
  Result<ClassGaussians> features = read_gaussians(*lines, "features", *dimension, classes);
  if (!features) return std::move(features).error();
  calibration.features = *std::move(features);
  Result<ClassGaussians> ink = read_gaussians(*lines, "ink", kInkFigures, classes);
  if (!ink) return std::move(ink).error();
  calibration.ink = *std::move(ink);

  const Result<std::string> conformal = lines->bytes("conformal");
  if (!conformal) return conformal.error();
  Result<std::vector<RankedScore>> scores = read_conformal(*conformal, *held_out);
  if (!scores) return std::move(scores).error();
  calibration.conformal = *std::move(scores);

  constexpr std::size_t kOtherLines = 5;  // held_out, feature_count, features, ink, conformal
  if (lines->count() != std::size(fields) + kOtherLines)
    return invalid("calibration has lines that espy does not know");
  return calibration;
}

}  // namespace espy::model
