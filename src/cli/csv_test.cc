#include "cli/csv.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace espy::cli {
namespace {

TEST(Csv, LeavesPlainFieldsAlone) {
  EXPECT_EQ(csv_field("seven.png"), "seven.png");
  EXPECT_EQ(csv_field(""), "");
  EXPECT_EQ(csv_field("two words"), "two words");
}

// RFC 4180 section 2, rules 6 and 7.
TEST(Csv, QuotesCommasQuotesAndLineBreaks) {
  EXPECT_EQ(csv_field("a,b"), "\"a,b\"");
  EXPECT_EQ(csv_field("say \"7\""), "\"say \"\"7\"\"\"");
  EXPECT_EQ(csv_field("two\r\nlines"), "\"two\r\nlines\"");
}

TEST(Csv, ReadsWhatItWrites) {
  const std::vector<std::string> fields = {"", "a", "a,b", "say \"7\"", "two\r\nlines", "\"", ""};
  std::string line;
  for (std::size_t i = 0; i < fields.size(); ++i) line += (i > 0 ? "," : "") + csv_field(fields[i]);
  EXPECT_EQ(*parse_csv_line(line), fields);
  EXPECT_EQ(*parse_csv_line(""), std::vector<std::string>{""});
  for (const char* wrong : {"\"a", "\"a\"b", "a\"b", "x,\""}) {
    EXPECT_FALSE(parse_csv_line(wrong)) << wrong;
  }
  EXPECT_TRUE(ends_inside_quotes("a,\"two"));
  EXPECT_FALSE(
      ends_inside_quotes("a,\"two\"\""
                         "\""));
}

TEST(Csv, DoesNotAlterWhatLooksLikeAFormula) { EXPECT_EQ(csv_field("=1+1"), "=1+1"); }

TEST(Csv, ALineHasAFieldForEachColumn) {
  const store::Record record{.id = *parse_uuid("01936f2e-7a1b-7c3d-8e4f-0123456789ab"),
                             .time = *parse_timestamp("2026-11-22T03:41:00.5Z"),
                             .model = "digits",
                             .model_version = "3fa2b1c09d11",
                             .file_name = "seven.png",
                             .subject = "",
                             .label = 7,
                             .class_name = "7",
                             .confidence = 0.5f,
                             .alternative = "",
                             .upload_bytes = 300,
                             .latency = std::chrono::microseconds(120)};
  const std::string line = csv_line(record);
  EXPECT_EQ(
      line,
      "01936f2e-7a1b-7c3d-8e4f-0123456789ab,2026-11-22T03:41:00.500000Z,digits,3fa2b1c09d11,seven.png,7,7,"
      "0.5,recognized,,,0000000000000000000000000000000000000000000000000000000000000000,300,120,,,\r\n");
  EXPECT_EQ(std::ranges::count(line, ','), std::ranges::count(csv_heading(), ','));
  store::Record unsure = record;
  unsure.verdict = Verdict::unsure;
  unsure.reason = Reason::ambiguous;
  unsure.alternative = "1, 2";
  EXPECT_NE(csv_line(unsure).find(",unsure,ambiguous,\"1, 2\",0000"), std::string::npos);
}

}  // namespace
}  // namespace espy::cli
