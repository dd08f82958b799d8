#include "http/routes.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <exception>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/foreign_text.h"
#include "base/format.h"
#include "base/log.h"
#include "base/process_status.h"
#include "http/call.h"
#include "http/content_coding.h"
#include "http/json.h"
#include "http/json_input.h"
#include "http/metrics.h"
#include "http/multipart.h"
#include "http/openapi.h"
#include "http/page.h"

namespace espy::http {
namespace {

// A record's upload never changes under its id, so it may be kept for ever (a year, RFC 9111 section 4.2.2's
// customary longest). It is a stranger's: the sandbox keeps a browser from running anything in it.
constexpr std::string_view kUploadFields =
    "Content-Security-Policy: default-src 'none'; sandbox\r\n"
    "Cross-Origin-Resource-Policy: same-origin\r\n"
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
  std::vector<const Part*> files;  // into the parts
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
      form.files.push_back(&part);
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

// Whom the picture is about: the form says it, or the header.
std::string subject_of(const Request& request, const Form* form) {
  return form && form->subject ? *form->subject : request.subject;
}

// What ends a line is no part of a data URL.
std::string_view trim_end(std::string_view text) {
  const std::size_t last = text.find_last_not_of(" \r\n");
  return text.substr(0, last == text.npos ? 0 : last + 1);
}

// Takes a part's content out of the body without a second copy of it.
std::string take_content(std::string& body, std::string_view content) {
  const auto begin = static_cast<std::size_t>(content.data() - body.data());
  body.resize(begin + content.size());
  body.erase(0, begin);
  return std::move(body);
}

using Segments = std::array<std::string_view, 2>;

// Returns what stands for the braces in a path, in order, or nothing when the path is another.
std::optional<Segments> match(std::string_view pattern, std::string_view path) {
  Segments segments;
  std::size_t found = 0;
  while (true) {
    const std::size_t brace = pattern.find('{');
    if (brace == pattern.npos) return pattern == path ? std::optional(segments) : std::nullopt;
    if (!path.starts_with(pattern.substr(0, brace))) return {};
    path.remove_prefix(brace);
    pattern.remove_prefix(pattern.find('}') + 1);
    // What stands for braces ends where the pattern's part of the same segment begins.
    const std::string_view segment = path.substr(0, path.find('/'));
    const std::string_view tail = pattern.substr(0, pattern.find('/'));
    if (segment.size() <= tail.size() || !segment.ends_with(tail)) return {};
    segments[found++] = segment.substr(0, segment.size() - tail.size());
    path.remove_prefix(segment.size());
    pattern.remove_prefix(tail.size());
  }
}

// Returns a page of ours to go to, whatever was asked for: never another site's.
std::string_view local_page(std::string_view path) { return path == "/history" ? "/history" : "/"; }

Response see_other(std::string_view path, std::string fields) {
  return {.status = 303,
          .content_type = kTextType,
          .body = {},
          .fields = format("Location: {}\r\n{}{}", path, kNoStore, fields)};
}

bool is_foreign(std::string_view path) { return path.starts_with("/v2") || path.starts_with("/v1"); }

std::string_view method_name(Method method) { return method == Method::post ? "POST" : "GET, HEAD"; }

constexpr std::string_view kLoginFields[] = {"key", "next"};

}  // namespace

Response json_response(std::string text) {
  return {.content_type = kJsonType, .body = std::move(text), .fields = std::string(kNoStore)};
}

Response json_response(JsonWriter json) { return json_response(std::move(json).text()); }

// What is said of an error to the outside; why we failed ourselves is for the operator alone.
std::string_view told(const Error& error) {
  if (status_of(error.code) != 500) return error.message;
  log::error(error.message);
  return "internal error";
}

Response told_of(const store::Record& record, Response response) {
  response.model = record.model;
  response.record = record.id;
  return response;
}

Response told_of(std::span<const service::Answer> answers, Response response) {
  if (!answers.empty()) response.model = answers.front().record.model;
  for (const service::Answer& answer : answers) response.records.push_back(answer.record.id);
  return response;
}

Response plain_error(int status, std::string_view message) {
  JsonWriter json;
  json.begin_object().field("error", message).end_object();
  return {.status = status, .content_type = kJsonType, .body = std::move(json).text(), .fields = {}};
}

Response plain_error(const Error& error) { return plain_error(status_of(error.code), told(error)); }

Routes::Routes(service::Classifier& classifier, const Gate& gate, std::size_t max_body_bytes,
               std::vector<std::string> guest_routes)
    : classifier_(classifier),
      gate_(gate),
      max_body_bytes_(max_body_bytes),
      guest_routes_(std::move(guest_routes)),
      figures_(table().size() + guest_routes_.size()) {}

std::size_t Routes::answer(Request& request, service::Lane& lane, Respond respond) const {
  Call call{request, lane, std::move(respond)};
  const Target target = split_target(request.target);
  const Method method = request.method == Method::head ? Method::get : request.method;
  if (std::string fields = gate_.cors_fields(request); !fields.empty()) {
    if (method == Method::options && request.is_preflight) {
      call.respond({.status = 204, .content_type = {}, .body = {}, .fields = std::move(fields)});
      return table().size();
    }
    call.respond = [fields = std::move(fields), respond = std::move(call.respond)](Response response) {
      response.fields += fields;
      respond(std::move(response));
    };
  }
  std::string_view resource;  // the first path that fits: the table has the more particular ones first
  for (const Route& route : table()) {
    const std::optional<Segments> segments = match(route.path, target.path);
    if (!segments || (!resource.empty() && route.path != resource)) continue;
    resource = route.path;
    if (route.method != method) continue;
    call.route = &route;
    call.segments = *segments;
    break;
  }
  if (!request.accept_encoding.empty()) compress_answer(call);
  if (!call.route) {
    refuse_target(call, resource);
    return table().size();
  }
  const auto place = static_cast<std::size_t>(call.route - table().data());

  if (std::optional<Gate::Denial> denial = gate_.deny(request, call.route->scope)) {
    respond_denial(call, *std::move(denial));
    return place;
  }
  Result<Query> query = Query::parse(target.query, call.route->parameters);
  if (!query) {
    respond_error(call, query.error());
    return place;
  }
  call.query = *std::move(query);
  if (const Result<void> said = service::check_said(request.subject, request.id); !said) {
    respond_error(call, said.error());
    return place;
  }
  if (!request.content_encoding.empty()) {
    const Result<void> decoded = decode_body(request, max_body_bytes_);
    if (!decoded) {
      respond_error(call, decoded.error());
      return place;
    }
  }
  (this->*call.route->handler)(call);
  return place;
}

Response Routes::refusal(std::string_view path, int status, std::string_view message) {
  return is_foreign(path) ? plain_error(status, message) : json_error(status, message);
}

Response Routes::refusal(const Request& request, int status, std::string_view message) const {
  Response response = refusal(split_target(request.target).path, status, message);
  response.fields += gate_.cors_fields(request);
  return response;
}

void Routes::respond_denial(const Call& call, Gate::Denial denial) const {
  const bool needs_key = denial.status == 401 || denial.status == 403;
  if (needs_key && gate_.has_keys() && wants_page(call.request)) {
    const bool begins = denial.status == 401 && call.request.cookie.empty();
    Response page =
        page_response(denial.status, login_page(begins ? "" : denial.message, local_page(call.route->path),
                                                denial.status == 403 ? LoggedIn::yes : LoggedIn::no));
    page.fields += denial.fields;
    return call.respond(std::move(page));
  }
  Response response = refusal(call.route->path, denial.status, denial.message);
  response.fields += denial.fields;
  call.respond(std::move(response));
}

void Routes::compress_answer(Call& call) const {
  const std::optional<Deflated> coding = choose_coding(call.request.accept_encoding);
  if (!coding) return;
  call.respond = [coding = *coding, respond = std::move(call.respond)](Response response) {
    encode_body(response, coding);
    respond(std::move(response));
  };
}

// Says what the resource takes, a path of the table; empty: there is none.
void Routes::refuse_target(Call& call, std::string_view resource) const {
  std::string allowed;
  for (const Route& route : table()) {
    if (route.path != resource) continue;
    if (!allowed.empty()) allowed += ", ";
    allowed += method_name(route.method);
  }
  if (allowed.empty()) return respond_error(call, 404, "there is no such path");
  Response response = refusal(resource, 405, format("this path takes {}", allowed));
  response.fields = format("Allow: {}\r\n", allowed);
  call.respond(std::move(response));
}

void Routes::respond_error(const Call& call, int status, std::string_view message) const {
  const std::string_view path = split_target(call.request.target).path;
  if (is_foreign(path)) return call.respond(plain_error(status, message));
  const bool is_page = path == "/" || path == "/history" || (!call.route && !path.starts_with("/api/"));
  if (is_page && wants_page(call.request)) {
    return call.respond(page_response(status, index_page(*classifier_.catalog().registry(),
                                                         {.model = {}, .notice = message, .answer = {}})));
  }
  if (path != "/") return call.respond(json_error(status, message));
  call.respond({.status = status, .content_type = kTextType, .body = std::string(message), .fields = {}});
}

void Routes::respond_error(const Call& call, const Error& error) const {
  respond_error(call, status_of(error.code), told(error));
}

void Routes::show_index(Call& call) const {
  const std::string_view model = call.query.get("model").value_or("");
  if (const auto found = call.lane.registry().find(model); !found) {
    return respond_error(call, found.error());
  }
  const bool none_selected = call.query.get("notice") == kNoneSelected;
  call.respond(page_response(
      200, index_page(*classifier_.catalog().registry(),
                      {.model = model, .notice = none_selected ? "No selected file" : "", .answer = {}})));
}

void Routes::classify_form(Call& call) const {
  if (!is_multipart(call.request.content_type)) return respond_error(call, 400, "No file part");
  Result<Form> form = parse_form(call.request);
  if (!form) return respond_error(call, form.error());
  if (form->files.size() > 1) return respond_error(call, 400, "there are two parts named file");
  if (form->files.empty() || !form->files[0]->file_name) return respond_error(call, 400, "No file part");

  std::string model(form->model ? *form->model : call.query.get("model").value_or(""));
  const std::string& file_name = *form->files[0]->file_name;
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

  std::string subject = subject_of(call.request, &*form);
  if (const Result<void> said = service::check_said(subject, {}); !said)
    return respond_error(call, said.error());
  const bool as_page = wants_page(call.request);
  const bool shows_upload = as_page && gate_.may(call.request, Scope::history);
  service::Request upload{.upload = {},
                          .file_name = clean_file_name(file_name),
                          .model = std::move(model),
                          .subject = std::move(subject),
                          .id = call.request.id};
  upload.upload = take_content(call.request.body, form->files[0]->content);
  call.lane.classify(std::move(upload), [this, as_page, shows_upload,
                                         respond = std::move(call.respond)](Result<service::Answer> answer) {
    if (answer && as_page) {
      const store::Record record = answer->record;
      return respond(told_of(record, page_response(200, index_page(*classifier_.catalog().registry(),
                                                                   {.model = record.model,
                                                                    .notice = {},
                                                                    .answer = *std::move(answer),
                                                                    .shows_upload = shows_upload}))));
    }
    if (answer) {
      return respond(told_of(answer->record, {.status = 200,
                                              .content_type = kTextType,
                                              .body = answer_line(answer->record) + "\n",
                                              .fields = std::string(kNoStore)}));
    }
    const int status = status_of(answer.error().code);
    const std::string_view message = told(answer.error());
    if (as_page) {
      return respond(page_response(status, index_page(*classifier_.catalog().registry(),
                                                      {.model = {}, .notice = message, .answer = {}})));
    }
    respond({.status = status, .content_type = kTextType, .body = std::string(message), .fields = {}});
  });
}

void Routes::predict(Call& call) const {
  service::Request upload;
  upload.model = call.query.get("model").value_or("");
  upload.file_name = clean_file_name(call.query.get("file_name").value_or(""));
  upload.id = call.query.get("id").value_or(call.request.id);
  if (const auto value = call.query.get("coverage")) {
    upload.coverage = parse_number<double>(*value);
    if (!(upload.coverage >= 0.0 && upload.coverage <= 1.0)) {
      return respond_error(call, bad_parameter("coverage", *value, "a number from 0 to 1"));
    }
  }
  std::optional<Form> form;
  if (is_multipart(call.request.content_type)) {
    Result<Form> parsed = parse_form(call.request);
    if (!parsed) return respond_error(call, parsed.error());
    form = *std::move(parsed);
    if (form->files.empty()) return respond_error(call, 400, "the form has no part named file");
    if (form->model) upload.model = *std::move(form->model);
  }
  upload.subject = subject_of(call.request, form ? &*form : nullptr);
  if (const Result<void> said = service::check_said(upload.subject, upload.id); !said) {
    return respond_error(call, said.error());
  }
  if (form && form->files.size() > service::kMostTogether) {
    return respond_error(
        call, 400,
        format("the form has {} pictures, limit is {}", form->files.size(), service::kMostTogether));
  }
  if (form && form->files.size() > 1) return predict_together(call, upload, form->files);
  if (form) {
    if (form->files[0]->file_name) upload.file_name = clean_file_name(*form->files[0]->file_name);
    upload.upload = take_content(call.request.body, form->files[0]->content);
  } else if (service::is_data_url(call.request.body)) {
    Result<service::Picture> picture = service::picture_from_text(trim_end(call.request.body));
    if (!picture) return respond_error(call, picture.error());
    upload.upload = std::move(picture->bytes);
  } else {
    upload.upload = std::move(call.request.body);
  }
  call.lane.classify(std::move(upload), [respond = std::move(call.respond)](Result<service::Answer> answer) {
    if (!answer) return respond(json_error(status_of(answer.error().code), told(answer.error())));
    JsonWriter json;
    append_record(json, answer->record, upload_url(answer->record.id, answer->upload_media_type),
                  Shown::as_answer, answer->set);
    respond(told_of(answer->record, json_response(std::move(json))));
  });
}

// Several pictures in one form: their records are committed together.
void Routes::predict_together(Call& call, const service::Request& common,
                              std::span<const Part* const> files) const {
  std::vector<service::Request> uploads;
  for (const Part* const file : files) {
    service::Request upload = common;
    if (file->file_name) upload.file_name = clean_file_name(*file->file_name);
    upload.upload = file->content;
    uploads.push_back(std::move(upload));
  }
  call.lane.classify_together(
      std::move(uploads), [respond = std::move(call.respond)](Result<std::vector<service::Answer>> answers) {
        if (!answers) return respond(json_error(status_of(answers.error().code), told(answers.error())));
        JsonWriter json;
        json.begin_object().key("records").begin_array();
        for (const service::Answer& answer : *answers) {
          append_record(json, answer.record, upload_url(answer.record.id, answer.upload_media_type),
                        Shown::as_answer, answer.set);
        }
        json.end_array().end_object();
        respond(told_of(*answers, json_response(std::move(json))));
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
  const std::optional<Uuid> id = parse_uuid(call.segment());
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

void Routes::correct_record(Call& call) const {
  const std::optional<Uuid> id = parse_uuid(call.segment());
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
        respond(told_of(*record, json_response(std::move(json))));
      });
}

void Routes::show_metrics(Call& call) const {
  // What is counted here is told also when the store cannot say what it holds.
  const Result<store::HistoryStatus> status = classifier_.store().status();
  if (!status) log::warning(format("the history's figures cannot be read: {}", status.error().message));
  const std::vector<service::ModelTotals> models = classifier_.figures().totals();
  std::vector<RouteName> routes;
  for (const Route& route : table()) {
    routes.push_back({route.method == Method::post ? "POST" : "GET", route.path});
  }
  routes.push_back({"none", "none"});
  for (const std::string& route : guest_routes_) routes.push_back({"POST", route});
  call.respond({.status = 200,
                .content_type = kMetricsType,
                .body = metrics_text({.now = classifier_.now(),
                                      .history = status ? &*status : nullptr,
                                      .models = models,
                                      .loops = figures_.totals(),
                                      .routes = routes,
                                      .access_log = &figures_.access_log(),
                                      .process = read_process_status(),
                                      .ready = readiness() == Readiness::ready}),
                .fields = std::string(kNoStore)});
}

void Routes::show_history(Call& call) const {
  const Result<store::Query> query = parse_filters(call.query, EmptyFilter::absent);
  if (!query) {
    const HistoryContent content{
        .query = call.query, .notice = query.error().message, .page = {}, .upload_media_types = {}};
    return call.respond(page_response(400, history_page(*classifier_.catalog().registry(), content)));
  }
  call.lane.list(*query, [this, asked = std::move(call.query), as_page = wants_page(call.request),
                          respond = std::move(call.respond)](Result<store::Listing> listing) {
    const auto fail = [&](const Error& error) {
      const int status = status_of(error.code);
      if (!as_page) return respond(json_error(status, told(error)));
      respond(page_response(status, index_page(*classifier_.catalog().registry(),
                                               {.model = {}, .notice = told(error), .answer = {}})));
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
    respond(page_response(200, history_page(*classifier_.catalog().registry(), content)));
  });
}

void Routes::show_upload(Call& call) const {
  const std::optional<Uuid> id = parse_uuid(call.segment().substr(0, call.segment().find('.')));
  if (!id) return respond_error(call, 404, "there is no such upload: its name is not one of ours");
  Result<store::Upload> upload = classifier_.store().find_upload(*id);
  if (!upload) return respond_error(call, upload.error());
  const std::string url = upload_url(*id, upload->media_type);
  const std::string_view name = std::string_view(url).substr(url.rfind('/') + 1);
  if (call.segment() != name)
    return respond_error(call, 404, format("there is no such upload; it is {}", url));
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
                .content_type = kStyleType,
                .body = std::string(style_sheet()),
                .fields = "Cache-Control: max-age=300\r\n"});
}

void Routes::show_openapi(Call& call) const {
  static const std::string document = openapi_document(table());
  call.respond({.status = 200,
                .content_type = kJsonType,
                .body = document,
                .fields = "Cache-Control: max-age=300\r\n"});
}

void Routes::show_docs(Call& call) const {
  static const std::string page = docs_page(table());
  call.respond(page_response(200, page));
}

void Routes::show_login(Call& call) const {
  const bool logged_in = gate_.has_keys() && gate_.may(call.request, Scope::none);
  const std::string_view notice = gate_.has_keys() ? "" : "This server asks for no keys";
  call.respond(page_response(200, login_page(notice, "/", logged_in ? LoggedIn::yes : LoggedIn::no)));
}

void Routes::log_in(Call& call) const {
  if (!call.request.content_type.starts_with("application/x-www-form-urlencoded")) {
    return respond_error(call, 400, "this takes a form, application/x-www-form-urlencoded");
  }
  const Result<Query> form = Query::parse(call.request.body, kLoginFields);
  if (!form) return respond_error(call, form.error());
  const std::optional<std::string_view> key = form->get("key");
  if (!key) return respond_error(call, 400, "the form has no field key");
  if (!gate_.has_keys()) return call.respond(see_other("/", ""));
  const std::string_view next = local_page(form->get("next").value_or("/"));
  if (!gate_.knows(*key)) {
    return call.respond(page_response(401, login_page("There is no such key", next, LoggedIn::no)));
  }
  call.respond(see_other(next, Gate::session_cookie(*key, call.request)));
}

void Routes::log_out(Call& call) const {
  call.respond(see_other("/login", Gate::session_cookie("", call.request)));
}

void Routes::show_alive(Call& call) const {
  call.respond({.status = 200,
                .content_type = kJsonType,
                .body = "{\"status\":\"ok\"}",
                .fields = std::string(kNoStore)});
}

Routes::Readiness Routes::readiness() const {
  if (stopping_) return Readiness::draining;
  if (!serving_) return Readiness::starting;
  if (classifier_.catalog().registry()->size() == 0) return Readiness::no_model;
  return classifier_.store_fails() ? Readiness::store_failing : Readiness::ready;
}

std::string_view Routes::why_not(Readiness readiness) {
  switch (readiness) {
    case Readiness::ready:
      return "";
    case Readiness::starting:
      return "the server is not ready yet";
    case Readiness::draining:
      return "the server is stopping";
    case Readiness::store_failing:
      return "predictions cannot be recorded";
    case Readiness::no_model:
      return "no model is served";
  }
  return "";
}

void Routes::show_ready(Call& call) const {
  const auto status_of = [](Readiness readiness) -> std::string_view {
    switch (readiness) {
      case Readiness::ready:
        return "ok";
      case Readiness::starting:
        return "starting";
      case Readiness::draining:
        return "draining";
      case Readiness::store_failing:
        return "store failing";
      case Readiness::no_model:
        return "no model";
    }
    return "";
  };
  const Readiness now = readiness();
  const std::string_view why = why_not(now);
  JsonWriter json;
  json.begin_object().field("status", status_of(now));
  if (!why.empty()) {
    json.key("error").begin_object().field("code", error_name(503)).field("message", why).end_object();
  }
  json.end_object();
  Response response = json_response(std::move(json));
  if (!why.empty()) response.status = 503;
  call.respond(std::move(response));
}

}  // namespace espy::http
