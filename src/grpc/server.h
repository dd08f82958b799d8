// espy over gRPC: the Open Inference Protocol and gRPC's health checking, beside the HTTP server and as its
// guest (http::Guest): the same loops and lanes, keys, rates, figures and logs.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "http/server.h"

namespace espy::grpc {

struct ServerOptions {
  std::string host = "127.0.0.1";  // an address, or a name that resolves to some
  std::uint16_t port = 8001;       // 0 takes a free one
  std::size_t max_message_bytes = (std::size_t{16} << 20) + (64 << 10);  // inflated
  std::size_t max_metadata_bytes = 16 << 10;
  // One more is refused with UNAVAILABLE, but a tenth more of those that ask how the server is.
  std::size_t max_calls = 10000;
  // From a call's begin to its message, and from there to its answer's leaving.
  std::chrono::duration<double> request_timeout{30};
  std::chrono::duration<double> idle_timeout{60};  // of a connection without calls, and of a stream
  std::chrono::duration<double> stop_timeout{10};  // for calls in hand when stopping
  // PEM; both or none, and with them nothing but TLS is spoken.
  std::optional<std::filesystem::path> tls_certificate = {};
  std::optional<std::filesystem::path> tls_key = {};
};

// Returns what http::ServerOptions::guest_routes must be for this guest: the methods' paths.
std::vector<std::string> guest_routes();

class Server {
 public:
  // Binds, listens and answers at once; calls wait until the HTTP server runs.
  // Errors: invalid_input (this espy was built without gRPC; a file that cannot be read or is too large),
  // unavailable (host does not resolve, port in use, no permission).
  static Result<std::unique_ptr<Server>> open(const ServerOptions& options, http::Server& host);

  // Stops, when stop() was not called. It must go before the HTTP server does.
  virtual ~Server() = default;

  // Returns the port that is listened on.
  virtual std::uint16_t port() const = 0;

  // Reads the certificate and its key again, for connections from now on. Keys are read again by the HTTP
  // server. On an error, and when they do not fit, those before stay. Errors: invalid_input.
  // Threads: may be called from one thread at a time.
  virtual Result<void> reload() = 0;

  // Refuses new calls, waits until those in hand are answered, at most as long as options say, and leaves the
  // HTTP server. Threads: may be called from any thread, once or often.
  virtual void stop() = 0;
};

}  // namespace espy::grpc
