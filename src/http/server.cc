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
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cassert>
#include <cstring>
#include <exception>
#include <optional>
#include <thread>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/format.h"
#include "base/log.h"
#include "http/message.h"
#include "http/request_reader.h"
#include "http/routes.h"

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

constexpr std::size_t kSmallBufferBytes = 4 << 10;  // holds a request with a small picture
constexpr std::size_t kLargeBufferBytes = 64 << 10;
// A pipeliner's requests are answered in bursts of at most so many, or of so many bytes that are ready.
constexpr std::size_t kMaxBurst = 64;
constexpr std::size_t kMaxBurstBytes = 256 << 10;
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
  Shared(const ServerOptions& server_options, service::Classifier& the_classifier)
      : options(server_options), classifier(the_classifier), routes(the_classifier) {}

  const ServerOptions options;
  service::Classifier& classifier;
  Routes routes;
  std::atomic<std::size_t> connections = 0;
};

class Loop;

enum class Admission { served, refused };  // refused: there are too many

// One client. Reads a burst of requests, answers them together, and so on.
class Connection {
 public:
  Connection(Loop& loop, Socket socket);

  Task run(Admission admission);

  // Ends what takes too long; called now and then.
  void sweep(SteadyTime time);

 private:
  // An answer that has its place in the order.
  struct Slot {
    std::optional<Response> response;
    Body body;
    Afterwards afterwards;
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
  void collect_answers();
  void prepare_to_read();
  auto answers_to_come();

  Loop& loop_;
  Socket socket_;
  RequestReader reader_;
  std::vector<char> buffer_;
  std::size_t begin_ = 0;  // of what is unread in the buffer
  std::size_t end_ = 0;
  std::string out_;
  std::vector<Slot> slots_;
  std::size_t unanswered_ = 0;
  std::size_t ready_bytes_ = 0;
  bool keep_alive_ = true;

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

  const ServerOptions& options() const { return shared_.options; }
  const Routes& routes() const { return shared_.routes; }
  service::Lane& lane() { return *lane_; }
  std::string_view date() const { return date_; }
  bool stopping() const { return stopping_; }
  SteadyTime idle_deadline() const { return idle_deadline_; }
  SteadyTime stop_deadline() const { return stop_deadline_; }

 private:
  Task accept();
  Task serve(Socket socket, Admission admission);
  Task sweep();
  void start(Socket socket);
  void begin_stopping();

  Shared& shared_;
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

Connection::Connection(Loop& loop, Socket socket)
    : loop_(loop),
      socket_(std::move(socket)),
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
    } else {
      co_await refuse();
    }
  } catch (const std::exception& exception) {
    log::error(format("a connection ended by: {}", exception.what()));
  }
  if (unanswered_ > 0) co_await answers_to_come();  // the lane still knows this connection
}

Task Connection::serve() {
  error_code error;
  Hunger hunger = Hunger::hungry;
  while (keep_alive_) {
    if (hunger == Hunger::hungry) {
      prepare_to_read();
      const std::size_t received = co_await socket_.async_read_some(
          net::buffer(buffer_.data() + end_, buffer_.size() - end_), net::redirect_error(kAwait, error));
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
      co_await answers_to_come();
    }
    collect_answers();
    for (std::size_t sent = 0; sent < out_.size();) {
      phase_ = Phase::writing;
      deadline_ =
          now() + ticks(loop_.options().request_timeout);  // for each step: a slow reader may take its time
      sent += co_await socket_.async_write_some(net::buffer(out_.data() + sent, out_.size() - sent),
                                                net::redirect_error(kAwait, error));
      if (error) co_return;
    }
    out_.clear();
  }

  // A close with bytes unread would reset the connection, and the client might lose the answer.
  socket_.shutdown(tcp::socket::shutdown_send, error);
  phase_ = Phase::writing;
  deadline_ = now() + kLingerTime;
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
  if (loop_.stopping()) request.afterwards = Afterwards::close;
  keep_alive_ = request.afterwards != Afterwards::close;
  const std::size_t slot = slots_.size();
  slots_.push_back({.response = {},
                    .body = request.method == Method::head ? Body::leave_out : Body::send,
                    .afterwards = request.afterwards});
  ++unanswered_;
  try {
    loop_.routes().answer(request, loop_.lane(),
                          [this, slot](Response response) { put_answer(slot, std::move(response)); });
  } catch (const std::exception& exception) {
    log::error(format("a request failed: {}", exception.what()));
    if (!slots_[slot].response) put_answer(slot, json_error(500, "internal error"));
  }
  reader_.next();
  request_began_ = now();
}

void Connection::put_answer(std::size_t slot, Response response) {
  assert(!slots_[slot].response);
  ready_bytes_ += response.body.size();
  slots_[slot].response = std::move(response);
  if (--unanswered_ > 0 || !waiter_) return;
  Waiter waiter = *std::move(waiter_);
  waiter_.reset();
  waiter();  // goes on in serve(), which may end there and this with it
}

void Connection::put_refusal(int status, std::string_view message) {
  keep_alive_ = false;
  slots_.push_back(
      {.response = json_error(status, message), .body = Body::send, .afterwards = Afterwards::close});
}

// Puts the burst's answers behind one another, to be sent in one piece.
void Connection::collect_answers() {
  for (const Slot& slot : slots_) {
    append_response(out_, *slot.response, slot.body, slot.afterwards, loop_.date());
  }
  slots_.clear();
  ready_bytes_ = 0;
  if (keep_alive_ && reader_.state() == RequestReader::State::body && reader_.take_expectation()) {
    out_ += "HTTP/1.1 100 Continue\r\n\r\n";
  }
}

void Connection::sweep(SteadyTime time) {
  error_code ignored;
  if (phase_ == Phase::answering) return;  // the store will say how it ended
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

Loop::Loop(Shared& shared) : shared_(shared) {}

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
    return;
  }
  error_code ignored;
  socket.set_option(tcp::no_delay(true), ignored);
  const Admission admission =
      connections <= options().max_connections ? Admission::served : Admission::refused;
  net::co_spawn(context_, serve(std::move(socket), admission), net::detached);
}

Task Loop::serve(Socket socket, Admission admission) {
  {
    Connection connection(*this, std::move(socket));
    connections_.insert(&connection);
    co_await connection.run(admission);
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

class ListeningServer : public Server {
 public:
  static Result<std::unique_ptr<Server>> open(const ServerOptions& options, service::Classifier& classifier) {
    Result<tcp::endpoint> endpoint = resolve(options.host, options.port);
    if (!endpoint) return std::move(endpoint).error();
    if (options.port != 0) {
      if (Result<void> free = check_port_is_free(*endpoint); !free) return std::move(free).error();
    }
    raise_descriptor_limit(options.max_connections + kMaxRefusals + 64);  // 64 for the rest of the program

    std::unique_ptr<ListeningServer> server(new ListeningServer(options, classifier));
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
    std::vector<std::jthread> threads;
    for (std::size_t i = 1; i < loops_.size(); ++i) threads.emplace_back([this, i] { loops_[i]->run(); });
    loops_.front()->run();
  }

  void stop() override {
    shared_.routes.begin_stopping();
    for (const auto& loop : loops_) loop->stop();
  }

 private:
  ListeningServer(const ServerOptions& options, service::Classifier& classifier)
      : shared_(options, classifier) {}

  Shared shared_;
  std::vector<std::unique_ptr<Loop>> loops_;
  std::uint16_t port_ = 0;
};

}  // namespace

Result<std::unique_ptr<Server>> Server::open(const ServerOptions& options, service::Classifier& classifier) {
  return ListeningServer::open(options, classifier);
}

}  // namespace espy::http
