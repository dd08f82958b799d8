#include "http/server.h"

#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cassert>
#include <cstring>
#include <exception>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/format.h"
#include "base/log.h"
#include "base/uuid.h"
#include "http/message.h"
#include "http/query.h"
#include "http/request_reader.h"
#include "http/routes.h"
#include "http/tls.h"

namespace espy::http {
namespace {

namespace net = boost::asio;
using boost::system::error_code;
using net::ip::tcp;
using SteadyTime = std::chrono::steady_clock::time_point;

// Of the one kind of executor that there is here; the usual type-erased ones cost (measured: stock Beast
// coroutines take 1.8 times the time of these).
using Executor = net::io_context::executor_type;
using Socket = net::basic_stream_socket<tcp, Executor>;
using Acceptor = net::basic_socket_acceptor<tcp, Executor>;
using Timer = net::basic_waitable_timer<std::chrono::steady_clock,
                                        net::wait_traits<std::chrono::steady_clock>, Executor>;
using Task = net::awaitable<void, Executor>;
constexpr net::use_awaitable_t<Executor> kAwait{};

constexpr std::size_t kSmallBufferBytes = 2 << 10;  // holds a request with a small picture
constexpr std::size_t kLargeBufferBytes = 64 << 10;
// A pipeliner's requests are answered in bursts of at most so many, or of so many bytes that are ready.
constexpr std::size_t kMaxBurst = 64;
constexpr std::size_t kMaxBurstBytes = 256 << 10;
// A reader that takes less than this has stopped reading (128 kbit/s, below any access network of today).
// Without a least rate one byte now and then would hold a connection and its answers for ever.
constexpr double kLeastBytesPerSecond = 16 << 10;
// How long a closing connection still drops what the client sends, so that it gets to read the answer.
constexpr std::chrono::milliseconds kLingerTime{1000};
// How long idle connections stay when stopping: a request may be on its way.
constexpr std::chrono::duration<double> kIdleGrace{1};
constexpr std::chrono::milliseconds kLongestSweep{250};
constexpr std::chrono::milliseconds kShortestSweep{10};
constexpr std::chrono::milliseconds kAcceptPause{100};  // when there are no file descriptors left
// Connections beyond the limit that are told so; further ones are closed without a word.
constexpr std::size_t kMaxRefusals = 256;

SteadyTime now() { return std::chrono::steady_clock::now(); }

std::chrono::steady_clock::duration ticks(std::chrono::duration<double> time) {
  return std::chrono::duration_cast<std::chrono::steady_clock::duration>(time);
}

// What all loops share.
struct Shared {
  Shared(const ServerOptions& server_options, service::Classifier& the_classifier,
         std::unique_ptr<Gate> the_gate)
      : options(server_options),
        classifier(the_classifier),
        gate(std::move(the_gate)),
        routes(the_classifier, *gate, server_options.max_body_bytes, server_options.guest_routes) {}

  // Returns what new connections are encrypted with; nullptr when they are not.
  std::shared_ptr<net::ssl::context> tls() {
    const std::lock_guard lock(mutex);
    return tls_context;
  }

  Result<void> reload_tls() {
    if (!options.tls_certificate) return {};
    auto loaded = load_tls(*options.tls_certificate, *options.tls_key);
    if (!loaded) return std::move(loaded).error();
    const std::lock_guard lock(mutex);
    tls_context = *std::move(loaded);
    return {};
  }

  const ServerOptions options;
  service::Classifier& classifier;
  const std::unique_ptr<Gate> gate;
  Routes routes;
  std::mutex mutex;  // guards what follows
  std::shared_ptr<net::ssl::context> tls_context;
  std::atomic<std::size_t> connections = 0;
  std::atomic<std::size_t> loops_to_begin = 0;  // that cannot classify yet
  std::unique_ptr<LineLog> access_log;
  std::unique_ptr<LineLog> slow_log;
};

// The socket of a connection, encrypted or not; the one place that knows which. What is not encrypted costs
// one comparison a system call more.
class Stream {
 public:
  using Bytes = net::awaitable<std::size_t, Executor>;

  // `tls` is nullptr for a plain connection.
  Stream(Socket socket, net::ssl::context* tls) : socket_(std::move(socket)) {
    if (tls) tls_ = std::make_unique<net::ssl::stream<Socket&>>(socket_, *tls);
  }

  Socket& socket() { return socket_; }
  bool is_encrypted() const { return tls_ != nullptr; }

  // The error goes to `error`, which must live until then.
  Bytes read_some(net::mutable_buffer room, error_code& error) {
    if (tls_) return tls_->async_read_some(room, net::redirect_error(kAwait, error));
    return socket_.async_read_some(room, net::redirect_error(kAwait, error));
  }
  Bytes write_some(net::const_buffer bytes, error_code& error) {
    if (tls_) return tls_->async_write_some(bytes, net::redirect_error(kAwait, error));
    return socket_.async_write_some(bytes, net::redirect_error(kAwait, error));
  }

  // Of an encrypted one: greets, and says farewell.
  Task begin(error_code& error) {
    return tls_->async_handshake(net::ssl::stream_base::server, net::redirect_error(kAwait, error));
  }
  Task end(error_code& error) { return tls_->async_shutdown(net::redirect_error(kAwait, error)); }

 private:
  Socket socket_;
  std::unique_ptr<net::ssl::stream<Socket&>> tls_;
};

class Loop;

enum class Admission { served, refused };  // refused: there are too many

// One client. Reads a burst of requests, answers them together, and so on.
class Connection {
 public:
  Connection(Loop& loop, Socket socket, net::ssl::context* tls, std::uint64_t client);

  Task run(Admission admission);

  // Ends what takes too long; called now and then.
  void sweep(SteadyTime time);

 private:
  // What the access log will need of a request, or its answer has to repeat.
  struct Told {
    std::string id;
    std::string traceparent;
    Method method;
    std::string path;
  };

  // An answer that has its place in the order.
  struct Slot {
    std::optional<Response> response;
    Body body;
    Afterwards afterwards;
    SteadyTime began;              // when its last byte was there
    std::size_t route = 0;         // its place in the table
    std::unique_ptr<Told> told{};  // none where nobody wants it
  };

  // Whether more bytes are needed, or the buffer still has requests to answer.
  enum class Hunger { hungry, fed };

  Task serve();
  Task refuse();
  void make_room();
  void take_received(std::size_t bytes);
  Hunger take_requests();
  void take_request();
  void put_answer(std::size_t slot, Response response);
  void put_refusal(int status, std::string_view message);
  void give_up_waiting();
  void collect_answers();
  void log_answer(const Slot& slot, std::chrono::nanoseconds duration);
  void prepare_to_read();
  auto answers_to_come();

  Loop& loop_;
  Stream stream_;
  Socket& socket_ = stream_.socket();
  const std::uint64_t client_;  // of this address (Gate::client_of)
  RequestReader reader_;
  std::vector<char> buffer_;
  std::size_t begin_ = 0;  // of what is unread in the buffer
  std::size_t end_ = 0;
  std::string out_;
  std::vector<Slot> slots_;
  std::string address_;    // the client's; empty where it is not told
  std::string log_lines_;  // of the burst
  std::string slow_lines_;
  std::size_t unanswered_ = 0;
  std::size_t ready_bytes_ = 0;
  bool keep_alive_ = true;
  bool given_up_ = false;  // the burst was answered before the lane did; what it still says is dropped

  // The coroutine, while it waits for its last answer.
  using Waiter = net::async_result<net::use_awaitable_t<Executor>, void()>::handler_type;
  std::optional<Waiter> waiter_;

  // For sweep().
  enum class Phase { idle, reading, answering, writing } phase_ = Phase::idle;
  SteadyTime request_began_ = now();
  SteadyTime deadline_ = SteadyTime::max();
  bool expired_ = false;
};

// One thread's event loop with its own listening socket.
class Loop {
 public:
  explicit Loop(Shared& shared);

  // Errors: as Server::open. Returns the port, which is a free one when the endpoint's was 0.
  Result<std::uint16_t> listen(const tcp::endpoint& endpoint);

  void run();
  void stop();  // from any thread

  // From any thread: runs a guest's task here, and keeps the loop running.
  void post(std::function<void(Guest::Seat)> task);
  net::executor_work_guard<Executor> keep_running() { return net::make_work_guard(context_); }

  const ServerOptions& options() const { return shared_.options; }
  const Routes& routes() const { return shared_.routes; }
  LoopFigures& figures() { return figures_; }
  service::Lane& lane() { return *lane_; }
  LineLog* access_log() { return shared_.access_log.get(); }
  LineLog* slow_log() { return shared_.slow_log.get(); }
  bool tells() const { return shared_.access_log || shared_.slow_log; }
  std::string next_request_id() { return format("{}-{:x}", id_prefix_, ++request_ids_); }
  std::string_view date() const { return date_; }
  bool stopping() const { return stopping_; }
  SteadyTime idle_deadline() const { return idle_deadline_; }
  SteadyTime stop_deadline() const { return stop_deadline_; }

 private:
  Task accept();
  Task serve(Socket socket, Admission admission);
  Task sweep();
  void start(Socket socket);
  std::uint64_t client_of(const Socket& socket) const;
  void begin_stopping();

  Shared& shared_;
  LoopFigures& figures_;
  // Of this loop of this process; behind it requests are numbered.
  const std::string id_prefix_ = to_string(UuidGenerator().next(system_clock()())).substr(24);
  std::uint64_t request_ids_ = 0;
  net::io_context context_{1};
  Acceptor acceptor_{context_};
  Timer sweep_timer_{context_};
  Timer accept_timer_{context_};
  std::optional<service::Lane> lane_;
  std::unordered_set<Connection*> connections_;
  std::string date_ = http_date(system_clock()());
  bool stopping_ = false;
  SteadyTime idle_deadline_ = SteadyTime::max();
  SteadyTime stop_deadline_ = SteadyTime::max();
};

std::string_view method_name(Method method) {
  switch (method) {
    case Method::get:
      return "GET";
    case Method::head:
      return "HEAD";
    case Method::post:
      return "POST";
    case Method::options:
      return "OPTIONS";
    case Method::other:
      break;
  }
  return "other";
}

Connection::Connection(Loop& loop, Socket socket, net::ssl::context* tls, std::uint64_t client)
    : loop_(loop),
      stream_(std::move(socket), tls),
      client_(client),
      reader_(
          {.max_head_bytes = loop.options().max_head_bytes, .max_body_bytes = loop.options().max_body_bytes}),
      buffer_(kSmallBufferBytes) {}

// Suspends the coroutine until put_answer() has the last answer.
auto Connection::answers_to_come() {
  return net::async_initiate<const net::use_awaitable_t<Executor>, void()>(
      [this](Waiter waiter) { waiter_.emplace(std::move(waiter)); }, kAwait);
}

Task Connection::run(Admission admission) {
  try {
    if (admission == Admission::served) {
      co_await serve();
    } else if (!stream_.is_encrypted()) {  // to say it encrypted is too much work in a flood
      co_await refuse();
    }
  } catch (const std::exception& exception) {
    log::error(format("a connection ended by: {}", exception.what()));
  }
  if (unanswered_ > 0) co_await answers_to_come();  // the lane still knows this connection
}

Task Connection::serve() {
  error_code error;
  if (loop_.tells()) {
    const tcp::endpoint client = stream_.socket().remote_endpoint(error);
    if (!error) address_ = client.address().to_string();
  }
  if (stream_.is_encrypted()) {
    phase_ = Phase::reading;
    deadline_ = now() + ticks(loop_.options().request_timeout);
    co_await stream_.begin(error);
    if (error) co_return;
  }
  Hunger hunger = Hunger::hungry;
  while (keep_alive_) {
    if (hunger == Hunger::hungry) {
      prepare_to_read();
      const std::size_t received =
          co_await stream_.read_some(net::buffer(buffer_.data() + end_, buffer_.size() - end_), error);
      const bool cut_off = error == net::error::eof && reader_.state() != RequestReader::State::waiting;
      if (error && !expired_ && !cut_off) co_return;
      take_received(received);
      if (cut_off) {
        put_refusal(400, "the connection ended within the request");
      } else if (expired_) {
        const double limit = loop_.options().request_timeout.count();
        put_refusal(408, format("the request was not complete after {} s", limit));
      }
    }
    hunger = take_requests();
    if (unanswered_ > 0) {
      phase_ = Phase::answering;
      deadline_ = now() + ticks(loop_.options().request_timeout);
      co_await answers_to_come();
    }
    collect_answers();
    const std::chrono::duration<double> sending(static_cast<double>(out_.size()) / kLeastBytesPerSecond);
    if (!out_.empty()) {
      phase_ = Phase::writing;
      deadline_ = now() + ticks(loop_.options().request_timeout + sending);
    }
    for (std::size_t sent = 0; sent < out_.size();) {
      sent += co_await stream_.write_some(net::buffer(out_.data() + sent, out_.size() - sent), error);
      if (error) co_return;
    }
    loop_.figures().sent_bytes.add(out_.size());
    out_.clear();
  }

  // A close with bytes unread would reset the connection, and the client might lose the answer.
  phase_ = Phase::writing;
  deadline_ = now() + kLingerTime;
  if (stream_.is_encrypted()) co_await stream_.end(error);
  socket_.shutdown(tcp::socket::shutdown_send, error);
  while (!error) {
    co_await socket_.async_read_some(net::buffer(buffer_), net::redirect_error(kAwait, error));
  }
}

Task Connection::refuse() {
  put_refusal(503, format("there are {} connections already", loop_.options().max_connections));
  collect_answers();
  phase_ = Phase::writing;
  deadline_ = now() + kLingerTime;
  error_code error;
  co_await socket_.async_write_some(net::buffer(out_), net::redirect_error(kAwait, error));
  if (!error) socket_.shutdown(tcp::socket::shutdown_send, error);
  while (!error) {
    co_await socket_.async_read_some(net::buffer(buffer_), net::redirect_error(kAwait, error));
  }
}

// Sets the clock for what is awaited, and makes room for it.
void Connection::prepare_to_read() {
  const bool idle = reader_.state() == RequestReader::State::waiting;
  if (idle && phase_ != Phase::idle) request_began_ = now();
  phase_ = idle ? Phase::idle : Phase::reading;
  deadline_ = request_began_ + ticks(idle ? loop_.options().idle_timeout : loop_.options().request_timeout);
  make_room();
}

// The buffer is small while that is enough, so that many idle connections cost little. It never needs to hold
// more than what the reader may leave unread, a head, and some.
void Connection::make_room() {
  std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
  end_ -= std::exchange(begin_, 0);
  if (end_ == 0 && phase_ == Phase::idle && buffer_.size() > kSmallBufferBytes) {
    buffer_ = std::vector<char>(kSmallBufferBytes);
    out_ = {};
  }
  const bool much_to_come = reader_.missing_bytes() > buffer_.size();
  if (much_to_come && buffer_.size() < kLargeBufferBytes) buffer_.resize(kLargeBufferBytes);
  if (end_ == buffer_.size()) buffer_.resize(2 * buffer_.size());
}

void Connection::take_received(std::size_t bytes) {
  if (phase_ == Phase::idle) request_began_ = now();
  end_ += bytes;
  loop_.figures().received_bytes.add(bytes);
}

Connection::Hunger Connection::take_requests() {
  while (keep_alive_ && begin_ < end_) {
    if (slots_.size() == kMaxBurst || ready_bytes_ > kMaxBurstBytes) return Hunger::fed;
    begin_ += reader_.read({buffer_.data() + begin_, end_ - begin_});
    if (reader_.state() == RequestReader::State::refused) {
      put_refusal(reader_.refusal().status, reader_.refusal().message);
    } else if (reader_.state() == RequestReader::State::complete) {
      take_request();
    } else {
      return Hunger::hungry;
    }
  }
  return Hunger::hungry;
}

void Connection::take_request() {
  Request& request = reader_.request();
  request.client = client_;
  if (loop_.stopping()) request.afterwards = Afterwards::close;
  keep_alive_ = request.afterwards != Afterwards::close;
  const std::size_t slot = slots_.size();
  const SteadyTime began = now();
  slots_.push_back({.response = {},
                    .body = request.method == Method::head ? Body::leave_out : Body::send,
                    .afterwards = request.afterwards,
                    .began = began,
                    .route = Routes::table().size()});
  if (loop_.tells() || !request.request_id.empty()) {
    slots_[slot].told = std::make_unique<Told>(
        Told{request.request_id.empty() ? loop_.next_request_id() : request.request_id, request.traceparent,
             request.method, std::string(split_target(request.target).path)});
  }
  ++unanswered_;
  loop_.figures().requests_begun.add();
  try {
    slots_[slot].route = loop_.routes().answer(
        request, loop_.lane(), [this, slot](Response response) { put_answer(slot, std::move(response)); });
  } catch (const std::exception& exception) {
    log::error(format("a request failed: {}", exception.what()));
    if (!slots_[slot].response) put_answer(slot, json_error(500, "internal error"));
  }
  reader_.next();
  request_began_ = began;
}

void Connection::put_answer(std::size_t slot, Response response) {
  if (!given_up_) {
    assert(!slots_[slot].response);
    ready_bytes_ += response.body.size();
    slots_[slot].response = std::move(response);
  }
  if (--unanswered_ > 0 || !waiter_) return;
  Waiter waiter = *std::move(waiter_);
  waiter_.reset();
  waiter();  // goes on in serve(), which may end there and this with it
}

void Connection::put_refusal(int status, std::string_view message) {
  keep_alive_ = false;
  slots_.push_back({.response = json_error(status, message),
                    .body = Body::send,
                    .afterwards = Afterwards::close,
                    .began = request_began_,
                    .route = Routes::table().size()});
  loop_.figures().requests_begun.add();
}

// Answers what has no answer yet, and lets the coroutine go on; run() keeps the connection until the lane has
// forgotten it.
void Connection::give_up_waiting() {
  given_up_ = true;
  keep_alive_ = false;
  const std::string message = format("no answer after {} s; a record may be kept all the same",
                                     loop_.options().request_timeout.count());
  for (Slot& slot : slots_) {
    if (!slot.response) slot.response = json_error(503, message);
  }
  slots_.back().afterwards = Afterwards::close;
  deadline_ = SteadyTime::max();
  // Not from within the sweep, whose list of connections it may change.
  net::post(stream_.socket().get_executor(),
            [waiter = *std::exchange(waiter_, std::nullopt)]() mutable { waiter(); });
}

// Puts the burst's answers behind one another, to be sent in one piece.
void Connection::collect_answers() {
  const SteadyTime time = now();
  for (Slot& slot : slots_) {
    if (slot.told) slot.response->fields += format("X-Request-Id: {}\r\n", slot.told->id);
    append_response(out_, *slot.response, slot.body, slot.afterwards, loop_.date());
    loop_.figures().of(slot.route, slot.response->status).add(time - slot.began);
    if (loop_.tells()) log_answer(slot, time - slot.began);
  }
  if (!log_lines_.empty()) loop_.access_log()->append(log_lines_);
  if (!slow_lines_.empty()) loop_.slow_log()->append(slow_lines_);
  log_lines_.clear();
  slow_lines_.clear();
  slots_.clear();
  ready_bytes_ = 0;
  if (keep_alive_ && reader_.state() == RequestReader::State::body && reader_.take_expectation()) {
    out_ += "HTTP/1.1 100 Continue\r\n\r\n";
  }
}

void Connection::log_answer(const Slot& slot, std::chrono::nanoseconds duration) {
  const AccessLogOptions& options = loop_.options().access_log;
  const bool is_slow = loop_.slow_log() && duration > *options.slow;
  if (!loop_.access_log() && !is_slow) return;
  AccessEntry entry{.time = system_clock()(),
                    .client = address_,
                    .method = "-",
                    .route = "none",
                    .status = slot.response->status,
                    .bytes = slot.response->body.size(),
                    .duration = duration,
                    .model = slot.response->model,
                    .records = slot.response->told_records()};
  if (slot.told) {  // otherwise it could not be read
    entry.id = slot.told->id;
    entry.traceparent = slot.told->traceparent;
    entry.method = method_name(slot.told->method);
    entry.path = slot.told->path;
  }
  if (slot.route < Routes::table().size()) entry.route = Routes::table()[slot.route].path;
  const std::string line = access_line(entry, options.format);
  if (loop_.access_log()) log_lines_ += line;
  if (is_slow) slow_lines_ += line;
}

void Connection::sweep(SteadyTime time) {
  error_code ignored;
  if (phase_ == Phase::answering) {
    if (time >= deadline_ && waiter_) give_up_waiting();
    return;
  }
  if (time >= loop_.stop_deadline() || (phase_ == Phase::idle && time >= loop_.idle_deadline())) {
    socket_.close(ignored);
  } else if (time >= deadline_) {
    if (phase_ == Phase::reading) {
      expired_ = true;
      socket_.cancel(ignored);
    } else {
      socket_.close(ignored);
    }
  }
}

Loop::Loop(Shared& shared) : shared_(shared), figures_(shared.routes.figures().open()) {}

Result<std::uint16_t> Loop::listen(const tcp::endpoint& endpoint) {
  using ReusePort = net::detail::socket_option::boolean<SOL_SOCKET, SO_REUSEPORT>;
  error_code error;
  acceptor_.open(endpoint.protocol(), error);
  if (!error) acceptor_.set_option(net::socket_base::reuse_address(true), error);
  if (!error) acceptor_.set_option(ReusePort(true), error);
  if (!error) acceptor_.bind(endpoint, error);
  if (!error) acceptor_.listen(net::socket_base::max_listen_connections, error);
  if (error) {
    return Error{ErrorCode::unavailable,
                 format("cannot listen on {} port {}: {}", endpoint.address().to_string(), endpoint.port(),
                        error.message())};
  }
  return acceptor_.local_endpoint(error).port();
}

void Loop::run() {
  lane_.emplace(shared_.classifier,
                [this](std::function<void()> task) { net::post(context_, std::move(task)); });
  if (--shared_.loops_to_begin == 0) shared_.routes.begin_serving();
  net::co_spawn(context_, accept(), net::detached);
  net::co_spawn(context_, sweep(), net::detached);
  for (;;) {
    try {
      context_.run();
      break;
    } catch (const std::exception& exception) {
      log::error(format("an event loop goes on after: {}", exception.what()));
    }
  }
  lane_.reset();
}

void Loop::stop() {
  net::post(context_, [this] { begin_stopping(); });
}

void Loop::post(std::function<void(Guest::Seat)> task) {
  net::post(context_, [this, task = std::move(task)] { task({*lane_, figures_}); });
}

void Loop::begin_stopping() {
  stopping_ = true;
  idle_deadline_ = now() + ticks(std::min(kIdleGrace, options().stop_timeout));
  stop_deadline_ = now() + ticks(options().stop_timeout);
  // Who is connected already is served still; closing the socket would reset them.
  error_code error;
  acceptor_.non_blocking(true, error);
  while (!error) {
    Socket socket(context_);
    acceptor_.accept(socket, error);
    if (!error) start(std::move(socket));
  }
  acceptor_.close(error);
  accept_timer_.cancel();
  if (connections_.empty()) sweep_timer_.cancel();
}

Task Loop::accept() {
  while (!stopping_) {
    error_code error;
    Socket socket = co_await acceptor_.async_accept(net::redirect_error(kAwait, error));
    if (!error) {
      start(std::move(socket));
    } else if (!stopping_ && error != net::error::connection_aborted) {
      log::warning(format("cannot accept a connection: {}", error.message()));
      accept_timer_.expires_after(kAcceptPause);
      co_await accept_timer_.async_wait(net::redirect_error(kAwait, error));
    }
  }
}

void Loop::start(Socket socket) {
  const std::size_t connections = ++shared_.connections;
  if (connections > options().max_connections + kMaxRefusals) {
    --shared_.connections;
    figures_.connections_refused.add();
    return;
  }
  error_code ignored;
  socket.set_option(tcp::no_delay(true), ignored);
  const Admission admission =
      connections <= options().max_connections ? Admission::served : Admission::refused;
  if (admission == Admission::refused) figures_.connections_refused.add();
  net::co_spawn(context_, serve(std::move(socket), admission), net::detached);
}

std::uint64_t Loop::client_of(const Socket& socket) const {
  if (!shared_.gate->limits_rates()) return 0;
  error_code error;
  const net::ip::address address = socket.remote_endpoint(error).address();
  if (error) return 0;
  const auto client = [&](const auto& bytes) {
    return shared_.gate->client_of(std::as_bytes(std::span(bytes)));
  };
  return address.is_v4() ? client(address.to_v4().to_bytes()) : client(address.to_v6().to_bytes());
}

Task Loop::serve(Socket socket, Admission admission) {
  {
    const std::uint64_t client = client_of(socket);
    Connection connection(*this, std::move(socket), shared_.tls().get(), client);
    connections_.insert(&connection);
    figures_.connections_opened.add();
    co_await connection.run(admission);
    figures_.connections_closed.add();
    connections_.erase(&connection);
  }
  --shared_.connections;
  if (stopping_ && connections_.empty()) sweep_timer_.cancel();
}

Task Loop::sweep() {
  const auto shortest = std::min({options().request_timeout, options().idle_timeout, options().stop_timeout});
  const auto period =
      ticks(std::clamp<std::chrono::duration<double>>(shortest / 4, kShortestSweep, kLongestSweep));
  while (!stopping_ || !connections_.empty()) {
    sweep_timer_.expires_after(period);
    error_code error;
    co_await sweep_timer_.async_wait(net::redirect_error(kAwait, error));
    date_ = http_date(system_clock()());
    const SteadyTime time = now();
    for (Connection* connection : connections_) connection->sweep(time);
  }
}

// Every connection needs a descriptor, and the usual soft limit is 1,024.
void raise_descriptor_limit(std::size_t wanted) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) return;
  limit.rlim_cur = std::min<rlim_t>(wanted, limit.rlim_max);
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < wanted) {
    log::warning(format("this process may open {} files; {} are wanted", limit.rlim_cur, wanted));
  }
}

Result<tcp::endpoint> resolve(const std::string& host, std::uint16_t port) {
  net::io_context context;
  error_code error;
  const auto found = tcp::resolver(context).resolve(
      host, std::to_string(port), tcp::resolver::passive | tcp::resolver::address_configured, error);
  if (error || found.empty()) {
    return Error{ErrorCode::invalid_input, format("host {} does not resolve: {}", host, error.message())};
  }
  return found.begin()->endpoint();
}

// With SO_REUSEPORT a second espy could take the same port without a word; without it the system says no.
Result<void> check_port_is_free(const tcp::endpoint& endpoint) {
  net::io_context context;
  Acceptor probe(context);
  error_code error;
  probe.open(endpoint.protocol(), error);
  if (!error) probe.set_option(net::socket_base::reuse_address(true), error);
  if (!error) probe.bind(endpoint, error);
  if (!error) return {};
  return Error{ErrorCode::unavailable,
               format("cannot listen on {} port {}: {}", endpoint.address().to_string(), endpoint.port(),
                      error.message())};
}

class GuestOfLoops : public Guest {
 public:
  GuestOfLoops(Shared& shared, std::span<const std::unique_ptr<Loop>> loops)
      : shared_(shared), loops_(loops) {
    for (const auto& loop : loops_) guards_.push_back(loop->keep_running());
  }

  void post(std::function<void(Seat)> task) override {
    loops_[next_.fetch_add(1, std::memory_order_relaxed) % loops_.size()]->post(std::move(task));
  }

  const Gate& gate() const override { return *shared_.gate; }

  std::string_view why_not_ready() const override { return Routes::why_not(shared_.routes.readiness()); }

  std::size_t place_of(std::size_t guest_route) const override {
    return Routes::table().size() + 1 + guest_route;
  }

  bool tells() const override { return shared_.access_log || shared_.slow_log; }

  void tell(const AccessEntry& entry) override {
    const AccessLogOptions& options = shared_.options.access_log;
    const std::string line = access_line(entry, options.format);
    if (shared_.access_log) shared_.access_log->append(line);
    if (shared_.slow_log && entry.duration > *options.slow) shared_.slow_log->append(line);
  }

 private:
  Shared& shared_;
  const std::span<const std::unique_ptr<Loop>> loops_;
  std::vector<net::executor_work_guard<Executor>> guards_;
  std::atomic<std::size_t> next_ = 0;
};

class ListeningServer : public Server {
 public:
  static Result<std::unique_ptr<Server>> open(const ServerOptions& options, service::Classifier& classifier) {
    Result<tcp::endpoint> endpoint = resolve(options.host, options.port);
    if (!endpoint) return std::move(endpoint).error();
    if (options.port != 0) {
      if (Result<void> free = check_port_is_free(*endpoint); !free) return std::move(free).error();
    }
    if (options.tls_certificate.has_value() != options.tls_key.has_value()) {
      return Error{ErrorCode::invalid_input,
                   "a certificate and its key go together: one of them is not given"};
    }
    Result<std::unique_ptr<Gate>> gate = Gate::open(options.gate);
    if (!gate) return std::move(gate).error();
    raise_descriptor_limit(options.max_connections + kMaxRefusals + 64);  // 64 for the rest of the program

    std::unique_ptr<ListeningServer> server(new ListeningServer(options, classifier, *std::move(gate)));
    if (Result<void> opened = server->open_logs(); !opened) return std::move(opened).error();
    if (Result<void> loaded = server->shared_.reload_tls(); !loaded) return std::move(loaded).error();
    const int threads = options.threads > 0
                            ? options.threads
                            : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
    for (int i = 0; i < threads; ++i) {
      auto loop = std::make_unique<Loop>(server->shared_);
      const Result<std::uint16_t> port = loop->listen(*endpoint);
      if (!port) return port.error();
      endpoint->port(*port);
      server->loops_.push_back(std::move(loop));
    }
    server->port_ = endpoint->port();
    return std::unique_ptr<Server>(std::move(server));
  }

  std::uint16_t port() const override { return port_; }

  void run() override {
    shared_.loops_to_begin = loops_.size();
    std::vector<std::jthread> threads;
    for (std::size_t i = 1; i < loops_.size(); ++i) threads.emplace_back([this, i] { loops_[i]->run(); });
    loops_.front()->run();
  }

  Result<void> reload() override {
    if (shared_.access_log) shared_.access_log->reopen();
    Result<void> certificate = shared_.reload_tls();
    Result<void> keys = shared_.gate->reload();
    return certificate ? std::move(keys) : std::move(certificate);
  }

  void stop() override {
    shared_.routes.begin_stopping();
    for (const auto& loop : loops_) loop->stop();
  }

  std::unique_ptr<Guest> receive_guest() override { return std::make_unique<GuestOfLoops>(shared_, loops_); }

 private:
  ListeningServer(const ServerOptions& options, service::Classifier& classifier, std::unique_ptr<Gate> gate)
      : shared_(options, classifier, std::move(gate)) {}

  Result<void> open_logs() {
    LineLog::Figures& figures = shared_.routes.figures().access_log();
    if (const auto& file = shared_.options.access_log.file) {
      Result<std::unique_ptr<LineLog>> log = LineLog::open(*file, figures);
      if (!log) return std::move(log).error();
      shared_.access_log = *std::move(log);
    }
    if (shared_.options.access_log.slow) {
      Result<std::unique_ptr<LineLog>> log = LineLog::open_standard_error(figures);
      if (!log) return std::move(log).error();
      shared_.slow_log = *std::move(log);
    }
    return {};
  }

  Shared shared_;
  std::vector<std::unique_ptr<Loop>> loops_;
  std::uint16_t port_ = 0;
};

}  // namespace

Result<std::unique_ptr<Server>> Server::open(const ServerOptions& options, service::Classifier& classifier) {
  return ListeningServer::open(options, classifier);
}

}  // namespace espy::http
