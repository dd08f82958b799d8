#include "model/train.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "base/format.h"
#include "model/fit_calibration.h"

namespace espy::model {
namespace {

// SplitMix64 (Steele, Lea, Flood 2014, figure 16). Our own because the standard's distributions may differ
// from library to library, and a seed must mean the same everywhere.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

  // Returns a number below `bound`, each as likely as another: draws from the incomplete last round of the
  // modulus are drawn again.
  std::uint64_t below(std::uint64_t bound) {
    const std::uint64_t rest = (UINT64_MAX % bound + 1) % bound;
    std::uint64_t value = next();
    while (value > UINT64_MAX - rest) value = next();
    return value % bound;
  }

 private:
  std::uint64_t state_;
};

// The order in which samples are trained on: one shuffle of all after the other, without end. A batch that
// begins at the end of one epoch goes on in the next, so that no sample is left out.
class SampleOrder {
 public:
  SampleOrder(std::size_t count, std::uint64_t seed) : random_(seed), order_(count), next_(count) {
    std::iota(order_.begin(), order_.end(), std::size_t{0});
  }

  struct Draw {
    std::size_t place;    // among the samples that are trained on
    std::uint64_t epoch;  // from 1
  };

  Draw next() {
    if (next_ == order_.size()) shuffle();
    return {order_[next_++], epoch_};
  }

 private:
  // Fisher and Yates, in the form of Durstenfeld 1964.
  void shuffle() {
    for (std::size_t i = order_.size(); i > 1; --i) std::swap(order_[i - 1], order_[random_.below(i)]);
    next_ = 0;
    ++epoch_;
  }

  Random random_;
  std::vector<std::size_t> order_;
  std::size_t next_;
  std::uint64_t epoch_ = 0;
};

// How steps lie in epochs.
struct Schedule {
  std::int64_t samples;
  std::int64_t batch;
  std::int64_t steps;

  // The epoch, from 0, of the first sample of a step; steps count from 0.
  std::int64_t epoch_of(std::int64_t step) const { return step * batch / samples; }
};

Schedule make_schedule(std::int64_t samples, const Recipe& recipe, int max_steps) {
  Schedule schedule{samples, recipe.batch_size, recipe.steps};
  // Rounded up: every sample is seen as often as the recipe has epochs, and the last batch is filled from one
  // more.
  if (recipe.epochs > 0) {
    schedule.steps = static_cast<std::int64_t>(
        std::ceil(recipe.epochs * static_cast<double>(samples) / recipe.batch_size));
  }
  if (max_steps > 0) schedule.steps = std::min<std::int64_t>(schedule.steps, max_steps);
  return schedule;
}

// Half precision is used between batch norms alone (nn/precision.h).
nn::Precision choose_precision(const Recipe& recipe, const std::optional<nn::Precision>& wanted) {
  if (wanted) return *wanted;
  const bool gains = nn::has_layer<nn::BatchNorm>(recipe.architecture) && nn::multiplies_bf16();
  return gains ? nn::Precision::bf16 : nn::Precision::f32;
}

}  // namespace

Result<ModelContent> train(const Dataset& data, const Recipe& recipe, const TrainOptions& options) {
  if (data.inputs.size() < static_cast<std::size_t>(recipe.batch_size)) {
    return Error{ErrorCode::invalid_input, format("data set {} has {} samples, fewer than a batch of {}",
                                                  data.name, data.inputs.size(), recipe.batch_size)};
  }
  Random seeds(options.seed);
  const Result<nn::Network> start = nn::initialize(recipe.architecture, recipe.initializer, seeds.next());
  if (!start) return start.error();
  const nn::Precision precision = choose_precision(recipe, options.precision);
  const Result<std::unique_ptr<nn::Trainer>> trainer =
      nn::Trainer::create(*start, {.optimizer = recipe.optimizer,
                                   .batch_size = recipe.batch_size,
                                   .threads = options.threads,
                                   .chunk_size = recipe.chunk_size,
                                   .label_smoothing = recipe.label_smoothing,
                                   .precision = precision,
                                   .seed = seeds.next()});
  if (!trainer) return trainer.error();
  const std::uint64_t order_seed = seeds.next();
  const std::uint64_t augmentation_seed = seeds.next();
  const HeldOut parts = hold_out(data.labels, static_cast<std::size_t>(recipe.held_out), seeds.next());
  SampleOrder order(parts.training.size(), order_seed);
  const Augmentation changes = augmentation(recipe, data.preparation);
  const Schedule schedule =
      make_schedule(static_cast<std::int64_t>(parts.training.size()), recipe, options.max_steps);

  std::vector<SampleOrder::Draw> batch(static_cast<std::size_t>(recipe.batch_size));
  const nn::Trainer::LoadSample load_sample = [&](int index_in_batch, std::span<float> input) -> int {
    const auto [place, epoch] = batch[static_cast<std::size_t>(index_in_batch)];
    const std::size_t sample = parts.training[place];
    augment(data.inputs[sample], changes, augmentation_seed, sample, epoch, input);
    return data.labels[sample];
  };
  const auto began = std::chrono::steady_clock::now();
  double epoch_loss = 0;  // sum over the steps of the epoch at hand
  std::int64_t epoch_correct = 0;
  std::int64_t epoch_begin = 0;  // its first step
  for (std::int64_t step = 0; step < schedule.steps; ++step) {
    std::ranges::generate(batch, [&] { return order.next(); });
    // In the middle of the step, so that neither the first nor the last is lost to a rate of zero.
    const double done = (static_cast<double>(step) + 0.5) / static_cast<double>(schedule.steps);
    const auto factor = static_cast<float>(learning_rate_factor(recipe.schedule, done));
    const nn::StepResult result = (*trainer)->step(load_sample, factor);
    if (!std::isfinite(result.loss)) {
      return Error{ErrorCode::unavailable,
                   format("loss is {} at step {} of {}; a smaller learning rate may help", result.loss,
                          step + 1, schedule.steps)};
    }
    epoch_loss += result.loss;
    epoch_correct += result.correct;
    const bool epoch_ends =
        step + 1 == schedule.steps || schedule.epoch_of(step + 1) > schedule.epoch_of(step);
    if (options.on_progress) {
      const auto epoch_steps = static_cast<double>(step + 1 - epoch_begin);
      const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - began;
      const bool go_on = options.on_progress(
          {.step = static_cast<int>(step + 1),
           .steps = static_cast<int>(schedule.steps),
           .epoch = static_cast<int>(schedule.epoch_of(step) + 1),
           .epochs = static_cast<int>(schedule.epoch_of(schedule.steps - 1) + 1),
           .epoch_ends = epoch_ends,
           .loss = epoch_loss / epoch_steps,
           .accuracy = static_cast<double>(epoch_correct) / (epoch_steps * recipe.batch_size),
           .images_a_second =
               static_cast<double>((step + 1) * schedule.batch) / std::max(elapsed.count(), 1e-9),
           .elapsed = elapsed});
      if (!go_on) {
        return Error{ErrorCode::unavailable,
                     format("interrupted after step {} of {}", step + 1, schedule.steps)};
      }
    }
    if (epoch_ends) {
      epoch_loss = 0;
      epoch_correct = 0;
      epoch_begin = step + 1;
    }
  }
  ModelContent content{.network = (*trainer)->network(),
                       .preparation = data.preparation,
                       .class_names = data.class_names,
                       .recipe = std::string(recipe.name),
                       .metrics = {{"seed", format("{}", options.seed)},
                                   {"precision", precision == nn::Precision::bf16 ? "bf16" : "f32"},
                                   {"threads", format("{}", options.threads)},
                                   {"steps", format("{}", schedule.steps)}}};
  if (!parts.held_out.empty()) {
    Result<Calibration> calibration = fit_calibration(content.network, data, parts.held_out, options.threads);
    if (!calibration) return std::move(calibration).error();
    content.calibration = *std::move(calibration);
  }
  return content;
}

}  // namespace espy::model
