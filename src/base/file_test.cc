#include "base/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

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

TEST_F(FileTest, ADeathInTheMiddleKeepsTheOldFileAndLeavesWhatTheNextWriteReplaces) {
  ASSERT_TRUE(write_file(folder_ / "a", as_bytes("old")));
  for (int death = 0; death < 3; ++death) {
    const pid_t child = ::fork();
    if (child == 0) {
      const rlimit no_core{0, 0};
      const rlimit limit{1000, 1000};  // the write that passes it is the process's last
      ::setrlimit(RLIMIT_CORE, &no_core);
      ::setrlimit(RLIMIT_FSIZE, &limit);
      ::signal(SIGXFSZ, SIG_DFL);
      static_cast<void>(write_file(folder_ / "a", as_bytes(std::string(5000, 'n'))));
      ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGXFSZ);
  }
  EXPECT_EQ(*read_file(folder_ / "a", 100), "old");
  EXPECT_EQ(std::filesystem::file_size(folder_ / ".a.part"), 1000);
  ASSERT_TRUE(write_file(folder_ / "a", as_bytes("new")));
  EXPECT_EQ(*read_file(folder_ / "a", 100), "new");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);
}

TEST_F(FileTest, ANewFileAppearsWhenItIsFinishedAndNotOtherwise) {
  ASSERT_TRUE(write_file(folder_ / "a", as_bytes("old")));
  {
    Result<NewFile> abandoned = NewFile::create(folder_ / "a");
    ASSERT_TRUE(abandoned);
    ASSERT_TRUE(abandoned->append(as_bytes("new")));
  }
  EXPECT_EQ(*read_file(folder_ / "a", 100), "old");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);
  Result<NewFile> file = NewFile::create(folder_ / "a");
  ASSERT_TRUE(file);
  ASSERT_TRUE(file->append(as_bytes("one, ")));
  ASSERT_TRUE(file->append(as_bytes("two")));
  EXPECT_EQ(*read_file(folder_ / "a", 100), "old");
  EXPECT_FALSE(NewFile::create(folder_ / "a"));
  ASSERT_TRUE(file->finish());
  EXPECT_EQ(*read_file(folder_ / "a", 100), "one, two");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);
}

TEST_F(FileTest, TwoWritersOfOneFileDoNotMix) {
  const int other = ::open((folder_ / ".a.part").c_str(), O_WRONLY | O_CREAT, 0644);
  ASSERT_EQ(::flock(other, LOCK_EX), 0);
  const Result<void> written = write_file(folder_ / "a", as_bytes("x"));
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, ErrorCode::unavailable);
  EXPECT_NE(written.error().message.find("being written already"), std::string::npos);
  ::close(other);
  EXPECT_TRUE(write_file(folder_ / "a", as_bytes("x")));
}

}  // namespace
}  // namespace espy
