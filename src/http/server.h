// espy over HTTP/1.1: routes, limits, pages.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "service/classifier.h"

namespace espy::http {

struct ServerOptions {
  std::string host = "127.0.0.1";       // an address, or a name that resolves to one
  std::uint16_t port = 5000;            // 0 takes a free one
  int threads = 0;                      // event loops; 0 is one for each processor
  std::size_t max_connections = 10000;  // one more is answered 503 and closed
  std::size_t max_head_bytes = 16 << 10;
  std::size_t max_body_bytes = (std::size_t{16} << 20) + (64 << 10);  // an upload and its multipart frame
  std::chrono::duration<double> request_timeout{30};  // from a request's first byte to its last
  std::chrono::duration<double> idle_timeout{60};     // between requests
  std::chrono::duration<double> stop_timeout{10};     // for requests in hand when stopping
};

class Server {
 public:
  // Binds and listens; requests are answered once run() is called.
  // Errors: invalid_input (host does not resolve), unavailable (port in use, no permission).
  static Result<std::unique_ptr<Server>> open(const ServerOptions& options, service::Classifier& classifier);

  virtual ~Server() = default;

  // Returns the port that is listened on.
  virtual std::uint16_t port() const = 0;

  // Serves until stop(): then refuses new connections, finishes requests in hand, and returns.
  virtual void run() = 0;

  // Threads: may be called from any thread, once or often.
  virtual void stop() = 0;
};

}  // namespace espy::http
