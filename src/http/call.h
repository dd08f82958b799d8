// What the handlers of routes share: one request on its way through, and the answers that they all give. Not
// part of the module's interface.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/result.h"
#include "http/json.h"
#include "http/message.h"
#include "http/query.h"
#include "http/routes.h"
#include "service/classifier.h"

namespace espy::http {

inline constexpr std::string_view kTextType = "text/plain; charset=utf-8";
inline constexpr std::string_view kStyleType = "text/css; charset=utf-8";

inline constexpr std::string_view kNoStore = "Cache-Control: no-store\r\n";

// One request on its way through a handler.
struct Routes::Call {
  Request& request;
  service::Lane& lane;
  Respond respond;
  const Route* route = nullptr;                   // none while it is looked for
  std::array<std::string_view, 2> segments = {};  // what stood for the braces of the route's path
  Query query{};

  std::string_view segment() const { return segments[0]; }
};

// What is said of an error to the outside; why we failed ourselves is for the operator alone.
std::string_view told(const Error& error);

Response json_response(JsonWriter json);
Response json_response(std::string text);

// The response, with what the access log says of the records that it is about.
Response told_of(const store::Record& record, Response response);
Response told_of(std::span<const service::Answer> answers, Response response);

// {"error": "message"}: the shape of the dialects that others made.
Response plain_error(int status, std::string_view message);
Response plain_error(const Error& error);

}  // namespace espy::http
