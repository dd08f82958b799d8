#include "http/probe.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <string_view>
#include <thread>

#include "base/format.h"

namespace espy::http {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPatience{5000};

// Takes one connection on the loopback, reads what comes and answers with `answer`; an empty one says
// nothing.
class Answering {
 public:
  explicit Answering(std::string answer) : listener_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(::bind(listener_, reinterpret_cast<const sockaddr*>(&address), size), 0);
    EXPECT_EQ(::listen(listener_, 1), 0);
    EXPECT_EQ(::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this, answer = std::move(answer)] {
      const int connection = ::accept(listener_, nullptr, nullptr);
      char bytes[1024];
      const ssize_t count = ::recv(connection, bytes, sizeof bytes, 0);
      if (count > 0) request_.assign(bytes, static_cast<std::size_t>(count));
      if (answer.empty()) {
        while (::recv(connection, bytes, sizeof bytes, 0) > 0) continue;  // until the other has had enough
      }
      ::send(connection, answer.data(), answer.size(), MSG_NOSIGNAL);
      ::close(connection);
    });
  }
  ~Answering() {
    finish();
    ::close(listener_);
  }

  Url url(std::string path) const { return {"127.0.0.1", port_, std::move(path)}; }

  std::string request() {
    finish();
    return request_;
  }

 private:
  void finish() {
    if (thread_.joinable()) thread_.join();
  }

  int listener_;
  std::uint16_t port_ = 0;
  std::string request_;
  std::thread thread_;
};

TEST(ParseUrl, TakesNamesAddressesPortsAndPaths) {
  EXPECT_EQ(*parse_url("http://localhost"), (Url{"localhost", 80, "/"}));
  EXPECT_EQ(*parse_url("http://espy:5000/readyz"), (Url{"espy", 5000, "/readyz"}));
  EXPECT_EQ(*parse_url("http://[::1]:5000/a/b?c=d"), (Url{"::1", 5000, "/a/b?c=d"}));
  EXPECT_EQ(*parse_url("https://localhost/readyz"), (Url{"localhost", 443, "/readyz", true}));
}

TEST(ParseUrl, RefusesWhatIsNone) {
  for (const char* text : {"", "localhost:5000", "ftp://localhost/", "http://", "http://:80/", "http://a:/",
                           "http://a:0/", "http://a:65536/", "http://a:1x/", "http://[::1", "http://[::1]5",
                           "http://a/b c", "http://a/\r\nHost: b"}) {
    const Result<Url> url = parse_url(text);
    ASSERT_FALSE(url) << text;
    EXPECT_EQ(url.error().code, ErrorCode::invalid_input);
    EXPECT_NE(url.error().message.find("is not http[s]://HOST[:PORT][/PATH]"), std::string::npos);
  }
}

TEST(Probe, ReturnsTheStatusOfTheAnswer) {
  Answering server("HTTP/1.1 503 Service Unavailable\r\n\r\n");
  EXPECT_EQ(*probe(server.url("/readyz"), kPatience), 503);
  EXPECT_TRUE(server.request().starts_with("GET /readyz HTTP/1.1\r\nHost: 127.0.0.1:"));
}

TEST(Probe, SaysWhenAnotherDoesNotSpeakTls) {
  Answering server("HTTP/1.1 400 Bad Request\r\n\r\n");
  Url url = server.url("/readyz");
  url.is_encrypted = true;
  const Result<int> status = probe(url, kPatience);
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message.find("does not speak TLS"), std::string::npos) << status.error().message;
}

TEST(Probe, SaysWhenNobodyAnswersInTimeOrNotInHttp) {
  {
    Answering silent("");
    const Result<int> status = probe(silent.url("/"), milliseconds(100));
    ASSERT_FALSE(status);
    EXPECT_NE(status.error().message.find("timed out"), std::string::npos) << status.error().message;
  }
  for (const char* answer : {"SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 2", "HTTP/1.1 2x0 OK\r\n\r\n"}) {
    Answering other(answer);
    const Result<int> status = probe(other.url("/"), kPatience);
    ASSERT_FALSE(status) << answer;
    EXPECT_NE(status.error().message.find("does not answer in HTTP"), std::string::npos);
  }
  const Result<int> status = probe({"127.0.0.1", 1, "/"}, kPatience);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::unavailable);
  EXPECT_NE(status.error().message.find("127.0.0.1:1: Connection refused"), std::string::npos);
}

}  // namespace
}  // namespace espy::http
