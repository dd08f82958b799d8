// espy train: a data set and a recipe become a model file.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/format.h"
#include "cli/commands.h"
#include "cli/environment.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/text.h"
#include "http/json.h"
#include "model/evaluate.h"
#include "model/train.h"

namespace espy::cli {
namespace {

struct Settings {
  std::string data;
  std::string recipe;
  std::string out;
  std::uint64_t seed = 1;
  int threads = 0;
  int max_steps = 0;
  std::string precision = "auto";
  bool json = false;
};

std::optional<nn::Precision> precision_named(std::string_view name) {
  if (name == "f32") return nn::Precision::f32;
  if (name == "bf16") return nn::Precision::bf16;
  return std::nullopt;
}

// Found out before the training rather than after it.
Result<void> check_writable(const std::filesystem::path& file) {
  const std::filesystem::path folder = file.has_parent_path() ? file.parent_path() : ".";
  if (std::filesystem::is_directory(file)) {
    return Error{ErrorCode::invalid_input, format("{} is a folder", file.string())};
  }
  if (::access(folder.c_str(), W_OK) != 0) {
    return Error{ErrorCode::unavailable, format("cannot write {}: {}", file.string(), std::strerror(errno))};
  }
  return {};
}

std::string epoch_json(const model::Progress& progress) {
  http::JsonWriter json;
  json.begin_object()
      .field("event", "epoch")
      .field("epoch", progress.epoch)
      .field("epochs", progress.epochs)
      .field("step", progress.step)
      .field("steps", progress.steps)
      .field("loss", json_figure(progress.loss))
      .field("accuracy", json_figure(progress.accuracy))
      .field("images_a_second", json_figure(progress.images_a_second))
      .field("seconds", json_figure(progress.elapsed.count()))
      .end_object();
  return std::move(json).text() + "\n";
}

// Trains, showing how it goes.
Result<model::ModelContent> train_visibly(const model::Dataset& data, const model::Recipe& recipe,
                                          const Settings& settings, int threads,
                                          const InterruptWatch& watch) {
  std::optional<ProgressDisplay> display;
  if (const int width = terminal_width(stderr); width > 0) {
    display.emplace(width, [](const std::string& text) { std::fwrite(text.data(), 1, text.size(), stderr); });
  }
  const auto on_progress = [&](const model::Progress& progress) {
    if (display) display->update(progress);
    if (progress.epoch_ends) {
      if (settings.json) {
        print(epoch_json(progress));
        flush();
      } else if (!display) {
        say(epoch_line(progress));
      }
    }
    return !watch.interrupted();
  };
  return model::train(data, recipe,
                      {.seed = settings.seed,
                       .threads = threads,
                       .max_steps = settings.max_steps,
                       .precision = precision_named(settings.precision),
                       .on_progress = on_progress});
}

ExitStatus train(const Settings& settings) {
  if (auto writable = check_writable(settings.out); !writable) return fail(writable.error());
  const auto data = model::load_dataset(settings.data, model::Split::train, data_search());
  if (!data) return fail(data.error());
  const auto test = model::load_dataset(settings.data, model::Split::test, data_search());
  if (!test) return fail(test.error());
  const model::Recipe& recipe = *model::find_recipe(settings.recipe);
  // More threads than samples in a batch would have nothing to do; asking for them is an error.
  const int threads = settings.threads > 0 ? settings.threads : std::min(thread_count(0), recipe.batch_size);

  const InterruptWatch watch;
  auto content = train_visibly(*data, recipe, settings, threads, watch);
  if (!content) {
    if (!watch.interrupted()) return fail(content.error());
    say(content.error().message + "; nothing was written");
    return ExitStatus::interrupted;
  }

  auto trained = model::Model::create(*content);
  if (!trained) return fail(trained.error());
  const auto evaluation =
      model::evaluate(std::make_shared<const model::Model>(*std::move(trained)), *test, threads);
  if (!evaluation) return fail(evaluation.error());
  content->metrics["test_accuracy"] = format("{:.4f}", evaluation->accuracy);
  content->metrics["test_calibration_error"] = format("{:.4f}", evaluation->calibration_error);
  content->metrics["test_negative_log_likelihood"] = format("{:.4f}", evaluation->negative_log_likelihood);
  content->metrics["data"] = data->name;
  const auto model = model::Model::create(*std::move(content));
  if (!model) return fail(model.error());
  if (auto saved = model->save(settings.out); !saved) return fail(saved.error());

  if (settings.json) {
    http::JsonWriter json;
    json.begin_object()
        .field("event", "done")
        .field("file", settings.out)
        .field("bytes", model->file().size())
        .field("version", model->version())
        .field("recipe", model->recipe())
        .field("data", data->name)
        .field("test_count", evaluation->count)
        .field("test_accuracy", json_figure(evaluation->accuracy))
        .field("test_calibration_error", json_figure(evaluation->calibration_error))
        .field("test_negative_log_likelihood", json_figure(evaluation->negative_log_likelihood))
        .end_object();
    print(std::move(json).text() + "\n");
  } else {
    print(format("test accuracy {} ({} of {}), calibration error {}\n", percent(evaluation->accuracy),
                 grouped(static_cast<std::uint64_t>(evaluation->correct)),
                 grouped(static_cast<std::uint64_t>(evaluation->count)),
                 percent(evaluation->calibration_error)));
    print(format("wrote {}, version {}, {}\n", settings.out, model->version(),
                 to_size_text(model->file().size())));
  }
  return ExitStatus::done;
}

}  // namespace

Action declare_train(Flags& flags) {
  auto settings = std::make_shared<Settings>();
  std::vector<std::string> names;
  std::string note = "Recipes:";
  for (const model::Recipe& recipe : model::recipes()) {
    names.emplace_back(recipe.name);
    note += format("\n  {:<8}  {}", recipe.name, recipe.description);
  }
  flags.required_text("--data", "NAME", settings->data,
                      "mnist, fashion-mnist, or a folder with the four idx files");
  flags.required_choice("--recipe", "NAME", names, settings->recipe, "what to train; see below");
  flags.required_text("--out", "FILE", settings->out, "the model file to write (ONNX)");
  flags.number<std::uint64_t>("--seed", "N", settings->seed, {},
                              "begin of all random numbers; the same seed and threads repeat a training");
  flags.number<int>("--threads", "N", settings->threads, {0, 1024}, "threads to compute with",
                    "one for each processor");
  flags.number<int>("--max-steps", "N", settings->max_steps, {0, 1'000'000'000}, "stop after so many steps",
                    "as the recipe says");
  flags.choice("--precision", {"auto", "f32", "bf16"}, settings->precision,
               "numbers that the recipes 5s and 1m multiply in; auto: bf16 where the processor has it");
  flags.toggle("--json", settings->json, "print one JSON object for each epoch and one at the end");
  flags.note(note);
  flags.note(
      "A named data set is looked for in $ESPY_DATA, in the user's cache (~/.cache/espy), and in\n"
      "/usr/share/datasets.");
  return [settings] { return train(*settings); };
}

}  // namespace espy::cli
