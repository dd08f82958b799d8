#include "http/message.h"

#include <gtest/gtest.h>

namespace espy::http {
namespace {

constexpr std::string_view kDate = "Sun, 06 Nov 1994 08:49:37 GMT";

TEST(HttpDate, IsTheExampleOfTheStandard) {
  EXPECT_EQ(http_date(*parse_timestamp("1994-11-06T08:49:37.9Z")), kDate);
}

TEST(AppendResponse, WritesHeadAndBody) {
  std::string out;
  append_response(out, {.status = 200, .content_type = "text/plain", .body = "hello", .fields = "A: b\r\n"},
                  Body::send, Afterwards::keep_open, kDate);
  EXPECT_EQ(out,
            "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nX-Content-Type-Options: nosniff\r\n"
            "Content-Type: text/plain\r\nContent-Length: 5\r\nA: b\r\n\r\nhello");
}

TEST(AppendResponse, LeavesOutTheBodyOfHeadButNotItsLength) {
  std::string out;
  append_response(out, {.status = 200, .content_type = "text/plain", .body = "hello", .fields = {}},
                  Body::leave_out, Afterwards::close, kDate);
  EXPECT_TRUE(out.ends_with("Content-Length: 5\r\n\r\n"));
  EXPECT_NE(out.find("\r\nConnection: close\r\n"), std::string::npos);
}

TEST(JsonError, HasTheCodeOfItsStatus) {
  const Response response = json_error(413, "image is 9000x9000, limit is 4096x4096");
  EXPECT_EQ(response.status, 413);
  EXPECT_EQ(response.content_type, "application/json");
  EXPECT_EQ(response.body,
            R"({"error":{"code":"too_large","message":"image is 9000x9000, limit is 4096x4096"}})");
}

TEST(StatusOf, GoesBackToTheNameOfTheCode) {
  for (const ErrorCode code : {ErrorCode::invalid_input, ErrorCode::too_large, ErrorCode::not_found,
                               ErrorCode::unavailable, ErrorCode::internal}) {
    EXPECT_EQ(error_name(status_of(code)), to_string(code));
  }
  EXPECT_EQ(error_name(status_of(ErrorCode::corrupt)), "internal");
}

}  // namespace
}  // namespace espy::http
