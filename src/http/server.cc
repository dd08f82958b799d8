#include "http/server.h"

#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "base/format.h"
#include "base/log.h"
#include "base/processors.h"
#include "http/loop.h"

namespace espy::http {
namespace {

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
  GuestOfLoops(ServerState& shared, std::span<const std::unique_ptr<Loop>> loops)
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
  ServerState& shared_;
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
    const int threads = options.threads > 0 ? options.threads : usable_processors();
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

  ServerState shared_;
  std::vector<std::unique_ptr<Loop>> loops_;
  std::uint16_t port_ = 0;
};

}  // namespace

Result<std::unique_ptr<Server>> Server::open(const ServerOptions& options, service::Classifier& classifier) {
  return ListeningServer::open(options, classifier);
}

}  // namespace espy::http
