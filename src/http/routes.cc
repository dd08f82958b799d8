#include "http/routes.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <exception>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/format.h"
#include "base/log.h"
#include "http/json.h"
#include "http/json_input.h"
#include "http/metrics.h"
#include "http/multipart.h"
#include "http/page.h"
#include "http/text.h"

namespace espy::http {
namespace {

constexpr std::string_view kTextType = "text/plain; charset=utf-8";
constexpr std::string_view kNoStore = "Cache-Control: no-store\r\n";

// A record's upload never changes under its id, so it may be kept for ever (a year, RFC 9111 section 4.2.2's
// customary longest). It is a stranger's: the sandbox keeps a browser from running anything in it.
constexpr std::string_view kUploadFields =
    "Content-Security-Policy: default-src 'none'; sandbox\r\n"
    "Cache-Control: private, max-age=31536000, immutable\r\n";

// What an upload is served as; image::media_type has the same.
constexpr std::string_view kUploadTypes[] = {"image/png", "image/jpeg", "image/gif", "image/bmp",
                                             "image/webp"};

constexpr std::string_view kNoneSelected = "no-selected-file";  // what the redirect to the page says

// The endings that POST / takes; the content decides what the picture is.
constexpr std::string_view kExtensions[] = {"png", "jpg", "jpeg", "gif", "bmp", "webp"};

bool has_picture_extension(std::string_view file_name) {
  const std::size_t dot = file_name.rfind('.');
  if (dot == file_name.npos) return false;
  std::string extension(file_name.substr(dot + 1));
  std::ranges::transform(extension, extension.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return std::ranges::find(kExtensions, extension) != std::end(kExtensions);
}

// Only a browser asks for HTML by name.
bool wants_page(const Request& request) { return request.accept.find("text/html") != std::string::npos; }

Response page_response(int status, std::string page) {
  return {.status = status,
          .content_type = kPageType,
          .body = std::move(page),
          .fields = std::string(kPageFields)};
}

Response json_response(JsonWriter json) {
  return {.content_type = kJsonType, .body = std::move(json).text(), .fields = std::string(kNoStore)};
}

// What is said of an error to the outside; why we failed ourselves is for the operator alone.
std::string_view told(const Error& error) {
  if (status_of(error.code) != 500) return error.message;
  log::error(error.message);
  return "internal error";
}

Error bad_parameter(std::string_view name, std::string_view value, std::string_view wanted) {
  constexpr std::size_t kShownBytes = 64;
  return {ErrorCode::invalid_input,
          format("parameter {} is \"{}\", must be {}", name, value.substr(0, kShownBytes), wanted)};
}

template <typename Number>
std::optional<Number> parse_number(std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return {};
  return number;
}

// Whether a filter without a value is a mistake, or a field of a form that was left empty.
enum class EmptyFilter { refused, absent };

Result<store::Query> parse_filters(const Query& parameters, EmptyFilter empty) {
  const auto given = [&](std::string_view name) {
    std::optional<std::string_view> value = parameters.get(name);
    if (value && value->empty() && empty == EmptyFilter::absent) value.reset();
    return value;
  };
  store::Query query;
  if (const auto value = given("model")) query.model = *value;
  if (const auto value = given("file_name")) query.file_name = *value;
  if (const auto value = given("subject")) query.subject = *value;
  for (const auto& [name, time] : {std::pair{"from", &query.from}, {"until", &query.until}}) {
    if (const auto value = given(name)) {
      *time = parse_timestamp(*value);
      if (!*time) return bad_parameter(name, *value, "a time such as 2026-11-22 or 2026-11-22T03:41:00Z");
    }
  }
  if (const auto value = given("label")) {
    query.label = parse_number<int>(*value);
    if (!query.label) return bad_parameter("label", *value, "a whole number");
  }
  for (const auto& [name, confidence] :
       {std::pair{"min_confidence", &query.min_confidence}, {"max_confidence", &query.max_confidence}}) {
    if (const auto value = given(name)) {
      *confidence = parse_number<float>(*value);
      if (!(*confidence >= 0.0f && *confidence <= 1.0f))
        return bad_parameter(name, *value, "a number from 0 to 1");
    }
  }
  if (const auto value = given("before")) {
    query.before = parse_uuid(*value);
    if (!query.before) return bad_parameter("before", *value, "the \"next\" of an earlier page");
  }
  if (const auto value = given("limit")) {
    const std::optional<int> limit = parse_number<int>(*value);
    if (!limit || *limit < 1 || *limit > 1000)
      return bad_parameter("limit", *value, "a number from 1 to 1000");
    query.limit = *limit;
  }
  return query;
}

Result<std::vector<std::string>> upload_media_types(store::Store& store,
                                                    std::span<const store::Record> records) {
  std::vector<Uuid> ids;
  for (const store::Record& record : records) ids.push_back(record.id);
  return store.upload_media_types(ids);
}

// The parts of a form that a classification needs.
struct Form {
  const Part* file = nullptr;
  std::optional<std::string> model;
  std::optional<std::string> subject;
  std::vector<Part> parts;
};

Result<Form> parse_form(const Request& request) {
  const Result<std::string> boundary = boundary_of(request.content_type);
  if (!boundary) return boundary.error();
  Result<std::vector<Part>> parts = parse_multipart(request.body, *boundary);
  if (!parts) return std::move(parts).error();
  Form form;
  form.parts = *std::move(parts);
  for (const Part& part : form.parts) {
    if (part.name == "file") {
      if (form.file) return Error{ErrorCode::invalid_input, "there are two parts named file"};
      form.file = &part;
    } else if (part.name == "model") {
      if (form.model) return Error{ErrorCode::invalid_input, "there are two parts named model"};
      form.model = std::string(part.content);
    } else if (part.name == "subject") {
      if (form.subject) return Error{ErrorCode::invalid_input, "there are two parts named subject"};
      form.subject = std::string(part.content);
    }
  }
  return form;
}

// Whom the picture is about: the form says it, or the header. It is kept as it was said, for two that differ
// must stay two; so one that is too long is refused, not cut.
Result<std::string> subject_of(const Request& request, const Form* form) {
  constexpr std::size_t kMaxSubjectBytes = 255;
  std::string subject = form && form->subject ? *form->subject : request.subject;
  if (subject.size() > kMaxSubjectBytes) {
    return Error{ErrorCode::invalid_input,
                 format("subject has {} bytes, limit is {}", subject.size(), kMaxSubjectBytes)};
  }
  if (valid_utf8(subject) != subject) return Error{ErrorCode::invalid_input, "subject is not UTF-8"};
  return subject;
}

// Takes a part's content out of the body without a second copy of it.
std::string take_content(std::string& body, std::string_view content) {
  const auto begin = static_cast<std::size_t>(content.data() - body.data());
  body.resize(begin + content.size());
  body.erase(0, begin);
  return std::move(body);
}

// Returns what stands for the braces in a path, or nothing when the path is another.
std::optional<std::string_view> match(std::string_view pattern, std::string_view path) {
  const std::size_t brace = pattern.find('{');
  if (brace == pattern.npos) return pattern == path ? std::optional(std::string_view()) : std::nullopt;
  const std::string_view tail = pattern.substr(pattern.find('}') + 1);
  if (!path.starts_with(pattern.substr(0, brace)) || !path.ends_with(tail)) return {};
  if (path.size() < brace + tail.size()) return {};
  const std::string_view segment = path.substr(brace, path.size() - tail.size() - brace);
  if (segment.empty() || segment.find('/') != segment.npos) return {};
  return segment;
}

std::string_view method_name(Method method) { return method == Method::post ? "POST" : "GET, HEAD"; }

constexpr std::string_view kIndexParameters[] = {"model", "notice"};
constexpr std::string_view kFormParameters[] = {"model"};
constexpr std::string_view kPredictParameters[] = {"model", "file_name", "coverage"};
constexpr std::string_view kPageParameters[] = {"model", "label",  "file_name", "from",
                                                "until", "before", "limit"};
constexpr std::string_view kListParameters[] = {"from",           "until",          "model",     "label",
                                                "min_confidence", "max_confidence", "file_name", "subject",
                                                "limit",          "before"};

}  // namespace

// One request on its way through a handler.
struct Routes::Call {
  Request& request;
  service::Lane& lane;
  Respond respond;
  const Route* route = nullptr;  // none while it is looked for
  std::string_view segment{};    // what stood for the braces of the route's path
  Query query{};
};

std::span<const Routes::Route> Routes::table() {
  static constexpr Route kRoutes[] = {
      {Method::get, "/", kIndexParameters, &Routes::show_index, "the page with the form"},
      {Method::post, "/", kFormParameters, &Routes::classify_form,
       "classifies the picture in the form's field file; a page for browsers, a line of text for others"},
      {Method::get, "/history", kPageParameters, &Routes::show_history, "the page of past predictions"},
      {Method::get, "/uploads/{name}", {}, &Routes::show_upload, "a picture as it was uploaded"},
      {Method::get, "/style.css", {}, &Routes::show_style, "the pages' style sheet"},
      {Method::post, "/api/predict", kPredictParameters, &Routes::predict,
       "classifies a picture, the body itself or the part file of a form; its record, once that is on disk"},
      {Method::get, "/api/history", kListParameters, &Routes::list_records, "records, newest first"},
      {Method::get, "/api/history/{id}", {}, &Routes::find_record, "one record"},
      {Method::post,
       "/api/history/{id}/correction",
       {},
       &Routes::correct_record,
       "appends a person's right label; the record, once that is on disk"},
      {Method::get, "/api/models", {}, &Routes::list_models, "the models that are served"},
      {Method::get, "/livez", {}, &Routes::show_alive, "whether the process answers"},
      {Method::get, "/metrics", {}, &Routes::show_metrics, "figures in Prometheus's text format"},
      {Method::get, "/readyz", {}, &Routes::show_ready, "whether requests should be sent here"},
  };
  return kRoutes;
}

Routes::Routes(service::Classifier& classifier) : classifier_(classifier) {}

void Routes::answer(Request& request, service::Lane& lane, Respond respond) const {
  Call call{request, lane, std::move(respond)};
  const Target target = split_target(request.target);
  const Method method = request.method == Method::head ? Method::get : request.method;
  std::string allowed;
  for (const Route& route : table()) {
    const std::optional<std::string_view> segment = match(route.path, target.path);
    if (!segment) continue;
    if (!allowed.empty()) allowed += ", ";
    allowed += method_name(route.method);
    if (route.method == method) {
      call.route = &route;
      call.segment = *segment;
    }
  }
  if (!call.route) {
    if (allowed.empty()) return respond_error(call, 404, "there is no such path");
    Response response = json_error(405, format("this path takes {}", allowed));
    response.fields = format("Allow: {}\r\n", allowed);
    return call.respond(std::move(response));
  }

  Result<Query> query = Query::parse(target.query, call.route->parameters);
  if (!query) return respond_error(call, query.error());
  call.query = *std::move(query);
  (this->*call.route->handler)(call);
}

void Routes::respond_error(const Call& call, int status, std::string_view message) const {
  const std::string_view path = split_target(call.request.target).path;
  const bool is_page = path == "/" || path == "/history" || (!call.route && !path.starts_with("/api/"));
  if (is_page && wants_page(call.request)) {
    return call.respond(page_response(
        status, index_page(classifier_.registry(), {.model = {}, .notice = message, .answer = {}})));
  }
  if (path != "/") return call.respond(json_error(status, message));
  call.respond({.status = status, .content_type = kTextType, .body = std::string(message), .fields = {}});
}

void Routes::respond_error(const Call& call, const Error& error) const {
  respond_error(call, status_of(error.code), told(error));
}

void Routes::show_index(Call& call) const {
  const std::string_view model = call.query.get("model").value_or("");
  if (const Result<std::size_t> found = classifier_.registry().find(model); !found) {
    return respond_error(call, found.error());
  }
  const bool none_selected = call.query.get("notice") == kNoneSelected;
  call.respond(page_response(
      200, index_page(classifier_.registry(),
                      {.model = model, .notice = none_selected ? "No selected file" : "", .answer = {}})));
}

// A form on a foreign page can send a picture here. That does no more than any visitor may do: there is no
// session whose rights it could borrow, nothing is changed but one record added, and the policy of browsers
// keeps the answer from the foreign page.
void Routes::classify_form(Call& call) const {
  if (!is_multipart(call.request.content_type)) return respond_error(call, 400, "No file part");
  Result<Form> form = parse_form(call.request);
  if (!form) return respond_error(call, form.error());
  if (!form->file || !form->file->file_name) return respond_error(call, 400, "No file part");

  std::string model(form->model ? *form->model : call.query.get("model").value_or(""));
  const std::string& file_name = *form->file->file_name;
  if (file_name.empty()) {
    const std::string chosen = model.empty() ? "" : "&model=" + encode_parameter(model);
    return call.respond({.status = 303,
                         .content_type = kTextType,
                         .body = "No selected file",
                         .fields = format("Location: /?notice={}{}\r\n", kNoneSelected, chosen)});
  }
  if (!has_picture_extension(file_name)) {
    return respond_error(call, 400,
                         format("file name \"{}\" does not end in .png, .jpg, .jpeg, .gif, .bmp or .webp",
                                clean_file_name(file_name)));
  }

  Result<std::string> subject = subject_of(call.request, &*form);
  if (!subject) return respond_error(call, subject.error());
  const bool as_page = wants_page(call.request);
  service::Request upload{.upload = {},
                          .file_name = clean_file_name(file_name),
                          .model = std::move(model),
                          .subject = *std::move(subject)};
  upload.upload = take_content(call.request.body, form->file->content);
  call.lane.classify(
      std::move(upload), [this, as_page, respond = std::move(call.respond)](Result<service::Answer> answer) {
        if (answer && as_page) {
          const std::string model_name = answer->record.model;
          return respond(page_response(
              200, index_page(classifier_.registry(),
                              {.model = model_name, .notice = {}, .answer = *std::move(answer)})));
        }
        if (answer) {
          return respond({.status = 200,
                          .content_type = kTextType,
                          .body = answer_line(answer->record) + "\n",
                          .fields = std::string(kNoStore)});
        }
        const int status = status_of(answer.error().code);
        const std::string_view message = told(answer.error());
        if (as_page) {
          return respond(page_response(
              status, index_page(classifier_.registry(), {.model = {}, .notice = message, .answer = {}})));
        }
        respond({.status = status, .content_type = kTextType, .body = std::string(message), .fields = {}});
      });
}

void Routes::predict(Call& call) const {
  service::Request upload;
  upload.model = call.query.get("model").value_or("");
  upload.file_name = clean_file_name(call.query.get("file_name").value_or(""));
  if (const auto value = call.query.get("coverage")) {
    upload.coverage = parse_number<double>(*value);
    if (!(upload.coverage >= 0.0 && upload.coverage <= 1.0)) {
      return respond_error(call, bad_parameter("coverage", *value, "a number from 0 to 1"));
    }
  }
  if (is_multipart(call.request.content_type)) {
    Result<Form> form = parse_form(call.request);
    if (!form) return respond_error(call, form.error());
    if (!form->file) {
      return respond_error(call, 400, "the form has no part named file");
    }
    if (form->model) upload.model = *std::move(form->model);
    if (form->file->file_name) upload.file_name = clean_file_name(*form->file->file_name);
    Result<std::string> subject = subject_of(call.request, &*form);
    if (!subject) return respond_error(call, subject.error());
    upload.subject = *std::move(subject);
    upload.upload = take_content(call.request.body, form->file->content);
  } else {
    Result<std::string> subject = subject_of(call.request, nullptr);
    if (!subject) return respond_error(call, subject.error());
    upload.subject = *std::move(subject);
    upload.upload = std::move(call.request.body);
  }
  call.lane.classify(std::move(upload), [respond = std::move(call.respond)](Result<service::Answer> answer) {
    if (!answer) return respond(json_error(status_of(answer.error().code), told(answer.error())));
    JsonWriter json;
    append_record(json, answer->record, upload_url(answer->record.id, answer->upload_media_type),
                  Shown::as_answer, answer->set);
    respond(json_response(std::move(json)));
  });
}

void Routes::list_records(Call& call) const {
  const Result<store::Query> query = parse_filters(call.query, EmptyFilter::refused);
  if (!query) return respond_error(call, query.error());
  call.lane.list(*query, [this, respond = std::move(call.respond)](Result<store::Listing> listing) {
    if (!listing) return respond(json_error(status_of(listing.error().code), told(listing.error())));
    const auto media_types = upload_media_types(classifier_.store(), listing->page.records);
    if (!media_types)
      return respond(json_error(status_of(media_types.error().code), told(media_types.error())));

    JsonWriter json;
    json.begin_object().key("records").begin_array();
    for (std::size_t i = 0; i < listing->page.records.size(); ++i) {
      const store::Record& record = listing->page.records[i];
      append_record(json, record, upload_url(record.id, (*media_types)[i]), Shown::as_history);
    }
    const std::optional<Uuid>& next = listing->page.next;
    json.end_array().field_or_null("next", next ? to_string(*next) : "");
    if (!listing->missing.empty()) json.field("missing", listing->missing);
    json.end_object();
    respond(json_response(std::move(json)));
  });
}

void Routes::find_record(Call& call) const {
  const std::optional<Uuid> id = parse_uuid(call.segment);
  if (!id) return respond_error(call, 404, "there is no such record: its id is not a UUID");
  call.lane.find(*id, [this, respond = std::move(call.respond)](Result<store::Record> record) {
    if (!record) return respond(json_error(status_of(record.error().code), told(record.error())));
    const auto media_types = upload_media_types(classifier_.store(), {&*record, 1});
    if (!media_types)
      return respond(json_error(status_of(media_types.error().code), told(media_types.error())));
    JsonWriter json;
    append_record(json, *record, upload_url(record->id, media_types->front()), Shown::as_history);
    respond(json_response(std::move(json)));
  });
}

// A form on a foreign page cannot come here: a browser sends no JSON to another site without asking it first.
void Routes::correct_record(Call& call) const {
  const std::optional<Uuid> id = parse_uuid(call.segment);
  if (!id) return respond_error(call, 404, "there is no such record: its id is not a UUID");
  if (!call.request.content_type.starts_with(kJsonType)) {
    return respond_error(
        call, 400, format("the content type is \"{}\", must be {}", call.request.content_type, kJsonType));
  }
  Result<CorrectionInput> input = parse_correction(call.request.body);
  if (!input) return respond_error(call, input.error());
  call.lane.correct(
      {.record = *id,
       .label = input->label,
       .author = std::move(input->author),
       .note = std::move(input->note)},
      [this, respond = std::move(call.respond)](Result<store::Record> record) {
        if (!record) return respond(json_error(status_of(record.error().code), told(record.error())));
        const auto media_types = classifier_.store().upload_media_types(std::array{record->id});
        if (!media_types) {
          return respond(json_error(status_of(media_types.error().code), told(media_types.error())));
        }
        JsonWriter json;
        append_record(json, *record, upload_url(record->id, media_types->front()), Shown::as_history);
        respond(json_response(std::move(json)));
      });
}

void Routes::show_metrics(Call& call) const {
  const Result<store::HistoryStatus> status = classifier_.store().status();
  if (!status) return respond_error(call, status.error());
  call.respond({.status = 200,
                .content_type = kMetricsType,
                .body = metrics_text(*status, classifier_.now()),
                .fields = std::string(kNoStore)});
}

void Routes::show_history(Call& call) const {
  const Result<store::Query> query = parse_filters(call.query, EmptyFilter::absent);
  if (!query) {
    const HistoryContent content{
        .query = call.query, .notice = query.error().message, .page = {}, .upload_media_types = {}};
    return call.respond(page_response(400, history_page(classifier_.registry(), content)));
  }
  call.lane.list(*query, [this, asked = std::move(call.query), as_page = wants_page(call.request),
                          respond = std::move(call.respond)](Result<store::Listing> listing) {
    const auto fail = [&](const Error& error) {
      const int status = status_of(error.code);
      if (!as_page) return respond(json_error(status, told(error)));
      respond(page_response(
          status, index_page(classifier_.registry(), {.model = {}, .notice = told(error), .answer = {}})));
    };
    if (!listing) return fail(listing.error());
    auto media_types = upload_media_types(classifier_.store(), listing->page.records);
    if (!media_types) return fail(media_types.error());
    const std::string notice =
        listing->missing.empty() ? "" : format("This is not all of the history: {}", listing->missing);
    const HistoryContent content{.query = asked,
                                 .notice = notice,
                                 .page = std::move(listing->page),
                                 .upload_media_types = *std::move(media_types)};
    respond(page_response(200, history_page(classifier_.registry(), content)));
  });
}

void Routes::show_upload(Call& call) const {
  const std::optional<Uuid> id = parse_uuid(call.segment.substr(0, call.segment.find('.')));
  if (!id) return respond_error(call, 404, "there is no such upload: its name is not one of ours");
  Result<store::Upload> upload = classifier_.store().find_upload(*id);
  if (!upload) return respond_error(call, upload.error());
  const std::string url = upload_url(*id, upload->media_type);
  const std::string_view name = std::string_view(url).substr(url.rfind('/') + 1);
  if (call.segment != name) return respond_error(call, 404, format("there is no such upload; it is {}", url));
  const auto* type = std::ranges::find(kUploadTypes, upload->media_type);
  if (type == std::end(kUploadTypes)) {
    return respond_error(call,
                         {ErrorCode::corrupt, format("upload {} is kept as {}", name, upload->media_type)});
  }
  call.respond({.status = 200,
                .content_type = *type,
                .body = std::move(upload->bytes),
                .fields = format("Content-Disposition: inline; filename=\"{}\"\r\n{}", name, kUploadFields)});
}

void Routes::show_style(Call& call) const {
  call.respond({.status = 200,
                .content_type = "text/css; charset=utf-8",
                .body = std::string(style_sheet()),
                .fields = "Cache-Control: max-age=300\r\n"});
}

void Routes::list_models(Call& call) const {
  const service::Registry& registry = classifier_.registry();
  JsonWriter json;
  json.begin_object().key("models").begin_array();
  for (std::size_t i = 0; i < registry.size(); ++i) {
    const model::Model& model = *registry.model(i);
    json.begin_object()
        .field("name", registry.name(i))
        .field("version", model.version())
        .field("recipe", model.recipe())
        .field("preparation", image::to_string(model.preparation()));
    json.key("classes").begin_array();
    for (const std::string& name : model.class_names()) json.value(name);
    json.end_array().key("metrics").begin_object();
    for (const auto& [name, value] : model.metrics()) json.field(name, value);
    json.end_object();
    json.field("calibrated", model.calibration().has_value()).field("default", i == 0).end_object();
  }
  json.end_array().end_object();
  call.respond(json_response(std::move(json)));
}

void Routes::show_alive(Call& call) const {
  call.respond({.status = 200,
                .content_type = kJsonType,
                .body = "{\"status\":\"ok\"}",
                .fields = std::string(kNoStore)});
}

void Routes::show_ready(Call& call) const {
  if (stopping_) return respond_error(call, 503, "the server is stopping");
  show_alive(call);
}

}  // namespace espy::http
