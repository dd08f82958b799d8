#include "nn/trainer.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstddef>
#include <optional>
#include <system_error>
#include <utility>

#include "base/format.h"
#include "nn/compute_mode.h"
#include "nn/crew.h"
#include "nn/graph.h"
#include "nn/kernels.h"
#include "nn/overloaded.h"
#include "nn/parameters.h"

namespace espy::nn {
namespace {

constexpr int kMaxBatchSize = 1 << 16;

// What one thread takes at a time of the optimizer's work: with Adam's two moments 64 KiB, which a core's
// own cache holds, and still two dozen pieces of a network of 100,000 parameters.
constexpr std::size_t kBlock = 4096;

int divide_up(int numerator, int denominator) { return (numerator + denominator - 1) / denominator; }

Result<void> check_options(const Architecture& architecture, const TrainerOptions& options) {
  if (options.batch_size < 1 || options.batch_size > kMaxBatchSize) {
    return Error{ErrorCode::invalid_input,
                 format("batch size is {}, must be 1 to {}", options.batch_size, kMaxBatchSize)};
  }
  if (options.threads < 1 || options.threads > options.batch_size) {
    return Error{ErrorCode::invalid_input, format("number of threads is {}, must be 1 to {}, the batch size",
                                                  options.threads, options.batch_size)};
  }
  if (!std::holds_alternative<Dense>(architecture.layers.back())) {
    return Error{ErrorCode::invalid_input,
                 format("last layer of \"{}\" is not dense", to_string(architecture))};
  }
  return {};
}

class ChunkTrainer final : public Trainer {
 public:
  // Errors: dnnl::error, std::system_error.
  ChunkTrainer(const Network& start, const TrainerOptions& options)
      : architecture_(start.architecture),
        options_(options),
        sample_size_(element_count(architecture_.input)),
        parameters_(start.parameters) {
    const ComputeMode mode;
    // Every chunk has room for as many samples, so that all share their primitives and the layouts of the
    // weights. The last may hold fewer; the rest of it stays zero and adds nothing to a gradient.
    const int chunk_size = divide_up(options.batch_size, options.threads);
    const int chunk_count = divide_up(options.batch_size, chunk_size);
    for (int i = 0; i < chunk_count; ++i) {
      const int first = i * chunk_size;
      chunks_.push_back({Graph(architecture_, chunk_size, Purpose::training, parameters_), first,
                         std::min(chunk_size, options.batch_size - first), 0, 0});
      chunks_.back().labels.resize(static_cast<std::size_t>(chunk_size));
    }
    const bool has_moments = std::holds_alternative<Adam>(options.optimizer);
    for (int i = 0; i < parameters_.count(); ++i) {
      const std::span<float> weights = floats(parameters_.master(i));
      first_moments_.emplace_back(has_moments ? weights.size() : 0, 0.0F);
      second_moments_.emplace_back(has_moments ? weights.size() : 0, 0.0F);
      for (std::size_t first = 0; first < weights.size(); first += kBlock) {
        const std::size_t count = std::min(kBlock, weights.size() - first);
        Block block{.weights = weights.subspan(first, count)};
        for (const Chunk& chunk : chunks_) {
          block.gradients.push_back(chunk.graph.gradient(i).subspan(first, count));
        }
        if (has_moments) {
          block.first_moment = std::span(first_moments_.back()).subspan(first, count);
          block.second_moment = std::span(second_moments_.back()).subspan(first, count);
        }
        blocks_.push_back(std::move(block));
      }
    }
    std::vector<Crew::Phase> phases;
    phases.push_back({chunk_count, [this](int chunk) { compute(chunks_[static_cast<std::size_t>(chunk)]); }});
    phases.push_back({static_cast<int>(blocks_.size()),
                      [this](int block) { update(blocks_[static_cast<std::size_t>(block)]); }});
    phases.push_back({parameters_.copy_count(), [this](int copy) { parameters_.refresh(copy); }});
    crew_.emplace(options.threads, std::move(phases));
  }

  StepResult step(const LoadSample& load_sample) override {
    load_sample_ = &load_sample;
    if (const auto* adam = std::get_if<Adam>(&options_.optimizer)) begin_adam_step(*adam);
    crew_->run();
    ++step_;
    double loss = 0;
    int correct = 0;
    for (const Chunk& chunk : chunks_) {
      loss += chunk.loss;
      correct += chunk.correct;
    }
    return {loss / options_.batch_size, correct};
  }

  Network network() const override { return {architecture_, parameters_.values()}; }

 private:
  struct Chunk {
    Graph graph;
    int first;  // index in the batch
    int count;
    double loss;
    int correct;
    std::vector<int> labels = {};
  };

  // A part of one parameter.
  struct Block {
    std::span<float> weights;
    std::vector<std::span<float>> gradients = {};  // one of each chunk
    std::span<float> first_moment = {};            // empty without Adam
    std::span<float> second_moment = {};
  };

  void begin_adam_step(const Adam& adam) {
    const auto t = static_cast<double>(step_ + 1);
    const double first_bias = 1 - std::pow(static_cast<double>(adam.beta1), t);
    const double second_bias = 1 - std::pow(static_cast<double>(adam.beta2), t);
    adam_step_ = {adam.beta1, adam.beta2, static_cast<float>(adam.learning_rate / first_bias),
                  static_cast<float>(1 / second_bias), adam.epsilon};
  }

  void compute(Chunk& chunk) {
    const auto count = static_cast<std::size_t>(chunk.count);
    const std::span<float> input = chunk.graph.input();
    for (std::size_t i = 0; i < count; ++i) {
      chunk.labels[i] =
          (*load_sample_)(chunk.first + static_cast<int>(i), input.subspan(i * sample_size_, sample_size_));
    }
    chunk.graph.forward({options_.seed, step_, chunk.first});
    const std::span<const float> logits = chunk.graph.logits();
    const std::span<float> gradient = chunk.graph.logits_gradient();
    const std::size_t classes = logits.size() / static_cast<std::size_t>(chunk.graph.samples());
    const float scale = 1 / static_cast<float>(options_.batch_size);
    chunk.loss = 0;
    chunk.correct = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const SampleLoss sample = softmax_cross_entropy(logits.subspan(i * classes, classes), chunk.labels[i],
                                                      scale, gradient.subspan(i * classes, classes));
      chunk.loss += sample.loss;
      chunk.correct += sample.correct ? 1 : 0;
    }
    chunk.graph.backward();
  }

  void update(const Block& block) {
    const std::span<float> gradient = block.gradients.front();
    for (std::size_t i = 1; i < block.gradients.size(); ++i) add(block.gradients[i], gradient);
    std::visit(
        Overloaded{
            [&](const GradientDescent& plain) { descend(plain.learning_rate, gradient, block.weights); },
            [&](const Adam&) {
              descend_adam(adam_step_, gradient, block.first_moment, block.second_moment, block.weights);
            },
        },
        options_.optimizer);
  }

  const Architecture architecture_;
  const TrainerOptions options_;
  const std::size_t sample_size_;
  Parameters parameters_;
  std::vector<Chunk> chunks_;
  std::vector<Block> blocks_;
  std::vector<std::vector<float>> first_moments_;  // of each parameter, laid out as its master
  std::vector<std::vector<float>> second_moments_;
  std::uint64_t step_ = 0;
  AdamStep adam_step_ = {};
  const LoadSample* load_sample_ = nullptr;
  std::optional<Crew> crew_;  // last: its threads use everything above
};

}  // namespace

Result<std::unique_ptr<Trainer>> Trainer::create(const Network& start, const TrainerOptions& options) {
  if (auto ok = validate(start); !ok) return std::move(ok).error();
  if (auto ok = check_options(start.architecture, options); !ok) return std::move(ok).error();
  try {
    return std::unique_ptr<Trainer>(std::make_unique<ChunkTrainer>(start, options));
  } catch (const dnnl::error& error) {
    return to_error(error);
  } catch (const std::system_error& error) {
    return Error{ErrorCode::unavailable,
                 format("cannot start {} threads: {}", options.threads, error.what())};
  }
}

}  // namespace espy::nn
