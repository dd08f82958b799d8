#include "nn/trainer.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <cstddef>
#include <deque>
#include <optional>
#include <system_error>
#include <utility>

#include "base/format.h"
#include "nn/compute_mode.h"
#include "nn/crew.h"
#include "nn/graph.h"
#include "nn/kernels.h"
#include "nn/muon.h"
#include "nn/parameters.h"

namespace espy::nn {
namespace {

constexpr int kMaxBatchSize = 1 << 16;

// What one thread takes at a time of the optimizer's work: with Adam's two moments 64 KiB, which a core's
// own cache holds, and still two dozen pieces of a network of 100,000 parameters.
constexpr std::size_t kBlock = 4096;

int divide_up(int numerator, int denominator) { return (numerator + denominator - 1) / denominator; }

int chunk_size_of(const TrainerOptions& options) {
  return options.chunk_size > 0 ? options.chunk_size : divide_up(options.batch_size, options.threads);
}

Result<void> check_teacher(const Architecture& architecture, const Network& teacher) {
  if (auto ok = validate(teacher); !ok) return ok;
  const auto* theirs = std::get_if<Dense>(&teacher.architecture.layers.back());
  const auto* ours = std::get_if<Dense>(&architecture.layers.back());
  if (teacher.architecture.input != architecture.input || theirs == nullptr || ours == nullptr ||
      theirs->units != ours->units) {
    return Error{ErrorCode::invalid_input,
                 format("teacher \"{}\" has another input or other classes than \"{}\"",
                        to_string(teacher.architecture), to_string(architecture))};
  }
  return {};
}

Result<void> check_options(const Architecture& architecture, const TrainerOptions& options) {
  if (options.batch_size < 1 || options.batch_size > kMaxBatchSize) {
    return Error{ErrorCode::invalid_input,
                 format("batch size is {}, must be 1 to {}", options.batch_size, kMaxBatchSize)};
  }
  if (options.threads < 1 || options.threads > options.batch_size) {
    return Error{ErrorCode::invalid_input, format("number of threads is {}, must be 1 to {}, the batch size",
                                                  options.threads, options.batch_size)};
  }
  if (options.chunk_size < 0 || options.chunk_size > options.batch_size) {
    return Error{ErrorCode::invalid_input, format("chunk size is {}, must be 0 to {}, the batch size",
                                                  options.chunk_size, options.batch_size)};
  }
  if (has_layer<BatchNorm>(architecture) && options.batch_size % chunk_size_of(options) != 0) {
    return Error{ErrorCode::invalid_input,
                 format("batch size is {}, a network with batch norms needs a multiple of {}, the chunk size",
                        options.batch_size, chunk_size_of(options))};
  }
  if (!(options.label_smoothing >= 0 && options.label_smoothing < 1)) {
    return Error{ErrorCode::invalid_input,
                 format("label smoothing is {}, must be at least 0 and below 1", options.label_smoothing)};
  }
  if (!(options.teachers_share >= 0 && options.teachers_share <= 1) ||
      options.teachers.empty() != (options.teachers_share == 0)) {
    return Error{ErrorCode::invalid_input,
                 format("share of {} teachers is {}, must be 0 without any and else "
                        "above 0 and at most 1",
                        options.teachers.size(), options.teachers_share)};
  }
  for (const Network& teacher : options.teachers) {
    if (auto ok = check_teacher(architecture, teacher); !ok) return ok;
  }
  if (auto ok = check_precision(options.precision); !ok) return ok;
  if (!std::holds_alternative<Dense>(architecture.layers.back())) {
    return Error{ErrorCode::invalid_input,
                 format("last layer of \"{}\" is not dense", to_string(architecture))};
  }
  return {};
}

// A network that is asked and not changed, with a graph for each thread.
struct Teacher {
  Parameters parameters;
  std::vector<Graph> graphs = {};
};

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
    const int chunk_size = chunk_size_of(options);
    const int chunk_count = divide_up(options.batch_size, chunk_size);
    // As few graphs as can be used at once, so that as much of them as possible stays in the caches.
    const int graph_count = std::min(options.threads, chunk_count);
    // A graph that computes several chunks of a batch needs its activations for the next one before anybody
    // could ask it for a part of a gradient.
    const auto dense_gradients = chunk_count > graph_count ? DenseGradients::found : DenseGradients::left;
    for (int i = 0; i < graph_count; ++i) {
      graphs_.emplace_back(architecture_, chunk_size, Purpose::training, options.precision, parameters_,
                           dense_gradients);
    }
    for (const Network& network : options.teachers) {
      teachers_.push_back({Parameters(network.parameters)});
      Teacher& teacher = teachers_.back();
      for (int i = 0; i < graph_count; ++i) {
        teacher.graphs.emplace_back(network.architecture, chunk_size, Purpose::training, options.precision,
                                    teacher.parameters);
      }
    }
    if (!teachers_.empty()) {
      const std::size_t answers = graphs_.front().logits().size();
      taught_.assign(graphs_.size(), {std::vector<float>(answers), std::vector<float>(answers)});
    }
    for (int i = 0; i < chunk_count; ++i) {
      const int first = i * chunk_size;
      Chunk chunk{first, std::min(chunk_size, options.batch_size - first), 0, 0};
      chunk.labels.resize(static_cast<std::size_t>(chunk_size));
      if (chunk_count > graph_count) {
        for (int k = 0; k < parameters_.count(); ++k) {
          chunk.gradients.emplace_back(graphs_.front().gradient(k).size());
        }
      }
      chunks_.push_back(std::move(chunk));
    }
    const std::vector<ParameterForm> forms = *parameter_forms(architecture_);
    for (int i = 0; i < parameters_.count(); ++i) plan_update(i, forms[static_cast<std::size_t>(i)]);
    std::vector<Crew::Phase> phases;
    phases.push_back({chunk_count, [this](int chunk, int thread) { compute(chunk, thread); }});
    phases.push_back({static_cast<int>(blocks_.size()),
                      [this](int block, int) { update(blocks_[static_cast<std::size_t>(block)]); }});
    phases.push_back({static_cast<int>(matrices_.size()),
                      [this](int matrix, int) { update(matrices_[static_cast<std::size_t>(matrix)]); }});
    for (int i = 0; i < parameters_.copy_count(); ++i) {
      // The others are brought up to date as their masters are, part by part.
      if (dense_gradients == DenseGradients::found || !parameters_.has_parts(i)) stale_copies_.push_back(i);
    }
    phases.push_back({static_cast<int>(stale_copies_.size()), [this](int i, int) {
                        parameters_.refresh(stale_copies_[static_cast<std::size_t>(i)]);
                      }});
    crew_.emplace(graph_count, std::move(phases));
  }

  StepResult step(const LoadSample& load_sample, float learning_rate_factor) override {
    load_sample_ = &load_sample;
    learning_rate_factor_ = learning_rate_factor;
    if (const Adam* adam = adam_of(options_.optimizer)) begin_adam_step(*adam);
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

  TrainerState state() const override {
    const ComputeMode mode;
    TrainerState state{step_, {}, {}, {}};
    for (int i = 0; i < parameters_.count(); ++i) {
      const auto parameter = static_cast<std::size_t>(i);
      state.parameters.push_back(to_row_major(parameters_.master(i)));
      state.first_moments.push_back(moments(i, first_moments_[parameter]));
      state.second_moments.push_back(moments(i, second_moments_[parameter]));
    }
    return state;
  }

  // Takes over the rest of a state whose parameters it began with.
  // Errors: invalid_input (moments that do not fit).
  Result<void> restore(const TrainerState& state) {
    if (auto ok = restore("first", state.first_moments, first_moments_); !ok) return ok;
    if (auto ok = restore("second", state.second_moments, second_moments_); !ok) return ok;
    step_ = state.steps;
    return {};
  }

 private:
  struct Chunk {
    int first;  // index in the batch
    int count;
    double loss;
    int correct;
    std::vector<int> labels = {};
    // Of each parameter; empty when there are as many graphs as chunks, and so each chunk's gradients stay in
    // its own.
    std::vector<std::vector<float>> gradients = {};
  };

  // What the teachers say about a graph's samples.
  struct Taught {
    std::vector<float> probabilities;  // of one teacher
    std::vector<float> mean;           // of all
  };

  // What becomes of a part of one parameter once its gradients are added.
  enum class Update {
    descent,
    adam,
    momentum,         // the rest is done for the whole matrix
    running_average,  // of a batch norm, whose "gradients" are the chunks' statistics
  };

  // A part of one parameter.
  struct Block {
    Update update;
    int parameter;
    std::size_t first;  // index of its first weight
    std::span<float> weights;
    // One of each chunk, or what finds that.
    std::vector<std::span<float>> gradients = {};
    std::vector<const DenseGradient*> dense_gradients = {};
    std::span<float> first_moment = {};   // empty without Adam and Muon
    std::span<float> second_moment = {};  // empty without Adam
  };

  // The weights of one convolution, as Muon sees them.
  struct Matrix {
    int parameter;
    Orthogonalizer orthogonalizer;
    std::vector<float> row_major;  // the direction
    dnnl::memory direction;        // a view of it
    dnnl::memory gradient;         // with its momentum, laid out as the master
    dnnl::reorder to_rows;
    dnnl::reorder from_rows;
  };

  // The moments of a parameter lie as its master does.
  dnnl::memory as_memory(int parameter, const std::vector<float>& moments) const {
    return {parameters_.master(parameter).get_desc(), cpu(), const_cast<float*>(moments.data())};
  }

  std::vector<float> moments(int parameter, const std::vector<float>& laid_out) const {
    if (laid_out.empty()) return {};
    return to_row_major(as_memory(parameter, laid_out));
  }

  Result<void> restore(std::string_view which, const std::vector<std::vector<float>>& from,
                       std::vector<std::vector<float>>& to) {
    if (from.size() != to.size()) {
      return Error{
          ErrorCode::invalid_input,
          format("state has {} moments of {} parameters, the network has {}", which, from.size(), to.size())};
    }
    const ComputeMode mode;
    const std::vector<Shape> shapes = *parameter_shapes(architecture_);
    for (std::size_t i = 0; i < from.size(); ++i) {
      const std::size_t expected = to[i].empty() ? 0 : element_count(shapes[i]);
      if (from[i].size() != expected) {
        return Error{ErrorCode::invalid_input, format("state has {} {} moments of parameter {}, must have {}",
                                                      from[i].size(), which, i, expected)};
      }
      if (expected > 0) from_row_major(from[i], as_memory(static_cast<int>(i), to[i]));
    }
    return {};
  }

  static const Adam* adam_of(const Optimizer& optimizer) {
    if (const auto* muon = std::get_if<Muon>(&optimizer)) return &muon->others;
    return std::get_if<Adam>(&optimizer);
  }

  Update choose_update(const ParameterForm& form) const {
    if (form.role == Role::mean || form.role == Role::variance) return Update::running_average;
    if (std::holds_alternative<GradientDescent>(options_.optimizer)) return Update::descent;
    const bool sees_channels = form.shape.size() == 4 && form.shape[1] > 1;
    return std::holds_alternative<Muon>(options_.optimizer) && sees_channels ? Update::momentum
                                                                             : Update::adam;
  }

  void plan_update(int parameter, const ParameterForm& form) {
    const Update update = choose_update(form);
    const std::span<float> weights = floats(parameters_.master(parameter));
    std::vector<float>& first_moment = first_moments_.emplace_back();
    std::vector<float>& second_moment = second_moments_.emplace_back();
    if (update == Update::adam || update == Update::momentum) first_moment.resize(weights.size());
    if (update == Update::adam) second_moment.resize(weights.size());
    const DenseGradient* dense = graphs_.front().dense_gradient(parameter);
    // No block reaches beyond a strip.
    const std::size_t strip =
        dense != nullptr ? dense->sizes().inputs * dense->sizes().strip : weights.size();
    for (std::size_t first = 0, count = 0; first < weights.size(); first += count) {
      count = std::min(kBlock, strip - first % strip);
      Block block{
          .update = update, .parameter = parameter, .first = first, .weights = weights.subspan(first, count)};
      for (std::size_t i = 0; i < chunks_.size(); ++i) {
        if (dense != nullptr) {
          block.dense_gradients.push_back(graphs_[i].dense_gradient(parameter));
        } else {
          block.gradients.push_back(gradient_of(i, parameter).subspan(first, count));
        }
      }
      if (!first_moment.empty()) block.first_moment = std::span(first_moment).subspan(first, count);
      if (!second_moment.empty()) block.second_moment = std::span(second_moment).subspan(first, count);
      blocks_.push_back(std::move(block));
    }
    if (update != Update::momentum) return;
    const auto rows = form.shape[0];
    const auto columns = static_cast<int>(element_count(form.shape)) / rows;
    Matrix matrix{
        parameter, Orthogonalizer(rows, columns), std::vector<float>(element_count(form.shape)), {}, {}, {},
        {}};
    const dnnl::memory::desc layout = parameters_.master(parameter).get_desc();
    matrix.direction = dnnl::memory(row_major(layout.dims()), cpu(), matrix.row_major.data());
    matrix.gradient = dnnl::memory(layout, cpu(), gradient_of(0, parameter).data());
    matrix.to_rows = dnnl::reorder(matrix.gradient, matrix.direction);
    matrix.from_rows = dnnl::reorder(matrix.direction, matrix.gradient);
    matrices_.push_back(std::move(matrix));
  }

  void begin_adam_step(const Adam& adam) {
    const auto t = static_cast<double>(step_ + 1);
    const double first_bias = 1 - std::pow(static_cast<double>(adam.beta1), t);
    const double second_bias = 1 - std::pow(static_cast<double>(adam.beta2), t);
    const float learning_rate = adam.learning_rate * learning_rate_factor_;
    adam_step_ = {adam.beta1, adam.beta2,
                  static_cast<float>(learning_rate * std::sqrt(second_bias) / first_bias), adam.epsilon,
                  learning_rate * adam.weight_decay};
  }

  // Where the gradient of a chunk's samples by a parameter is kept.
  std::span<float> gradient_of(std::size_t chunk, int parameter) {
    if (chunks_[chunk].gradients.empty()) return graphs_[chunk].gradient(parameter);
    return chunks_[chunk].gradients[static_cast<std::size_t>(parameter)];
  }

  void compute(int index, int thread) {
    Chunk& chunk = chunks_[static_cast<std::size_t>(index)];
    const auto place = static_cast<std::size_t>(chunk.gradients.empty() ? index : thread);
    Graph& graph = graphs_[place];
    const auto count = static_cast<std::size_t>(chunk.count);
    const std::span<float> input = graph.input();
    for (std::size_t i = 0; i < count; ++i) {
      chunk.labels[i] =
          (*load_sample_)(chunk.first + static_cast<int>(i), input.subspan(i * sample_size_, sample_size_));
    }
    std::ranges::fill(input.subspan(count * sample_size_), 0.0F);
    graph.forward({options_.seed, step_, chunk.first});
    const std::span<const float> logits = graph.logits();
    const std::span<float> gradient = graph.logits_gradient();
    const std::size_t classes = logits.size() / static_cast<std::size_t>(graph.samples());
    const std::span<const float> taught = ask_teachers(place, input);
    const float scale = 1 / static_cast<float>(options_.batch_size);
    chunk.loss = 0;
    chunk.correct = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const SampleLoss sample =
          softmax_cross_entropy(logits.subspan(i * classes, classes),
                                {.label = chunk.labels[i],
                                 .smoothing = options_.label_smoothing,
                                 .taught = taught.empty() ? taught : taught.subspan(i * classes, classes),
                                 .taught_share = options_.teachers_share},
                                scale, gradient.subspan(i * classes, classes));
      chunk.loss += sample.loss;
      chunk.correct += sample.correct ? 1 : 0;
    }
    std::ranges::fill(gradient.subspan(count * classes), 0.0F);
    graph.backward();
    for (std::size_t i = 0; i < chunk.gradients.size(); ++i) {
      std::ranges::copy(graph.gradient(static_cast<int>(i)), chunk.gradients[i].begin());
    }
  }

  // Returns the mean of the teachers' probabilities for what a graph has as its input, [samples, classes];
  // nothing without teachers.
  std::span<const float> ask_teachers(std::size_t graph, std::span<const float> input) {
    if (teachers_.empty()) return {};
    const std::span<float> mean = taught_[graph].mean;
    const std::span<float> probabilities = taught_[graph].probabilities;
    const std::size_t samples = input.size() / sample_size_;
    std::ranges::fill(mean, 0.0F);
    for (Teacher& teacher : teachers_) {
      Graph& asked = teacher.graphs[graph];
      asked.read_input_from(input.data());
      asked.forward({.learns = false});
      const std::span<const float> logits = asked.logits();
      const std::size_t classes = logits.size() / samples;
      for (std::size_t i = 0; i < logits.size(); i += classes) {
        softmax(logits.subspan(i, classes), probabilities.subspan(i, classes));
      }
      add(probabilities, mean);
    }
    for (float& probability : mean) probability /= static_cast<float>(teachers_.size());
    return mean;
  }

  void update(const Block& block) {
    alignas(64) std::array<float, kBlock> values;
    if (block.dense_gradients.empty()) return update(block, add_gradients(block, values));
    const std::span<float> sum = std::span(values).first(block.weights.size());
    block.dense_gradients.front()->run(block.first, sum);
    // Each chunk's by itself, so that it does not matter how many threads there are.
    alignas(64) std::array<float, kBlock> next_values;
    const std::span<float> next = std::span(next_values).first(sum.size());
    for (std::size_t i = 1; i < block.dense_gradients.size(); ++i) {
      block.dense_gradients[i]->run(block.first, next);
      add(next, sum);
    }
    update(block, sum);
    parameters_.refresh(block.parameter, {block.first, block.weights.size()});
  }

  // Returns the sum of the chunks' gradients, which may lie in `sum`.
  static std::span<float> add_gradients(const Block& block, std::span<float> sum) {
    std::span<float> gradient = block.gradients.front();
    // Muon goes on with the gradients where they lie. Else the sum stays in the core's own cache: in its
    // place it would have to be written back to memory, where an optimizer's time goes.
    if (block.gradients.size() > 1 && block.update != Update::momentum) {
      gradient = sum.first(gradient.size());
      std::ranges::copy(block.gradients.front(), gradient.begin());
    }
    for (std::size_t i = 1; i < block.gradients.size(); ++i) add(block.gradients[i], gradient);
    return gradient;
  }

  void update(const Block& block, std::span<float> gradient) {
    switch (block.update) {
      case Update::descent:
        return descend(std::get<GradientDescent>(options_.optimizer).learning_rate * learning_rate_factor_,
                       gradient, block.weights);
      case Update::adam:
        return descend_adam(adam_step_, gradient, block.first_moment, block.second_moment, block.weights);
      case Update::momentum:
        return add_momentum(std::get<Muon>(options_.optimizer).momentum, gradient, block.first_moment);
      case Update::running_average:
        for (std::size_t i = 0; i < gradient.size(); ++i) {
          const float latest = gradient[i] / static_cast<float>(chunks_.size());
          block.weights[i] += kBatchNormMomentum * (latest - block.weights[i]);
        }
    }
  }

  void update(Matrix& matrix) {
    const Muon& muon = std::get<Muon>(options_.optimizer);
    dnnl::stream stream(cpu());
    matrix.to_rows.execute(stream, matrix.gradient, matrix.direction);
    matrix.orthogonalizer.run(muon.newton_schulz_steps, matrix.row_major);
    matrix.from_rows.execute(stream, matrix.direction, matrix.gradient);
    const dnnl::memory& master = parameters_.master(matrix.parameter);
    descend_muon(muon.learning_rate * learning_rate_factor_, static_cast<int>(master.get_desc().dims()[0]),
                 floats(matrix.gradient), floats(master));
  }

  const Architecture architecture_;
  const TrainerOptions options_;
  const std::size_t sample_size_;
  std::deque<Teacher> teachers_;  // their graphs point to their parameters
  std::vector<Taught> taught_;    // of each graph
  Parameters parameters_;
  std::vector<Graph> graphs_;
  std::vector<Chunk> chunks_;
  std::vector<Block> blocks_;
  std::vector<Matrix> matrices_;
  std::vector<int> stale_copies_;                  // those that no block brings up to date
  std::vector<std::vector<float>> first_moments_;  // of each parameter, laid out as its master
  std::vector<std::vector<float>> second_moments_;
  std::uint64_t step_ = 0;
  float learning_rate_factor_ = 1;
  AdamStep adam_step_ = {};
  const LoadSample* load_sample_ = nullptr;
  std::optional<Crew> crew_;  // last: its threads use everything above
};

// Without a state the training begins.
Result<std::unique_ptr<Trainer>> create_and_restore(const Network& start, const TrainerState* state,
                                                    const TrainerOptions& options) {
  if (auto ok = validate(start); !ok) return std::move(ok).error();
  if (auto ok = check_options(start.architecture, options); !ok) return std::move(ok).error();
  try {
    auto trainer = std::make_unique<ChunkTrainer>(start, options);
    if (state != nullptr) {
      if (auto ok = trainer->restore(*state); !ok) return std::move(ok).error();
    }
    return std::unique_ptr<Trainer>(std::move(trainer));
  } catch (const dnnl::error& error) {
    return to_error(error);
  } catch (const std::system_error& error) {
    return Error{ErrorCode::unavailable,
                 format("cannot start {} threads: {}", options.threads, error.what())};
  }
}

}  // namespace

Result<std::unique_ptr<Trainer>> Trainer::create(const Network& start, const TrainerOptions& options) {
  return create_and_restore(start, nullptr, options);
}

Result<std::unique_ptr<Trainer>> Trainer::resume(const Architecture& architecture, const TrainerState& state,
                                                 const TrainerOptions& options) {
  const Result<Network> start = make_network(architecture, state.parameters);
  if (!start) return start.error();
  return create_and_restore(*start, &state, options);
}

}  // namespace espy::nn
