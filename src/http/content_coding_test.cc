#include "http/content_coding.h"

#include <gtest/gtest.h>

#include <string>

namespace espy::http {
namespace {

TEST(ContentCoding, UndoesWhatTheRequestNames) {
  const std::string content(5000, 'x');
  for (const auto& [name, form] : {std::pair{"gzip", Deflated::gzip},
                                   {"GZIP", Deflated::gzip},
                                   {"x-gzip", Deflated::gzip},
                                   {"deflate", Deflated::zlib}}) {
    Request request;
    request.body = deflate(content, form);
    request.content_encoding = name;
    ASSERT_TRUE(decode_body(request, 5000)) << name;
    EXPECT_EQ(request.body, content);
  }
  Request plain;
  plain.body = content;
  plain.content_encoding = "identity";
  ASSERT_TRUE(decode_body(plain, 10));
  EXPECT_EQ(plain.body, content);
}

TEST(ContentCoding, RefusesBombsAndOtherCodings) {
  Request request;
  request.body = deflate(std::string(5001, 'x'), Deflated::gzip);
  request.content_encoding = "gzip";
  const Result<void> bomb = decode_body(request, 5000);
  ASSERT_FALSE(bomb);
  EXPECT_EQ(bomb.error().code, ErrorCode::too_large);
  for (const std::string name : {"br", "gzip, gzip", "zstd"}) {
    request.content_encoding = name;
    const Result<void> other = decode_body(request, 5000);
    ASSERT_FALSE(other);
    EXPECT_EQ(other.error().message, "the content encoding is \"" + name + "\", must be gzip or deflate");
  }
}

TEST(ContentCoding, ChoosesWhatTheClientLikesBest) {
  EXPECT_EQ(choose_coding("gzip"), Deflated::gzip);
  EXPECT_EQ(choose_coding("gzip, deflate, br"), Deflated::gzip);
  EXPECT_EQ(choose_coding("deflate"), Deflated::zlib);
  EXPECT_EQ(choose_coding("gzip;q=0.1, deflate; q=0.9"), Deflated::zlib);
  EXPECT_EQ(choose_coding("*"), Deflated::gzip);
  EXPECT_EQ(choose_coding("gzip;q=0"), std::nullopt);
  EXPECT_EQ(choose_coding("br, identity"), std::nullopt);
  EXPECT_EQ(choose_coding(",,;"), std::nullopt);
}

TEST(ContentCoding, CodesOnlyWhatIsWorthIt) {
  Response response{.content_type = "application/json", .body = std::string(5000, 'x'), .fields = {}};
  encode_body(response, Deflated::gzip);
  EXPECT_EQ(response.fields, "Content-Encoding: gzip\r\nVary: Accept-Encoding\r\n");
  EXPECT_EQ(*inflate(response.body, Deflated::gzip, 5000), std::string(5000, 'x'));
  Response small{.content_type = "application/json", .body = "{}", .fields = {}};
  encode_body(small, Deflated::gzip);
  EXPECT_EQ(small.body, "{}");
  Response picture{.content_type = "image/png", .body = std::string(5000, 'x'), .fields = {}};
  encode_body(picture, Deflated::zlib);
  EXPECT_EQ(picture.fields, "");
}

}  // namespace
}  // namespace espy::http
