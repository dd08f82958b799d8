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

// How one network's steps lie in epochs.
struct Schedule {
  std::int64_t samples;
  std::int64_t batch;
  std::int64_t steps;

  // The epoch, from 0, of the first sample of a step; steps count from 0.
  std::int64_t epoch_of(std::int64_t step) const { return step * batch / samples; }

  // The first step of the same epoch.
  std::int64_t epoch_begin(std::int64_t step) const { return (epoch_of(step) * samples + batch - 1) / batch; }

  std::int64_t epochs() const { return epoch_of(steps - 1) + 1; }
};

// The length is `epochs`, or the recipe's steps where that is 0; `max_steps` as in TrainOptions.
Schedule make_schedule(std::size_t samples, double epochs, const Recipe& recipe, int max_steps) {
  Schedule schedule{static_cast<std::int64_t>(samples), recipe.batch_size, recipe.steps};
  // Rounded up: every sample is seen as often as there are epochs, and the last batch is filled from one
  // more.
  if (epochs > 0) {
    schedule.steps =
        static_cast<std::int64_t>(std::ceil(epochs * static_cast<double>(samples) / recipe.batch_size));
  }
  if (max_steps > 0) schedule.steps = std::min<std::int64_t>(schedule.steps, max_steps);
  return schedule;
}

// What one network's training draws its random numbers from.
struct Seeds {
  std::uint64_t start;
  std::uint64_t dropout;
  std::uint64_t order;
  std::uint64_t augmentation;
};

Seeds draw_seeds(nn::RandomSequence& random) {
  Seeds seeds{};
  for (std::uint64_t* seed : {&seeds.start, &seeds.dropout, &seeds.order, &seeds.augmentation}) {
    *seed = random.next();
  }
  return seeds;
}

// Networks with batch norms were measured to be as accurate in half precision, others were not measured.
nn::Precision choose_precision(const Recipe& recipe, const std::optional<nn::Precision>& wanted) {
  if (wanted) return *wanted;
  const bool gains = nn::has_layer<nn::Convolution>(recipe.architecture) && nn::multiplies_bf16();
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

  Result<void> make(const nn::Trainer& trainer, const TrainingSums& sums,
                    std::span<const nn::Network> teachers, const Schedule& schedule) {
    if (!plan_) return {};
    Checkpoint checkpoint{training_, sums, {}, trainer.state()};
    for (const nn::Network& teacher : teachers) {
      auto& parameters = checkpoint.teachers.emplace_back();
      for (const nn::Tensor& parameter : teacher.parameters) parameters.push_back(parameter.values);
    }
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

// Trains the networks of a recipe one after the other: its teachers, then its own.
class Training {
 public:
  Training(const Dataset& data, const Recipe& recipe, const TrainOptions& options)
      : data_(data),
        recipe_(recipe),
        options_(options),
        precision_(choose_precision(recipe, options.precision)),
        changes_(augmentation(recipe, data.preparation)) {
    nn::RandomSequence random(options.seed);
    const Seeds own = draw_seeds(random);
    parts_ = hold_out(data.labels, static_cast<std::size_t>(recipe.held_out), random.next());
    for (int i = 0; i < recipe.teachers.count; ++i) {
      plans_.push_back({recipe.teachers.architecture, schedule(recipe.teachers.epochs), draw_seeds(random)});
    }
    plans_.push_back({recipe.architecture, schedule(recipe.epochs), own});
    for (const NetworkPlan& plan : plans_) {
      steps_ += plan.schedule.steps;
      epochs_ += plan.schedule.epochs();
    }
    if (options.checkpoints || options.resume_from) {
      identity_ = identify(data, recipe, options.seed, options.threads, precision_, steps_);
    }
  }

  Result<ModelContent> run() {
    if (auto resumed = resume(); !resumed) return std::move(resumed).error();
    CheckpointMaker checkpoints(options_.checkpoints, identity_);
    while (networks_.size() < plans_.size()) {
      Result<nn::Network> network = train_network(plans_[networks_.size()], checkpoints);
      if (!network) return std::move(network).error();
      networks_.push_back(*std::move(network));
    }
    // As it is going to be read from its file, so that the calibration is of what will answer.
    Result<nn::Network> network = nn::for_inference(networks_.back());
    if (!network) return std::move(network).error();
    return ModelContent{.network = as_stored(*std::move(network), recipe_.parameter_type),
                        .preparation = data_.preparation,
                        .class_names = data_.class_names,
                        .recipe = std::string(recipe_.name),
                        .metrics = {{"seed", format("{}", options_.seed)},
                                    {"precision", std::string(nn::to_string(precision_))},
                                    {"threads", format("{}", options_.threads)},
                                    {"steps", format("{}", steps_)}},
                        .parameter_type = recipe_.parameter_type};
  }

  const std::vector<std::size_t>& held_out() const { return parts_.held_out; }

 private:
  struct NetworkPlan {
    const nn::Architecture& architecture;
    Schedule schedule;
    Seeds seeds;
  };

  Schedule schedule(double epochs) const {
    return make_schedule(parts_.training.size(), epochs, recipe_, options_.max_steps);
  }

  // Takes over the networks that a checkpoint has already.
  Result<void> resume() {
    const std::optional<Checkpoint>& checkpoint = options_.resume_from;
    if (!checkpoint) return {};
    if (auto same = check_same_training(checkpoint->training, identity_); !same) return same;
    if (checkpoint->teachers.size() >= plans_.size()) {
      return Error{ErrorCode::invalid_input, format("checkpoint has {} teachers, the recipe has {}",
                                                    checkpoint->teachers.size(), plans_.size() - 1)};
    }
    for (const auto& parameters : checkpoint->teachers) {
      const NetworkPlan& plan = plans_[networks_.size()];
      Result<nn::Network> teacher = nn::make_network(plan.architecture, parameters);
      if (!teacher) return std::move(teacher).error();
      networks_.push_back(*std::move(teacher));
      steps_before_ += plan.schedule.steps;
      epochs_before_ += plan.schedule.epochs();
    }
    const Schedule& at_hand = plans_[networks_.size()].schedule;
    if (checkpoint->state.steps > static_cast<std::uint64_t>(at_hand.steps)) {
      return Error{ErrorCode::invalid_input, format("checkpoint is of step {}, the training has {}",
                                                    checkpoint->state.steps, at_hand.steps)};
    }
    state_ = &checkpoint->state;
    sums_ = checkpoint->sums;
    return {};
  }

  Result<std::unique_ptr<nn::Trainer>> make_trainer(const NetworkPlan& plan) {
    nn::TrainerOptions options = {.optimizer = optimizer(recipe_, data_.preparation),
                                  .batch_size = recipe_.batch_size,
                                  .threads = options_.threads,
                                  .chunk_size = recipe_.chunk_size,
                                  .label_smoothing = recipe_.label_smoothing,
                                  .precision = precision_,
                                  .seed = plan.seeds.dropout};
    if (&plan == &plans_.back() && !networks_.empty()) {
      options.teachers = networks_;
      options.teachers_share = recipe_.teachers.share;
    }
    if (state_ != nullptr) {
      return nn::Trainer::resume(plan.architecture, *std::exchange(state_, nullptr), options);
    }
    const Result<nn::Network> start =
        nn::initialize(plan.architecture, recipe_.initializer, plan.seeds.start);
    if (!start) return start.error();
    return nn::Trainer::create(*start, options);
  }

  // Returns the network of a plan after its last step.
  Result<nn::Network> train_network(const NetworkPlan& plan, CheckpointMaker& checkpoints) {
    const Schedule& schedule = plan.schedule;
    const std::uint64_t steps_done = state_ != nullptr ? state_->steps : 0;
    const Result<std::unique_ptr<nn::Trainer>> made = make_trainer(plan);
    if (!made) return made.error();
    nn::Trainer& trainer = **made;
    const auto put_down = [&] { return checkpoints.make(trainer, sums_, networks_, schedule); };
    SampleOrder order(parts_.training.size(), plan.seeds.order);
    const auto first_step = static_cast<std::int64_t>(steps_done);
    for (std::int64_t i = 0; i < first_step * schedule.batch; ++i) (void)order.next();

    std::vector<SampleOrder::Draw> batch(static_cast<std::size_t>(recipe_.batch_size));
    const nn::Trainer::LoadSample load_sample = [&](int index_in_batch, std::span<float> input) -> int {
      const auto [place, epoch] = batch[static_cast<std::size_t>(index_in_batch)];
      const std::size_t sample = parts_.training[place];
      augment(data_.inputs[sample], changes_, plan.seeds.augmentation, sample, epoch, input);
      return data_.labels[sample];
    };
    if (auto ok = put_down(); !ok) return ok.error();
    const std::chrono::duration<double> elapsed_before = sums_.elapsed;
    const auto began = std::chrono::steady_clock::now();
    for (std::int64_t step = first_step; step < schedule.steps; ++step) {
      std::ranges::generate(batch, [&] { return order.next(); });
      // In the middle of the step, so that neither the first nor the last is lost to a rate of zero.
      const double done = (static_cast<double>(step) + 0.5) / static_cast<double>(schedule.steps);
      const auto factor = static_cast<float>(learning_rate_factor(recipe_.schedule, done));
      const nn::StepResult result = trainer.step(load_sample, factor);
      if (!std::isfinite(result.loss)) return diverged(format("loss is {}", result.loss), step + 1, schedule);
      sums_.epoch_loss += result.loss;
      sums_.epoch_correct += static_cast<std::uint64_t>(result.correct);
      sums_.elapsed = elapsed_before + (std::chrono::steady_clock::now() - began);
      const bool ends = step + 1 == schedule.steps;
      const bool epoch_ends = ends || schedule.epoch_of(step + 1) > schedule.epoch_of(step);
      if (epoch_ends) {
        if (auto ok = check_parameters(trainer.network(), step + 1, schedule); !ok) return ok.error();
      }
      const bool go_on = !options_.on_progress || options_.on_progress(progress(schedule, step, epoch_ends));
      if (epoch_ends) {
        sums_.epoch_loss = 0;
        sums_.epoch_correct = 0;
      }
      if (ends || !go_on || checkpoints.due()) {
        if (auto ok = put_down(); !ok) return ok.error();
      }
      if (!go_on) {
        return Error{ErrorCode::unavailable,
                     format("interrupted after step {} of {}", steps_before_ + step + 1, steps_)};
      }
    }
    steps_before_ += schedule.steps;
    epochs_before_ += schedule.epochs();
    return trainer.network();
  }

  Progress progress(const Schedule& schedule, std::int64_t step, bool epoch_ends) const {
    const auto epoch_steps = static_cast<double>(step + 1 - schedule.epoch_begin(step));
    const std::int64_t steps_done = steps_before_ + step + 1;
    return {.step = static_cast<int>(steps_done),
            .steps = static_cast<int>(steps_),
            .epoch = static_cast<int>(epochs_before_ + schedule.epoch_of(step) + 1),
            .epochs = static_cast<int>(epochs_),
            .epoch_ends = epoch_ends,
            .loss = sums_.epoch_loss / epoch_steps,
            .accuracy = static_cast<double>(sums_.epoch_correct) / (epoch_steps * recipe_.batch_size),
            .images_a_second =
                static_cast<double>(steps_done * schedule.batch) / std::max(sums_.elapsed.count(), 1e-9),
            .elapsed = sums_.elapsed};
  }

  const Dataset& data_;
  const Recipe& recipe_;
  const TrainOptions& options_;
  const nn::Precision precision_;
  const Augmentation changes_;
  HeldOut parts_;
  std::vector<NetworkPlan> plans_;
  std::int64_t steps_ = 0;   // of all plans
  std::int64_t epochs_ = 0;  // as well
  TrainingIdentity identity_;

  std::vector<nn::Network> networks_;        // of the plans that are done
  std::int64_t steps_before_ = 0;            // of these
  std::int64_t epochs_before_ = 0;           // of these
  const nn::TrainerState* state_ = nullptr;  // that the plan at hand goes on from
  TrainingSums sums_;
};

}  // namespace

Result<ModelContent> train(const Dataset& data, const Recipe& recipe, const TrainOptions& options) {
  if (data.inputs.size() < static_cast<std::size_t>(recipe.batch_size)) {
    return Error{ErrorCode::invalid_input, format("data set {} has {} samples, fewer than a batch of {}",
                                                  data.name, data.inputs.size(), recipe.batch_size)};
  }
  Training training(data, recipe, options);
  Result<ModelContent> content = training.run();
  if (content && !training.held_out().empty()) {
    Result<Calibration> calibration =
        fit_calibration(content->network, data, training.held_out(), options.threads);
    if (!calibration) return std::move(calibration).error();
    content->calibration = *std::move(calibration);
  }
  return content;
}

}  // namespace espy::model
