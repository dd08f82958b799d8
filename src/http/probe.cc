#include "http/probe.h"

#include <fcntl.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>
#include <utility>

#include "base/format.h"

namespace espy::http {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::string_view kScheme = "http://";
constexpr std::string_view kEncryptedScheme = "https://";
constexpr std::uint16_t kEncryptedPort = 443;
// "HTTP/1.1 200" is all that is read of an answer (RFC 9112, 4).
constexpr std::string_view kProtocol = "HTTP/1.";
constexpr std::size_t kStatusAt = kProtocol.size() + 2;
constexpr std::size_t kStatusEnd = kStatusAt + 3;

// A socket that is closed with it.
class Socket {
 public:
  explicit Socket(const addrinfo& address)
      : file_(::socket(address.ai_family, address.ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
                       address.ai_protocol)) {}
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket() {
    if (file_ >= 0) ::close(file_);
  }
  int file() const { return file_; }

 private:
  int file_;
};

// Waits until the socket can be read or written. Returns 0, or the errno of what is wrong.
int wait_for(const Socket& socket, short events, Clock::time_point deadline) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return ETIMEDOUT;
    pollfd waiting{.fd = socket.file(), .events = events, .revents = 0};
    const int ready = ::poll(&waiting, 1, static_cast<int>(left));
    if (ready > 0) return 0;
    if (ready < 0 && errno != EINTR) return errno;
  }
}

// Returns 0, or the errno of what is wrong.
int connect(const Socket& socket, const addrinfo& address, Clock::time_point deadline) {
  if (socket.file() < 0) return errno;
  if (::connect(socket.file(), address.ai_addr, address.ai_addrlen) == 0) return 0;
  if (errno != EINPROGRESS) return errno;
  if (const int wrong = wait_for(socket, POLLOUT, deadline); wrong != 0) return wrong;
  int wrong = 0;
  socklen_t size = sizeof wrong;
  return ::getsockopt(socket.file(), SOL_SOCKET, SO_ERROR, &wrong, &size) == 0 ? wrong : errno;
}

// A connection, encrypted or not.
class Channel {
 public:
  // `url` says whether it is encrypted, and to whom it leads.
  Channel(const Socket& socket, const Url& url, Clock::time_point deadline)
      : socket_(socket), deadline_(deadline) {
    if (!url.is_encrypted) return;
    context_.reset(::SSL_CTX_new(::TLS_client_method()));
    tls_.reset(context_ ? ::SSL_new(context_.get()) : nullptr);
    if (!tls_ || ::SSL_set_fd(tls_.get(), socket.file()) != 1) return;
    // Servers of several names choose by this one; an address is none and is refused here.
    ::SSL_set_tlsext_host_name(tls_.get(), url.host.c_str());
  }

  // These return 0, or the errno of what is wrong. Greets, where it is encrypted.
  int begin(bool is_encrypted) {
    if (!is_encrypted) return 0;
    if (!tls_) return ENOMEM;
    return finish(POLLOUT, [&] { return ::SSL_connect(tls_.get()); }).wrong;
  }

  int send_all(std::string_view text) {
    while (!text.empty()) {
      const Step step = finish(POLLOUT, [&] {
        return tls_ ? ::SSL_write(tls_.get(), text.data(), static_cast<int>(text.size()))
                    : static_cast<int>(::send(socket_.file(), text.data(), text.size(), MSG_NOSIGNAL));
      });
      if (step.wrong != 0) return step.wrong;
      text.remove_prefix(static_cast<std::size_t>(step.bytes));
    }
    return 0;
  }

  // Reads `text` full, or to the other's end.
  int receive(std::string& text) {
    std::size_t filled = 0;
    while (filled < text.size()) {
      const Step step = finish(POLLIN, [&] {
        const std::size_t room = text.size() - filled;
        return tls_ ? ::SSL_read(tls_.get(), text.data() + filled, static_cast<int>(room))
                    : static_cast<int>(::recv(socket_.file(), text.data() + filled, room, 0));
      });
      if (step.wrong != 0) return step.wrong;
      if (step.bytes == 0) break;
      filled += static_cast<std::size_t>(step.bytes);
    }
    text.resize(filled);
    return 0;
  }

 private:
  struct Step {
    int bytes = 0;
    int wrong = 0;
  };

  // Does something again and again until the socket has let it be done; `events` are what it waits for
  // unencrypted.
  template <typename Try>
  Step finish(short events, Try attempt) {
    for (;;) {
      ::ERR_clear_error();
      errno = 0;
      const int result = attempt();
      if (result > 0) return {.bytes = result};
      if (tls_) {
        const int reason = ::SSL_get_error(tls_.get(), result);
        if (reason == SSL_ERROR_ZERO_RETURN) return {};
        if (reason != SSL_ERROR_WANT_READ && reason != SSL_ERROR_WANT_WRITE) {
          return {.wrong = reason == SSL_ERROR_SYSCALL && errno != 0 ? errno : EPROTO};
        }
        events = reason == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT;
      } else {
        if (result == 0) return {};
        if (errno == EINTR) continue;
        if (errno != EAGAIN) return {.wrong = errno};
      }
      if (const int wrong = wait_for(socket_, events, deadline_); wrong != 0) return {.wrong = wrong};
    }
  }

  struct Free {
    void operator()(SSL* tls) const { ::SSL_free(tls); }
    void operator()(SSL_CTX* context) const { ::SSL_CTX_free(context); }
  };

  const Socket& socket_;
  const Clock::time_point deadline_;
  std::unique_ptr<SSL_CTX, Free> context_;
  std::unique_ptr<SSL, Free> tls_;
};

Error not_a_url(std::string_view text) {
  return {ErrorCode::invalid_input, format("'{}' is not http[s]://HOST[:PORT][/PATH]", text)};
}

}  // namespace

Result<Url> parse_url(std::string_view text) {
  // What is sent as it is must not end its line.
  const bool printable = std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < '\x7f'; });
  Url url;
  url.is_encrypted = text.starts_with(kEncryptedScheme);
  if (url.is_encrypted) url.port = kEncryptedPort;
  if ((!url.is_encrypted && !text.starts_with(kScheme)) || !printable) return not_a_url(text);
  std::string_view authority = text.substr((url.is_encrypted ? kEncryptedScheme : kScheme).size());
  if (const std::size_t slash = authority.find('/'); slash != authority.npos) {
    url.path = authority.substr(slash);
    authority = authority.substr(0, slash);
  }
  std::string_view after_host;
  if (authority.starts_with('[')) {
    const std::size_t end = authority.find(']');
    if (end == authority.npos) return not_a_url(text);
    url.host = authority.substr(1, end - 1);
    after_host = authority.substr(end + 1);
  } else {
    const std::size_t colon = std::min(authority.find(':'), authority.size());
    url.host = authority.substr(0, colon);
    after_host = authority.substr(colon);
  }
  if (url.host.empty()) return not_a_url(text);
  if (after_host.empty()) return url;
  const char* end = after_host.data() + after_host.size();
  const auto [stop, reason] = std::from_chars(after_host.data() + 1, end, url.port);
  if (!after_host.starts_with(':') || reason != std::errc{} || stop != end || url.port == 0) {
    return not_a_url(text);
  }
  return url;
}

Result<int> probe(const Url& url, std::chrono::milliseconds patience) {
  const bool is_ipv6 = url.host.find(':') != std::string::npos;
  const std::string authority = format("{}:{}", is_ipv6 ? format("[{}]", url.host) : url.host, url.port);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int wrong = ::getaddrinfo(url.host.c_str(), format("{}", url.port).c_str(), &hints, &found);
      wrong != 0) {
    return Error{ErrorCode::unavailable, format("{}: {}", authority, ::gai_strerror(wrong))};
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> addresses(found, &::freeaddrinfo);
  const Clock::time_point deadline = Clock::now() + patience;
  const std::string request =
      format("GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", url.path, authority);
  int wrong = 0;
  for (const addrinfo* address = addresses.get(); address != nullptr; address = address->ai_next) {
    const Socket socket(*address);
    wrong = connect(socket, *address, deadline);
    if (wrong != 0) continue;
    Channel channel(socket, url, deadline);
    wrong = channel.begin(url.is_encrypted);
    if (wrong == EPROTO) return Error{ErrorCode::unavailable, format("{} does not speak TLS", authority)};
    std::string answer(kStatusEnd, '\0');
    if (wrong == 0) wrong = channel.send_all(request);
    if (wrong == 0) wrong = channel.receive(answer);
    if (wrong != 0) break;
    int status = 0;
    const char* end = answer.data() + answer.size();
    const bool is_http = answer.size() == kStatusEnd && answer.starts_with(kProtocol);
    if (!is_http || std::from_chars(answer.data() + kStatusAt, end, status).ptr != end) {
      return Error{ErrorCode::unavailable, format("{} does not answer in HTTP", authority)};
    }
    return status;
  }
  return Error{ErrorCode::unavailable, format("{}: {}", authority, std::strerror(wrong))};
}

}  // namespace espy::http
