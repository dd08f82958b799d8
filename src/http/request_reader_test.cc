#include "http/request_reader.h"

#include <gtest/gtest.h>

#include "base/format.h"

namespace espy::http {
namespace {

using State = RequestReader::State;

constexpr RequestLimits kLimits{.max_head_bytes = 1000, .max_body_bytes = 2000};

// Gives the reader a text in pieces, as a connection would, until it is complete or refused; returns how much
// is left over.
std::size_t feed(RequestReader& reader, std::string_view text, std::size_t piece) {
  std::size_t begin = 0;
  for (std::size_t end = 0; end < text.size();) {
    end = std::min(end + piece, text.size());
    std::size_t used = 0;
    do {
      used = reader.read(text.substr(begin, end - begin));
      begin += used;
      if (reader.state() == State::complete || reader.state() == State::refused) return text.size() - begin;
    } while (used > 0 && begin < end);
  }
  return text.size() - begin;
}

void expect_refused(std::string_view text, int status, std::string_view piece) {
  for (const std::size_t step : {text.size(), std::size_t{1}}) {
    RequestReader reader(kLimits);
    feed(reader, text, step);
    ASSERT_EQ(reader.state(), State::refused) << text.substr(0, 200);
    EXPECT_EQ(reader.refusal().status, status) << text.substr(0, 200);
    EXPECT_NE(reader.refusal().message.find(piece), std::string::npos) << reader.refusal().message;
  }
}

TEST(RequestReader, ReadsARequestHoweverItIsCut) {
  constexpr std::string_view kText =
      "POST /api/predict?model=digits HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nAccept: text/html, "
      "*/*\r\n"
      "Content-Length: 5\r\n\r\nhelloGET";
  for (std::size_t piece = 1; piece <= kText.size(); ++piece) {
    RequestReader reader(kLimits);
    EXPECT_EQ(reader.state(), State::waiting);
    const std::size_t left = feed(reader, kText, piece);
    ASSERT_EQ(reader.state(), State::complete) << piece;
    EXPECT_LE(left, 3u);
    const Request& request = reader.request();
    EXPECT_EQ(request.method, Method::post);
    EXPECT_EQ(request.target, "/api/predict?model=digits");
    EXPECT_EQ(request.content_type, "image/png");
    EXPECT_EQ(request.accept, "text/html, */*");
    EXPECT_EQ(request.body, "hello");
    EXPECT_EQ(request.afterwards, Afterwards::keep_open);
  }
}

TEST(RequestReader, PutsChunksTogetherAndDropsTrailers) {
  constexpr std::string_view kText =
      "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n"
      "3;ext=1\r\nhel\r\n2\r\nlo\r\n0\r\nContent-Type: text/html\r\n\r\n";
  for (std::size_t piece = 1; piece <= kText.size(); ++piece) {
    RequestReader reader(kLimits);
    EXPECT_EQ(feed(reader, kText, piece), 0u);
    ASSERT_EQ(reader.state(), State::complete) << piece;
    EXPECT_EQ(reader.request().body, "hello");
    EXPECT_EQ(reader.request().content_type, "");
  }
}

TEST(RequestReader, BeginsANewWithTheNextRequest) {
  constexpr std::string_view kText =
      "POST /a HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 2\r\n\r\nhi"
      "\r\nGET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
  RequestReader reader(kLimits);
  const std::size_t left = feed(reader, kText, kText.size());
  ASSERT_EQ(reader.state(), State::complete);
  reader.next();
  EXPECT_EQ(reader.state(), State::waiting);
  EXPECT_EQ(feed(reader, kText.substr(kText.size() - left), kText.size()), 0u);
  ASSERT_EQ(reader.state(), State::complete);
  EXPECT_EQ(reader.request().target, "/b");
  EXPECT_EQ(reader.request().body, "");
  EXPECT_EQ(reader.request().content_type, "");
  EXPECT_EQ(reader.request().afterwards, Afterwards::close);
}

TEST(RequestReader, Http10ClosesUnlessAskedToKeepOpen) {
  RequestReader reader(kLimits);
  feed(reader, "GET / HTTP/1.0\r\n\r\n", 100);
  EXPECT_EQ(reader.request().afterwards, Afterwards::close);
  reader.next();
  feed(reader, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 100);
  EXPECT_EQ(reader.request().afterwards, Afterwards::say_keep_open);
}

TEST(RequestReader, SaysWhetherTheClientWaits) {
  RequestReader reader(kLimits);
  feed(reader, "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\nContent-Length: 5\r\n\r\n", 1000);
  ASSERT_EQ(reader.state(), State::body);
  EXPECT_EQ(reader.missing_bytes(), 5u);
  EXPECT_TRUE(reader.take_expectation());
  EXPECT_FALSE(reader.take_expectation());
}

TEST(RequestReader, WhoSendsDoesNotWait) {
  RequestReader reader(kLimits);
  feed(reader, "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhel", 1000);
  ASSERT_EQ(reader.state(), State::body);
  EXPECT_EQ(reader.missing_bytes(), 2u);
  EXPECT_FALSE(reader.take_expectation());
}

TEST(RequestReader, RefusesWhatCouldBeReadInTwoWays) {
  expect_refused("GET / HTTP/1.1\r\n\r\n", 400, "0 Host fields");
  expect_refused("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, "2 Host fields");
  expect_refused("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501,
                 "chunked");
  expect_refused("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501,
                 "chunked");
  expect_refused(
      "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n", 501,
      "chunked");
  expect_refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "version");
  expect_refused("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n", 400,
                 "malformed request");
  expect_refused("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n", 400,
                 "malformed request");
  expect_refused("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n", 400,
                 "malformed request");
  for (const std::string length : {"abc", "-1", "+5", "99999999999999999999999", "0x10", ""}) {
    expect_refused("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + length + "\r\n\r\n", 400,
                   "malformed request");
  }
  expect_refused("POST / HTTP/1.1\r\nHost: x\r\nContent-Length : 5\r\n\r\nhello", 400, "malformed request");
  expect_refused("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello", 400,
                 "malformed request");
}

TEST(RequestReader, RefusesWhatIsNoHttp) {
  expect_refused("GET /\r\n\r\n", 400, "malformed request");
  expect_refused("PRI * HTTP/2.0\r\n\r\n", 400, "malformed request");
  expect_refused("\x16\x03\x01\x02 hello\r\n\r\n", 400, "malformed request");
  expect_refused(std::string("GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n", 29), 400, "malformed request");
}

TEST(RequestReader, RefusesAnExpectationThatItCannotMeet) {
  expect_refused("POST / HTTP/1.1\r\nHost: x\r\nExpect: miracles\r\n\r\n", 417, "100-continue");
}

TEST(RequestReader, LimitsTheHeadHoweverItIsMade) {
  const std::string host = "GET / HTTP/1.1\r\nHost: x\r\n";
  expect_refused("GET /" + std::string(2000, 'a') + " HTTP/1.1\r\n", 431, "more than 1000 bytes");
  expect_refused(host + "X: " + std::string(2000, 'a') + "\r\n\r\n", 431, "more than 1000 bytes");
  std::string fields = host;
  for (int i = 0; i < 300; ++i) fields += "X: y\r\n";
  expect_refused(fields + "\r\n", 431, "more than 1000 bytes");
}

TEST(RequestReader, RefusesALongBodyByItsLengthAlone) {
  expect_refused("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2001\r\n\r\n", 413,
                 "2001 bytes, limit is 2000");
  RequestReader reader(kLimits);
  const std::string head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2000\r\n\r\n";
  feed(reader, head + std::string(2000, 'a'), 100);
  ASSERT_EQ(reader.state(), State::complete);
  EXPECT_EQ(reader.request().body.size(), 2000u);
}

TEST(RequestReader, CountsAChunkedBodyWithItsFrame) {
  const std::string head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  expect_refused(head + "800\r\n" + std::string(2048, 'a') + "\r\n", 413, "more than 2000 bytes");
  std::string small_chunks = head;
  for (int i = 0; i < 400; ++i) small_chunks += "1\r\nx\r\n";
  expect_refused(small_chunks, 413, "more than 2000 bytes");
  expect_refused(head + "1;" + std::string(1500, 'a'), 400, "a chunk's header");
  expect_refused(head + "0\r\nX: " + std::string(1500, 'a'), 400, "a chunk's header or the trailer");
}

TEST(RequestReader, LimitsTheExtensionsOfChunks) {
  const std::string head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  std::string chunks = head;
  for (int i = 0; i < 80; ++i) chunks += "1;" + std::string(20, 'a') + "\r\nx\r\n";
  expect_refused(chunks, 400, "1024 bytes of extensions");
  expect_refused(head + "1;a=\"\nb\"\r\nx\r\n0\r\n\r\n", 400, "control character");
}

TEST(RequestReader, RefusesWhatAProxyMayReadInAnotherWay) {
  for (const std::string_view length : {"4, 4", "4,4", "4\r\nContent-Length: 4"}) {
    expect_refused(format("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\nabcd", length), 400,
                   "more than once");
  }
  expect_refused("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400,
                 "next line");
  expect_refused("GET / HTTP/1.1\r\nHost: x\r\nX: a\r\n\tb\r\n\r\n", 400, "next line");
  for (const std::string_view host : {"a, b", "a b", "me@a", "a/b", "a?b", "a#b", "\xc3\xa9"}) {
    expect_refused(format("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", host), 400, "not a host and a port");
  }
}

}  // namespace
}  // namespace espy::http
