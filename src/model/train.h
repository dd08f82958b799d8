// Training: a data set and a recipe become a model.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>

#include "base/result.h"
#include "model/checkpoint.h"
#include "model/dataset.h"
#include "model/model.h"
#include "model/recipe.h"
#include "nn/precision.h"

namespace espy::model {

// Where a training stands. Steps and epochs are counted over all its networks, teachers first.
struct Progress {
  int step;   // done
  int steps;  // in all
  int epoch;  // the one at hand, from 1
  int epochs;
  bool epoch_ends;         // this is the last step of an epoch, or of the training
  double loss;             // mean over the epoch so far
  double accuracy;         // of the training samples of the epoch so far, as they were trained on
  double images_a_second;  // over the whole training so far
  std::chrono::duration<double> elapsed;
};

// When a training is put down in a checkpoint: before its first step, so that what would go wrong later goes
// wrong at once, then every `interval` between two steps, behind the last step, and when it is stopped. What
// is put down is finite.
struct CheckpointPlan {
  // Called on the calling thread; an error ends the training.
  std::function<Result<void>(const Checkpoint&)> save;
  std::chrono::duration<double> interval{};
};

struct TrainOptions {
  std::uint64_t seed = 1;
  int threads = 1;
  int max_steps = 0;  // at most so many for each network; 0 = as the recipe says
  // Without a value the quickest of this machine; that is bf16 for networks with convolutions
  // where the processor has it, f32 for others.
  std::optional<nn::Precision> precision = std::nullopt;
  // Called after every step on the calling thread; returning false stops the training.
  std::function<bool(const Progress&)> on_progress = nullptr;
  std::optional<CheckpointPlan> checkpoints = std::nullopt;
  // Where to go on. The model is then, to the bit, that of a training which was never stopped; other numbers
  // of threads than before are possible where Recipe::chunk_size is set.
  std::optional<Checkpoint> resume_from = std::nullopt;
};

// Trains on all of `data` but what the recipe holds out, shuffled anew each epoch, and returns the model with
// the parameters after the last step, in the form in which its file holds them (nn::for_inference,
// as_stored), calibrated with the held-out samples (hold_out() may leave none: then it has no calibration);
// nothing is chosen by looking at test data. What is left of an epoch when it no longer fills a batch goes
// into one with the first samples of the next shuffle, so no sample is left out. Its metrics are seed,
// threads, steps and precision: what it takes to get the same model, bit for bit, again. Errors:
// invalid_input (fewer samples than a batch; threads out of range; bf16 where the processor has none; a
// checkpoint of another training), unavailable ("interrupted after step N of M", when on_progress returned
// false; "training diverged: ...", when the loss, the parameters or their averages are no longer finite), and
// what the plan's save() returned.
Result<ModelContent> train(const Dataset& data, const Recipe& recipe, const TrainOptions& options);

}  // namespace espy::model
