#include "cli/figures.h"

#include <cstdint>
#include <random>
#include <string_view>
#include <utility>

#include "base/format.h"
#include "cli/environment.h"
#include "cli/help.h"
#include "cli/output.h"
#include "cli/text.h"
#include "http/json.h"

namespace espy::cli {

void print_figures(const std::vector<Figure>& figures, FigureStyle style) {
  const std::string processor = processor_name();
  const int processors = thread_count(0);
  if (style == FigureStyle::table) {
    print(format("{}, {}, {} x {}\n", version_text(), ESPY_BUILD_TYPE, processors, processor));
    Table table({{"what"}, {"figure", Align::right}, {"unit"}});
    std::string_view above;
    for (const Figure& figure : figures) {
      table.add({figure.name == above ? "" : figure.name,
                 figure.value < 1000 ? format("{:.2f}", figure.value)
                                     : grouped(static_cast<std::uint64_t>(figure.value + 0.5)),
                 figure.unit});
      above = figure.name;
    }
    print(table.text());
    return;
  }
  http::JsonWriter json;
  json.begin_object()
      .field("version", version_text())
      .field("build", ESPY_BUILD_TYPE)
      .field("processor", processor)
      .field("processors", processors);
  json.key("figures").begin_array();
  for (const Figure& figure : figures) {
    json.begin_object()
        .field("name", figure.name)
        .field("value", json_figure(figure.value))
        .field("unit", figure.unit)
        .end_object();
  }
  json.end_array().end_object();
  print(std::move(json).text() + "\n");
}

model::Dataset make_noise(std::size_t count) {
  model::Dataset data{.name = "noise",
                      .preparation = image::Preparation::digit,
                      .class_names = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"},
                      .inputs = std::vector<image::Input>(count),
                      .labels = std::vector<std::uint8_t>(count)};
  std::mt19937 random(1);
  for (std::size_t sample = 0; sample < count; ++sample) {
    for (std::uint8_t& value : data.inputs[sample]) value = static_cast<std::uint8_t>(random());
    data.labels[sample] = static_cast<std::uint8_t>(random() % 10);
  }
  return data;
}

}  // namespace espy::cli
