#include "grpc/call.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <exception>
#include <span>
#include <vector>

#include "base/clock.h"
#include "base/deflate.h"
#include "base/format.h"
#include "base/log.h"
#include "http/keys.h"
#include "http/routes.h"
#include "http/trace_context.h"

namespace espy::grpc {
namespace {

// A stream's requests that wait for their answers; the client waits with more.
constexpr std::size_t kMaxInStream = 64;

SteadyTime now() { return std::chrono::steady_clock::now(); }

std::string_view view(const ::grpc::string_ref& text) { return {text.data(), text.size()}; }

::grpc::Status status_of(const Outcome& outcome) {
  return {static_cast<::grpc::StatusCode>(outcome.code), outcome.message};
}

::grpc::ByteBuffer to_buffer(const std::string& bytes) {
  const ::grpc::Slice slice(bytes);
  return {&slice, 1};
}

// Returns the address of "ipv4:127.0.0.1:1234" or "ipv6:[::1]:1234", whose brackets are percent-encoded.
std::string address_in(std::string_view peer) {
  const std::size_t scheme = peer.find(':');
  const std::size_t port = peer.rfind(':');
  if (scheme == peer.npos || port <= scheme) return std::string(peer);
  std::string address(peer.substr(scheme + 1, port - scheme - 1));
  for (const std::string_view bracket : {"[", "]", "%5B", "%5D", "%5b", "%5d"}) {
    if (const std::size_t found = address.find(bracket); found != address.npos)
      address.erase(found, bracket.size());
  }
  return address;
}

// Returns by what the limit of rates knows an address.
std::uint64_t client_of(const http::Gate& gate, const std::string& address) {
  std::array<std::byte, 16> bytes{};
  if (::inet_pton(AF_INET6, address.c_str(), bytes.data()) == 1) return gate.client_of(bytes);
  if (::inet_pton(AF_INET, address.c_str(), bytes.data()) == 1)
    return gate.client_of(std::span(bytes).first(4));
  return 0;
}

// A message's bytes, inflated where the client has compressed it: gRPC itself would inflate whatever comes,
// and look only then how large it is. It does not hand on which coding the client has named, but of gzip and
// zlib no message can begin like either: 0x1f would be a field of a type that there is not, and 0x78 field
// 15, which no message here has.
class Message {
 public:
  // Errors: invalid_input (broken), too_large (more than `limit` bytes come out).
  static Result<Message> open(const ::grpc::ByteBuffer& received, std::size_t limit) {
    Message message;
    ::grpc::ByteBuffer buffer = received;  // shares the bytes
    if (!buffer.TrySingleSlice(&message.slice_).ok() && !buffer.DumpToSingleSlice(&message.slice_).ok()) {
      return Error{ErrorCode::internal, "gRPC does not give a message's bytes"};
    }
    const std::optional<Deflated> form = form_of(message.bytes());
    if (!form) return message;
    Result<std::string> inflated = inflate(message.bytes(), *form, limit);
    if (!inflated) return std::move(inflated).error();
    message.inflated_ = *std::move(inflated);
    return message;
  }

  std::string_view bytes() const {
    if (inflated_) return *inflated_;
    return {reinterpret_cast<const char*>(slice_.begin()), slice_.size()};
  }

 private:
  // RFC 1952 section 2.3.1, RFC 1950 section 2.2.
  static std::optional<Deflated> form_of(std::string_view bytes) {
    if (bytes.size() < 2) return {};
    const auto first = static_cast<unsigned char>(bytes[0]);
    const auto second = static_cast<unsigned char>(bytes[1]);
    if (first == 0x1f && second == 0x8b) return Deflated::gzip;
    if (first == 0x78 && (first * 256 + second) % 31 == 0) return Deflated::zlib;
    return {};
  }

  ::grpc::Slice slice_;
  std::optional<std::string> inflated_;
};

}  // namespace

void Calls::sweep() {
  std::vector<std::shared_ptr<Call>> calls;
  {
    const std::lock_guard lock(mutex_);
    for (Call* const call : calls_) calls.push_back(call->shared_from_this());
  }
  const SteadyTime time = now();
  for (const auto& call : calls) call->sweep(time);
}

Call::Call(std::shared_ptr<Calls> calls, ::grpc::GenericCallbackServerContext* context)
    : calls_(std::move(calls)),
      context_(context),
      deadline_(context->deadline()),
      address_(address_in(context->peer())) {
  const auto found = std::ranges::find(methods(), std::string_view(context->method()), &Method::path);
  if (found != methods().end()) method_ = &*found;
  const auto& metadata = context->client_metadata();
  const auto value_of = [&](const char* name) -> std::string_view {
    const auto [begin, end] = metadata.equal_range(name);
    return begin != end && std::next(begin) == end ? view(begin->second) : std::string_view();
  };
  const auto passed_on = [](std::string_view value, bool may) {
    return may ? std::string(value) : std::string();
  };
  traceparent_ = passed_on(value_of("traceparent"), http::is_traceparent(value_of("traceparent")));
  request_id_ = passed_on(value_of("x-request-id"), http::is_request_id(value_of("x-request-id")));
  id_ = value_of("idempotency-key");
  subject_ = value_of("espy-subject");
  const std::string_view key = http::key_in(value_of("authorization"));
  asked_.key = key.empty() ? value_of("x-api-key") : key;
}

Calls::Stay Call::stay() const {
  const bool watches = method_ != nullptr && method_->kind == Kind::watch;
  return watches ? Calls::Stay::as_long_as_it_likes : Calls::Stay::until_answered;
}

// Takes the call, or refuses it before its message is read.
void Call::start() {
  const std::lock_guard lock(mutex_);
  const bool is_vital = method_ != nullptr && method_->scope == http::Scope::none;
  place_ = calls_->enter(this, stay(), is_vital);
  if (!place_) {
    return refuse(
        {.code = Code::unavailable,
         .message = format("there are too many calls already, limit is {}, of which a tenth may watch",
                           calls_->options.max_calls)});
  }
  if (method_ == nullptr) {
    return refuse({.code = Code::unimplemented, .message = "there is no such method"});
  }
  const std::shared_ptr<http::Guest> guest = calls_->guest();
  if (!guest || calls_->stopping) {
    return refuse({.code = Code::unavailable, .message = "the server is stopping"});
  }
  asked_.client = client_of(guest->gate(), address_);
  asked_.method = method_->is_counted ? http::Method::post : http::Method::get;
  if (std::optional<Outcome> denied = deny()) return refuse(*std::move(denied));
  reading_ = true;
  StartRead(&received_);
}

std::optional<Outcome> Call::deny() const {
  const std::shared_ptr<http::Guest> guest = calls_->guest();
  if (!guest) return {};
  std::optional<http::Gate::Denial> denial = guest->gate().deny(asked_, method_->scope);
  if (!denial) return {};
  return Outcome{.code = code_of_status(denial->status), .message = std::move(denial->message)};
}

void Call::OnReadDone(bool ok) {
  std::shared_ptr<Slot> slot;
  ::grpc::ByteBuffer message;
  {
    const std::lock_guard lock(mutex_);
    reading_ = false;
    if (finished_) return;
    if (!ok) {
      read_all_ = true;
      if (!read_one_ && method_->kind != Kind::stream) {
        return refuse({.code = Code::invalid_argument, .message = "the call ended without its message"});
      }
      return advance();
    }
    const bool is_first = !std::exchange(read_one_, true);
    stirred_ = now();
    if (method_->kind == Kind::watch) {
      message.Swap(&received_);
      const auto opened = Message::open(message, calls_->options.max_message_bytes);
      if (!opened) return finish(failure(opened.error()));
      Result<std::string> service = parse_health(opened->bytes());
      if (!service) return finish(failure(service.error()));
      watched_ = *std::move(service);
      return watch();
    }
    slot = std::make_shared<Slot>(Slot{.began = now()});
    slots_.push_back(slot);
    message.Swap(&received_);
    slot->bytes = message.Length();
    unanswered_bytes_ += slot->bytes;
    if (method_->kind == Kind::stream) {
      read_on();
      // The first one was counted with the stream itself.
      if (!is_first) {
        if (std::optional<Outcome> denied = deny()) {
          tell(*denied, slot->began);
          post_count(denied->code, slot->began);
          slot->outcome = failure_in_stream(*std::move(denied));
          return advance();
        }
      }
    }
  }
  const std::shared_ptr<http::Guest> guest = calls_->guest();
  if (!guest) {
    put(slot, {.code = Code::unavailable, .message = "the server is stopping"});
    return;
  }
  guest->post([self = shared_from_this(), slot, message = std::move(message)](http::Guest::Seat seat) {
    self->handle(seat, slot, message);
  });
}

// On a loop's thread.
void Call::handle(http::Guest::Seat seat, const std::shared_ptr<Slot>& slot,
                  const ::grpc::ByteBuffer& message) {
  seat.figures.requests_begun.add();
  const auto is_answered = std::make_shared<bool>(false);
  const auto respond = [self = shared_from_this(), seat, slot, is_answered](Outcome outcome) {
    *is_answered = true;
    self->count(seat, self->put(slot, std::move(outcome)), slot->began);
  };
  {
    // Nobody waits for an answer any more: nothing is predicted or recorded.
    const std::lock_guard lock(mutex_);
    if (cancelled_ || finished_ || slot->outcome) {
      count(seat, slot->outcome ? slot->outcome->code : Code::cancelled, slot->began);
      return;
    }
  }
  if (std::chrono::system_clock::now() > deadline_) {
    return respond({.code = Code::deadline_exceeded, .message = "the deadline passed before its turn came"});
  }
  const std::shared_ptr<http::Guest> guest = calls_->guest();
  const Context context{.lane = seat.lane,
                        .why_not_ready = guest ? guest->why_not_ready() : "the server is stopping",
                        .id = id_,
                        .subject = subject_};
  const auto opened = Message::open(message, calls_->options.max_message_bytes);
  if (!opened) return respond(failure(opened.error()));
  try {
    method_->handle(context, opened->bytes(), respond);
  } catch (const std::exception& exception) {
    log::error(format("a call failed: {}", exception.what()));
    if (!*is_answered) respond({.code = Code::internal, .message = "internal error"});
  }
}

void Call::count(http::Guest::Seat seat, Code code, SteadyTime began) const {
  const std::shared_ptr<http::Guest> guest = calls_->guest();
  if (!guest) return;
  // Without a method it counts as what has no route.
  const auto place = method_ == nullptr
                         ? http::Routes::table().size()
                         : guest->place_of(static_cast<std::size_t>(method_ - methods().data()));
  seat.figures.of(place, http_status(code)).add(now() - began);
}

// Counts what no loop has seen.
void Call::post_count(Code code, SteadyTime began) {
  const std::shared_ptr<http::Guest> guest = calls_->guest();
  if (!guest) return;
  guest->post([self = shared_from_this(), code, began](http::Guest::Seat seat) {
    seat.figures.requests_begun.add();
    self->count(seat, code, began);
  });
}

void Call::tell(const Outcome& outcome, SteadyTime began) const {
  const std::shared_ptr<http::Guest> guest = calls_->guest();
  if (!guest || !guest->tells()) return;
  guest->tell({.time = system_clock()(),
               .id = request_id_,
               .traceparent = traceparent_,
               .client = address_,
               .method = "POST",
               .path = method_ ? method_->path : "",
               .route = method_ ? method_->path : "none",
               .status = http_status(outcome.code),
               .bytes = outcome.body.size(),
               .duration = now() - began,
               .model = outcome.model,
               .records = outcome.records});
}

// From any thread: a request's first outcome is its answer. Returns the code of what the client gets.
Code Call::put(const std::shared_ptr<Slot>& slot, Outcome outcome) {
  const std::lock_guard lock(mutex_);
  if (slot->outcome) return slot->outcome->code;
  if (finished_) return Code::cancelled;
  // An empty message would look like an answer.
  const bool is_failure_in_stream =
      method_->kind == Kind::stream && outcome.code != Code::ok && outcome.body.empty();
  if (is_failure_in_stream) outcome = failure_in_stream(std::move(outcome));
  const Code code = outcome.code;
  tell(outcome, slot->began);
  slot->outcome = std::move(outcome);
  advance();
  return code;
}

// Ends a call before its message is worked on, and counts and tells it.
void Call::refuse(Outcome outcome) {
  tell(outcome, began_);
  post_count(outcome.code, began_);
  finish(outcome);
}

// Sends the next answer when there is one, reads on, or ends the call.
void Call::advance() {
  if (finished_ || writing_) return;
  if (cancelled_) return finish({.code = Code::cancelled, .message = "cancelled"});
  if (!slots_.empty() && slots_.front()->outcome) {
    const Outcome outcome = *std::move(slots_.front()->outcome);
    unanswered_bytes_ -= slots_.front()->bytes;
    slots_.pop_front();
    if (method_->kind == Kind::unary) {
      if (outcome.code != Code::ok) return finish(outcome);
      finished_ = true;
      write_began_ = now();
      sent_ = to_buffer(outcome.body);
      return StartWriteAndFinish(&sent_, ::grpc::WriteOptions(), ::grpc::Status::OK);
    }
    read_on();
    return write(outcome.body);
  }
  if (!slots_.empty()) return;
  if (read_all_ && method_->kind == Kind::stream) return finish({});
  if (calls_->stopping && method_->kind == Kind::stream) {
    finish({.code = Code::unavailable, .message = "the server is stopping"});
  }
}

// Tells who watches what is new.
void Call::watch() {
  if (finished_ || writing_ || !watched_) return;
  if (cancelled_) return finish({.code = Code::cancelled, .message = "cancelled"});
  const std::shared_ptr<http::Guest> guest = calls_->guest();
  const bool leaving = !guest || calls_->stopping;
  const Health health = health_of(*watched_, leaving ? "the server is stopping" : guest->why_not_ready());
  if (health != told_health_) {
    told_health_ = health;
    return write(write_health(health));
  }
  if (leaving) finish({.code = Code::unavailable, .message = "the server is stopping"});
}

// Reads a stream's next message, unless so many wait for their answers that the client has to wait.
void Call::read_on() {
  if (reading_ || read_all_ || calls_->stopping || slots_.size() >= kMaxInStream) return;
  if (unanswered_bytes_ > calls_->options.max_message_bytes) return;
  reading_ = true;
  StartRead(&received_);
}

void Call::write(const std::string& bytes) {
  sent_ = to_buffer(bytes);
  writing_ = true;
  write_began_ = now();
  StartWrite(&sent_);
}

void Call::finish(const Outcome& outcome) {
  if (std::exchange(finished_, true)) return;
  write_began_ = now();
  // What Retry-After says over HTTP: of the clients that retry by themselves it is heard by all (gRFC A6).
  if (outcome.code == Code::unavailable) context_->AddTrailingMetadata("grpc-retry-pushback-ms", "1000");
  Finish(status_of(outcome));
}

void Call::OnWriteDone(bool ok) {
  const std::lock_guard lock(mutex_);
  if (finished_) return;
  writing_ = false;
  stirred_ = now();
  if (!ok) cancelled_ = true;
  if (watched_) return watch();
  advance();
}

void Call::OnCancel() {
  const std::lock_guard lock(mutex_);
  cancelled_ = true;
  if (!finished_ && !writing_) finish({.code = Code::cancelled, .message = "cancelled"});
}

void Call::OnDone() {
  {
    // Waits for a sweep that is at it.
    const std::lock_guard lock(mutex_);
    done_ = true;
  }
  if (place_) calls_->forget(*place_, stay());
  const std::shared_ptr<Call> last = std::move(self_);
}

void Call::sweep(SteadyTime time) {
  const std::lock_guard lock(mutex_);
  if (done_) return;
  const auto is_late = [&](SteadyTime began) { return time - began > calls_->options.request_timeout; };
  if (finished_) {
    if (is_late(write_began_)) context_->TryCancel();  // who does not read
    return;
  }
  const double limit = calls_->options.request_timeout.count();
  if (writing_) {
    if (is_late(write_began_)) context_->TryCancel();  // who does not read
    return;
  }
  if (watched_) return watch();
  if (!read_one_ && method_->kind != Kind::stream) {
    if (is_late(began_)) {
      refuse({.code = Code::deadline_exceeded,
              .message = format("the request was not complete after {} s", limit)});
    }
    return;
  }
  for (const auto& slot : slots_) {
    if (slot->outcome || !is_late(slot->began)) continue;
    Outcome late{.code = Code::unavailable,
                 .message = format("no answer after {} s; a record may be kept all the same", limit)};
    tell(late, slot->began);
    slot->outcome = method_->kind == Kind::stream ? failure_in_stream(std::move(late)) : std::move(late);
  }
  if (slots_.empty() && time - stirred_ > calls_->options.idle_timeout) {
    return finish({.code = Code::unavailable,
                   .message = format("no message came for {} s", calls_->options.idle_timeout.count())});
  }
  advance();
}

}  // namespace espy::grpc
