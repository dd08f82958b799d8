#include "base/file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/format.h"

namespace espy {
namespace {

class FileTest : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / format("espy-file-test-{}", ::getpid());
};

TEST_F(FileTest, ReadsWhatItWroteAndLeavesNothingElse) {
  ASSERT_TRUE(write_file(folder_ / "a", as_bytes("one")));
  ASSERT_TRUE(write_file(folder_ / "a", as_bytes("two")));
  EXPECT_EQ(*read_file(folder_ / "a", 100), "two");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);
}

TEST_F(FileTest, SaysWhatIsMissingOrTooLarge) {
  EXPECT_EQ(read_file(folder_ / "none", 100).error().code, ErrorCode::not_found);
  EXPECT_EQ(read_file(folder_, 100).error().code, ErrorCode::invalid_input);
  ASSERT_TRUE(write_file(folder_ / "a", as_bytes("1234")));
  EXPECT_TRUE(read_file(folder_ / "a", 4));
  const Result<std::string> large = read_file(folder_ / "a", 3);
  ASSERT_FALSE(large);
  EXPECT_EQ(large.error().code, ErrorCode::too_large);
  EXPECT_NE(large.error().message.find("larger than 3 bytes"), std::string::npos);
}

TEST_F(FileTest, AFailedWriteKeepsTheOldFile) {
  std::filesystem::create_directory(folder_ / "taken");
  const Result<void> written = write_file(folder_ / "taken", as_bytes("x"));
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, ErrorCode::unavailable);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);
  EXPECT_EQ(write_file(folder_ / "none" / "a", as_bytes("x")).error().code, ErrorCode::unavailable);
}

}  // namespace
}  // namespace espy
