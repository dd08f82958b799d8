#include "http/probe.h"

#include <fcntl.h>
#include <netdb.h>
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

int send_all(const Socket& socket, std::string_view text, Clock::time_point deadline) {
  while (!text.empty()) {
    const ssize_t sent = ::send(socket.file(), text.data(), text.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      text.remove_prefix(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN) {
      if (const int wrong = wait_for(socket, POLLOUT, deadline); wrong != 0) return wrong;
    } else if (errno != EINTR) {
      return errno;
    }
  }
  return 0;
}

// Reads `text` full, or to the other's end. Returns 0, or the errno of what is wrong.
int receive(const Socket& socket, std::string& text, Clock::time_point deadline) {
  std::size_t filled = 0;
  while (filled < text.size()) {
    const ssize_t received = ::recv(socket.file(), text.data() + filled, text.size() - filled, 0);
    if (received == 0) break;
    if (received > 0) {
      filled += static_cast<std::size_t>(received);
    } else if (errno == EAGAIN) {
      if (const int wrong = wait_for(socket, POLLIN, deadline); wrong != 0) return wrong;
    } else if (errno != EINTR) {
      return errno;
    }
  }
  text.resize(filled);
  return 0;
}

Error not_a_url(std::string_view text) {
  return {ErrorCode::invalid_input, format("'{}' is not http://HOST[:PORT][/PATH]", text)};
}

}  // namespace

Result<Url> parse_url(std::string_view text) {
  // What is sent as it is must not end its line.
  const bool printable = std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < '\x7f'; });
  if (!text.starts_with(kScheme) || !printable) return not_a_url(text);
  std::string_view authority = text.substr(kScheme.size());
  Url url;
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
    std::string answer(kStatusEnd, '\0');
    wrong = send_all(socket, request, deadline);
    if (wrong == 0) wrong = receive(socket, answer, deadline);
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
