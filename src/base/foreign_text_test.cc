#include "base/foreign_text.h"

#include <gtest/gtest.h>

namespace espy {
namespace {

TEST(ValidUtf8, LeavesWellFormedTextAlone) {
  for (const std::string_view text : {"", "seven.png", "s\xc3\xad.png", "\xe4\xb8\x83", "\xf0\x9f\x91\x9f"}) {
    EXPECT_EQ(valid_utf8(text), text);
  }
}

TEST(ValidUtf8, ReplacesEveryByteThatIsNotPartOfACharacter) {
  EXPECT_EQ(valid_utf8("a\xff-\xc3"), "a\xef\xbf\xbd-\xef\xbf\xbd");
  EXPECT_EQ(valid_utf8("\xc0\xaf"), "\xef\xbf\xbd\xef\xbf\xbd");                  // overlong /
  EXPECT_EQ(valid_utf8("\xed\xa0\x80"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");  // surrogate
  EXPECT_EQ(valid_utf8("\xf4\x90\x80\x80").size(), 12u);                          // beyond U+10FFFF
  EXPECT_EQ(valid_utf8("\xe4\xb8"), "\xef\xbf\xbd\xef\xbf\xbd");                  // cut off
}

TEST(CleanFileName, KeepsWhatFollowsTheLastSlash) {
  EXPECT_EQ(clean_file_name("seven.png"), "seven.png");
  EXPECT_EQ(clean_file_name("../../etc/passwd"), "passwd");
  EXPECT_EQ(clean_file_name("C:\\pictures\\seven.png"), "seven.png");
  EXPECT_EQ(clean_file_name("pictures/"), "");
}

TEST(CleanFileName, ReplacesControlCharactersAndThoseThatTurnTheText) {
  EXPECT_EQ(clean_file_name("a\r\nb"),
            "a\xef\xbf\xbd\xef\xbf\xbd"
            "b");
  EXPECT_EQ(clean_file_name("a\xe2\x80\xae"
                            "gnp.exe"),
            "a\xef\xbf\xbd"
            "gnp.exe");
}

TEST(CleanFileName, CutsALongNameBetweenCharacters) {
  const std::string name = clean_file_name(std::string(254, 'a') + "\xc3\xa4");
  EXPECT_EQ(name, std::string(254, 'a'));
  EXPECT_EQ(clean_file_name(std::string(10'000, 'a')).size(), 255u);
}

}  // namespace
}  // namespace espy
