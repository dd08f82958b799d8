// The two pages, filled from the templates in web/. Nothing in them is script.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "http/query.h"
#include "http/text.h"
#include "service/classifier.h"
#include "service/registry.h"
#include "store/store.h"

namespace espy::http {

inline constexpr std::string_view kPageType = "text/html; charset=utf-8";

// Header fields of every page. The policy allows our own style sheet and pictures, and nothing else: no
// script, no frame around it, no form that sends elsewhere.
inline constexpr std::string_view kPageFields =
    "Content-Security-Policy: default-src 'none'; style-src 'self'; img-src 'self' data:; form-action "
    "'self'; "
    "base-uri 'none'; frame-ancestors 'none'\r\n"
    "Referrer-Policy: same-origin\r\n"
    "Cross-Origin-Opener-Policy: same-origin\r\n"
    "Cross-Origin-Resource-Policy: same-origin\r\n"
    "X-Frame-Options: DENY\r\n"  // for browsers that do not know frame-ancestors
    "Cache-Control: no-store\r\n";

// Replaces each {{name}} of the template. Every name of the template must be among the values.
std::string fill(std::string_view page_template, std::span<const std::pair<std::string_view, Html>> values);

// Returns the words for a prediction: the class name, "not recognized", or "unsure: 3 or 5".
std::string answer_words(const store::Record& record);

// Returns why it is not simply recognized, as a sentence without its stop; empty when it is.
std::string_view reason_words(const store::Record& record);

// Returns the line that stands for a prediction: "The result is: 7", or what else there is to say of it.
std::string answer_line(const store::Record& record);

// Returns "99.9 %", rounded down: only certainty reads as 100 %.
std::string confidence_words(float confidence);

// Returns where the upload of a record is found; empty without a media type, when it was not kept.
std::string upload_url(const Uuid& id, std::string_view media_type);

struct IndexContent {
  std::string_view model;   // chosen in the form; empty for the default one
  std::string_view notice;  // what went wrong; empty for none
  std::optional<service::Answer> answer;
  // Whether who sees the page may see uploads; if not, it shows what the model saw.
  bool shows_upload = true;
};

std::string index_page(const service::Registry& registry, const IndexContent& content);

struct HistoryContent {
  const Query& query;  // the filters, as they stand in the form
  std::string_view notice;
  store::Page page;
  std::vector<std::string> upload_media_types;  // one for each record
};

std::string history_page(const service::Registry& registry, const HistoryContent& content);

// The page that asks for a key. `next` is where the browser goes with it.
enum class LoggedIn { no, yes };
std::string login_page(std::string_view notice, std::string_view next, LoggedIn logged_in);

// The style sheet of all.
std::string_view style_sheet();

}  // namespace espy::http
