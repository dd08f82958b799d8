// A request and its answer, as the routes see them; nothing here knows sockets.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/uuid.h"

namespace espy::http {

enum class Method { get, head, post, options, other };

// What becomes of the connection. HTTP/1.0 must be told when it stays open, HTTP/1.1 when it does not.
enum class Afterwards { keep_open, say_keep_open, close };

struct Request {
  Method method = Method::other;
  std::string target;  // as it came: path and query, still percent-encoded
  std::string content_type;
  std::string accept;
  std::string subject{};           // of the field Espy-Subject
  std::string id{};                // of the field Idempotency-Key
  std::string content_encoding{};  // of several fields one after another, as of those below
  std::string accept_encoding{};
  std::string json_length{};  // of the field Inference-Header-Content-Length
  std::string request_id{};   // of X-Request-Id, when it may be passed on; empty otherwise
  std::string traceparent{};  // likewise (trace_context.h)
  std::string key{};          // of Authorization: Bearer, or of X-Api-Key
  std::string cookie{};
  std::string host{};
  std::string origin{};       // as a browser says it: the page that asks
  std::string fetch_site{};   // of Sec-Fetch-Site: where that page is
  bool is_preflight = false;  // a browser asks whether a page of another origin may ask
  std::string body;
  Afterwards afterwards = Afterwards::close;  // as the client wishes
  std::uint64_t client = 0;                   // who asks, as RateLimit::client_of() tells addresses apart
};

struct Response {
  int status = 200;
  std::string_view content_type = "text/plain; charset=utf-8";  // of static lifetime
  std::string body;
  std::string fields;  // further header fields, each ended by \r\n
  // For the access log: the model that answered, and the record that was made or changed, or several.
  std::string model{};
  std::optional<Uuid> record{};
  std::vector<Uuid> records{};  // without an allocation where there is one only

  std::span<const Uuid> told_records() const {
    if (record) return {&*record, 1};
    return records;
  }
};

// Returns the status that an error has over HTTP; with error_name() the one table of both.
int status_of(ErrorCode code);

// Returns the "code" that an answer of this status, at least 400, carries in its JSON.
std::string_view error_name(int status);

// Returns {"error": {"code": ..., "message": ...}} with the status.
Response json_error(int status, std::string_view message);

enum class Body { send, leave_out };  // leave_out: the request was HEAD

// Returns "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 section 5.6.7).
std::string http_date(Timestamp time);

// Appends the answer's bytes. `date` is http_date's of about now.
void append_response(std::string& out, const Response& response, Body body, Afterwards afterwards,
                     std::string_view date);

}  // namespace espy::http
