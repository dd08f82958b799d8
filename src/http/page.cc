#include "http/page.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/base64.h"
#include "base/format.h"

extern "C" {
extern const unsigned char espy_embedded_index_html[], espy_embedded_index_html_end[];
extern const unsigned char espy_embedded_result_html[], espy_embedded_result_html_end[];
extern const unsigned char espy_embedded_login_html[], espy_embedded_login_html_end[];
extern const unsigned char espy_embedded_history_html[], espy_embedded_history_html_end[];
extern const unsigned char espy_embedded_row_html[], espy_embedded_row_html_end[];
extern const unsigned char espy_embedded_style_css[], espy_embedded_style_css_end[];
}

namespace espy::http {
namespace {

using Value = std::pair<std::string_view, Html>;

std::string_view embedded(const unsigned char* begin, const unsigned char* end) {
  return {reinterpret_cast<const char*>(begin), static_cast<std::size_t>(end - begin)};
}

Html notice_html(std::string_view notice) {
  if (notice.empty()) return {};
  return {format("<p class=\"card notice\" role=\"alert\">{}</p>\n", escape(notice).text)};
}

// "2026-11-22 03:41:00 UTC"
std::string shown_time(Timestamp time) {
  std::string text = to_string(time).substr(0, 19);
  text[10] = ' ';
  return text + " UTC";
}

// Returns what the network saw as a BMP (BITMAPINFOHEADER, 8 bits a pixel, rows from the bottom), ink black.
std::string input_picture(const image::Input& input) {
  constexpr std::uint32_t kSide = image::kInputSide;
  static_assert(kSide % 4 == 0, "rows of a BMP are padded to four bytes");
  constexpr std::uint32_t kHeaderBytes = 14 + 40 + 256 * 4;
  std::string bmp = "BM";
  const auto number = [&bmp](std::uint32_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) bmp += static_cast<char>(value >> (8 * i));
  };
  for (const std::uint32_t value : {kHeaderBytes + kSide * kSide, 0u, kHeaderBytes, 40u, kSide, kSide}) {
    number(value, 4);
  }
  number(1, 2);  // planes
  number(8, 2);  // bits a pixel
  for (int i = 0; i < 6; ++i) number(0, 4);
  for (std::uint32_t i = 0; i < 256; ++i) number((255 - i) * 0x010101, 4);
  for (std::size_t row = kSide; row-- > 0;) {
    bmp.append(reinterpret_cast<const char*>(input.data()) + row * kSide, kSide);
  }
  return bmp;
}

// The picture as uploaded; when it was too large to be kept, what the network saw of it.
Html picture_html(const store::Record& record, std::string_view media_type) {
  const std::string answer = escape(answer_words(record)).text;
  if (!media_type.empty()) {
    return {format("<img src=\"{}\" alt=\"The uploaded picture of: {}\" loading=\"lazy\">",
                   upload_url(record.id, media_type), answer)};
  }
  return {format("<img class=\"pixels\" src=\"data:image/bmp;base64,{}\" alt=\"What the model saw of: {}\">",
                 to_base64(input_picture(record.input)), answer)};
}

// Nothing for what is recognized.
Html reason_html(const store::Record& record) {
  const std::string_view reason = reason_words(record);
  if (reason.empty()) return {};
  return {format("<p class=\"quiet\">{}</p>\n", escape(reason).text)};
}

Html correction_html(const store::Record& record) {
  if (!record.correction) return {};
  return {format("<p>corrected: <strong>{}</strong></p>\n", escape(record.correction->class_name).text)};
}

std::vector<Value> record_values(const store::Record& record) {
  return {
      {"answer", escape(answer_words(record))},
      {"reason", reason_html(record)},
      {"correction", correction_html(record)},
      {"confidence", {format("{:.4f}", record.confidence)}},
      {"percent", escape(confidence_words(record.confidence))},
      {"model", escape(record.model)},
      {"version", escape(record.model_version)},
      {"file_name", escape(record.file_name.empty() ? "(no name)" : record.file_name)},
      {"time", escape(to_string(record.time))},
      {"time_shown", escape(shown_time(record.time))},
      {"id", escape(to_string(record.id))},
  };
}

Html result_html(const service::Answer& answer, bool shows_upload) {
  std::vector<Value> values = record_values(answer.record);
  const std::string_view caption = !shows_upload ? "What the model saw"
                                   : answer.upload_media_type.empty()
                                       ? "What the model saw; the upload is too large to be kept"
                                       : "As uploaded";
  values.push_back(
      {"picture",
       {format("<figure>{}<figcaption>{}</figcaption></figure>",
               picture_html(answer.record, shows_upload ? answer.upload_media_type : "").text, caption)}});
  return {fill(embedded(espy_embedded_result_html, espy_embedded_result_html_end), values)};
}

std::string option_html(std::string_view value, std::string_view words, std::string_view chosen) {
  return format("<option value=\"{}\"{}>{}</option>", escape(value).text, value == chosen ? " selected" : "",
                escape(words).text);
}

// One option for each label, with the names that the models have for it: "9 - 9, Ankle boot".
Html label_options(const service::Registry& registry, std::string_view chosen) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < registry.size(); ++i) {
    const std::vector<std::string>& classes = registry.model(i)->class_names();
    names.resize(std::max(names.size(), classes.size()));
    for (std::size_t label = 0; label < classes.size(); ++label) {
      names[label] += (names[label].empty() ? "" : ", ") + classes[label];
    }
  }
  Html options{option_html("", "any", chosen)};
  for (std::size_t label = 0; label < names.size(); ++label) {
    options.text += option_html(format("{}", label), names[label], chosen);
  }
  return options;
}

// The link to the next page: the same filters, another cursor.
Html next_html(const HistoryContent& content) {
  if (!content.page.next) return {};
  std::string target = "/history?";
  for (const std::string_view name : {"model", "label", "file_name", "from", "until"}) {
    const std::string_view value = content.query.get(name).value_or("");
    if (!value.empty()) target += format("{}={}&", name, encode_parameter(value));
  }
  target += "before=" + to_string(*content.page.next);
  return {format("<p><a href=\"{}\" rel=\"next\">Older</a></p>\n", escape(target).text)};
}

}  // namespace

std::string fill(std::string_view page_template, std::span<const Value> values) {
  std::string page;
  for (;;) {
    const std::size_t open = page_template.find("{{");
    page += page_template.substr(0, open);
    if (open == page_template.npos) return page;
    const std::size_t close = page_template.find("}}", open);
    assert(close != page_template.npos);
    const std::string_view name = page_template.substr(open + 2, close - open - 2);
    const auto value = std::ranges::find(values, name, &Value::first);
    assert(value != values.end());
    page += value->second.text;
    page_template.remove_prefix(close + 2);
  }
}

std::string answer_words(const store::Record& record) {
  switch (record.verdict) {
    case Verdict::recognized:
      return record.class_name;
    case Verdict::unsure:
      return format("unsure: {} or {}", record.class_name, record.alternative);
    case Verdict::not_recognized:
      break;
  }
  return "not recognized";
}

std::string_view reason_words(const store::Record& record) {
  switch (record.reason) {
    case Reason::none:
      break;
    case Reason::blank:
      return "there is nothing to see in the picture";
    case Reason::foreign:
      return "it looks like nothing the model was trained on";
    case Reason::ambiguous:
      return "it could be either";
  }
  return "";
}

std::string answer_line(const store::Record& record) {
  // An unsure answer still is one, but must not read as if it were sure.
  const std::string_view reason = record.verdict == Verdict::not_recognized ? reason_words(record) : "";
  return format("The result is: {}{}{}", answer_words(record), reason.empty() ? "" : ": ", reason);
}

std::string confidence_words(float confidence) {
  return format("{:.1f} %", std::floor(static_cast<double>(confidence) * 1000) / 10);
}

std::string upload_url(const Uuid& id, std::string_view media_type) {
  if (media_type.empty()) return {};
  return format("/uploads/{}.{}", to_string(id), media_type.substr(media_type.find('/') + 1));
}

std::string index_page(const service::Registry& registry, const IndexContent& content) {
  std::string_view chosen = content.model;
  if (chosen.empty() && registry.size() > 0) chosen = registry.name(0);
  Html models;
  for (std::size_t i = 0; i < registry.size(); ++i) {
    const std::string name = escape(registry.name(i)).text;
    models.text += format("<label><input type=\"radio\" name=\"model\" value=\"{0}\"{1}>{0}</label>", name,
                          registry.name(i) == chosen ? " checked" : "");
  }
  const std::string title =
      content.answer ? format("{} - espy", answer_words(content.answer->record)) : "espy";
  const Value values[] = {
      {"title", escape(title)},
      {"notice", notice_html(content.notice)},
      {"result", content.answer ? result_html(*content.answer, content.shows_upload) : Html{}},
      {"models", models},
  };
  return fill(embedded(espy_embedded_index_html, espy_embedded_index_html_end), values);
}

std::string history_page(const service::Registry& registry, const HistoryContent& content) {
  const auto filter = [&](std::string_view name) { return content.query.get(name).value_or(""); };
  Html models{option_html("", "any", filter("model"))};
  for (std::size_t i = 0; i < registry.size(); ++i) {
    models.text += option_html(registry.name(i), registry.name(i), filter("model"));
  }
  Html rows;
  for (std::size_t i = 0; i < content.page.records.size(); ++i) {
    std::vector<Value> values = record_values(content.page.records[i]);
    values.push_back({"picture", picture_html(content.page.records[i], content.upload_media_types[i])});
    rows.text += fill(embedded(espy_embedded_row_html, espy_embedded_row_html_end), values);
  }
  rows.text = rows.text.empty() ? "<p>There is no such record.</p>\n"
                                : "<ul class=\"rows\">\n" + std::move(rows.text) + "</ul>\n";
  const Value values[] = {
      {"notice", notice_html(content.notice)},
      {"models", models},
      {"labels", label_options(registry, filter("label"))},
      {"file_name", escape(filter("file_name"))},
      {"from", escape(filter("from"))},
      {"until", escape(filter("until"))},
      {"rows", rows},
      {"next", next_html(content)},
  };
  return fill(embedded(espy_embedded_history_html, espy_embedded_history_html_end), values);
}

std::string login_page(std::string_view notice, std::string_view next, LoggedIn logged_in) {
  constexpr std::string_view kLogout =
      "<form class=\"card\" action=\"/logout\" method=\"post\"><button type=\"submit\">Log "
      "out</button></form>\n";
  const Value values[] = {
      {"notice", notice_html(notice)},
      {"next", escape(next)},
      {"logout", logged_in == LoggedIn::yes ? Html{std::string(kLogout)} : Html{}},
  };
  return fill(embedded(espy_embedded_login_html, espy_embedded_login_html_end), values);
}

std::string_view style_sheet() { return embedded(espy_embedded_style_css, espy_embedded_style_css_end); }

}  // namespace espy::http
