// The methods of inference.GRPCInferenceService and grpc.health.v1.Health: what each one takes, does and
// answers. Knows their meaning but no connections: a message goes in, an outcome comes out, at once or when
// the record is on disk.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/uuid.h"
#include "grpc/messages.h"
#include "http/keys.h"
#include "service/classifier.h"

namespace espy::grpc {

// Those of gRPC's status codes that are used here, with its numbers (github.com/grpc/grpc,
// doc/statuscodes.md).
enum class Code {
  ok = 0,
  cancelled = 1,
  invalid_argument = 3,
  deadline_exceeded = 4,
  not_found = 5,
  permission_denied = 7,
  resource_exhausted = 8,
  unimplemented = 12,
  internal = 13,
  unavailable = 14,
  unauthenticated = 16,
};

// Returns the status that says the same over HTTP, as google.rpc.Code has it: by it requests are counted and
// logged.
int http_status(Code code);

// Returns the code that says the same as an HTTP status from 400 on.
Code code_of_status(int status);

struct Outcome {
  Code code = Code::ok;
  std::string message{};  // of an error
  std::string body{};     // the answer as it is sent
  // For the access log: the model that answered, and the records that were made.
  std::string model{};
  std::vector<Uuid> records{};
  // What the request calls itself, where it is known: a stream's errors name it.
  std::string request_id{};
};

// What goes wrong, as it is told to the outside; why we failed ourselves is for the operator alone.
Outcome failure(const Error& error);

// What a method knows of its caller and of the server.
struct Context {
  service::Lane& lane;
  std::string_view why_not_ready;  // as http::Guest::why_not_ready()
  std::string_view id{};           // of the metadata idempotency-key; may be empty
  std::string_view subject{};      // of the metadata espy-subject; may be empty
};

enum class Kind {
  unary,   // one message, one answer
  stream,  // many messages, an answer each, in order
  watch,   // one message, an answer whenever there is another one
};

struct Method {
  // Called once, on the lane's thread; perhaps before handle() returns.
  using Respond = std::function<void(Outcome)>;

  std::string_view path;
  Kind kind;
  http::Scope scope;  // what it asks of a key
  bool is_counted;    // against the rate of who calls
  // Threads: the lane's. nullptr where the kind is watch.
  void (*handle)(const Context& context, std::string_view message, Respond respond);
};

// In the order of their places (http::Guest::place_of).
std::span<const Method> methods();

// Returns what a stream sends in the place of an answer: an error ends one request there, not the stream.
Outcome failure_in_stream(Outcome failed);

// Returns how a service is, "" being the server as a whole.
Health health_of(std::string_view service, std::string_view why_not_ready);

}  // namespace espy::grpc
