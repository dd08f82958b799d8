// What is acknowledged survives: a killed process, a loss of power at any moment, a full disk, a failed
// fsync.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <fstream>
#include <functional>
#include <latch>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "store/schema.h"
#include "store/store.h"
#include "store/test_disk.h"
#include "store/test_records.h"
#include "store/writer.h"

namespace espy::store {
namespace {

// ---- A killed process.

// Appends records from `first` on until it is killed, and writes the number of each acknowledged one into the
// pipe.
[[noreturn]] void append_until_killed(const std::string& path, int first, int pipe) {
  constexpr int kOutstanding = 64;
  const auto store = Store::open("sqlite:" + path);
  if (!store) ::_exit(2);
  std::atomic<int> next = first;
  std::function<void()> append = [&] {
    const int number = next++;
    (*store)->append(make_record(number), make_upload(number), [&, number](Result<void> stored) {
      if (!stored || ::write(pipe, &number, sizeof number) != sizeof number) ::_exit(3);
      append();
    });
  };
  for (int i = 0; i < kOutstanding; ++i) append();
  while (true) ::pause();
}

TEST(Kill, NoAcknowledgedRecordIsMissing) {
  constexpr int kRounds = 20;
  constexpr int kNumbersPerRound = 100'000;
  const Folder folder;
  const std::string path = folder.file("history");
  std::mt19937 random(20);
  for (int round = 0; round < kRounds; ++round) {
    std::array<int, 2> pipe;
    ASSERT_EQ(::pipe(pipe.data()), 0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      ::close(pipe[0]);
      append_until_killed(path, round * kNumbersPerRound, pipe[1]);
    }
    ::close(pipe[1]);
    const size_t enough = 1 + random() % 300;
    std::vector<int> acknowledged;
    int number;
    while (::read(pipe[0], &number, sizeof number) == sizeof number) {
      acknowledged.push_back(number);
      if (acknowledged.size() == enough) ::kill(child, SIGKILL);
    }
    ::close(pipe[0]);
    int status;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child ended by itself with " << WEXITSTATUS(status);
    ASSERT_GE(acknowledged.size(), enough);

    const auto store = Store::open("sqlite:" + path);
    ASSERT_TRUE(store) << store.error().message;
    for (const int one : acknowledged) {
      const Result<Record> found = (*store)->find(make_record(one).id);
      ASSERT_TRUE(found) << found.error().message;
      ASSERT_EQ(*found, make_record(one));
      ASSERT_EQ(*(*store)->find_upload(make_record(one).id), make_upload(one));
    }
  }
}

// ---- A loss of power.

// Appends records in small bursts, with a checkpoint every few of them, and returns what reached the disk
// until just before the store is closed. Calls before_burst(burst, disk).
std::vector<Event> history(const std::string& path, const std::function<void(int, Disk&)>& before_burst) {
  constexpr int kBursts = 120;
  constexpr int kFramesBetweenCheckpoints = 100;
  Disk disk;
  auto connection = open_for_writing(path);
  EXPECT_TRUE(connection) << connection.error().message;
  auto writer = Writer::start(*std::move(connection), {}, kFramesBetweenCheckpoints);
  EXPECT_TRUE(writer) << writer.error().message;
  std::mt19937 random(42);
  int next = 0;
  for (int burst = 0; burst < kBursts; ++burst) {
    before_burst(burst, disk);
    const auto count = static_cast<int>(1 + random() % 12);
    std::latch answered(count);
    for (int i = 0; i < count; ++i, ++next) {
      const auto entry = std::make_shared<Entry>(Entry{make_record(next), make_upload(next)});
      (*writer)->append(entry, [&, number = next](Result<void> stored) {
        if (stored) disk.acknowledge(number);
        answered.count_down();
      });
    }
    answered.wait();
  }
  return disk.events();
}

// A write-ahead log whose fsyncs do nothing.
std::vector<Event> without_log_syncs(std::vector<Event> events) {
  std::erase_if(events, [](const Event& event) {
    return event.kind == Event::Kind::sync && event.file == "history-wal";
  });
  return events;
}

struct Damage {
  int acknowledged = 0;  // records, at all cuts together
  int lost = 0;          // of them
  int corrupt = 0;       // stores
};

// Cuts the power at `cuts` random moments after the first acknowledgement, and opens what is left each time.
Damage cut_power(const std::vector<Event>& events, int cuts, const Folder& folder) {
  const auto first = std::find_if(events.begin(), events.end(), [](const Event& event) {
    return event.kind == Event::Kind::acknowledgement;
  });
  EXPECT_NE(first, events.end());
  std::mt19937 random(7);
  std::uniform_int_distribution<std::ptrdiff_t> moment(first - events.begin() + 1, std::ssize(events));
  std::multiset<std::ptrdiff_t> moments;
  for (int cut = 0; cut < cuts; ++cut) moments.insert(moment(random));

  Damage damage;
  std::map<std::string, Platter> files;
  std::vector<int> acknowledged;
  std::ptrdiff_t now = 0;
  int cut = 0;
  for (const std::ptrdiff_t end : moments) {
    for (; now < end; ++now) {
      const Event& event = events[static_cast<size_t>(now)];
      if (event.kind == Event::Kind::acknowledgement) {
        acknowledged.push_back(static_cast<int>(event.number));
      } else {
        files[event.file].apply(event);
      }
    }
    const double kept = 0.25 * (cut++ % 5);
    const std::string path = folder.file("after-cut");
    for (const char* suffix : {"", "-wal"}) {
      const std::string content = files[std::string("history") + suffix].after_power_cut(kept, random);
      std::ofstream(path + suffix, std::ios::binary) << content;
    }
    std::filesystem::remove(path + "-shm");

    const Disk disk;  // spares the true disk
    const auto store = Store::open("sqlite:" + path);
    std::set<Uuid> found;
    Query query;
    query.limit = 1000;
    bool sound = static_cast<bool>(store);
    while (sound) {
      const Result<Page> page = (*store)->list(query);
      sound = static_cast<bool>(page);
      if (!page) break;
      for (const Record& record : page->records) found.insert(record.id);
      if (!page->next) break;
      query.before = page->next;
    }
    sound = sound && *(*open_for_reading(path))->value("PRAGMA integrity_check", "check") == "ok";
    if (!sound) ++damage.corrupt;
    damage.acknowledged += static_cast<int>(acknowledged.size());
    for (const int number : acknowledged) damage.lost += found.contains(make_record(number).id) ? 0 : 1;
  }
  return damage;
}

TEST(PowerCut, NoAcknowledgedRecordIsMissing) {
  const Folder folder;
  const std::vector<Event> events = history(folder.file("history"), [](int, Disk&) {});
  const Damage damage = cut_power(events, 60, folder);
  EXPECT_EQ(damage.lost, 0);
  EXPECT_EQ(damage.corrupt, 0);
  EXPECT_GT(damage.acknowledged, 10'000);
  // The history must have had checkpoints, or it says nothing about them.
  EXPECT_GT(std::count_if(events.begin(), events.end(),
                          [](const Event& event) {
                            return event.kind == Event::Kind::sync && event.file == "history";
                          }),
            5);
  // The same on a disk that lies about fsync: does the test see what it is for?
  EXPECT_GT(cut_power(without_log_syncs(events), 20, folder).lost, 0);
}

// The system may forget what a failed fsync was to write. Nothing may then be acknowledged that stands behind
// it.
TEST(PowerCut, WhatFollowsAFailedFsyncIsSafe) {
  const Folder folder;
  const std::vector<Event> events = history(folder.file("history"), [](int burst, Disk& disk) {
    if (burst % 10 == 5) disk.fail(Fault::sync_error, 1);
  });
  EXPECT_GE(std::count_if(events.begin(), events.end(),
                          [](const Event& event) { return event.kind == Event::Kind::failed_sync; }),
            12);
  const Damage damage = cut_power(events, 60, folder);
  EXPECT_EQ(damage.lost, 0);
  EXPECT_EQ(damage.corrupt, 0);
  EXPECT_GT(damage.acknowledged, 10'000);
}

// ---- A disk that fails.

class FailingDisk : public ::testing::Test {
 protected:
  void SetUp() override {
    auto opened = Store::open("sqlite:" + path_);
    ASSERT_TRUE(opened) << opened.error().message;
    store_ = *std::move(opened);
    ASSERT_TRUE(store_->append(make_record(0), make_upload(0)));
  }

  Result<void> append(int number) { return store_->append(make_record(number), make_upload(number)); }

  Folder folder_;
  std::string path_ = folder_.file("history");
  Disk disk_;
  std::unique_ptr<Store> store_;
};

TEST_F(FailingDisk, AFullDiskRefusesAndIsFineWhenThereIsRoomAgain) {
  disk_.fail(Fault::disk_full, Disk::kForEver);
  expect_error(append(1), ErrorCode::unavailable, "database or disk is full");
  expect_error(append(2), ErrorCode::unavailable, path_);
  EXPECT_EQ(*store_->find(make_record(0).id), make_record(0));
  disk_.fail(Fault::none, 0);
  EXPECT_TRUE(append(3));
  expect_error(store_->find(make_record(1).id), ErrorCode::not_found, "no record");
  EXPECT_EQ(store_->list({})->records, (std::vector{make_record(3), make_record(0)}));
}

TEST_F(FailingDisk, AFailedCommitRefusesItsWholeGroup) {
  std::latch held(1);
  std::latch release(1);
  store_->append(make_record(1), {}, [&](Result<void>) {
    held.count_down();
    release.wait();
  });
  held.wait();
  constexpr int kGroup = 10;
  std::latch answered(kGroup);
  std::atomic<int> refused = 0;
  for (int number = 2; number < 2 + kGroup; ++number) {
    store_->append(make_record(number), {}, [&](Result<void> stored) {
      refused += stored ? 0 : 1;
      answered.count_down();
    });
  }
  disk_.fail(Fault::disk_full, 1);
  release.count_down();
  answered.wait();
  EXPECT_EQ(refused, kGroup);
  EXPECT_EQ(store_->list({})->records.size(), 2U);
}

class FailingOnce : public FailingDisk, public ::testing::WithParamInterface<Fault> {};

INSTANTIATE_TEST_SUITE_P(, FailingOnce, ::testing::Values(Fault::write_error, Fault::sync_error),
                         [](const auto& fault) {
                           return fault.param == Fault::write_error ? "Write" : "Sync";
                         });

TEST_P(FailingOnce, RefusesTheCommitThenOpensAnewAndGoesOn) {
  disk_.fail(GetParam(), 1);
  expect_error(append(1), ErrorCode::unavailable, "disk I/O error");
  EXPECT_EQ(*store_->find(make_record(0).id), make_record(0));
  EXPECT_TRUE(append(2));
  EXPECT_TRUE(append(3));
  EXPECT_EQ(*store_->find_upload(make_record(3).id), make_upload(3));
  EXPECT_TRUE(append(1));
  EXPECT_EQ(store_->list({})->records.size(), 4U);
}

TEST_P(FailingOnce, AcknowledgesNothingWhileTheDiskFails) {
  disk_.fail(GetParam(), Disk::kForEver);
  for (int number = 1; number < 5; ++number) {
    expect_error(append(number), ErrorCode::unavailable, "disk I/O error");
  }
  EXPECT_EQ(*store_->find(make_record(0).id), make_record(0));
  disk_.fail(Fault::none, 0);
  EXPECT_TRUE(append(5));
}

TEST_F(FailingDisk, AcknowledgesNothingWhenAnAcknowledgedRecordIsGone) {
  disk_.fail(Fault::sync_error, 1);
  expect_error(append(1), ErrorCode::unavailable, "disk I/O error");
  {
    auto other = Connection::open(path_, SQLITE_OPEN_READWRITE);
    ASSERT_TRUE(other);
    ASSERT_TRUE((*other)->execute("DELETE FROM record;", "empty"));
  }
  const std::string told = format("has lost record {}, which was acknowledged", to_string(make_record(0).id));
  expect_error(append(2), ErrorCode::unavailable, told);
  expect_error(append(3), ErrorCode::unavailable, told);
}

}  // namespace
}  // namespace espy::store
