// espy over HTTP/1.1: routes, limits, pages.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "http/access_log.h"
#include "http/figures.h"
#include "http/gate.h"
#include "service/classifier.h"

namespace espy::http {

// What is told of each request (access_log.h).
struct AccessLogOptions {
  std::optional<std::filesystem::path> file = {};  // "-" is standard output; without: nothing
  LogFormat format = LogFormat::json;
  // Requests that take longer are told on standard error.
  std::optional<std::chrono::duration<double>> slow = {};
};

struct ServerOptions {
  std::string host = "127.0.0.1";       // an address, or a name that resolves to one
  std::uint16_t port = 5000;            // 0 takes a free one
  int threads = 0;                      // event loops; 0 is one for each processor
  std::size_t max_connections = 10000;  // one more is answered 503 and closed
  std::size_t max_head_bytes = 16 << 10;
  std::size_t max_body_bytes = (std::size_t{16} << 20) + (64 << 10);  // an upload and its multipart frame
  // From a request's first byte to its last, and from there to its answer.
  std::chrono::duration<double> request_timeout{30};
  std::chrono::duration<double> idle_timeout{60};  // between requests
  std::chrono::duration<double> stop_timeout{10};  // for requests in hand when stopping
  AccessLogOptions access_log = {};
  // PEM; both or none, and with them nothing but TLS is spoken.
  std::optional<std::filesystem::path> tls_certificate = {};
  std::optional<std::filesystem::path> tls_key = {};
  GateOptions gate = {};
  std::vector<std::string> guest_routes = {};  // that a guest counts (Guest)
};

// What the server of another protocol in the same program has of this one: its event loops with their lanes,
// so that both make one batch and know of each other's load, who may come in, and where requests are counted
// and told. While there is a guest the loops go on after stop().
// Threads: all functions may be called from any thread at once.
class Guest {
 public:
  // One loop, for what runs on its thread.
  struct Seat {
    service::Lane& lane;
    LoopFigures& figures;
  };

  virtual ~Guest() = default;

  // Runs a task on a loop's thread, soon, once the loop can classify; each task on the next loop.
  virtual void post(std::function<void(Seat)> task) = 0;

  virtual const Gate& gate() const = 0;

  // Returns why no requests should come; nothing when they should.
  virtual std::string_view why_not_ready() const = 0;

  // Returns the place in a loop's figures of one of ServerOptions::guest_routes.
  virtual std::size_t place_of(std::size_t guest_route) const = 0;

  // Whether there is an access log, or one of slow requests.
  virtual bool tells() const = 0;
  virtual void tell(const AccessEntry& entry) = 0;
};

class Server {
 public:
  // Binds and listens; requests are answered once run() is called.
  // Errors: invalid_input (host does not resolve; as load_tls()), unavailable (port in use, no permission;
  // the access log cannot be written), as Gate::open().
  static Result<std::unique_ptr<Server>> open(const ServerOptions& options, service::Classifier& classifier);

  virtual ~Server() = default;

  // Returns the port that is listened on.
  virtual std::uint16_t port() const = 0;

  // Serves until stop(): then refuses new connections, finishes requests in hand, and returns once guests
  // have gone.
  virtual void run() = 0;

  // Opens the access log's file anew, soon, and reads the certificate and the keys again, for what comes from
  // now on; on an error what was read before stays. Errors: as load_tls() and Gate::reload().
  // Threads: may be called from one thread at a time.
  virtual Result<void> reload() = 0;

  // Threads: may be called from any thread, once or often.
  virtual void stop() = 0;

  // Lets a guest in; it must go before the server does.
  virtual std::unique_ptr<Guest> receive_guest() = 0;
};

}  // namespace espy::http
