#include "http/openapi.h"

#include <algorithm>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cassert>
#include <cstddef>
#include <utility>
#include <vector>

#include "base/format.h"
#include "http/page.h"
#include "http/text.h"

extern "C" {
extern const unsigned char espy_embedded_schemas_json[], espy_embedded_schemas_json_end[];
extern const unsigned char espy_embedded_docs_html[], espy_embedded_docs_html_end[];
}

namespace espy::http {
namespace {

namespace json = boost::json;

std::string_view embedded(const unsigned char* begin, const unsigned char* end) {
  return {reinterpret_cast<const char*>(begin), static_cast<std::size_t>(end - begin)};
}

json::string_view text_of(std::string_view text) { return {text.data(), text.size()}; }

// A parameter means the same wherever it stands: in a path (then in braces), a query or a request's head.
struct Parameter {
  std::string_view name;
  std::string_view text;
  std::string_view schema;  // JSON
};

constexpr Parameter kParameters[] = {
    {"before", "the next of an earlier page", R"({"type":"string","format":"uuid"})"},
    {"coverage", "asks for the set of classes that holds the right one so often; of calibrated models",
     R"({"type":"number","minimum":0,"maximum":1})"},
    {"Espy-Subject", "whom the picture is about, at most 255 bytes", R"({"type":"string","maxLength":255})"},
    {"file_name", "a picture's file name", R"({"type":"string"})"},
    {"from", "at or after this time",
     R"({"type":"string","examples":["2026-11-22T03:41:00Z","2026-11-22"]})"},
    {"{id}", "a record's id", R"({"type":"string","format":"uuid"})"},
    {"Idempotency-Key", "makes a repetition the same record, at most 255 bytes",
     R"({"type":"string","maxLength":255})"},
    {"Inference-Header-Content-Length", "how many bytes of the body are its JSON; binary tensors follow",
     R"({"type":"string"})"},
    {"id", "makes a repetition the same record, at most 255 bytes", R"({"type":"string","maxLength":255})"},
    {"{label}", "the label of a version", R"({"type":"string"})"},
    {"label", "what was predicted", R"({"type":"integer","minimum":-2147483648,"maximum":2147483647})"},
    {"limit", "records at most", R"({"type":"integer","minimum":1,"maximum":1000,"default":50})"},
    {"max_confidence", "at most this confidence", R"({"type":"number","minimum":0,"maximum":1})"},
    {"min_confidence", "at least this confidence", R"({"type":"number","minimum":0,"maximum":1})"},
    {"model", "a model's name; the default one's without", R"({"type":"string"})"},
    {"{name}", "a model's name, or an upload's as its record's url says it", R"({"type":"string"})"},
    {"notice", "what the page says first", R"({"type":"string"})"},
    {"subject", "whom the picture was about, exactly", R"({"type":"string"})"},
    {"{version}", "the number of a version", R"({"type":"string"})"},
    {"until", "before this time", R"({"type":"string","examples":["2026-11-22T03:41:00Z","2026-11-22"]})"},
};

const Parameter& parameter_named(std::string_view name) {
  const Parameter* found = std::ranges::find(kParameters, name, &Parameter::name);
  assert(found != std::end(kParameters));
  return *found;
}

// What any request may be answered, whichever route it asks for (request_reader.cc, server.cc, Query::parse).
struct CommonError {
  int status;
  std::string_view text;
};
constexpr CommonError kCommonErrors[] = {
    {400, "the request, a parameter or a body is not as it must be"},
    {404, "there is no such thing"},
    {408, "the request took too long to come"},
    {413, "the body is too large"},
    {417, "an expectation other than 100-continue"},
    {431, "the head is too large"},
    {500, "espy failed; its log says why"},
    {501, "a transfer encoding other than chunked"},
    {503, "too much to do, stopping, or the record cannot be kept"},
};

std::string_view method_word(Method method) { return method == Method::post ? "post" : "get"; }

struct PlacedParameter {
  std::string_view name;
  const Parameter& parameter;
  std::string_view place;
};

std::vector<PlacedParameter> parameters_of(const Routes::Route& route) {
  std::vector<PlacedParameter> parameters;
  for (std::string_view path = route.path; path.find('{') != path.npos;) {
    const std::size_t open = path.find('{');
    const std::size_t close = path.find('}', open);
    parameters.push_back({path.substr(open + 1, close - open - 1),
                          parameter_named(path.substr(open, close - open + 1)), "path"});
    path.remove_prefix(close + 1);
  }
  for (const std::string_view name : route.parameters) {
    parameters.push_back({name, parameter_named(name), "query"});
  }
  for (const std::string_view name : route.description.headers) {
    parameters.push_back({name, parameter_named(name), "header"});
  }
  return parameters;
}

json::object schema_reference(std::string_view name) {
  return {{"$ref", format("#/components/schemas/{}", name)}};
}

json::object contents_object(std::span<const Content> contents) {
  json::object object;
  for (const Content& content : contents) {
    json::object media;
    if (!content.schema.empty()) media["schema"] = schema_reference(content.schema);
    object[text_of(content.media_type)] = std::move(media);
  }
  return object;
}

json::object operation_object(const Routes::Route& route) {
  const Description& description = route.description;
  json::object operation{{"operationId", text_of(description.id)},
                         {"tags", json::array{text_of(description.tag)}},
                         {"summary", text_of(route.summary)}};
  json::array parameters;
  for (const auto& [name, parameter, place] : parameters_of(route)) {
    json::value schema = json::parse(text_of(parameter.schema));
    // A page's form sends also the fields that were left empty.
    if (description.tag == kPages && place == "query") {
      schema = json::object{{"anyOf", json::array{json::object{{"const", ""}}, std::move(schema)}}};
    }
    parameters.push_back(json::object{{"name", text_of(name)},
                                      {"in", text_of(place)},
                                      {"required", place == "path"},
                                      {"description", text_of(parameter.text)},
                                      {"schema", std::move(schema)}});
  }
  if (!parameters.empty()) operation["parameters"] = std::move(parameters);
  if (!description.bodies.empty()) {
    operation["requestBody"] = json::object{{"required", description.body_required},
                                            {"content", contents_object(description.bodies)}};
  }
  json::object responses;
  for (const Answer& answer : description.answers) {
    json::object response{{"description", text_of(answer.text)}};
    if (!answer.contents.empty()) response["content"] = contents_object(answer.contents);
    responses[format("{}", answer.status)] = std::move(response);
  }
  for (const CommonError& error : kCommonErrors) {
    const std::string status = format("{}", error.status);
    if (responses.contains(status)) continue;
    responses[status] =
        json::object{{"$ref", format("#/components/responses/{}{}", description.error, status)}};
  }
  operation["responses"] = std::move(responses);
  return operation;
}

json::object schemas() {
  return json::parse(text_of(embedded(espy_embedded_schemas_json, espy_embedded_schemas_json_end)))
      .as_object();
}

// What a schema says of a value's type, in words; a named one is a link.
std::string type_html(const json::object& schema) {
  const auto name_of = [](const json::value& value) {
    return value.is_string() ? escape({value.get_string().data(), value.get_string().size()}).text
                             : json::serialize(value);
  };
  if (const json::value* reference = schema.if_contains("$ref")) {
    const std::string path = name_of(*reference);
    const std::size_t begin = std::string_view("#/components/schemas/").size();
    const std::string name = path.substr(begin, path.find('/', begin) - begin);
    return format("<a href=\"#{0}\">{0}</a>", name);
  }
  const auto joined = [&](const json::array& values) {
    std::string words;
    for (const json::value& value : values) {
      if (!words.empty()) words += " or ";
      words += value.is_object() ? type_html(value.get_object()) : name_of(value);
    }
    return words;
  };
  if (const json::value* choices = schema.if_contains("oneOf")) return joined(choices->as_array());
  if (const json::value* values = schema.if_contains("enum")) return joined(values->as_array());
  if (const json::value* constant = schema.if_contains("const")) return name_of(*constant);
  const json::value* type = schema.if_contains("type");
  if (!type) return "anything";
  if (type->is_array()) return joined(type->get_array());
  std::string words = name_of(*type);
  if (const json::value* items = schema.if_contains("items")) {
    words += " of " + type_html(items->as_object());
  }
  if (const json::value* form = schema.if_contains("format")) words += ", " + name_of(*form);
  return words;
}

std::string properties_html(const json::object& schema) {
  const json::value* properties = schema.if_contains("properties");
  if (!properties) return {};
  std::string html = "<dl>\n";
  for (const auto& [name, property] : properties->as_object()) {
    const json::object& object = property.as_object();
    const json::value* text = object.if_contains("description");
    html += format("<dt><code>{}</code></dt><dd>{}{}{}</dd>\n", escape({name.data(), name.size()}).text,
                   type_html(object),
                   text ? "; " + escape({text->as_string().data(), text->as_string().size()}).text : "",
                   properties_html(object));
  }
  return html + "</dl>\n";
}

std::string contents_html(std::span<const Content> contents) {
  std::string html;
  for (const Content& content : contents) {
    if (!html.empty()) html += ", or ";
    html += format("<code>{}</code>", escape(content.media_type).text);
    if (!content.schema.empty()) html += format(": <a href=\"#{0}\">{0}</a>", content.schema);
  }
  return html;
}

std::string route_html(const Routes::Route& route) {
  const Description& description = route.description;
  std::string html = format("<section class=\"card\" id=\"{}\">\n<h3><code>{} {}</code></h3>\n<p>{}</p>\n",
                            description.id, route.method == Method::post ? "POST" : "GET",
                            escape(route.path).text, escape(route.summary).text);
  if (const auto parameters = parameters_of(route); !parameters.empty()) {
    html += "<h4>Parameters</h4>\n<dl>\n";
    for (const auto& [name, parameter, place] : parameters) {
      html +=
          format("<dt><code>{}</code></dt><dd>{}, {}; {}</dd>\n", escape(name).text, place,
                 type_html(json::parse(text_of(parameter.schema)).as_object()), escape(parameter.text).text);
    }
    html += "</dl>\n";
  }
  if (!description.bodies.empty()) {
    html += format("<h4>Body</h4>\n<p>{}</p>\n", contents_html(description.bodies));
  }
  html += "<h4>Answers</h4>\n<dl>\n";
  for (const Answer& answer : description.answers) {
    html += format("<dt>{}</dt><dd>{}{}{}</dd>\n", answer.status, escape(answer.text).text,
                   answer.contents.empty() ? "" : "; ", contents_html(answer.contents));
  }
  return html + "</dl>\n</section>\n";
}

}  // namespace

std::string openapi_document(std::span<const Routes::Route> routes) {
  json::object paths;
  for (const Routes::Route& route : routes) {
    json::value& path = paths[text_of(route.path)];
    if (!path.is_object()) path.emplace_object();
    path.get_object()[text_of(method_word(route.method))] = operation_object(route);
  }
  json::object responses;
  for (const std::string_view schema : {"Error", "PlainError"}) {
    for (const CommonError& error : kCommonErrors) {
      responses[format("{}{}", schema, error.status)] = json::object{
          {"description", text_of(error.text)},
          {"content",
           json::object{{"application/json", json::object{{"schema", schema_reference(schema)}}}}}};
    }
  }
  const json::object document{
      {"openapi", "3.1.0"},
      {"info",
       json::object{{"title", "espy"},
                    {"version", ESPY_VERSION},
                    {"summary", "Classifies pictures and keeps a durable record of every prediction."},
                    {"license", json::object{{"name", "Apache 2.0"}, {"identifier", "Apache-2.0"}}}}},
      {"paths", std::move(paths)},
      {"components", json::object{{"schemas", schemas()}, {"responses", std::move(responses)}}},
  };
  return json::serialize(document);
}

std::string docs_page(std::span<const Routes::Route> routes) {
  Html shown_routes;
  std::vector<std::string_view> tags;
  for (const Routes::Route& route : routes) {
    if (std::ranges::find(tags, route.description.tag) == tags.end()) tags.push_back(route.description.tag);
  }
  for (const std::string_view tag : tags) {
    shown_routes.text += format("<h2>{}</h2>\n", escape(tag).text);
    for (const Routes::Route& route : routes) {
      if (route.description.tag == tag) shown_routes.text += route_html(route);
    }
  }
  Html shown_schemas;
  for (const auto& [name, value] : schemas()) {
    const json::object& schema = value.as_object();
    const json::string& text = schema.at("description").as_string();
    std::string base;
    if (const json::value* all = schema.if_contains("allOf")) {
      base = format("<p>All of {}, and:</p>\n", type_html(all->as_array().at(0).as_object()));
    }
    shown_schemas.text +=
        format("<section class=\"card\" id=\"{0}\">\n<h3>{0}</h3>\n<p>{1}</p>\n{2}{3}</section>\n",
               std::string_view(name.data(), name.size()), escape({text.data(), text.size()}).text, base,
               properties_html(schema));
  }
  Html statuses;
  for (const CommonError& error : kCommonErrors) {
    if (!statuses.text.empty()) statuses.text += ", ";
    statuses.text += format("{} ({})", error.status, escape(error.text).text);
  }
  const std::pair<std::string_view, Html> values[] = {
      {"statuses", statuses}, {"routes", shown_routes}, {"schemas", shown_schemas}};
  return fill(embedded(espy_embedded_docs_html, espy_embedded_docs_html_end), values);
}

}  // namespace espy::http
