// The one place that includes gRPC's headers, which are slow to compile. Calls are taken as gRPC's generic
// service gives them, bytes in and bytes out: so a call is judged by its head before its message is read, and
// one class serves every kind of method (docs/adr/0022-grpc.md).
#include "grpc/server.h"

#include <arpa/inet.h>
#include <grpc/grpc_security.h>
#include <grpc/support/log.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <climits>
#include <condition_variable>
#include <deque>
#include <exception>
#include <list>
#include <mutex>
#include <optional>
#include <span>
#include <string_view>
#include <thread>
#include <utility>

#include "base/clock.h"
#include "base/file.h"
#include "base/format.h"
#include "base/log.h"
#include "grpc/methods.h"
#include "http/keys.h"
#include "http/trace_context.h"

namespace espy::grpc {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

// A stream's requests that wait for their answers; the client waits with more.
constexpr std::size_t kMaxInStream = 64;
// Calls of one connection at once: as many as it takes to keep every loop busy with full batches.
constexpr int kMaxStreamsOfConnection = 1024;
// How soon a call that is late ends, and whoever watches hears of a change.
constexpr std::chrono::milliseconds kSweepInterval{100};
constexpr std::size_t kMaxPemBytes = 1 << 20;

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

// What gRPC says is mostly of what strangers do, such as handshakes that fail.
void log_what_grpc_says(gpr_log_func_args* said) { log::debug(format("gRPC: {}", said->message)); }

class Call;

// What all calls share. It outlives the server where a lane still knows a call.
class Shared {
 public:
  Shared(const ServerOptions& server_options, std::unique_ptr<http::Guest> guest)
      : options(server_options), guest_(std::move(guest)) {}

  const ServerOptions options;
  std::atomic<bool> stopping = false;

  // Returns nullptr once the server has left.
  std::shared_ptr<http::Guest> guest() const {
    const std::lock_guard lock(mutex_);
    return guest_;
  }
  void leave() {
    std::shared_ptr<http::Guest> leaving;
    const std::lock_guard lock(mutex_);
    leaving = std::move(guest_);
  }

  using Calls = std::list<Call*>;
  // Returns nothing when there are too many.
  std::optional<Calls::iterator> enter(Call* call) {
    const std::lock_guard lock(mutex_);
    if (calls_.size() >= options.max_calls) return {};
    return calls_.insert(calls_.end(), call);
  }
  void forget(Calls::iterator place) {
    const std::lock_guard lock(mutex_);
    calls_.erase(place);
  }
  void sweep();

 private:
  mutable std::mutex mutex_;  // guards these
  std::shared_ptr<http::Guest> guest_;
  Calls calls_;
};

// One call, from its head to its status. gRPC's threads and the loops' meet in it.
class Call final : public ::grpc::ServerGenericBidiReactor, public std::enable_shared_from_this<Call> {
 public:
  static ::grpc::ServerGenericBidiReactor* begin(std::shared_ptr<Shared> shared,
                                                 ::grpc::GenericCallbackServerContext* context) {
    const auto call = std::make_shared<Call>(std::move(shared), context);
    call->self_ = call;
    call->start();
    return call.get();
  }

  Call(std::shared_ptr<Shared> shared, ::grpc::GenericCallbackServerContext* context);

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  // Ends what takes too long, and tells who watches; called now and then.
  void sweep(SteadyTime time);

 private:
  // A request and its answer's place in the order.
  struct Slot {
    SteadyTime began;
    std::optional<Outcome> outcome{};
  };

  void start();
  std::optional<Outcome> deny() const;
  void handle(http::Guest::Seat seat, const std::shared_ptr<Slot>& slot, std::string_view message);
  void put(const std::shared_ptr<Slot>& slot, Outcome outcome);
  void count(http::Guest::Seat seat, const Outcome& outcome, SteadyTime began) const;
  void tell(const Outcome& outcome, SteadyTime began) const;

  // These are called with the mutex locked. No reaction runs within gRPC's functions that they call.
  void refuse(Outcome outcome);
  void advance();
  void watch();
  void write(const std::string& bytes);
  void finish(const Outcome& outcome);

  const std::shared_ptr<Shared> shared_;
  ::grpc::GenericCallbackServerContext* const context_;  // good until OnDone()
  std::shared_ptr<Call> self_;                           // until OnDone()
  std::optional<Shared::Calls::iterator> place_;
  const Method* method_ = nullptr;  // none: there is no such method
  const SteadyTime began_ = now();
  const std::chrono::system_clock::time_point deadline_;
  const std::string address_;
  std::string traceparent_;
  std::string request_id_;
  std::string id_;
  std::string subject_;
  http::Request asked_{};  // what the gate looks at

  std::mutex mutex_;  // guards the rest
  ::grpc::ByteBuffer received_;
  ::grpc::ByteBuffer sent_;
  std::deque<std::shared_ptr<Slot>> slots_;
  bool read_one_ = false;
  bool reading_ = false;
  bool read_all_ = false;
  bool writing_ = false;
  SteadyTime write_began_{};
  bool cancelled_ = false;
  bool finished_ = false;
  std::optional<std::string> watched_;  // the service
  std::optional<Health> told_health_;
};

void Shared::sweep() {
  std::vector<std::shared_ptr<Call>> calls;
  {
    const std::lock_guard lock(mutex_);
    for (Call* const call : calls_) calls.push_back(call->shared_from_this());
  }
  const SteadyTime time = now();
  for (const auto& call : calls) call->sweep(time);
}

Call::Call(std::shared_ptr<Shared> shared, ::grpc::GenericCallbackServerContext* context)
    : shared_(std::move(shared)),
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
  asked_.key = value_of("x-api-key");
  const std::string_view authorization = value_of("authorization");
  if (!authorization.empty()) asked_.key = http::key_in(authorization);
}

// Takes the call, or refuses it before its message is read.
void Call::start() {
  const std::lock_guard lock(mutex_);
  place_ = shared_->enter(this);
  if (!place_) {
    return refuse({.code = Code::unavailable,
                   .message = format("there are {} calls already", shared_->options.max_calls)});
  }
  if (method_ == nullptr) {
    return refuse({.code = Code::unimplemented, .message = "there is no such method"});
  }
  const std::shared_ptr<http::Guest> guest = shared_->guest();
  if (!guest || shared_->stopping) {
    return refuse({.code = Code::unavailable, .message = "the server is stopping"});
  }
  asked_.client = client_of(guest->gate(), address_);
  asked_.method = method_->is_counted ? http::Method::post : http::Method::get;
  if (std::optional<Outcome> denied = deny()) return refuse(*std::move(denied));
  reading_ = true;
  StartRead(&received_);
}

std::optional<Outcome> Call::deny() const {
  const std::shared_ptr<http::Guest> guest = shared_->guest();
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
        return finish({.code = Code::invalid_argument, .message = "the call ended without its message"});
      }
      return advance();
    }
    const bool is_first = !std::exchange(read_one_, true);
    if (method_->kind == Kind::watch) {
      message.Swap(&received_);
      ::grpc::Slice bytes;
      if (!message.DumpToSingleSlice(&bytes).ok()) return finish({.code = Code::internal});
      Result<std::string> service =
          parse_health({reinterpret_cast<const char*>(bytes.begin()), bytes.size()});
      if (!service) return finish(failure(service.error()));
      watched_ = *std::move(service);
      return watch();
    }
    slot = std::make_shared<Slot>(Slot{.began = now()});
    slots_.push_back(slot);
    message.Swap(&received_);
    if (method_->kind == Kind::stream) {
      if (slots_.size() < kMaxInStream) {
        reading_ = true;
        StartRead(&received_);
      }
      // The first one was counted with the stream itself.
      if (!is_first) {
        if (std::optional<Outcome> denied = deny()) {
          slot->outcome = failure_in_stream(*std::move(denied));
          return advance();
        }
      }
    }
  }
  const std::shared_ptr<http::Guest> guest = shared_->guest();
  if (!guest) return put(slot, {.code = Code::unavailable, .message = "the server is stopping"});
  guest->post([self = shared_from_this(), slot, message = std::move(message)](http::Guest::Seat seat) {
    ::grpc::Slice bytes;
    if (!message.TrySingleSlice(&bytes).ok() && !message.DumpToSingleSlice(&bytes).ok()) {
      return self->put(slot, {.code = Code::internal, .message = "internal error"});
    }
    self->handle(seat, slot, {reinterpret_cast<const char*>(bytes.begin()), bytes.size()});
  });
}

// On a loop's thread.
void Call::handle(http::Guest::Seat seat, const std::shared_ptr<Slot>& slot, std::string_view message) {
  seat.figures.requests_begun.add();
  const auto is_answered = std::make_shared<bool>(false);
  const auto respond = [self = shared_from_this(), seat, slot, is_answered](Outcome outcome) {
    *is_answered = true;
    self->count(seat, outcome, slot->began);
    self->tell(outcome, slot->began);
    self->put(slot, std::move(outcome));
  };
  {
    // Nobody waits for an answer any more: nothing is predicted or recorded.
    const std::lock_guard lock(mutex_);
    if (cancelled_ || finished_ || slot->outcome) {
      count(seat, {.code = Code::cancelled}, slot->began);
      return;
    }
  }
  if (std::chrono::system_clock::now() > deadline_) {
    return respond({.code = Code::deadline_exceeded, .message = "the deadline passed before its turn came"});
  }
  const std::shared_ptr<http::Guest> guest = shared_->guest();
  const Context context{.lane = seat.lane,
                        .why_not_ready = guest ? guest->why_not_ready() : "the server is stopping",
                        .id = id_,
                        .subject = subject_};
  try {
    method_->handle(context, message, respond);
  } catch (const std::exception& exception) {
    log::error(format("a call failed: {}", exception.what()));
    if (!*is_answered) respond({.code = Code::internal, .message = "internal error"});
  }
}

void Call::count(http::Guest::Seat seat, const Outcome& outcome, SteadyTime began) const {
  const std::shared_ptr<http::Guest> guest = shared_->guest();
  if (!guest) return;
  const auto place = static_cast<std::size_t>(method_ - methods().data());
  seat.figures.of(guest->place_of(place), http_status(outcome.code)).add(now() - began);
}

void Call::tell(const Outcome& outcome, SteadyTime began) const {
  const std::shared_ptr<http::Guest> guest = shared_->guest();
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

// From any thread: a request's first outcome is its answer.
void Call::put(const std::shared_ptr<Slot>& slot, Outcome outcome) {
  const std::lock_guard lock(mutex_);
  if (finished_ || slot->outcome) return;
  slot->outcome = std::move(outcome);
  advance();
}

// Ends a call whose message was not read, and counts and tells it.
void Call::refuse(Outcome outcome) {
  tell(outcome, began_);
  if (const std::shared_ptr<http::Guest> guest = shared_->guest(); guest && method_ != nullptr) {
    guest->post([self = shared_from_this(), code = outcome.code](http::Guest::Seat seat) {
      seat.figures.requests_begun.add();
      self->count(seat, {.code = code}, self->began_);
    });
  }
  finish(outcome);
}

// Sends the next answer when there is one, reads on, or ends the call.
void Call::advance() {
  if (finished_ || writing_) return;
  if (cancelled_) return finish({.code = Code::cancelled, .message = "cancelled"});
  if (!slots_.empty() && slots_.front()->outcome) {
    const Outcome outcome = *std::move(slots_.front()->outcome);
    slots_.pop_front();
    if (method_->kind == Kind::unary) {
      if (outcome.code != Code::ok) return finish(outcome);
      finished_ = true;
      sent_ = to_buffer(outcome.body);
      return StartWriteAndFinish(&sent_, ::grpc::WriteOptions(), ::grpc::Status::OK);
    }
    if (!reading_ && !read_all_ && !shared_->stopping) {
      reading_ = true;
      StartRead(&received_);
    }
    return write(outcome.body);
  }
  if (!slots_.empty()) return;
  if (read_all_ && method_->kind == Kind::stream) return finish({});
  if (shared_->stopping && method_->kind == Kind::stream) {
    finish({.code = Code::unavailable, .message = "the server is stopping"});
  }
}

// Tells who watches what is new.
void Call::watch() {
  if (finished_ || writing_ || !watched_) return;
  if (cancelled_) return finish({.code = Code::cancelled, .message = "cancelled"});
  const std::shared_ptr<http::Guest> guest = shared_->guest();
  const bool leaving = !guest || shared_->stopping;
  const Health health = health_of(*watched_, leaving ? "the server is stopping" : guest->why_not_ready());
  if (health != told_health_) {
    told_health_ = health;
    return write(write_health(health));
  }
  if (leaving) finish({.code = Code::unavailable, .message = "the server is stopping"});
}

void Call::write(const std::string& bytes) {
  sent_ = to_buffer(bytes);
  writing_ = true;
  write_began_ = now();
  StartWrite(&sent_);
}

void Call::finish(const Outcome& outcome) {
  if (std::exchange(finished_, true)) return;
  // What Retry-After says over HTTP: of the clients that retry by themselves it is heard by all (gRFC A6).
  if (outcome.code == Code::unavailable) context_->AddTrailingMetadata("grpc-retry-pushback-ms", "1000");
  Finish(status_of(outcome));
}

void Call::OnWriteDone(bool ok) {
  const std::lock_guard lock(mutex_);
  if (finished_) return;
  writing_ = false;
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
  if (place_) shared_->forget(*place_);
  const std::shared_ptr<Call> last = std::move(self_);
}

void Call::sweep(SteadyTime time) {
  const std::lock_guard lock(mutex_);
  if (finished_) return;
  const auto is_late = [&](SteadyTime began) { return time - began > shared_->options.request_timeout; };
  const double limit = shared_->options.request_timeout.count();
  if (writing_) {
    if (is_late(write_began_)) context_->TryCancel();  // who does not read
    return;
  }
  if (watched_) return watch();
  if (!read_one_ && method_->kind != Kind::stream) {
    if (is_late(began_)) {
      finish({.code = Code::deadline_exceeded,
              .message = format("the request was not complete after {} s", limit)});
    }
    return;
  }
  for (const auto& slot : slots_) {
    if (slot->outcome || !is_late(slot->began)) continue;
    Outcome late{.code = Code::unavailable,
                 .message = format("no answer after {} s; a record may be kept all the same", limit)};
    slot->outcome = method_->kind == Kind::stream ? failure_in_stream(std::move(late)) : std::move(late);
  }
  advance();
}

class Service final : public ::grpc::CallbackGenericService {
 public:
  explicit Service(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}

  ::grpc::ServerGenericBidiReactor* CreateReactor(::grpc::GenericCallbackServerContext* context) override {
    return Call::begin(shared_, context);
  }

 private:
  const std::shared_ptr<Shared> shared_;
};

// A certificate with its chain, and its key, as they are in their files; handed to gRPC anew when they
// change.
class Certificate {
 public:
  Certificate(std::filesystem::path certificate, std::filesystem::path key)
      : certificate_file_(std::move(certificate)), key_file_(std::move(key)) {}

  Result<void> load() {
    Result<std::string> certificate = read_file(certificate_file_, kMaxPemBytes);
    if (!certificate) return Error{ErrorCode::invalid_input, std::move(certificate).error().message};
    Result<std::string> key = read_file(key_file_, kMaxPemBytes);
    if (!key) return Error{ErrorCode::invalid_input, std::move(key).error().message};
    const std::lock_guard lock(mutex_);
    if (certificate_ == *certificate && key_ == *key) return {};
    certificate_ = *std::move(certificate);
    key_ = *std::move(key);
    is_new_ = true;
    return {};
  }

  // As grpc_ssl_server_certificate_config_callback: asked at each handshake. Of a pair that does not fit gRPC
  // says so in its log and keeps the one before.
  static grpc_ssl_certificate_config_reload_status fetch(void* self,
                                                         grpc_ssl_server_certificate_config** config) {
    Certificate& certificate = *static_cast<Certificate*>(self);
    const std::lock_guard lock(certificate.mutex_);
    if (!std::exchange(certificate.is_new_, false)) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    const grpc_ssl_pem_key_cert_pair pair{.private_key = certificate.key_.c_str(),
                                          .cert_chain = certificate.certificate_.c_str()};
    // gRPC asks for roots to judge clients by, also where no client is asked for a certificate.
    *config = grpc_ssl_server_certificate_config_create(certificate.certificate_.c_str(), &pair, 1);
    return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
  }

 private:
  const std::filesystem::path certificate_file_;
  const std::filesystem::path key_file_;
  std::mutex mutex_;  // guards these
  std::string certificate_;
  std::string key_;
  bool is_new_ = false;
};

// TLS 1.2 and 1.3 with gRPC's own choice of ciphers, which all have forward secrecy.
class TlsCredentials final : public ::grpc::ServerCredentials {
 public:
  explicit TlsCredentials(Certificate& certificate) : certificate_(certificate) {}

  void SetAuthMetadataProcessor(const std::shared_ptr<::grpc::AuthMetadataProcessor>&) override {}

 private:
  int AddPortToServer(const std::string& address, grpc_server* server) override {
    grpc_ssl_server_credentials_options* const options =
        grpc_ssl_server_credentials_create_options_using_config_fetcher(
            GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE, Certificate::fetch, &certificate_);
    grpc_server_credentials* const credentials = grpc_ssl_server_credentials_create_with_options(options);
    if (credentials == nullptr) return 0;
    const int port = grpc_server_add_http2_port(server, address.c_str(), credentials);
    grpc_server_credentials_release(credentials);
    return port;
  }

  Certificate& certificate_;
};

class GrpcServer final : public Server {
 public:
  static Result<std::unique_ptr<Server>> open(const ServerOptions& options, http::Server& host) {
    std::unique_ptr<GrpcServer> server(new GrpcServer(options, host.receive_guest()));
    if (Result<void> started = server->start(); !started) return std::move(started).error();
    return std::unique_ptr<Server>(std::move(server));
  }

  ~GrpcServer() override { stop(); }

  std::uint16_t port() const override { return port_; }

  Result<void> reload() override { return certificate_ ? certificate_->load() : Result<void>(); }

  void stop() override {
    const std::lock_guard lock(stopping_);
    if (!sweeper_.joinable()) return;
    shared_->stopping = true;
    if (server_) {
      const auto time =
          std::chrono::duration_cast<std::chrono::system_clock::duration>(shared_->options.stop_timeout);
      server_->Shutdown(std::chrono::system_clock::now() + time);
    }
    sweeper_.request_stop();
    sweeper_.join();
    shared_->leave();
  }

 private:
  GrpcServer(const ServerOptions& options, std::unique_ptr<http::Guest> guest)
      : shared_(std::make_shared<Shared>(options, std::move(guest))), service_(shared_) {}

  Result<void> start() {
    const ServerOptions& options = shared_->options;
    gpr_set_log_function(log_what_grpc_says);
    std::shared_ptr<::grpc::ServerCredentials> credentials = ::grpc::InsecureServerCredentials();
    if (options.tls_certificate) {
      certificate_.emplace(*options.tls_certificate, *options.tls_key);
      if (Result<void> loaded = certificate_->load(); !loaded) return loaded;
      credentials = std::make_shared<TlsCredentials>(*certificate_);
    }
    const bool is_ipv6 = options.host.find(':') != std::string::npos;
    const std::string address =
        format("{}:{}", is_ipv6 ? format("[{}]", options.host) : options.host, options.port);
    const auto milliseconds = [](std::chrono::duration<double> time) {
      return static_cast<int>(
          std::min<double>(std::chrono::duration<double, std::milli>(time).count(), INT_MAX));
    };
    ::grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort(address, credentials, &port);
    builder.RegisterCallbackGenericService(&service_);
    builder.SetMaxReceiveMessageSize(
        static_cast<int>(std::min<std::size_t>(options.max_message_bytes, INT_MAX)));
    // Another espy must not take the same port without a word.
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreamsOfConnection);
    builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, static_cast<int>(options.max_metadata_bytes));
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, milliseconds(options.idle_timeout));
    server_ = builder.BuildAndStart();
    if (!server_ || port == 0) {
      return Error{
          ErrorCode::unavailable,
          format("cannot listen on {} for gRPC: it is in use, not allowed, or no address of this machine",
                 address)};
    }
    port_ = static_cast<std::uint16_t>(port);
    sweeper_ = std::jthread([this](const std::stop_token& token) { sweep(token); });
    return {};
  }

  void sweep(const std::stop_token& token) {
    std::mutex mutex;
    std::condition_variable_any never;
    std::unique_lock lock(mutex);
    while (!token.stop_requested()) {
      never.wait_for(lock, token, kSweepInterval, [] { return false; });
      shared_->sweep();
    }
  }

  const std::shared_ptr<Shared> shared_;
  Service service_;
  std::optional<Certificate> certificate_;
  std::unique_ptr<::grpc::Server> server_;
  std::uint16_t port_ = 0;
  std::mutex stopping_;  // held while it stops
  std::jthread sweeper_;
};

}  // namespace

std::vector<std::string> guest_routes() {
  std::vector<std::string> routes;
  for (const Method& method : methods()) routes.emplace_back(method.path);
  return routes;
}

Result<std::unique_ptr<Server>> Server::open(const ServerOptions& options, http::Server& host) {
  return GrpcServer::open(options, host);
}

}  // namespace espy::grpc
