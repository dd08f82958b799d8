// Minimises softmax cross-entropy by stochastic gradients.
//
// A batch is cut into chunks of a fixed size, or into one a thread. Each chunk has its own activations and
// gradients, any thread may work on any chunk, and the gradients are added in the order of the chunks: so a
// run is reproduced by its seed, and by its number of threads where the chunks depend on it, and a busy core
// costs its own time only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <variant>
#include <vector>

#include "base/result.h"
#include "nn/network.h"
#include "nn/precision.h"

namespace espy::nn {

// w -= learning_rate * gradient.
struct GradientDescent {
  float learning_rate;
};

// Kingma & Ba 2014 with epsilon-hat as epsilon, as TensorFlow and Keras have it (descend_adam in kernels.h).
// With weight_decay it is AdamW in PyTorch's form: learning_rate * weight_decay of each weight is taken off
// in each step, both following the schedule.
struct Adam {
  float learning_rate = 1e-3f;
  float beta1 = 0.9f;
  float beta2 = 0.999f;
  float epsilon = 1e-8f;
  float weight_decay = 0;
};

// Muon (muon.h) for the weights of each convolution that sees more than one channel, as matrices [channels,
// inputs]; `others` for everything else.
struct Muon {
  float learning_rate;
  float momentum;
  int newton_schulz_steps;
  Adam others;
};

using Optimizer = std::variant<GradientDescent, Adam, Muon>;

struct TrainerOptions {
  Optimizer optimizer;
  int batch_size = 32;
  int threads = 1;  // at most batch_size; more than there are chunks have nothing to do
  // Samples that are computed together, and whose statistics a batch norm sees; it needs batches of whole
  // chunks. 0: as many as give each thread one chunk.
  int chunk_size = 0;
  float label_smoothing = 0;  // the part of the target that all classes share, below 1
  // Networks of the same input and as many classes, whose mean probabilities are this share of each sample's
  // target (Target in kernels.h); from 0 to 1, above 0 exactly when there are teachers.
  std::vector<Network> teachers = {};
  float teachers_share = 0;
  Precision precision = Precision::f32;
  std::uint64_t seed = 0;  // of dropout
};

// What one step saw, before it changed the parameters.
struct StepResult {
  double loss;  // mean cross-entropy over the batch, in nats, against the smoothed labels
  int correct;  // samples whose greatest logit was their label
};

// Everything that one step leaves to the next, row-major whatever the layouts that a machine computes with.
struct TrainerState {
  std::uint64_t steps = 0;  // taken
  // Of each parameter, in the order of parameter_forms(): its values and the optimizer's running averages of
  // its gradients and of their squares; empty where the optimizer keeps none.
  std::vector<std::vector<float>> parameters;
  std::vector<std::vector<float>> first_moments;
  std::vector<std::vector<float>> second_moments;

  bool operator==(const TrainerState&) const = default;
};

// Threads: one thread at a time; the trainer has its own workers.
class Trainer {
 public:
  // Fills `input` with one sample of the batch and returns its label. Called once a sample and step, on any
  // worker, several at once; must not throw.
  using LoadSample = std::function<int(int index_in_batch, std::span<float> input)>;

  // Errors: invalid_input (parameters that do not fit the architecture, a last layer that is not Dense, batch
  // size, chunk size, threads, label smoothing or the teachers' share out of range, teachers that do not fit,
  // bf16 where the processor has none),
  // unavailable (no memory or no threads to be had), internal (the library that computes refused).
  static Result<std::unique_ptr<Trainer>> create(const Network& start, const TrainerOptions& options);

  // Returns a trainer whose next steps are, bit for bit on the same kind of processor, those of the trainer
  // that the state is of, when the options are the same but for the threads where they leave the chunks as
  // they are. Errors: as create; invalid_input (a state that does not fit the architecture or the optimizer).
  static Result<std::unique_ptr<Trainer>> resume(const Architecture& architecture, const TrainerState& state,
                                                 const TrainerOptions& options);

  virtual ~Trainer() = default;

  // One step of the optimizer over one batch, with its learning rates multiplied by this factor.
  virtual StepResult step(const LoadSample& load_sample, float learning_rate_factor = 1) = 0;

  // Returns the parameters as they are now.
  virtual Network network() const = 0;

  // Returns what resume() goes on from.
  virtual TrainerState state() const = 0;
};

}  // namespace espy::nn
