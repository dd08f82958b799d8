#include "grpc/server.h"

#include <grpc/support/log.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <algorithm>
#include <climits>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "base/format.h"
#include "base/log.h"
#include "grpc/call.h"
#include "grpc/certificate.h"

namespace espy::grpc {
namespace {

// Calls of one connection at once: as many as it takes to keep every loop busy with full batches.
constexpr int kMaxStreamsOfConnection = 1024;
// How soon a call that is late ends, and whoever watches hears of a change.
constexpr std::chrono::milliseconds kSweepInterval{100};

// What gRPC says is mostly of what strangers do, such as handshakes that fail.
void log_what_grpc_says(gpr_log_func_args* said) { log::debug(format("gRPC: {}", said->message)); }

class Service final : public ::grpc::CallbackGenericService {
 public:
  explicit Service(std::shared_ptr<Calls> calls) : calls_(std::move(calls)) {}

  ::grpc::ServerGenericBidiReactor* CreateReactor(::grpc::GenericCallbackServerContext* context) override {
    return Call::begin(calls_, context);
  }

 private:
  const std::shared_ptr<Calls> calls_;
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
    calls_->stopping = true;
    if (server_) {
      const auto time =
          std::chrono::duration_cast<std::chrono::system_clock::duration>(calls_->options.stop_timeout);
      server_->Shutdown(std::chrono::system_clock::now() + time);
    }
    sweeper_.request_stop();
    sweeper_.join();
    calls_->leave();
  }

 private:
  GrpcServer(const ServerOptions& options, std::unique_ptr<http::Guest> guest)
      : calls_(std::make_shared<Calls>(options, std::move(guest))), service_(calls_) {}

  Result<void> start() {
    const ServerOptions& options = calls_->options;
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
    // Compressed messages come as they are: call.cc inflates them, with a limit.
    builder.AddChannelArgument(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
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
      calls_->sweep();
    }
  }

  const std::shared_ptr<Calls> calls_;
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
