// One thread's event loop, and what all of a server's loops share.
#pragma once

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/ssl/context.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <unordered_set>
#include <utility>

#include "base/result.h"
#include "http/connection.h"
#include "http/tls.h"

namespace espy::http {

// Connections beyond the limit that are told so; further ones are closed without a word.
inline constexpr std::size_t kMaxRefusals = 256;

// What all loops share.
struct ServerState {
  ServerState(const ServerOptions& server_options, service::Classifier& the_classifier,
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

  // Errors: as load_tls(); then what was loaded before stays.
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

// One thread's event loop with its own listening socket.
class Loop {
 public:
  explicit Loop(ServerState& shared);

  // Errors: as Server::open. Returns the port, which is a free one when the endpoint's was 0.
  Result<std::uint16_t> listen(const tcp::endpoint& endpoint);

  // Serves until stop(), which any thread may call, and every connection has ended. The lane lives within,
  // because what it still schedules runs here.
  void run();
  void stop();

  // From any thread: runs a guest's task here, and keeps the loop running.
  void post(std::function<void(Guest::Seat)> task);
  net::executor_work_guard<Executor> keep_running() { return net::make_work_guard(context_); }

 private:
  Task accept();
  Task serve(Socket socket, Admission admission);
  Task sweep();
  void start(Socket socket);
  std::uint64_t client_of(const Socket& socket) const;
  void begin_stopping();

  ServerState& shared_;
  LoopState state_;
  net::io_context context_{1};
  Acceptor acceptor_{context_};
  Timer sweep_timer_{context_};
  Timer accept_timer_{context_};
  std::unordered_set<Connection*> connections_;
};

}  // namespace espy::http
