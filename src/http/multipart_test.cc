#include "http/multipart.h"

#include <gtest/gtest.h>

namespace espy::http {
namespace {

void expect_broken(std::string_view body, std::string_view piece) {
  const auto parts = parse_multipart(body, "b");
  ASSERT_FALSE(parts) << body;
  EXPECT_EQ(parts.error().code, ErrorCode::invalid_input);
  EXPECT_NE(parts.error().message.find(piece), std::string::npos) << parts.error().message;
}

std::string form(std::string_view disposition, std::string_view content = "x") {
  return "--b\r\nContent-Disposition: " + std::string(disposition) + "\r\n\r\n" + std::string(content) +
         "\r\n--b--\r\n";
}

TEST(IsMultipart, LooksAtTheMediaTypeAlone) {
  EXPECT_TRUE(is_multipart("multipart/form-data; boundary=x"));
  EXPECT_TRUE(is_multipart("Multipart/Form-Data"));
  EXPECT_FALSE(is_multipart("multipart/form-data-2"));
  EXPECT_FALSE(is_multipart("image/png; a=multipart/form-data"));
  EXPECT_FALSE(is_multipart(""));
}

TEST(BoundaryOf, ReadsTokensAndQuotedStrings) {
  EXPECT_EQ(*boundary_of("multipart/form-data; boundary=----WebKitFormBoundary7MA4"),
            "----WebKitFormBoundary7MA4");
  EXPECT_EQ(*boundary_of("multipart/form-data;charset=utf-8 ; Boundary=\"a b\""), "a b");
  EXPECT_EQ(*boundary_of("multipart/form-data; boundary=----=_Part_1"), "----=_Part_1");
}

TEST(BoundaryOf, RefusesWhatIsNoBoundary) {
  const std::pair<std::string, std::string_view> cases[] = {
      {"multipart/form-data", "no boundary"},
      {"multipart/form-data; boundary=", "cannot be read"},
      {"multipart/form-data; boundary=\"\"", "no boundary"},
      {"multipart/form-data; boundary=a; boundary=b", "two boundaries"},
      {"multipart/form-data; boundary=" + std::string(71, 'a'), "71 characters, limit is 70"},
      {"multipart/form-data; boundary=\"a\x01\"", "forbids"},
      {"multipart/form-data; boundary=\"a", "cannot be read"},
      {"multipart/form-data; boundary=a<b", "forbids"},
  };
  for (const auto& [type, piece] : cases) {
    const auto boundary = boundary_of(type);
    ASSERT_FALSE(boundary) << type;
    EXPECT_EQ(boundary.error().code, ErrorCode::invalid_input);
    EXPECT_NE(boundary.error().message.find(piece), std::string::npos) << boundary.error().message;
  }
}

TEST(ParseMultipart, FindsFieldsAndFiles) {
  const std::string body =
      "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\ndigits\r\n"
      "--b  \r\ncontent-type: image/png\r\nCONTENT-DISPOSITION:form-data;name=file;filename=\"7.png\"\r\n\r\n"
      "\r\n--not the boundary\r\n--\r\n\r\n--b--\r\nepilogue";
  const auto parts = parse_multipart(body, "b");
  ASSERT_TRUE(parts) << parts.error().message;
  ASSERT_EQ(parts->size(), 2u);
  EXPECT_EQ((*parts)[0].name, "model");
  EXPECT_FALSE((*parts)[0].file_name);
  EXPECT_EQ((*parts)[0].content, "digits");
  EXPECT_EQ((*parts)[1].name, "file");
  EXPECT_EQ((*parts)[1].file_name, "7.png");
}

TEST(ParseMultipart, ContentMayBeAnythingButTheBoundary) {
  const std::string content("\r\n--a\r\n--\0\r\r\n\n--b", 18);
  const std::string body = form("form-data; name=\"f\"", content);
  const auto parts = parse_multipart(body, "b");
  ASSERT_TRUE(parts);
  EXPECT_EQ(parts->front().content, content);
}

TEST(ParseMultipart, ContentMayBeEmpty) {
  const std::string body = form("form-data; name=\"file\"; filename=\"\"", "");
  const auto parts = parse_multipart(body, "b");
  ASSERT_TRUE(parts);
  EXPECT_EQ(parts->front().content, "");
  EXPECT_EQ(parts->front().file_name, "");
}

TEST(ParseMultipart, ABodyMayHaveNoPart) { EXPECT_TRUE(parse_multipart("--b--", "b")->empty()); }

TEST(ParseMultipart, ResolvesBothWaysToEscapeAName) {
  const std::pair<std::string_view, std::string_view> names[] = {
      {R"("a \"b\".png")", R"(a "b".png)"},                // curl before 7.81, HTTP's quoted-string
      {R"("a %22b%22.png")", R"(a "b".png)"},              // browsers, curl since 7.81
      {R"("100%.png")", "100%.png"},                       // no escape at all
      {R"("a%0D%0Ab.png")", "a\r\nb.png"},                 // browsers
      {R"("C:\pictures\a.png")", R"(C:\pictures\a.png)"},  // old browsers
      {R"("a;b=c.png")", "a;b=c.png"},
  };
  for (const auto& [written, meant] : names) {
    const auto parts =
        parse_multipart(form("form-data; name=\"file\"; filename=" + std::string(written)), "b");
    ASSERT_TRUE(parts) << written;
    EXPECT_EQ(parts->front().file_name, meant);
  }
}

TEST(ParseMultipart, IgnoresTheExtendedFileName) {
  const auto parts =
      parse_multipart(form("form-data; name=\"file\"; filename=\"a.png\"; filename*=UTF-8''b.png"), "b");
  ASSERT_TRUE(parts) << parts.error().message;
  EXPECT_EQ(parts->front().file_name, "a.png");
}

TEST(ParseMultipart, RefusesABrokenFrame) {
  expect_broken("", "does not begin with the boundary");
  expect_broken("preamble\r\n--b\r\n", "does not begin with the boundary");
  expect_broken("--c\r\n", "does not begin with the boundary");
  expect_broken("--b", "followed by neither");
  expect_broken("--bc\r\n\r\n", "followed by neither");
  expect_broken("--b\r\nContent-Disposition: form-data; name=\"f\"", "ends within a part's fields");
  expect_broken("--b\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\nx", "without the closing boundary");
  expect_broken("--b\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\nx--b--",
                "without the closing boundary");
}

TEST(ParseMultipart, RefusesBrokenFields) {
  expect_broken("--b\r\n\r\nx\r\n\r\n--b--", "field cannot be read");
  expect_broken("--b\r\nX: y\r\n\r\nx\r\n--b--", "no Content-Disposition");
  expect_broken("--b\r\nno colon\r\n\r\nx\r\n--b--", "field cannot be read");
  expect_broken(form("attachment; name=\"f\""), "not form-data");
  expect_broken(form("form-data"), "no name");
  expect_broken(form("form-data; name=\"f\"; name=\"g\""), "two names");
  expect_broken(form("form-data; name=\"f\"; filename=\"a\"; filename=\"b\""), "two file names");
  expect_broken(form("form-data; name=\"f"), "cannot be read");
  expect_broken(form("form-data; name"), "cannot be read");
  expect_broken(form("form-data; name=\"f\"\r\nContent-Disposition: form-data; name=\"g\""),
                "two Content-Dispositions");
  expect_broken(form("form-data; name=\"f\"\r\nContent-Transfer-Encoding: base64"), "transfer encoding");
}

TEST(ParseMultipart, HasLimits) {
  std::string many;
  for (int i = 0; i < 265; ++i) many += "--b\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\nx\r\n";
  expect_broken(many + "--b--", "more than 264 parts");
  expect_broken(form("form-data; name=\"f\"; filename=\"" + std::string(9000, 'a') + "\""),
                "longer than 8192 bytes");
}

}  // namespace
}  // namespace espy::http
