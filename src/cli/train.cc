// espy train: a data set and a recipe become a model file.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <map>
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
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/text.h"
#include "http/json.h"
#include "model/checkpoint.h"
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
  std::optional<std::string> checkpoint;
  int checkpoint_seconds = 30;
  std::optional<std::string> resume;
  bool json = false;
};

// Found out before the training rather than after it.
Result<void> check_writable(const std::filesystem::path& file) {
  const std::filesystem::path folder = file.has_parent_path() ? file.parent_path() : ".";
  std::error_code ignored;
  const std::filesystem::file_type type = std::filesystem::status(file, ignored).type();
  if (type == std::filesystem::file_type::directory) {
    return Error{ErrorCode::invalid_input, format("{} is a folder", file.string())};
  }
  // A new file takes the place of the old one, which would be the end of /dev/null.
  if (type != std::filesystem::file_type::regular &&
      std::filesystem::exists(std::filesystem::file_status(type))) {
    return Error{ErrorCode::invalid_input, format("{} is not a regular file", file.string())};
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

// Where in its training a checkpoint is. A teacher's steps are counted apart from those of what it teaches.
std::string place_of(const model::Checkpoint& checkpoint) {
  const std::string step = format("step {}", checkpoint.state.steps);
  return checkpoint.teachers.empty() ? step
                                     : format("{} of network {}", step, checkpoint.teachers.size() + 1);
}

// A file that holds one checkpoint after the other.
class CheckpointFile {
 public:
  CheckpointFile(std::string path, std::chrono::seconds interval)
      : path_(std::move(path)), interval_(interval) {}

  model::CheckpointPlan plan() {
    return {.save = [this](const model::Checkpoint& checkpoint) { return save(checkpoint); },
            .interval = interval_};
  }

  bool holds_one() const { return holds_one_; }

  // Returns what there is to go on from.
  std::string text() const { return format("{} holds {}", path_, place_); }

 private:
  // A disk that is full before the first step ends the training, which has nothing to lose yet. Later the
  // training is worth more than its checkpoint, and the file still holds the one before.
  Result<void> save(const model::Checkpoint& checkpoint) {
    Result<void> saved = model::save_checkpoint(checkpoint, path_);
    if (saved) {
      place_ = place_of(checkpoint);
      holds_one_ = true;
    } else if (holds_one_) {
      say(format("{}; {}", saved.error().message, text()));
      return {};
    }
    return saved;
  }

  const std::string path_;
  const std::chrono::seconds interval_;
  std::string place_;
  bool holds_one_ = false;
};

// Trains, showing how it goes.
Result<model::ModelContent> train_visibly(const model::Dataset& data, const model::Recipe& recipe,
                                          const Settings& settings, int threads,
                                          std::optional<model::Checkpoint> resume_from,
                                          std::optional<model::CheckpointPlan> checkpoints,
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
                       .precision = nn::precision_named(settings.precision),
                       .on_progress = on_progress,
                       .checkpoints = std::move(checkpoints),
                       .resume_from = std::move(resume_from)});
}

Result<void> check_files(const Settings& settings) {
  if (auto writable = check_writable(settings.out); !writable) return writable;
  if (!settings.checkpoint) return {};
  // However they are spelled: "model.onnx" is "./model.onnx".
  std::error_code ignored;
  if (std::filesystem::weakly_canonical(*settings.checkpoint, ignored) ==
      std::filesystem::weakly_canonical(settings.out, ignored)) {
    return Error{ErrorCode::invalid_input, format("model and checkpoint are the same file {}", settings.out)};
  }
  return check_writable(*settings.checkpoint);
}

ExitStatus train(const Settings& settings) {
  const InterruptWatch watch;
  if (auto ok = check_files(settings); !ok) return fail(ok.error());
  std::optional<model::Checkpoint> resume_from;
  if (settings.resume) {
    auto checkpoint = model::load_checkpoint(*settings.resume);
    if (!checkpoint) return fail(checkpoint.error());
    say(format("{} is of {}", *settings.resume, place_of(*checkpoint)));
    resume_from = *std::move(checkpoint);
  }
  const auto data = model::load_dataset(settings.data, model::Split::train, data_search());
  if (!data) return fail(data.error());
  const auto test = model::load_dataset(settings.data, model::Split::test, data_search());
  if (!test) return fail(test.error());
  const model::Recipe& recipe = *model::find_recipe(settings.recipe);
  // More threads than samples in a batch would have nothing to do; asking for them is an error.
  const int threads = settings.threads > 0 ? settings.threads : std::min(thread_count(0), recipe.batch_size);

  std::optional<CheckpointFile> checkpoints;
  if (settings.checkpoint) {
    checkpoints.emplace(*settings.checkpoint, std::chrono::seconds(settings.checkpoint_seconds));
  }
  auto content = train_visibly(*data, recipe, settings, threads, std::move(resume_from),
                               checkpoints ? std::optional(checkpoints->plan()) : std::nullopt, watch);
  if (!content) {
    const std::string message = checkpoints && checkpoints->holds_one()
                                    ? format("{}; {}", content.error().message, checkpoints->text())
                                    : content.error().message;
    if (!watch.interrupted()) return fail({content.error().code, message});
    say(message + "; no model was written");
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
        .field("recipe_content", model::content_digest(recipe, data->preparation))
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
  flags.number<int>("--max-steps", "N", settings->max_steps, {0, 1'000'000'000},
                    "train each network for at most so many steps", "as the recipe says");
  flags.choice(
      "--precision", {"auto", "f32", "bf16"}, settings->precision,
      "numbers to multiply in; auto: bf16 for networks with convolutions where the processor has it");
  flags.optional_text("--checkpoint", "FILE", settings->checkpoint,
                      "keep in this file what a training that ends early can go on from");
  flags.number<int>("--checkpoint-every", "SECONDS", settings->checkpoint_seconds, {0, 86'400},
                    "time between two checkpoints; 0: one after each step");
  flags.optional_text("--resume", "FILE", settings->resume,
                      "go on from this checkpoint, to the same model bit for bit");
  flags.toggle("--json", settings->json, "print one JSON object for each epoch and one at the end");
  flags.note(note);
  flags.note(
      "Ctrl-C makes a last checkpoint. To go on from one, name it with --resume and repeat the other\n"
      "flags; a checkpoint of another data set, recipe, seed, precision or number of steps is refused, and\n"
      "one from a processor with other instructions. `deep`, `mlp` and `softmax` need the same\n"
      "--threads as well. The same bits take the same build of espy.");
  flags.note(
      "A named data set is looked for in $ESPY_DATA, in the user's cache (~/.cache/espy), and in\n"
      "/usr/share/datasets.");
  return [settings] { return train(*settings); };
}

}  // namespace espy::cli
