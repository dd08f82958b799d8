#include "http/loop.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <exception>
#include <span>

#include "base/log.h"
#include "base/uuid.h"

namespace espy::http {
namespace {

// How long idle connections stay when stopping: a request may be on its way.
constexpr std::chrono::duration<double> kIdleGrace{1};
constexpr std::chrono::milliseconds kLongestSweep{250};
constexpr std::chrono::milliseconds kShortestSweep{10};
constexpr std::chrono::milliseconds kAcceptPause{100};  // when there are no file descriptors left

}  // namespace

Loop::Loop(ServerState& shared)
    : shared_(shared),
      state_{.options = shared.options,
             .routes = shared.routes,
             .figures = shared.routes.figures().open(),
             .access_log = shared.access_log.get(),
             .slow_log = shared.slow_log.get(),
             .id_prefix = to_string(UuidGenerator().next(system_clock()())).substr(24),
             .date = http_date(system_clock()())} {}

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
  state_.lane.emplace(shared_.classifier,
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
  state_.lane.reset();
}

void Loop::stop() {
  net::post(context_, [this] { begin_stopping(); });
}

void Loop::post(std::function<void(Guest::Seat)> task) {
  net::post(context_, [this, task = std::move(task)] { task({*state_.lane, state_.figures}); });
}

void Loop::begin_stopping() {
  state_.stopping = true;
  state_.idle_deadline = now() + ticks(std::min(kIdleGrace, shared_.options.stop_timeout));
  state_.stop_deadline = now() + ticks(shared_.options.stop_timeout);
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
  while (!state_.stopping) {
    error_code error;
    Socket socket = co_await acceptor_.async_accept(net::redirect_error(kAwait, error));
    if (!error) {
      start(std::move(socket));
    } else if (!state_.stopping && error != net::error::connection_aborted) {
      log::warning(format("cannot accept a connection: {}", error.message()));
      accept_timer_.expires_after(kAcceptPause);
      co_await accept_timer_.async_wait(net::redirect_error(kAwait, error));
    }
  }
}

void Loop::start(Socket socket) {
  const std::size_t connections = ++shared_.connections;
  if (connections > shared_.options.max_connections + kMaxRefusals) {
    --shared_.connections;
    state_.figures.connections_refused.add();
    return;
  }
  error_code ignored;
  socket.set_option(tcp::no_delay(true), ignored);
  const Admission admission =
      connections <= shared_.options.max_connections ? Admission::served : Admission::refused;
  if (admission == Admission::refused) state_.figures.connections_refused.add();
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
    Connection connection(state_, std::move(socket), shared_.tls().get(), client);
    connections_.insert(&connection);
    state_.figures.connections_opened.add();
    co_await connection.run(admission);
    state_.figures.connections_closed.add();
    connections_.erase(&connection);
  }
  --shared_.connections;
  if (state_.stopping && connections_.empty()) sweep_timer_.cancel();
}

Task Loop::sweep() {
  const auto shortest =
      std::min({shared_.options.request_timeout, shared_.options.idle_timeout, shared_.options.stop_timeout});
  const auto period =
      ticks(std::clamp<std::chrono::duration<double>>(shortest / 4, kShortestSweep, kLongestSweep));
  while (!state_.stopping || !connections_.empty()) {
    sweep_timer_.expires_after(period);
    error_code error;
    co_await sweep_timer_.async_wait(net::redirect_error(kAwait, error));
    state_.date = http_date(system_clock()());
    const SteadyTime time = now();
    for (Connection* connection : connections_) connection->sweep(time);
  }
}

}  // namespace espy::http
