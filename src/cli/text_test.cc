#include "cli/text.h"

#include <gtest/gtest.h>

#include <limits>

namespace espy::cli {
namespace {

TEST(Text, GroupsDigitsByThousands) {
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(1000), "1,000");
  EXPECT_EQ(grouped(1234567), "1,234,567");
}

TEST(Text, ShowsDurationsAsAClock) {
  EXPECT_EQ(to_clock_text(std::chrono::seconds(7)), "0:07");
  EXPECT_EQ(to_clock_text(std::chrono::seconds(723)), "12:03");
  EXPECT_EQ(to_clock_text(std::chrono::seconds(3753)), "1:02:33");
  EXPECT_EQ(to_clock_text(std::chrono::duration<double>(std::numeric_limits<double>::infinity())),
            "1000:00:00");
}

TEST(Text, ShowsSizesInDecimalUnits) {
  EXPECT_EQ(to_size_text(999), "999 bytes");
  EXPECT_EQ(to_size_text(407'123), "407 kB");
  EXPECT_EQ(to_size_text(12'300'000), "12.3 MB");
}

TEST(Text, ForeignTextCannotCommandATerminal) {
  EXPECT_EQ(printable("seven.png"), "seven.png");
  EXPECT_EQ(printable("\x1b[2J"), "\\x1b[2J");
  EXPECT_EQ(printable("a\r\nb"), "a\\x0d\\x0ab");
  EXPECT_EQ(printable("\xc2\x9b"
                      "31m"),
            "\\xc2\\x9b31m");  // U+009B, the one-character ESC [
}

TEST(Text, ForeignTextKeepsItsLettersAndLosesBrokenOnes) {
  EXPECT_EQ(printable("f\xc3\xbcnf"), "f\xc3\xbcnf");
  EXPECT_EQ(printable("\xff"), "\\xff");
  EXPECT_EQ(printable("\xc3"), "\\xc3");
  EXPECT_EQ(printable("\xc0\xaf"), "\\xc0\\xaf");           // overlong
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // a surrogate
}

TEST(Text, WrapsAtSpaces) {
  EXPECT_EQ(wrap("one two three", 8), (std::vector<std::string>{"one two", "three"}));
  EXPECT_EQ(wrap("immeasurable word", 5), (std::vector<std::string>{"immeasurable", "word"}));
  EXPECT_EQ(wrap("first\nsecond", 80), (std::vector<std::string>{"first", "second"}));
}

TEST(Text, CountsEdits) {
  EXPECT_EQ(edit_distance("--port", "--port"), 0u);
  EXPECT_EQ(edit_distance("--prot", "--port"), 2u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
  EXPECT_EQ(edit_distance("", "abc"), 3u);
}

TEST(Table, AlignsColumnsByWhatTheyShow) {
  Table table({{"name"}, {"count", Align::right}, {"note"}});
  table.add({"f\xc3\xbcnf", "5", ""});
  table.add({"twelve", "12,000", "x"});
  EXPECT_EQ(table.text(),
            "name     count  note\n"
            "f\xc3\xbcnf         5\n"
            "twelve  12,000  x\n");
}

}  // namespace
}  // namespace espy::cli
