#include "store/writer_socket.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <atomic>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "base/format.h"
#include "store/store.h"
#include "store/test_records.h"

namespace espy::store {
namespace {

Correction make_correction(int record, int number) {
  Correction correction;
  correction.id = make_record(number).id;
  correction.id.bytes[14] = 0xcc;
  correction.record = make_record(record).id;
  correction.time = kStart + std::chrono::seconds{number};
  correction.label = 3;
  correction.class_name = "3";
  correction.author = "ann, 5:\n";
  correction.note = std::string("\0x", 2);
  return correction;
}

TEST(WriterRequest, IsReadAsItWasWritten) {
  const ErasureRequest erasures[] = {{.choice = {.id = make_record(1).id}, .reason = "17:,"},
                                     {.choice = {.file_name = ""}, .reason = ""},
                                     {.choice = {.subject = "ann\n"}, .reason = "x"}};
  for (const ErasureRequest& erasure : erasures) {
    const auto read = parse_writer_request(serialize(erasure));
    ASSERT_TRUE(read);
    const auto& request = std::get<ErasureRequest>(*read);
    EXPECT_EQ(request.choice.id, erasure.choice.id);
    EXPECT_EQ(request.choice.file_name, erasure.choice.file_name);
    EXPECT_EQ(request.choice.subject, erasure.choice.subject);
    EXPECT_EQ(request.reason, erasure.reason);
  }
  const auto read = parse_writer_request(serialize(make_correction(1, 2)));
  ASSERT_TRUE(read);
  EXPECT_EQ(std::get<Correction>(*read), make_correction(1, 2));
}

TEST(WriterRequest, RefusesWhatIsNone) {
  for (const std::string packet :
       {"", "x", "5:", "5:ab,", "18446744073709551616:,", "-1:,", "1:a", "13:espy-writer-2,5:erase,",
        "13:espy-writer-1,", "13:espy-writer-1,5:erase,2:id,1:x,0:,",
        "13:espy-writer-1,5:erase,5:label,1:x,0:,", "13:espy-writer-1,5:erase,7:subject,1:x,",
        "13:espy-writer-1,7:correct,0:,"}) {
    expect_error(parse_writer_request(packet), ErrorCode::invalid_input, "");
  }
}

class BesideTheWriter : public ::testing::Test {
 protected:
  std::unique_ptr<Store> open(Access access) {
    auto store = Store::open("sqlite:" + path_, {.access = access});
    EXPECT_TRUE(store) << store.error().message;
    return store ? *std::move(store) : nullptr;
  }

  Folder folder_;
  std::string path_ = folder_.file("store.db");
};

TEST_F(BesideTheWriter, ErasesAndCorrectsWhileTheWriterAppends) {
  const auto writer = open(Access::read_write);
  for (int number = 0; number < 10; ++number) {
    ASSERT_TRUE(writer->append(make_record(number), make_upload(number)));
  }
  std::atomic<bool> appending = true;
  int appended = 10;
  std::thread appender([&] {
    for (; appending; ++appended) ASSERT_TRUE(writer->append(make_record(appended), make_upload(appended)));
  });
  {
    const auto beside = open(Access::through_writer);
    ASSERT_TRUE(beside->correct(make_correction(1, 1)));
    EXPECT_EQ(writer->find(make_record(1).id)->correction, make_correction(1, 1));
    expect_error(beside->correct(make_correction(100'000, 1)), ErrorCode::not_found, "there is no record");
    const auto erased = beside->erase({.id = make_record(1).id}, "because");
    ASSERT_TRUE(erased) << erased.error().message;
    EXPECT_EQ(erased->records, 1);
    EXPECT_EQ(erased->corrections, 1);
    EXPECT_TRUE(erased->log_is_empty);
    expect_error(beside->erase({.id = make_record(1).id}, ""), ErrorCode::not_found, "no such record");
    expect_error(beside->erase({.file_name = std::string(200'000, 'x')}, ""), ErrorCode::too_large, "200");
    expect_error(beside->append(make_record(100'000), {}), ErrorCode::unavailable, "reading only");
  }
  appending = false;
  appender.join();
  EXPECT_EQ(writer->status()->newest_erasures.at(0).reason, "because");
  const auto found = writer->verify({});
  ASSERT_TRUE(found);
  EXPECT_EQ(found->damages, 0);
  EXPECT_EQ(found->records, appended - 1);
}

TEST_F(BesideTheWriter, AsksInItsOwnNameWhereNobodyWrites) {
  ASSERT_TRUE(open(Access::read_write)->append(make_record(1), make_upload(1)));
  // What a writer that was killed leaves behind.
  const int socket = ::socket(AF_UNIX, SOCK_SEQPACKET, 0);
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  (path_ + "-socket").copy(address.sun_path, sizeof(address.sun_path) - 1);
  ASSERT_EQ(::bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  ::close(socket);
  EXPECT_TRUE(open(Access::through_writer)->erase({.id = make_record(1).id}, ""));
  EXPECT_FALSE(std::filesystem::exists(path_ + "-socket"));
}

TEST_F(BesideTheWriter, SaysWhoWritesWhenNobodyAnswers) {
  const auto writer = open(Access::read_write);
  std::filesystem::remove(path_ + "-socket");
  const auto beside = Store::open("sqlite:" + path_, {.access = Access::through_writer});
  expect_error(beside, ErrorCode::unavailable, format("process {}", ::getpid()));
  expect_error(beside, ErrorCode::unavailable, "takes no requests");
}

TEST_F(BesideTheWriter, OnlyTheWritersUserMayAsk) {
  const auto writer = open(Access::read_write);
  struct stat found {};
  ASSERT_EQ(::stat((path_ + "-socket").c_str(), &found), 0);
  EXPECT_TRUE(S_ISSOCK(found.st_mode));
  EXPECT_EQ(found.st_mode & 0777, 0600U);
}

TEST_F(BesideTheWriter, IsReachedUnderALongNameToo) {
  const std::filesystem::path folder = folder_.path() / std::string(120, 'd');
  std::filesystem::create_directory(folder);
  path_ = (folder / "store.db").string();
  const auto writer = open(Access::read_write);
  ASSERT_TRUE(writer->append(make_record(1), make_upload(1)));
  EXPECT_TRUE(open(Access::through_writer)->erase({.id = make_record(1).id}, ""));
}

TEST_F(BesideTheWriter, AnAskerThatSaysNothingOrNonsenseHoldsNobodyUp) {
  auto writer = open(Access::read_write);
  ASSERT_TRUE(writer->append(make_record(1), make_upload(1)));
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  (path_ + "-socket").copy(address.sun_path, sizeof(address.sun_path) - 1);
  std::vector<int> silent;
  for (const std::string_view said : {"", "nonsense"}) {
    silent.push_back(::socket(AF_UNIX, SOCK_SEQPACKET, 0));
    ASSERT_EQ(::connect(silent.back(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    if (said.empty()) continue;
    ASSERT_EQ(::send(silent.back(), said.data(), said.size(), 0), std::ssize(said));
  }
  EXPECT_TRUE(open(Access::through_writer)->erase({.id = make_record(1).id}, ""));
  writer.reset();  // ends at once
  for (const int socket : silent) ::close(socket);
}

}  // namespace
}  // namespace espy::store
