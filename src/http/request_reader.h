// Bytes from a connection become requests (RFC 9112). Boost.Beast's parser does the reading; around it stand
// the limits, and guards against what Beast 1.81 lets through.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "http/message.h"

namespace espy::http {

// Why a request cannot be served at all; the connection closes after the answer.
struct Refusal {
  int status;
  std::string message;
};

struct RequestLimits {
  std::size_t max_head_bytes;
  std::size_t max_body_bytes;  // of a chunked body with its frame
};

// Threads: one thread at a time.
class RequestReader {
 public:
  enum class State {
    waiting,   // for a request's first byte
    head,      // within a request's head
    body,      // the head was accepted; within the body
    complete,  // request() may be taken
    refused,   // refusal() says why; nothing more can be read
  };

  explicit RequestReader(const RequestLimits& limits);
  ~RequestReader();

  // Reads from the front of `bytes` and returns how many are used up, at most to the end of one request. The
  // rest must be given again, together with what has come since.
  std::size_t read(std::string_view bytes);

  State state() const { return state_; }

  // Returns, in State::body, whether the client waits for "100 Continue" and has not been told yet; asking is
  // telling.
  bool take_expectation();

  // Returns, in State::body, how much is still to come of a body whose length was given; 0 otherwise.
  std::uint64_t missing_bytes() const;

  // Returns what is known of the request at hand in any state: what was not read is empty.
  const Request& request_so_far() const;

  // The request, in State::complete; then next() begins the next one.
  Request& request();
  void next();

  const Refusal& refusal() const { return refusal_; }

 private:
  class Parser;

  void refuse(int status, std::string message);

  RequestLimits limits_;
  State state_ = State::waiting;
  std::size_t wire_bytes_ = 0;  // used up since the request's first byte, or since its body's
  Refusal refusal_{};
  std::unique_ptr<Parser> parser_;
};

}  // namespace espy::http
