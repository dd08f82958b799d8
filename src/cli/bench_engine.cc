// espy bench engine: what training and inference reach of what the processor can do.
#include <unistd.h>

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "base/format.h"
#include "cli/commands.h"
#include "cli/environment.h"
#include "cli/figures.h"
#include "cli/output.h"
#include "model/model.h"
#include "model/recipe.h"
#include "model/train.h"
#include "nn/bench.h"
#include "nn/predictor.h"

namespace espy::cli {
namespace {

using Seconds = std::chrono::duration<double>;
using SteadyClock = std::chrono::steady_clock;

struct Settings {
  std::string measure = "all";
  std::string recipe = "all";
  std::string precision = "all";
  int threads = 0;
  double seconds = 1;
  bool json = false;
};

std::string threads_text(int threads) { return threads == 1 ? "1 thread" : format("{} threads", threads); }

// One run of the command: what it is asked for, and the figures so far.
class EngineBench {
 public:
  explicit EngineBench(const Settings& settings) : settings_(settings), duration_(settings.seconds) {
    for (const model::Recipe& recipe : model::recipes()) {
      const auto is_same = [&recipe](const model::Recipe* other) {
        return nn::to_string(other->architecture) == nn::to_string(recipe.architecture);
      };
      const bool shown = recipe.name != "softmax" && std::ranges::none_of(recipes_, is_same);
      if (settings.recipe == recipe.name || (settings.recipe == "all" && shown)) recipes_.push_back(&recipe);
    }
    if (settings.precision != "bf16") precisions_.push_back(nn::Precision::f32);
    if (settings.precision == "bf16" || (settings.precision == "all" && nn::multiplies_bf16())) {
      precisions_.push_back(nn::Precision::bf16);
    }
    thread_counts_ = {settings.threads};
    if (settings.threads == 0) {
      thread_counts_ = {1};
      if (const int all = thread_count(0); all > 1) thread_counts_.push_back(all);
    }
  }

  Result<std::vector<Figure>> run() {
    using Part = Result<void> (EngineBench::*)();
    // Loading comes first: it is what a process does that has computed nothing yet.
    constexpr std::pair<std::string_view, Part> kParts[] = {{"load", &EngineBench::load},
                                                            {"peak", &EngineBench::peak},
                                                            {"training", &EngineBench::training},
                                                            {"layers", &EngineBench::layers},
                                                            {"inference", &EngineBench::inference}};
    for (const auto& [name, part] : kParts) {
      if (settings_.measure != "all" && settings_.measure != name) continue;
      if (auto ok = (this->*part)(); !ok) return std::move(ok).error();
    }
    return std::move(figures_);
  }

 private:
  void add(std::string name, double value, std::string unit) {
    figures_.push_back({std::move(name), value, std::move(unit)});
  }

  // From a model file on the disk to the first logits. Only the first model finds a process that has computed
  // nothing yet; ask for one recipe to know what it takes.
  Result<void> load() {
    for (const model::Recipe* recipe : recipes_) {
      Result<nn::Network> network = nn::initialize(recipe->architecture, recipe->initializer, 1);
      if (!network) return network.error();
      const auto model = model::Model::create({.network = *std::move(network),
                                               .preparation = image::Preparation::digit,
                                               .class_names = make_noise(0).class_names,
                                               .recipe = std::string(recipe->name),
                                               .metrics = {}});
      if (!model) return model.error();
      const auto file =
          std::filesystem::temp_directory_path() / format("espy-bench-{}-{}.onnx", ::getpid(), recipe->name);
      if (auto saved = model->save(file); !saved) return saved;
      const auto began = SteadyClock::now();
      Result<model::Model> loaded = model::Model::load(file);
      std::error_code ignored;
      std::filesystem::remove(file, ignored);
      if (!loaded) return std::move(loaded).error();
      const auto shared = std::make_shared<const model::Model>(*std::move(loaded));
      const auto predictor =
          nn::Predictor::create(std::shared_ptr<const nn::Network>(shared, &shared->network()));
      if (!predictor) return predictor.error();
      const std::vector<float> input(nn::element_count(recipe->architecture.input), 0.5F);
      (void)(*predictor)->logits(input, 1);
      add(format("load {} to first logits", recipe->name), Seconds(SteadyClock::now() - began).count() * 1e3,
          "ms");
    }
    return {};
  }

  Result<void> peak() {
    for (const nn::Precision precision : precisions_) {
      for (const int threads : thread_counts_) {
        const auto peak = nn::measure_peak(precision, threads);
        if (!peak) return peak.error();
        const std::string which = format("{}, {}", nn::to_string(precision), threads_text(threads));
        if (peak->instructions > 0) {
          add(format("peak of instructions, {}", which), peak->instructions * 1e-9, "GFLOP/s");
        }
        add(format("peak of matrices, {}", which), peak->matrices * 1e-9, "GFLOP/s");
        peaks_.push_back({precision, threads, *peak});
      }
    }
    return {};
  }

  // Adds a rate of operations a second and, where the peaks were measured, its shares of them.
  void add_rate(const std::string& name, double rate, nn::Precision precision, int threads) {
    add(name, rate * 1e-9, "GFLOP/s");
    const auto found = std::ranges::find_if(peaks_, [&](const MeasuredPeak& measured) {
      return measured.precision == precision && measured.threads == threads;
    });
    if (found == peaks_.end()) return;
    const auto& [instructions, matrices] = found->peak;
    if (instructions > 0) add(name, 100 * rate / instructions, "% of instructions");
    add(name, 100 * rate / matrices, "% of matrices");
  }

  Result<void> training() {
    const model::Dataset data = make_noise(6000);
    for (const model::Recipe* recipe : recipes_) {
      for (const nn::Precision precision : precisions_) {
        for (const int wanted : thread_counts_) {
          const int threads = std::min(wanted, recipe->batch_size);
          const auto rate = images_a_second(data, *recipe, precision, threads);
          if (!rate) return rate.error();
          const std::string name =
              format("train {} {}, {}", recipe->name, nn::to_string(precision), threads_text(threads));
          add(name, kEpochImages / *rate, "s/epoch of 60,000");
          add_rate(name, static_cast<double>(*nn::training_operations(recipe->architecture)) * *rate,
                   precision, threads);
        }
      }
    }
    return {};
  }

  // Returns the rate of the steps behind the first fifth of the time, in which memory and caches fill.
  Result<double> images_a_second(const model::Dataset& data, model::Recipe recipe, nn::Precision precision,
                                 int threads) const {
    constexpr double kWarmUp = 0.2;
    recipe.steps = 1'000'000'000;
    recipe.epochs = 0;
    recipe.teachers = {};  // the network's own steps, as nn::training_operations counts them
    std::optional<model::Progress> first;
    double rate = 0;
    const auto on_progress = [&](const model::Progress& progress) {
      if (!first) {
        if (progress.elapsed >= duration_ * kWarmUp) first = progress;
        return true;
      }
      const Seconds spent = progress.elapsed - first->elapsed;
      rate = (progress.step - first->step) * recipe.batch_size / spent.count();
      return progress.elapsed < duration_;
    };
    const auto trained =
        model::train(data, recipe, {.threads = threads, .precision = precision, .on_progress = on_progress});
    // Being stopped by on_progress is the way this ends.
    if (rate == 0) return trained.error();
    return rate;
  }

  Result<void> layers() {
    for (const model::Recipe* recipe : recipes_) {
      const int samples = recipe->chunk_size > 0 ? recipe->chunk_size : recipe->batch_size;
      for (const nn::Precision precision : precisions_) {
        const auto network = nn::initialize(recipe->architecture, recipe->initializer, 1);
        if (!network) return network.error();
        const auto times = nn::measure_operations(*network, samples, precision);
        if (!times) return times.error();
        for (const nn::OperationTime& time : *times) {
          const std::string name = format("{} {}, {} samples, {}: {}", recipe->name, nn::to_string(precision),
                                          samples, time.name, time.implementation);
          add(name, time.seconds * 1e6, "us");
          if (time.operations == 0) continue;
          add_rate(name, static_cast<double>(time.operations) / time.seconds, precision, 1);
        }
      }
    }
    return {};
  }

  Result<void> inference() {
    for (const model::Recipe* recipe : recipes_) {
      const auto initial = nn::initialize(recipe->architecture, recipe->initializer, 1);
      if (!initial) return initial.error();
      const auto network = std::make_shared<const nn::Network>(*nn::for_inference(*initial));
      for (const nn::Precision precision : precisions_) {
        for (const int batch : {1, 64}) {
          for (const int threads : thread_counts_) {
            const auto rate = predictions_a_second(network, precision, batch, threads);
            if (!rate) return rate.error();
            const std::string name = format("predict {} {}, batch of {}, {}", recipe->name,
                                            nn::to_string(precision), batch, threads_text(threads));
            add(name, *rate, "images/s");
            add_rate(name, static_cast<double>(*nn::inference_operations(recipe->architecture)) * *rate,
                     precision, threads);
          }
        }
      }
    }
    return {};
  }

  // Half of each picture is paper, zero, as of Fashion-MNIST's (50.2 %; of MNIST's 80.9 %): what is zero may
  // be left out.
  static std::vector<float> pictures(const nn::Architecture& architecture, int batch) {
    const auto width = static_cast<std::size_t>(architecture.input.back());
    std::vector<float> values(nn::element_count(architecture.input) * static_cast<std::size_t>(batch));
    for (std::size_t i = 0; i < values.size(); ++i) {
      const std::size_t column = i % width;
      values[i] = column >= width / 4 && column < width - width / 4 ? 0.5F : 0.0F;
    }
    return values;
  }

  // Each thread has its own predictor and its own batches, as the server's event loops have.
  Result<double> predictions_a_second(const std::shared_ptr<const nn::Network>& network,
                                      nn::Precision precision, int batch, int threads) const {
    std::vector<std::unique_ptr<nn::Predictor>> predictors;
    for (int i = 0; i < threads; ++i) {
      auto predictor = nn::Predictor::create(network, precision);
      if (!predictor) return std::move(predictor).error();
      predictors.push_back(*std::move(predictor));
    }
    const std::vector<float> inputs = pictures(network->architecture, batch);
    std::barrier meeting(threads);
    std::vector<double> rates(predictors.size());
    const auto work = [&](std::size_t thread) {
      nn::Predictor& predictor = *predictors[thread];
      const auto calls_until = [&](SteadyClock::time_point end) {
        int calls = 0;
        for (; SteadyClock::now() < end; ++calls) (void)predictor.logits(inputs, batch);
        return calls;
      };
      calls_until(SteadyClock::now() + std::chrono::duration_cast<SteadyClock::duration>(duration_ / 5));
      meeting.arrive_and_wait();
      const auto began = SteadyClock::now();
      const int calls = calls_until(began + std::chrono::duration_cast<SteadyClock::duration>(duration_));
      rates[thread] = calls * batch / Seconds(SteadyClock::now() - began).count();
    };
    try {
      nn::run_on_threads(predictors.size(), work);
    } catch (const std::system_error& error) {
      return Error{ErrorCode::unavailable, format("cannot start {} threads: {}", threads, error.what())};
    }
    double sum = 0;
    for (const double rate : rates) sum += rate;
    return sum;
  }

  struct MeasuredPeak {
    nn::Precision precision;
    int threads;
    nn::Peak peak;
  };

  const Settings& settings_;
  const Seconds duration_;
  std::vector<const model::Recipe*> recipes_;
  std::vector<nn::Precision> precisions_;
  std::vector<int> thread_counts_;
  std::vector<MeasuredPeak> peaks_;
  std::vector<Figure> figures_;
};

}  // namespace

Action declare_bench_engine(Flags& flags) {
  auto settings = std::make_shared<Settings>();
  std::vector<std::string> recipes = {"all"};
  for (const model::Recipe& recipe : model::recipes()) recipes.emplace_back(recipe.name);
  flags.choice("--measure", {"all", "load", "peak", "training", "layers", "inference"}, settings->measure,
               "what to measure");
  flags.choice("--recipe", std::move(recipes), settings->recipe,
               "whose network; all: each once, but that of softmax");
  flags.choice("--precision", {"all", "f32", "bf16"}, settings->precision,
               "numbers to multiply in; all: those that the processor has");
  flags.number<int>("--threads", "N", settings->threads, {0, 1024}, "threads to compute with",
                    "one, and one for each processor");
  flags.number<double>("--seconds", "SECONDS", settings->seconds, {0.01, 3600},
                       "time for each training and inference");
  flags.toggle("--json", settings->json, "print one JSON object");
  flags.note(
      "A peak is of instructions that multiply and add registers, or of oneDNN multiplying matrices.\n"
      "Operations are those of convolutions and dense layers; a multiply-add counts as two. With\n"
      "several threads each predicts its own batches.");
  return [settings] {
    const auto figures = EngineBench(*settings).run();
    if (!figures) return fail(figures.error());
    print_figures(*figures, settings->json ? FigureStyle::json : FigureStyle::table);
    return ExitStatus::done;
  };
}

}  // namespace espy::cli
