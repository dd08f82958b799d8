// espy eval: how good a model is.
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/format.h"
#include "cli/commands.h"
#include "cli/environment.h"
#include "cli/output.h"
#include "cli/shipped_models.h"
#include "cli/text.h"
#include "http/json.h"
#include "model/evaluate.h"

namespace espy::cli {
namespace {

struct Settings {
  std::string model;
  std::string data;
  std::string foreign;
  std::optional<double> coverage;
  int threads = 0;
  std::string precision = "f32";
  bool json = false;
};

std::string count_text(int count) { return grouped(static_cast<std::uint64_t>(count)); }

std::string class_table(const model::Evaluation& evaluation) {
  Table table({{"class"}, {"count", Align::right}, {"precision", Align::right}, {"recall", Align::right}});
  for (const model::ClassFigures& figures : evaluation.classes) {
    table.add(
        {figures.class_name, count_text(figures.count), percent(figures.precision), percent(figures.recall)});
  }
  return table.text();
}

// Columns are headed by the labels' numbers: class names may be too wide for ten of them.
std::string confusion_table(const model::Evaluation& evaluation) {
  std::vector<Table::Column> columns = {{"label"}};
  for (std::size_t answer = 0; answer < evaluation.confusion.size(); ++answer) {
    columns.push_back({format("{}", answer), Align::right});
  }
  Table table(std::move(columns));
  for (std::size_t label = 0; label < evaluation.confusion.size(); ++label) {
    const std::string number = format("{}", label);
    const std::string& name = evaluation.classes[label].class_name;
    std::vector<std::string> cells = {name == number ? number : format("{} {}", number, name)};
    for (const int count : evaluation.confusion[label]) cells.push_back(count_text(count));
    table.add(std::move(cells));
  }
  return table.text();
}

void append_shares(http::JsonWriter& json, const model::VerdictShares& shares) {
  json.key("verdicts")
      .begin_object()
      .field("recognized", json_figure(shares.recognized))
      .field("unsure", json_figure(shares.unsure))
      .field("foreign", json_figure(shares.foreign))
      .field("blank", json_figure(shares.blank))
      .end_object();
}

std::string shares_text(const model::VerdictShares& shares) {
  return format("recognized {}, unsure {}, not recognized {} (foreign {}, blank {})",
                percent(shares.recognized), percent(shares.unsure), percent(shares.foreign + shares.blank),
                percent(shares.foreign), percent(shares.blank));
}

// What was asked for besides the figures of the data set.
struct Extras {
  std::optional<double> coverage;
  std::string foreign_name;
  std::optional<model::Separation> separation;
};

std::string evaluation_json(const model::Model& model, const model::Dataset& data,
                            const model::Evaluation& evaluation, const Extras& extras) {
  http::JsonWriter json;
  json.begin_object()
      .field("version", model.version())
      .field("data", data.name)
      .field("count", evaluation.count)
      .field("correct", evaluation.correct)
      .field("accuracy", json_figure(evaluation.accuracy))
      .field("calibration_error", json_figure(evaluation.calibration_error))
      .field("negative_log_likelihood", json_figure(evaluation.negative_log_likelihood))
      .field("calibrated", model.calibration().has_value());
  append_shares(json, evaluation.verdicts);
  json.field("accuracy_of_recognized", json_figure(evaluation.accuracy_of_recognized));
  if (evaluation.sets) {
    json.key("sets")
        .begin_object()
        .field("asked_coverage", json_figure(*extras.coverage))
        .field("coverage", json_figure(evaluation.sets->coverage))
        .field("mean_size", json_figure(evaluation.sets->mean_size))
        .end_object();
  }
  if (extras.separation) {
    json.key("foreign")
        .begin_object()
        .field("data", extras.foreign_name)
        .field("count", extras.separation->count)
        .field("auroc", json_figure(extras.separation->auroc));
    append_shares(json, extras.separation->verdicts);
    json.end_object();
  }
  json.key("classes").begin_array();
  for (const model::ClassFigures& figures : evaluation.classes) {
    json.begin_object()
        .field("class", figures.class_name)
        .field("count", figures.count)
        .field("precision", json_figure(figures.precision))
        .field("recall", json_figure(figures.recall))
        .end_object();
  }
  json.end_array();
  json.key("confusion").begin_array();
  for (const std::vector<int>& answers : evaluation.confusion) {
    json.begin_array();
    for (const int count : answers) json.value(count);
    json.end_array();
  }
  json.end_array().end_object();
  return std::move(json).text() + "\n";
}

ExitStatus evaluate(const Settings& settings) {
  const auto model = load_model(settings.model);
  if (!model) return fail(model.error());
  const auto data = model::load_dataset(settings.data, model::Split::test, data_search());
  if (!data) return fail(data.error());
  const int threads = thread_count(settings.threads);
  const auto precision = usable_precision(settings.precision);
  if (!precision) return fail(precision.error());
  const auto evaluation = model::evaluate(*model, *data, threads, settings.coverage, *precision);
  if (!evaluation) return fail(evaluation.error());
  Extras extras{.coverage = settings.coverage, .foreign_name = {}, .separation = {}};
  if (!settings.foreign.empty()) {
    const auto foreign =
        model::load_dataset(settings.foreign, model::Split::test, data_search(), (*model)->preparation());
    if (!foreign) return fail(foreign.error());
    const auto separation = model::separate(*model, data->inputs, foreign->inputs, threads, *precision);
    if (!separation) return fail(separation.error());
    extras.foreign_name = foreign->name;
    extras.separation = *separation;
  }

  if (settings.json) {
    print(evaluation_json(**model, *data, *evaluation, extras));
    return ExitStatus::done;
  }
  print(format("{} (version {}) on the {} test pictures of {}\n\n", settings.model, (*model)->version(),
               count_text(evaluation->count), data->name));
  print(format("accuracy                 {} ({} of {})\n", percent(evaluation->accuracy),
               count_text(evaluation->correct), count_text(evaluation->count)));
  print(format("calibration error        {}\n", percent(evaluation->calibration_error)));
  print(format("negative log-likelihood  {:.4f}\n", evaluation->negative_log_likelihood));
  print(format("verdicts                 {}{}\n", shares_text(evaluation->verdicts),
               (*model)->calibration() ? "" : "; the model is not calibrated"));
  print(format("accuracy of recognized   {}\n", percent(evaluation->accuracy_of_recognized)));
  if (evaluation->sets) {
    print(format("sets for {}         {} hold the label, {:.3f} classes on average\n",
                 percent(*extras.coverage), percent(evaluation->sets->coverage),
                 evaluation->sets->mean_size));
  }
  if (extras.separation) {
    print(format("foreign: {} of {}   AUROC {:.4f}; {}\n", count_text(extras.separation->count),
                 extras.foreign_name, extras.separation->auroc, shares_text(extras.separation->verdicts)));
  }
  print("\n");
  print(class_table(*evaluation));
  print("\nconfusion: a row for each label, a column for each answer\n");
  print(confusion_table(*evaluation));
  return ExitStatus::done;
}

}  // namespace

Action declare_eval(Flags& flags) {
  auto settings = std::make_shared<Settings>();
  flags.argument("MODEL", settings->model, format("a model file, {}", shipped_model_names()));
  flags.required_text("--data", "NAME", settings->data,
                      "mnist, fashion-mnist, or a folder with the idx files; its test part is used");
  flags.text("--foreign", "NAME", settings->foreign,
             "another data set, whose pictures the model should not recognize");
  flags.optional_number<double>("--coverage", "SHARE", settings->coverage, {0, 1},
                                "also measure the sets of classes that hold the right one so often");
  flags.number<int>("--threads", "N", settings->threads, {0, 1024}, "threads to compute with",
                    "one for each processor");
  flags.choice("--precision", {"f32", "bf16"}, settings->precision,
               "numbers to multiply in; bf16 is quicker where the processor has it, and less exact");
  flags.toggle("--json", settings->json, "print one JSON object");
  return [settings] { return evaluate(*settings); };
}

}  // namespace espy::cli
