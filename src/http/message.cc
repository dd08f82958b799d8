#include "http/message.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>

#include "base/format.h"
#include "http/json.h"

namespace espy::http {
namespace {

struct Status {
  int status;
  std::string_view reason;  // RFC 9110 section 15, RFC 6585 section 5
  std::string_view error;
};

constexpr Status kStatuses[] = {
    {200, "OK", ""},
    {204, "No Content", ""},
    {303, "See Other", ""},
    {400, "Bad Request", "invalid_input"},
    {401, "Unauthorized", "unauthorized"},
    {403, "Forbidden", "forbidden"},
    {404, "Not Found", "not_found"},
    {405, "Method Not Allowed", "method_not_allowed"},
    {408, "Request Timeout", "timeout"},
    {413, "Content Too Large", "too_large"},
    {417, "Expectation Failed", "expectation_failed"},
    {429, "Too Many Requests", "too_many_requests"},
    {431, "Request Header Fields Too Large", "too_large"},
    {500, "Internal Server Error", "internal"},
    {501, "Not Implemented", "not_implemented"},
    {503, "Service Unavailable", "unavailable"},
};

const Status& row(int status) {
  const auto* found = std::ranges::find(kStatuses, status, &Status::status);
  return found != std::end(kStatuses) ? *found : row(500);
}

void append_number(std::string& out, std::size_t number) {
  std::array<char, 20> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
  out.append(digits.data(), end);
}

}  // namespace

int status_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_input:
      return 400;
    case ErrorCode::too_large:
      return 413;
    case ErrorCode::not_found:
      return 404;
    case ErrorCode::unavailable:
      return 503;
    case ErrorCode::corrupt:
    case ErrorCode::internal:
      return 500;
  }
  return 500;
}

std::string_view error_name(int status) { return row(status).error; }

Response json_error(int status, std::string_view message) {
  JsonWriter json;
  json.begin_object().key("error").begin_object();
  json.field("code", error_name(status)).field("message", message);
  json.end_object().end_object();
  return {.status = status, .content_type = kJsonType, .body = std::move(json).text(), .fields = {}};
}

std::string http_date(Timestamp time) {
  constexpr std::string_view kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr std::string_view kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const auto midnight = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(midnight);
  const std::chrono::hh_mm_ss clock(std::chrono::floor<std::chrono::seconds>(time - midnight));
  return format("{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT",
                kDays[std::chrono::weekday(midnight).c_encoding()], static_cast<unsigned>(date.day()),
                kMonths[static_cast<unsigned>(date.month()) - 1], static_cast<int>(date.year()),
                clock.hours().count(), clock.minutes().count(), clock.seconds().count());
}

void append_response(std::string& out, const Response& response, Body body, Afterwards afterwards,
                     std::string_view date) {
  const Status& status = row(response.status);
  out += "HTTP/1.1 ";
  append_number(out, static_cast<std::size_t>(status.status));
  out += ' ';
  out += status.reason;
  out += "\r\nDate: ";
  out += date;
  // Whatever the reason, a second is long beside what anything here waits for.
  if (response.status == 503) out += "\r\nRetry-After: 1";
  if (afterwards == Afterwards::close) out += "\r\nConnection: close";
  if (afterwards == Afterwards::say_keep_open) out += "\r\nConnection: keep-alive";
  out += "\r\nX-Content-Type-Options: nosniff";
  if (response.status != 204) {  // which has no body and must not say its length (RFC 9110 section 8.6)
    out += "\r\nContent-Type: ";
    out += response.content_type;
    out += "\r\nContent-Length: ";
    append_number(out, response.body.size());
  }
  out += "\r\n";
  out += response.fields;
  out += "\r\n";
  if (body == Body::send) out += response.body;
}

}  // namespace espy::http
