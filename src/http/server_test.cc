#include "http/server.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/format.h"
#include "service/testing.h"

namespace espy::http {
namespace {

using service::testing::bar_picture;
using service::testing::Service;

constexpr std::string_view kLivez = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";

bool contains(std::string_view text, std::string_view piece) { return text.find(piece) != text.npos; }

// Returns a form of one file, as a request's body with the boundary b.
std::string form(std::string_view content) {
  return format(
      "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.bmp\"\r\n\r\n{}\r\n--b--\r\n",
      content);
}

std::string post(std::string_view path, std::string_view body, std::string_view fields = "") {
  return format(
      "POST {} HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
      "Content-Length: {}\r\n{}\r\n{}",
      path, body.size(), fields, body);
}

// A plain socket, on which answers are read one by one.
class Client {
 public:
  explicit Client(std::uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    const timeval patience{.tv_sec = 10, .tv_usec = 0};
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client() { ::close(socket_); }

  bool connected() const { return connected_; }

  // Sends as much as the server takes.
  void send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
  }

  // Sends all of it; returns false when the server has closed.
  bool sends(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }

  void end_sending() { ::shutdown(socket_, SHUT_WR); }

  struct Answer {
    int status = 0;  // 0 when the connection ended instead
    std::string head;
    std::string body;
  };

  Answer receive(std::string_view method = "GET") {
    Answer answer;
    while (received_.find("\r\n\r\n") == std::string::npos) {
      if (!receive_more()) return {};
    }
    const std::size_t head_bytes = received_.find("\r\n\r\n") + 4;
    answer.head = received_.substr(0, head_bytes);
    received_.erase(0, head_bytes);
    answer.status = std::stoi(answer.head.substr(9, 3));
    const std::size_t length = answer.head.find("Content-Length: ");
    if (length == std::string::npos || method == "HEAD") return answer;
    const std::size_t body_bytes = std::stoul(answer.head.substr(length + 16));
    while (received_.size() < body_bytes) {
      if (!receive_more()) return {};
    }
    answer.body = received_.substr(0, body_bytes);
    received_.erase(0, body_bytes);
    return answer;
  }

  // Waits for the end; returns whether nothing came before it.
  bool is_closed() {
    while (receive_more()) {
    }
    return received_.empty();
  }

 private:
  bool receive_more() {
    std::array<char, 65536> bytes;
    const ssize_t count = ::recv(socket_, bytes.data(), bytes.size(), 0);
    if (count <= 0) return false;
    received_.append(bytes.data(), static_cast<std::size_t>(count));
    return true;
  }

  int socket_;
  bool connected_ = false;
  std::string received_;
};

// A server on a free port, in a thread of its own.
class Running {
 public:
  explicit Running(ServerOptions options = {}, const store::StoreOptions& store_options = {},
                   service::ClassifierOptions classifier_options = {})
      : service_(store_options, std::move(classifier_options)) {
    options.port = 0;
    if (options.threads == 0) options.threads = 2;
    server_ = *Server::open(options, *service_.classifier);
    thread_ = std::jthread([this] { server_->run(); });
  }
  ~Running() { stop(); }

  std::uint16_t port() const { return server_->port(); }
  Service& service() { return service_; }
  void begin_to_stop() { server_->stop(); }
  std::unique_ptr<Guest> receive_guest() { return server_->receive_guest(); }
  void stop() {
    server_->stop();
    if (thread_.joinable()) thread_.join();
  }
  std::size_t record_count() {
    store::Query query;
    query.limit = 1000;
    return service_.store.list(query)->records.size();
  }

 private:
  Service service_;
  std::unique_ptr<Server> server_;
  std::jthread thread_;
};

void expect_error(const Client::Answer& answer, int status, std::string_view code, std::string_view piece) {
  EXPECT_EQ(answer.status, status);
  EXPECT_TRUE(contains(answer.body, format("{{\"error\":{{\"code\":\"{}\"", code))) << answer.body;
  EXPECT_TRUE(contains(answer.body, piece)) << answer.body;
  EXPECT_TRUE(contains(answer.head, "\r\nConnection: close\r\n")) << answer.head;
}

TEST(Server, KeepsAConnectionForTheNextRequest) {
  Running running;
  Client client(running.port());
  for (int i = 0; i < 3; ++i) {
    client.send(post("/", form(bar_picture())));
    EXPECT_EQ(client.receive().body, "The result is: 7\n");
  }
  EXPECT_EQ(running.record_count(), 3u);
}

TEST(Server, AnswersPipelinedRequestsInTheirOrder) {
  Running running;
  Client client(running.port());
  client.send(std::string(kLivez) + post("/", form(bar_picture())) +
              "HEAD /livez HTTP/1.1\r\nHost: x\r\n\r\n" + post("/?model=garments", form(bar_picture())) +
              "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(client.receive().body, "{\"status\":\"ok\"}");
  EXPECT_EQ(client.receive().body, "The result is: 7\n");
  EXPECT_TRUE(contains(client.receive("HEAD").head, "Content-Length: 15\r\n"));
  EXPECT_EQ(client.receive().body, "The result is: Ankle <boot>\n");
  EXPECT_EQ(client.receive().status, 404);
}

TEST(Server, AnswersMorePipelinedRequestsThanOneBurstHolds) {
  Running running;
  Client client(running.port());
  const std::string request = post("/", form(bar_picture()));
  std::string requests;
  for (int i = 0; i < 100; ++i) requests += request + std::string(kLivez);
  client.send(requests);
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(client.receive().body, "The result is: 7\n") << i;
    ASSERT_EQ(client.receive().body, "{\"status\":\"ok\"}") << i;
  }
  EXPECT_EQ(running.record_count(), 100u);
}

TEST(Server, LetsAGuestUseItsLoops) {
  ServerOptions options;
  options.guest_routes = {"/guest"};
  Running running(options);
  std::unique_ptr<Guest> guest = running.receive_guest();
  std::promise<std::string> answer;
  guest->post([&](Guest::Seat seat) {
    seat.figures.requests_begun.add();
    seat.lane.classify({.upload = bar_picture(), .file_name = {}, .model = {}},
                       [&, seat](Result<service::Answer> result) {
                         seat.figures.of(guest->place_of(0), 200).add(std::chrono::milliseconds(1));
                         answer.set_value(result ? result->record.class_name : result.error().message);
                       });
  });
  EXPECT_EQ(answer.get_future().get(), "7");
  while (!guest->why_not_ready().empty()) std::this_thread::yield();
  Client client(running.port());
  client.send("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(contains(client.receive().body,
                       "espy_http_request_seconds_count{method=\"POST\",route=\"/guest\",status=\"2xx\"} 1"));
  client.end_sending();

  // The loops go on for the guest's sake, and end with it.
  running.begin_to_stop();
  EXPECT_EQ(guest->why_not_ready(), "the server is stopping");
  std::promise<void> ran;
  guest->post([&](Guest::Seat) { ran.set_value(); });
  ran.get_future().get();
  guest.reset();
  running.stop();
}

TEST(Server, TakesARequestByteByByte) {
  Running running;
  Client client(running.port());
  for (const char byte : post("/", form(bar_picture()))) client.send({&byte, 1});
  EXPECT_EQ(client.receive().body, "The result is: 7\n");
}

TEST(Server, ServesManyConnectionsAtOnce) {
  Running running;
  std::vector<std::jthread> threads;
  std::atomic<int> right = 0;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      Client client(running.port());
      for (int j = 0; j < 20; ++j) {
        client.send(post("/", form(bar_picture())));
        right += client.receive().body == "The result is: 7\n";
      }
    });
  }
  threads.clear();
  EXPECT_EQ(right, 160);
}

TEST(Server, ClosesWhenAskedTo) {
  Running running;
  Client client(running.port());
  client.send("GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" + std::string(kLivez));
  EXPECT_TRUE(contains(client.receive().head, "Connection: close\r\n"));
  EXPECT_TRUE(client.is_closed());
}

TEST(Server, SpeaksHttp10) {
  Running running;
  Client once(running.port());
  once.send("GET /livez HTTP/1.0\r\n\r\n");
  EXPECT_EQ(once.receive().status, 200);
  EXPECT_TRUE(once.is_closed());
  Client kept(running.port());
  for (int i = 0; i < 2; ++i) {
    kept.send("GET /livez HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    EXPECT_TRUE(contains(kept.receive().head, "Connection: keep-alive\r\n"));
  }
}

TEST(Server, InvitesABodyThatIsWaited) {
  Running running;
  Client client(running.port());
  const std::string request = post("/", form(bar_picture()), "Expect: 100-continue\r\n");
  const std::size_t head = request.find("\r\n\r\n") + 4;
  client.send(request.substr(0, head));
  EXPECT_EQ(client.receive().status, 100);
  client.send(request.substr(head));
  EXPECT_EQ(client.receive().body, "The result is: 7\n");
}

TEST(Server, RefusesALongBodyBeforeItIsSent) {
  Running running;
  Client client(running.port());
  client.send("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1000000000\r\n\r\n");
  expect_error(client.receive(), 413, "too_large", "1000000000");
  client.end_sending();
  EXPECT_TRUE(client.is_closed());
}

TEST(Server, ARefusalHasTheShapeOfItsDialect) {
  Running running({.max_body_bytes = 1000});
  const auto refused = [&](std::string_view path) {
    Client client(running.port());
    client.send(format("POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n", path));
    return client.receive().body;
  };
  EXPECT_EQ(refused("/v2/models/digits/infer"), R"({"error":"body has 5000 bytes, limit is 1000"})");
  EXPECT_EQ(refused("/v1/models/digits:predict"), R"({"error":"body has 5000 bytes, limit is 1000"})");
  EXPECT_EQ(refused("/api/predict"),
            R"({"error":{"code":"too_large","message":"body has 5000 bytes, limit is 1000"}})");
}

TEST(Server, TheRefusalReachesAClientThatSendsOn) {
  Running running({.max_body_bytes = 1000});
  Client client(running.port());
  client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + std::string(1'000'000, 'x'));
  expect_error(client.receive(), 413, "too_large", "limit is 1000");
}

TEST(Server, TakesAChunkedBody) {
  Running running;
  Client client(running.port());
  const std::string body = form(bar_picture());
  std::string request =
      "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\nTransfer-Encoding: "
      "chunked\r\n\r\n";
  for (std::size_t i = 0; i < body.size(); i += 100) {
    const std::string chunk = body.substr(i, 100);
    request += format("{:x}\r\n{}\r\n", chunk.size(), chunk);
  }
  client.send(request + "0\r\n\r\n" + std::string(kLivez));
  EXPECT_EQ(client.receive().body, "The result is: 7\n");
  EXPECT_EQ(client.receive().status, 200);
}

TEST(Server, TakesALargeBody) {
  Running running;
  Client client(running.port());
  client.send(post("/api/predict", form(bar_picture() + std::string(3'000'000, '\0'))));
  const Client::Answer answer = client.receive();
  EXPECT_EQ(answer.status, 200);
  EXPECT_TRUE(contains(answer.body, "\"url\":null"));
}

TEST(Server, SendsALargeUploadBack) {
  Running running({}, {.max_kept_upload_bytes = 4 << 20});
  Client client(running.port());
  const std::string picture = bar_picture() + std::string(3'000'000, '\0');
  client.send(post("/api/predict", form(picture)));
  const std::string body = client.receive().body;
  const std::size_t url = body.find("/uploads/");
  ASSERT_NE(url, std::string::npos) << body;
  client.send(format("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", body.substr(url, body.find('"', url) - url)));
  EXPECT_EQ(client.receive().body, picture);
}

TEST(Server, WhatFollowsABodyIsTheNextRequest) {
  Running running;
  Client client(running.port());
  client.send(post("/", form(bar_picture())) + "surplus\r\n\r\n");
  EXPECT_EQ(client.receive().body, "The result is: 7\n");
  expect_error(client.receive(), 400, "invalid_input", "malformed request");
}

TEST(Server, ABodyThatEndsEarlyLeavesNoRecord) {
  Running running;
  Client client(running.port());
  const std::string request = post("/", form(bar_picture()));
  client.send(request.substr(0, request.size() - 10));
  client.end_sending();
  expect_error(client.receive(), 400, "invalid_input", "ended within the request");
  EXPECT_EQ(running.record_count(), 0u);
}

TEST(Server, RefusesAHugeHead) {
  Running running;
  for (const std::string& request :
       {"GET / HTTP/1.1\r\nHost: x\r\nX: " + std::string(20'000, 'x'), "GET /" + std::string(20'000, 'x')}) {
    Client client(running.port());
    client.send(request);
    expect_error(client.receive(), 431, "too_large", "16384 bytes");
  }
}

TEST(Server, GivesUpARequestThatIsNotCompleteInTime) {
  Running running({.request_timeout = std::chrono::milliseconds(100)});
  Client client(running.port());
  client.send(std::string(kLivez) + "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhel");
  EXPECT_EQ(client.receive().status, 200);
  expect_error(client.receive(), 408, "timeout", "0.1 s");
}

TEST(Server, ADripDoesNotBeginTheTimeAnew) {
  Running running({.request_timeout = std::chrono::milliseconds(200)});
  Client client(running.port());
  std::jthread drip([&](std::stop_token stopped) {
    while (!stopped.stop_requested()) {
      client.send("G");
      std::this_thread::yield();
    }
  });
  EXPECT_NE(client.receive().status, 200);  // 408, or 431 when the drip was a stream
}

TEST(Server, ClosesIdleConnections) {
  Running running({.idle_timeout = std::chrono::milliseconds(50)});
  Client client(running.port());
  client.send(kLivez);
  EXPECT_EQ(client.receive().status, 200);
  EXPECT_TRUE(client.is_closed());
}

TEST(Server, TellsAConnectionTooManyAndServesTheOthers) {
  Running running({.threads = 1, .max_connections = 2});
  Client first(running.port());
  Client second(running.port());
  for (Client* client : {&first, &second}) {
    client->send(kLivez);
    EXPECT_EQ(client->receive().status, 200);
  }
  {
    Client third(running.port());
    expect_error(third.receive(), 503, "unavailable", "2 connections");
  }
  first.send(kLivez);
  EXPECT_EQ(first.receive().status, 200);
}

TEST(Server, AStoreThatFailsIs503AndTheConnectionGoesOn) {
  Running running;
  running.service().store.break_disk();
  Client client(running.port());
  client.send(post("/api/predict", form(bar_picture())) + std::string(kLivez));
  const Client::Answer answer = client.receive();
  EXPECT_EQ(answer.status, 503);
  EXPECT_TRUE(contains(answer.body, "the disk is full"));
  EXPECT_EQ(client.receive().status, 200);
}

TEST(Server, AStoreThatHangsIs503AtTheDeadline) {
  Running running({.threads = 1, .request_timeout = std::chrono::milliseconds(200)});
  running.service().store.hold_disk();
  Client client(running.port());
  client.send(std::string(kLivez) + post("/api/predict", form(bar_picture())));
  EXPECT_EQ(client.receive().status, 200);
  const Client::Answer answer = client.receive();
  expect_error(answer, 503, "unavailable", "no answer after 0.2 s");
  EXPECT_TRUE(contains(answer.head, "\r\nRetry-After: 1\r\n")) << answer.head;
  EXPECT_TRUE(client.is_closed());
  Client other(running.port());
  other.send(kLivez);
  EXPECT_EQ(other.receive().status, 200);
  running.service().store.let_go();  // what comes now has nobody to go to
  other.send(post("/api/predict", form(bar_picture())));
  EXPECT_EQ(other.receive().status, 200);
  EXPECT_EQ(running.record_count(), 2u);
}

TEST(Server, RefusesWhatWouldWaitTooLongForTheDisk) {
  Running running({.threads = 1}, {}, {.decode_limits = {}, .longest_wait = std::chrono::milliseconds(50)});
  running.service().store.hold_disk();
  Client first(running.port());
  first.send(post("/api/predict", form(bar_picture())));
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  Client second(running.port());
  second.send(post("/api/predict", form(bar_picture())) + std::string(kLivez));
  const Client::Answer refused = second.receive();
  EXPECT_EQ(refused.status, 503);
  EXPECT_TRUE(contains(refused.body, "limit is 50 ms")) << refused.body;
  EXPECT_TRUE(contains(refused.head, "\r\nRetry-After: 1\r\n")) << refused.head;
  EXPECT_EQ(second.receive().status, 200);
  running.service().store.let_go();
  EXPECT_EQ(first.receive().status, 200);
  second.send(post("/api/predict", form(bar_picture())));
  EXPECT_EQ(second.receive().status, 200);
}

TEST(Server, CutsOffAReaderThatDoesNotRead) {
  Running running({.threads = 1, .request_timeout = std::chrono::milliseconds(200)});
  Client client(running.port());
  std::string requests;
  for (int i = 0; i < 64; ++i) requests += kLivez;
  const auto began = std::chrono::steady_clock::now();
  while (client.sends(requests)) {
    ASSERT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(60));
  }
  Client other(running.port());
  other.send(kLivez);
  EXPECT_EQ(other.receive().status, 200);
}

TEST(Server, FinishesTheRequestInHandWhenItStops) {
  Running running({.threads = 1});
  std::optional<Client> busy_client(running.port());
  std::optional<Client> idle_client(running.port());
  Client& busy = *busy_client;
  Client& idle = *idle_client;
  const std::string request = post("/", form(bar_picture()));
  busy.send(std::string(kLivez) + request.substr(0, request.size() - 10));
  idle.send(kLivez);
  EXPECT_EQ(busy.receive().status, 200);  // so the part behind it has come, too
  EXPECT_EQ(idle.receive().status, 200);
  running.begin_to_stop();
  idle.send("GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n");
  const Client::Answer not_ready = idle.receive();
  EXPECT_EQ(not_ready.status, 503);
  EXPECT_TRUE(contains(not_ready.head, "Connection: close\r\n"));
  EXPECT_TRUE(idle.is_closed());
  EXPECT_FALSE(Client(running.port()).connected());
  busy.send(request.substr(request.size() - 10));
  const Client::Answer answer = busy.receive();
  EXPECT_EQ(answer.body, "The result is: 7\n");
  EXPECT_TRUE(contains(answer.head, "Connection: close\r\n"));
  busy_client.reset();
  idle_client.reset();
  running.stop();
  EXPECT_EQ(running.record_count(), 1u);
}

TEST(Server, StopsAlthoughARequestNeverEnds) {
  Running running({.stop_timeout = std::chrono::milliseconds(100)});
  Client client(running.port());
  client.send(std::string(kLivez) + "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhel");
  EXPECT_EQ(client.receive().status, 200);
  running.stop();
  EXPECT_EQ(client.receive().status, 0);
}

TEST(Server, MayBeStoppedBeforeItRuns) {
  Service service;
  const auto server = Server::open({.port = 0}, *service.classifier);
  (*server)->stop();
  (*server)->stop();
  (*server)->run();
}

TEST(Server, APortInUseIsSaid) {
  Running running;
  Service service;
  const auto server = Server::open({.port = running.port()}, *service.classifier);
  ASSERT_FALSE(server);
  EXPECT_EQ(server.error().code, ErrorCode::unavailable);
  EXPECT_EQ(server.error().message,
            format("cannot listen on 127.0.0.1 port {}: Address already in use", running.port()));
}

TEST(Server, AHostThatDoesNotResolveIsSaid) {
  Service service;
  const auto server = Server::open({.host = "no such host", .port = 0}, *service.classifier);
  ASSERT_FALSE(server);
  EXPECT_EQ(server.error().code, ErrorCode::invalid_input);
  EXPECT_TRUE(contains(server.error().message, "host no such host does not resolve"));
}

TEST(Server, ListensOnIpv6) {
  Service service;
  const auto server = Server::open({.host = "::1", .port = 0}, *service.classifier);
  if (!server && contains(server.error().message, "Cannot assign requested address")) {
    GTEST_SKIP() << "this machine has no IPv6";
  }
  ASSERT_TRUE(server) << server.error().message;
  EXPECT_GT((*server)->port(), 0);
}

}  // namespace
}  // namespace espy::http
