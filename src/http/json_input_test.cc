#include "http/json_input.h"

#include <gtest/gtest.h>

namespace espy::http {
namespace {

TEST(ParseCorrection, ReadsALabelAndWhoSaysIt) {
  const auto whole = parse_correction(R"({"label": 8, "author": "ann", "note": "a \u00e9 8"})");
  ASSERT_TRUE(whole) << whole.error().message;
  EXPECT_EQ(whole->label, 8);
  EXPECT_EQ(whole->author, "ann");
  EXPECT_EQ(whole->note, "a \xc3\xa9 8");
  EXPECT_EQ(parse_correction(R"({"label":0})")->label, 0);
}

TEST(ParseCorrection, SaysWhatIsWrong) {
  const std::pair<std::string, const char*> bodies[] = {
      {"", "is not JSON"},
      {"{\"label\": 8", "is not JSON"},
      {"[8]", "must be a JSON object"},
      {"{}", "has no label"},
      {R"({"label": "8"})", "label must be"},
      {R"({"label": -1})", "label must be"},
      {R"({"label": 1.5})", "label must be"},
      {R"({"label": 3000000000})", "label must be"},
      {R"({"label": 8, "author": 3})", "author must be a text"},
      {std::string(65537, ' '), "the body has 65537 bytes, limit is 65536"},
      {R"({"label": 8, "lable": 3})", "nothing else"},
      {R"({"label": 8, "note": ")" + std::string(4001, 'x') + R"("})", "note has 4001 bytes, limit is 4000"},
  };
  for (const auto& [body, told] : bodies) {
    const auto input = parse_correction(body);
    ASSERT_FALSE(input) << body;
    EXPECT_EQ(input.error().code, ErrorCode::invalid_input);
    EXPECT_NE(input.error().message.find(told), std::string::npos) << input.error().message;
  }
}

}  // namespace
}  // namespace espy::http
