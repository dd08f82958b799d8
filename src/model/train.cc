#include "model/train.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "base/format.h"
#include "model/fit_calibration.h"
#include "nn/random.h"

namespace espy::model {
namespace {

// Returns a number below `bound`, each as likely as another: draws from the incomplete last round of the
// modulus are drawn again. Our own because the standard's distributions may differ from library to library,
// and a seed must mean the same everywhere.
std::uint64_t draw_below(nn::RandomSequence& random, std::uint64_t bound) {
  const std::uint64_t rest = (UINT64_MAX % bound + 1) % bound;
  std::uint64_t value = random.next();
  while (value > UINT64_MAX - rest) value = random.next();
  return value % bound;
}

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
    for (std::size_t i = order_.size(); i > 1; --i) std::swap(order_[i - 1], order_[draw_below(random_, i)]);
    next_ = 0;
    ++epoch_;
  }

  nn::RandomSequence random_;
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

  // The first step of the same epoch.
  std::int64_t epoch_begin(std::int64_t step) const { return (epoch_of(step) * samples + batch - 1) / batch; }
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

// Networks with batch norms were measured to be as accurate in half precision, others were not measured.
nn::Precision choose_precision(const Recipe& recipe, const std::optional<nn::Precision>& wanted) {
  if (wanted) return *wanted;
  const bool gains = nn::has_layer<nn::BatchNorm>(recipe.architecture) && nn::multiplies_bf16();
  return gains ? nn::Precision::bf16 : nn::Precision::f32;
}

bool all_finite(const std::vector<float>& values) {
  return std::ranges::all_of(values, [](float value) { return std::isfinite(value); });
}

bool all_finite(const nn::TrainerState& state) {
  const auto finite = [](const auto& arrays) {
    return std::ranges::all_of(arrays, [](const std::vector<float>& values) { return all_finite(values); });
  };
  return finite(state.parameters) && finite(state.first_moments) && finite(state.second_moments);
}

Error diverged(std::string_view what, std::int64_t steps_done, const Schedule& schedule) {
  return {ErrorCode::unavailable,
          format("training diverged: {} at step {} of {}", what, steps_done, schedule.steps)};
}

// A loss can be finite where parameters are not: relu and max pooling hide a NaN from the layers behind them.
Result<void> check_parameters(const nn::Network& network, std::int64_t steps_done, const Schedule& schedule) {
  const bool finite = std::ranges::all_of(
      network.parameters, [](const nn::Tensor& parameter) { return all_finite(parameter.values); });
  if (!finite) return diverged("a parameter is not finite", steps_done, schedule);
  return {};
}

// Puts a training down in checkpoints, as their plan says; without one it does nothing.
class CheckpointMaker {
 public:
  CheckpointMaker(const std::optional<CheckpointPlan>& plan, TrainingIdentity training)
      : plan_(plan), training_(std::move(training)) {}

  bool due() const { return plan_ && std::chrono::steady_clock::now() - last_ >= plan_->interval; }

  Result<void> make(const nn::Trainer& trainer, const TrainingSums& sums, const Schedule& schedule) {
    if (!plan_) return {};
    const Checkpoint checkpoint{training_, sums, trainer.state()};
    if (!all_finite(checkpoint.state)) {
      return diverged("a parameter or its average is not finite",
                      static_cast<std::int64_t>(checkpoint.state.steps), schedule);
    }
    Result<void> saved = plan_->save(checkpoint);
    last_ = std::chrono::steady_clock::now();
    return saved;
  }

 private:
  const std::optional<CheckpointPlan>& plan_;
  const TrainingIdentity training_;
  std::chrono::steady_clock::time_point last_;
};

}  // namespace

Result<ModelContent> train(const Dataset& data, const Recipe& recipe, const TrainOptions& options) {
  if (data.inputs.size() < static_cast<std::size_t>(recipe.batch_size)) {
    return Error{ErrorCode::invalid_input, format("data set {} has {} samples, fewer than a batch of {}",
                                                  data.name, data.inputs.size(), recipe.batch_size)};
  }
  nn::RandomSequence seeds(options.seed);
  const Result<nn::Network> start = nn::initialize(recipe.architecture, recipe.initializer, seeds.next());
  if (!start) return start.error();
  const nn::Precision precision = choose_precision(recipe, options.precision);
  const std::uint64_t dropout_seed = seeds.next();
  const std::uint64_t order_seed = seeds.next();
  const std::uint64_t augmentation_seed = seeds.next();
  const HeldOut parts = hold_out(data.labels, static_cast<std::size_t>(recipe.held_out), seeds.next());
  const Schedule schedule =
      make_schedule(static_cast<std::int64_t>(parts.training.size()), recipe, options.max_steps);
  TrainingIdentity identity;
  if (options.checkpoints || options.resume_from) {
    identity = identify(data, recipe, options.seed, options.threads, precision, schedule.steps);
  }
  if (options.resume_from) {
    if (auto same = check_same_training(options.resume_from->training, identity); !same) return same.error();
  }
  const nn::TrainerOptions trainer_options = {.optimizer = recipe.optimizer,
                                              .batch_size = recipe.batch_size,
                                              .threads = options.threads,
                                              .chunk_size = recipe.chunk_size,
                                              .label_smoothing = recipe.label_smoothing,
                                              .precision = precision,
                                              .seed = dropout_seed};
  const Result<std::unique_ptr<nn::Trainer>> trainer =
      options.resume_from
          ? nn::Trainer::resume(recipe.architecture, options.resume_from->state, trainer_options)
          : nn::Trainer::create(*start, trainer_options);
  if (!trainer) return trainer.error();
  SampleOrder order(parts.training.size(), order_seed);
  const Augmentation changes = augmentation(recipe, data.preparation);

  std::vector<SampleOrder::Draw> batch(static_cast<std::size_t>(recipe.batch_size));
  const nn::Trainer::LoadSample load_sample = [&](int index_in_batch, std::span<float> input) -> int {
    const auto [place, epoch] = batch[static_cast<std::size_t>(index_in_batch)];
    const std::size_t sample = parts.training[place];
    augment(data.inputs[sample], changes, augmentation_seed, sample, epoch, input);
    return data.labels[sample];
  };
  TrainingSums sums;
  std::int64_t first_step = 0;
  if (options.resume_from) {
    const std::uint64_t steps = options.resume_from->state.steps;
    if (steps > static_cast<std::uint64_t>(schedule.steps)) {
      return Error{ErrorCode::invalid_input,
                   format("checkpoint is of step {}, the training has {}", steps, schedule.steps)};
    }
    sums = options.resume_from->sums;
    first_step = static_cast<std::int64_t>(steps);
    for (std::int64_t i = 0; i < first_step * schedule.batch; ++i) (void)order.next();
  }
  CheckpointMaker checkpoints(options.checkpoints, std::move(identity));
  if (auto made = checkpoints.make(**trainer, sums, schedule); !made) return made.error();
  const std::chrono::duration<double> elapsed_before = sums.elapsed;
  const auto began = std::chrono::steady_clock::now();
  for (std::int64_t step = first_step; step < schedule.steps; ++step) {
    std::ranges::generate(batch, [&] { return order.next(); });
    // In the middle of the step, so that neither the first nor the last is lost to a rate of zero.
    const double done = (static_cast<double>(step) + 0.5) / static_cast<double>(schedule.steps);
    const auto factor = static_cast<float>(learning_rate_factor(recipe.schedule, done));
    const nn::StepResult result = (*trainer)->step(load_sample, factor);
    if (!std::isfinite(result.loss)) return diverged(format("loss is {}", result.loss), step + 1, schedule);
    sums.epoch_loss += result.loss;
    sums.epoch_correct += static_cast<std::uint64_t>(result.correct);
    sums.elapsed = elapsed_before + (std::chrono::steady_clock::now() - began);
    const bool ends = step + 1 == schedule.steps;
    const bool epoch_ends = ends || schedule.epoch_of(step + 1) > schedule.epoch_of(step);
    if (epoch_ends) {
      if (auto ok = check_parameters((*trainer)->network(), step + 1, schedule); !ok) return ok.error();
    }
    bool go_on = true;
    if (options.on_progress) {
      const auto epoch_steps = static_cast<double>(step + 1 - schedule.epoch_begin(step));
      go_on = options.on_progress(
          {.step = static_cast<int>(step + 1),
           .steps = static_cast<int>(schedule.steps),
           .epoch = static_cast<int>(schedule.epoch_of(step) + 1),
           .epochs = static_cast<int>(schedule.epoch_of(schedule.steps - 1) + 1),
           .epoch_ends = epoch_ends,
           .loss = sums.epoch_loss / epoch_steps,
           .accuracy = static_cast<double>(sums.epoch_correct) / (epoch_steps * recipe.batch_size),
           .images_a_second =
               static_cast<double>((step + 1) * schedule.batch) / std::max(sums.elapsed.count(), 1e-9),
           .elapsed = sums.elapsed});
    }
    if (epoch_ends) {
      sums.epoch_loss = 0;
      sums.epoch_correct = 0;
    }
    if (ends || !go_on || checkpoints.due()) {
      if (auto made = checkpoints.make(**trainer, sums, schedule); !made) return made.error();
    }
    if (!go_on) {
      return Error{ErrorCode::unavailable,
                   format("interrupted after step {} of {}", step + 1, schedule.steps)};
    }
  }
  ModelContent content{.network = (*trainer)->network(),
                       .preparation = data.preparation,
                       .class_names = data.class_names,
                       .recipe = std::string(recipe.name),
                       .metrics = {{"seed", format("{}", options.seed)},
                                   {"precision", std::string(nn::to_string(precision))},
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
