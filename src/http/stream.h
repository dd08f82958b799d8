#pragma once

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <memory>
#include <utility>

#include "http/asio.h"

namespace espy::http {

// The socket of a connection, encrypted or not; the one place that knows which. What is not encrypted costs
// one comparison a system call more.
class Stream {
 public:
  using Bytes = net::awaitable<std::size_t, Executor>;

  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

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

}  // namespace espy::http
