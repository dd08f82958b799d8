#include "http/query.h"

#include <gtest/gtest.h>

namespace espy::http {
namespace {

constexpr std::string_view kKnown[] = {"model", "file_name"};

void expect_error(std::string_view query, std::string_view message) {
  const auto parsed = Query::parse(query, kKnown);
  ASSERT_FALSE(parsed) << query;
  EXPECT_EQ(parsed.error().code, ErrorCode::invalid_input);
  EXPECT_EQ(parsed.error().message, message);
}

TEST(SplitTarget, CutsPathAndQuery) {
  EXPECT_EQ(split_target("/a/b").path, "/a/b");
  EXPECT_EQ(split_target("/a/b").query, "");
  EXPECT_EQ(split_target("/a?b=c?d").path, "/a");
  EXPECT_EQ(split_target("/a?b=c?d").query, "b=c?d");
}

TEST(SplitTarget, TakesTheAbsoluteForm) {
  EXPECT_EQ(split_target("http://host:5000/a?b").path, "/a");
  EXPECT_EQ(split_target("http://host").path, "/");
}

TEST(Query, DecodesParameters) {
  const auto query = Query::parse("model=dig%69ts&file_name=a+b%2Bc%20%C3%A4", kKnown);
  ASSERT_TRUE(query);
  EXPECT_EQ(query->get("model"), "digits");
  EXPECT_EQ(query->get("file_name"), "a b+c \xc3\xa4");
  EXPECT_FALSE(query->get("label"));
}

TEST(Query, MayBeEmptyAndHaveEmptyValues) {
  EXPECT_FALSE(Query::parse("", kKnown)->get("model"));
  EXPECT_EQ(Query::parse("model=", kKnown)->get("model"), "");
  EXPECT_EQ(Query::parse("&model&", kKnown)->get("model"), "");
}

TEST(Query, NamesTheParameterThatIsWrong) {
  expect_error("modell=x", "unknown parameter modell");
  expect_error("model=x&model=y", "parameter model is given twice");
  expect_error("model=%4", "broken percent escape in parameter model");
  expect_error("model=%zz", "broken percent escape in parameter model");
  expect_error("model%=x", "broken percent escape in the name of parameter model%");
  expect_error("file_name=%ff", "parameter file_name is not UTF-8");
}

TEST(EncodeParameter, IsUndoneByParse) {
  const std::string value = "a b&c=d+e/%\xc3\xa4\"<";
  EXPECT_EQ(encode_parameter(value), "a%20b%26c%3Dd%2Be%2F%25%C3%A4%22%3C");
  EXPECT_EQ(Query::parse("model=" + encode_parameter(value), kKnown)->get("model"), value);
}

}  // namespace
}  // namespace espy::http
