// espy eval: how good a model is.
#include <memory>
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
  int threads = 0;
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

std::string evaluation_json(const model::Model& model, const model::Dataset& data,
                            const model::Evaluation& evaluation) {
  http::JsonWriter json;
  json.begin_object()
      .field("version", model.version())
      .field("data", data.name)
      .field("count", evaluation.count)
      .field("correct", evaluation.correct)
      .field("accuracy", json_figure(evaluation.accuracy))
      .field("calibration_error", json_figure(evaluation.calibration_error))
      .field("negative_log_likelihood", json_figure(evaluation.negative_log_likelihood));
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
  const auto evaluation = model::evaluate(*model, *data, thread_count(settings.threads));
  if (!evaluation) return fail(evaluation.error());

  if (settings.json) {
    print(evaluation_json(**model, *data, *evaluation));
    return ExitStatus::done;
  }
  print(format("{} (version {}) on the {} test pictures of {}\n\n", settings.model, (*model)->version(),
               count_text(evaluation->count), data->name));
  print(format("accuracy                 {} ({} of {})\n", percent(evaluation->accuracy),
               count_text(evaluation->correct), count_text(evaluation->count)));
  print(format("calibration error        {}\n", percent(evaluation->calibration_error)));
  print(format("negative log-likelihood  {:.4f}\n\n", evaluation->negative_log_likelihood));
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
  flags.number<int>("--threads", "N", settings->threads, {0, 1024}, "threads to compute with",
                    "one for each processor");
  flags.toggle("--json", settings->json, "print one JSON object");
  return [settings] { return evaluate(*settings); };
}

}  // namespace espy::cli
