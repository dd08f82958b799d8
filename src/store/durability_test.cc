// What is acknowledged survives: a killed process, a loss of power at any moment, a full disk, a failed
// fsync.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <latch>
#include <limits>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/file.h"
#include "store/redo_log.h"
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

// script/test --all
bool is_slow_tier() {
  const char* const slow = std::getenv("ESPY_TEST_SLOW");
  return slow != nullptr && std::string_view(slow) == "1";
}

Correction make_correction(int number) {
  Correction correction;
  correction.id = make_record(number).id;
  correction.record = make_record(number).id;
  correction.label = 9;
  return correction;
}

// So many records retention keeps.
constexpr int kKeptRecords = 300;

// Where the history is carried to, and how many places that lags behind.
const std::string kDestination = "elsewhere";
constexpr std::int64_t kLag = 20;

// Appends records in small bursts, corrects and erases some, carries them to a destination, while retention
// removes the oldest, with a checkpoint every few of them, and returns what reached the disk until just
// before the store is closed. Calls before_burst(burst, disk).
std::vector<Event> history(const std::string& path, const std::function<void(int, Disk&)>& before_burst,
                           const std::string& synchronous = "FULL", int checkpoint_frames = 100) {
  constexpr int kBursts = 120;
  Disk disk;
  std::atomic<int> next = 0;
  std::atomic<int> told = -1;
  auto connection = open_for_writing(path);
  EXPECT_TRUE(connection) << connection.error().message;
  EXPECT_TRUE((*connection)->execute("PRAGMA synchronous=" + synchronous, "change"));
  StoreOptions options;
  options.max_age = std::chrono::seconds{kKeptRecords};
  options.retention_pace = kAnyPace;
  // Told before it can happen.
  options.clock = [&] {
    const int now = next;
    if (told.exchange(now) != now) disk.acknowledge(now - kKeptRecords, "expired");
    return kStart + std::chrono::seconds{now};
  };
  auto writer =
      Writer::start(*std::move(connection), options, checkpoint_frames, std::chrono::milliseconds{1});
  EXPECT_TRUE(writer) << writer.error().message;
  EXPECT_TRUE((*writer)->open_outbox(kDestination, std::numeric_limits<std::int64_t>::max()));
  std::mt19937 random(42);
  std::int64_t settled = 0;
  for (int burst = 0; burst < kBursts; ++burst) {
    before_burst(burst, disk);
    const auto count = static_cast<int>(1 + random() % 12);
    std::latch answered(count);
    std::atomic<bool> refused = false;
    for (int i = 0; i < count; ++i) {
      const int number = next++;
      const auto entry = std::make_shared<Entry>(Entry{make_record(number), make_upload(number)});
      (*writer)->append(entry, [&, number](Result<void> stored) {
        stored ? disk.acknowledge(number) : refused.store(true);
        answered.count_down();
      });
    }
    answered.wait();
    // A recovery that failed is not tried again at once; what came until then would but be refused.
    const std::int64_t so_far = std::max<std::int64_t>(0, settled);
    while (refused && !(*writer)->keep_settled(kDestination, so_far)) {
      std::this_thread::sleep_for(std::chrono::milliseconds{1});
    }
    if (burst % 3 == 0) {
      const int number = next - 1;
      std::latch corrected(1);
      (*writer)->correct(make_correction(number), [&](Result<void> stored) {
        if (stored) disk.acknowledge(number, "corrected");
        corrected.count_down();
      });
      corrected.wait();
    }
    // Each durable record has a place.
    settled = (*writer)->status().durable - kLag;
    if (settled > 0 && (*writer)->keep_settled(kDestination, settled)) {
      disk.acknowledge(static_cast<int>(settled), "settled");
    }
    if (burst % 7 == 0) {
      const int number = next - 1;
      disk.acknowledge(number, "erasing");
      if ((*writer)->erase({.id = make_record(number).id}, "")) disk.acknowledge(number, "erased");
    }
  }
  const WriterStatus status = (*writer)->status();
  EXPECT_EQ(status.accepted, next);
  EXPECT_EQ(status.accepted, status.durable + status.failed);
  EXPECT_EQ(status.waiting, 0);
  EXPECT_GT(status.retentions.count, 0);
  return disk.events();
}

struct Damage {
  int cuts = 0;
  int acknowledged = 0;  // promises, at all cuts together: records and corrections kept, records gone here
                         // and to be erased elsewhere, how far the history was carried
  int lost = 0;          // of them
  int cuts_with_loss = 0;
  int corrupt = 0;  // stores
};

// What was promised until a moment.
struct Promises {
  std::set<int> stored;
  std::set<int> corrected;
  std::set<int> erasing;  // perhaps gone
  std::set<int> erased;
  int expired = 0;  // smaller numbers are perhaps gone
  std::int64_t settled = 0;

  void add(const Event& event) {
    const auto number = static_cast<int>(event.number);
    if (event.file == "expired") {
      expired = std::max(expired, number);
    } else if (event.file == "settled") {
      settled = number;
    } else {
      (event.file == "stored"      ? stored
       : event.file == "corrected" ? corrected
       : event.file == "erasing"   ? erasing
                                   : erased)
          .insert(number);
    }
  }
};

struct Found {
  std::map<Uuid, Record> records;
  std::int64_t settled = 0;
  std::set<Uuid> withdrawn;
};

// Returns everything in a store that is sound; nothing for one that is not.
std::optional<Found> read_all(const std::string& path) {
  const auto store = Store::open("sqlite:" + path);
  if (!store) return {};
  const auto verified = (*store)->verify({});
  if (!verified || verified->damages > 0) return {};
  Found found;
  const auto outbox = (*store)->open_outbox(kDestination, std::numeric_limits<std::int64_t>::max());
  if (!outbox) return {};
  const auto settled = (*outbox)->settled();
  const auto withdrawals = (*outbox)->withdrawals(1'000'000);
  if (!settled || !withdrawals || *settled > verified->head.seq) return {};
  found.settled = *settled;
  for (const Withdrawal& one : *withdrawals) found.withdrawn.insert(one.id);
  Query query;
  query.limit = 1000;
  do {
    const Result<Page> page = (*store)->list(query);
    if (!page) return {};
    for (const Record& record : page->records) found.records.emplace(record.id, record);
    query.before = page->next;
  } while (query.before);
  return found;
}

// Cuts the power at `cuts` random moments after the first acknowledgement, and opens what is left each time.
Damage cut_power(const std::vector<Event>& events, int cuts, const Folder& folder) {
  const auto first = std::find_if(events.begin(), events.end(), [](const Event& event) {
    return event.kind == Event::Kind::acknowledgement && event.file == "stored";
  });
  EXPECT_NE(first, events.end());
  std::mt19937 random(7);
  std::uniform_int_distribution<std::ptrdiff_t> moment(first - events.begin() + 1, std::ssize(events));
  std::multiset<std::ptrdiff_t> moments;
  for (int cut = 0; cut < cuts; ++cut) moments.insert(moment(random));

  Damage damage;
  std::map<std::string, Platter> files;
  Promises promises;
  std::ptrdiff_t now = 0;
  for (const std::ptrdiff_t end : moments) {
    for (; now < end; ++now) {
      const Event& event = events[static_cast<size_t>(now)];
      if (event.kind == Event::Kind::acknowledgement) {
        promises.add(event);
      } else {
        files[event.file].apply(event);
      }
    }
    const double kept = 0.25 * (damage.cuts++ % 5);
    const std::string path = folder.file("after-cut");
    for (const char* suffix : {"", "-wal"}) {
      const std::string content = files[std::string("history") + suffix].after_power_cut(kept, random);
      std::ofstream(path + suffix, std::ios::binary) << content;
    }
    std::filesystem::remove(path + "-shm");

    const Disk disk;  // spares the true disk
    const auto found = read_all(path);
    if (!found) {
      ++damage.corrupt;
      continue;
    }
    int lost = 0;
    const auto expect = [&](int number, auto kept_promise) {
      if (number < promises.expired) return;
      ++damage.acknowledged;
      const auto record = found->records.find(make_record(number).id);
      lost += kept_promise(record == found->records.end() ? nullptr : &record->second) ? 0 : 1;
    };
    for (const int number : promises.stored) {
      if (promises.erasing.contains(number)) continue;
      expect(number, [](const Record* record) { return record != nullptr; });
    }
    for (const int number : promises.corrected) {
      if (promises.erasing.contains(number)) continue;
      expect(number, [](const Record* record) { return record != nullptr && record->correction; });
    }
    for (const int number : promises.erased) {
      expect(number, [](const Record* record) { return record == nullptr; });
      ++damage.acknowledged;
      lost += found->withdrawn.contains(make_record(number).id) ? 0 : 1;
    }
    ++damage.acknowledged;
    lost += found->settled >= promises.settled ? 0 : 1;
    damage.lost += lost;
    damage.cuts_with_loss += lost > 0 ? 1 : 0;
  }
  return damage;
}

void report(std::string_view what, const Damage& damage) {
  std::printf("%s: %d power cuts, %d promises, %d broken in %d cuts, %d stores damaged\n",
              std::string(what).c_str(), damage.cuts, damage.acknowledged, damage.lost, damage.cuts_with_loss,
              damage.corrupt);
}

int cut_count() { return is_slow_tier() ? 1500 : 60; }

TEST(PowerCut, NothingThatWasPromisedIsBroken) {
  const Folder folder;
  const std::vector<Event> events = history(folder.file("history"), [](int, Disk&) {});
  const Damage damage = cut_power(events, cut_count(), folder);
  report("FULL", damage);
  EXPECT_EQ(damage.lost, 0);
  EXPECT_EQ(damage.corrupt, 0);
  EXPECT_GT(damage.acknowledged, 5'000);
  // The history must have had checkpoints, or it says nothing about them.
  EXPECT_GT(std::count_if(events.begin(), events.end(),
                          [](const Event& event) {
                            return event.kind == Event::Kind::sync && event.file == "history";
                          }),
            5);
}

// Does the simulator see what it is for?
TEST(PowerCut, WithoutFullSyncsPromisesAreBroken) {
  const Folder folder;
  const Damage normal = cut_power(history(
                                      folder.file("history"), [](int, Disk&) {}, "NORMAL"),
                                  cut_count() / 2, folder);
  report("NORMAL", normal);
  EXPECT_GT(normal.lost, 0);
  EXPECT_EQ(normal.corrupt, 0);
}

TEST(PowerCut, OfADiskThatOnlySaysItSyncsStoresAreDamaged) {
  const Folder folder;
  const Damage lying = cut_power(history(folder.file("history"), [](int, Disk& disk) { disk.lie(); }),
                                 cut_count() / 2, folder);
  report("without any sync", lying);
  EXPECT_GT(lying.corrupt, 0);
}

// The system may forget what a failed fsync was to write. Nothing may then be acknowledged that stands behind
// it, nor may the log begin anew while the database lacks some of it.
struct FailedSyncs {
  const char* name;
  const char* file;
  int times;
  bool beside_reader;
};

class BehindFailedSyncs : public ::testing::TestWithParam<FailedSyncs> {};

INSTANTIATE_TEST_SUITE_P(, BehindFailedSyncs,
                         ::testing::Values(FailedSyncs{"OfTheLog", "history-wal", 1, false},
                                           FailedSyncs{"OfTheDatabase", "history", 1, false},
                                           FailedSyncs{"OfAny", "", 3, false},
                                           FailedSyncs{"OfTheLogBesideAReader", "history-wal", 1, true},
                                           FailedSyncs{"OfTheDatabaseBesideAReader", "history", 1, true},
                                           FailedSyncs{"OfAnyBesideAReader", "", 3, true}),
                         [](const auto& failed) { return failed.param.name; });

TEST_P(BehindFailedSyncs, NothingThatWasPromisedIsBroken) {
  const Folder folder;
  const std::string path = folder.file("history");
  std::unique_ptr<Connection> reader;
  const auto before_burst = [&](int burst, Disk& disk) {
    // Every seventh burst erases, and then waits for readers.
    if (burst % 7 == 0) reader.reset();
    if (burst % 7 == 1 && GetParam().beside_reader) {
      reader = *open_for_reading(path);
      ASSERT_TRUE(reader->execute("BEGIN; SELECT count(*) FROM record;", "read"));
    }
    // When there is something to copy up to where the reader is, and when all of that is copied.
    if (burst % 7 == 1 || burst % 7 == 4) disk.fail(Fault::sync_error, GetParam().times, 0, GetParam().file);
  };
  // Beside a reader with longer copies, or there would be nothing left to copy when it begins.
  const std::vector<Event> events = history(path, before_burst, "FULL", GetParam().beside_reader ? 400 : 100);
  EXPECT_GE(std::count_if(events.begin(), events.end(),
                          [](const Event& event) { return event.kind == Event::Kind::failed_sync; }),
            12);
  const Damage damage = cut_power(events, cut_count() / 2, folder);
  report(format("failing fsyncs {}", GetParam().name), damage);
  EXPECT_EQ(damage.lost, 0);
  EXPECT_EQ(damage.corrupt, 0);
  EXPECT_GT(damage.acknowledged, 1'000);
}

// SQLite syncs the database only when it has copied all of the log. What it copied before and could not be
// synced would count as copied, and the log would begin anew without it.
TEST(RedoLog, CopiesOnceMoreWhatCountsAsCopied) {
  const Folder folder;
  Disk disk;
  const std::string path = folder.file("history");
  auto writer = *open_for_writing(path);
  const auto insert_rows = [&](int first) {
    ASSERT_TRUE(writer->execute(
        format("WITH RECURSIVE number(n) AS (SELECT {} UNION ALL SELECT n + 1 FROM number WHERE n < {})"
               " INSERT INTO meta SELECT n, hex(randomblob(2000)) FROM number",
               first, first + 49),
        "fill"));
  };
  insert_rows(0);
  auto reader = *open_for_reading(path);
  ASSERT_TRUE(reader->execute("BEGIN; SELECT count(*) FROM meta;", "read"));
  insert_rows(100);
  int frames = 0;
  int copied = 0;
  ASSERT_EQ(sqlite3_wal_checkpoint_v2(writer->get(), nullptr, SQLITE_CHECKPOINT_PASSIVE, &frames, &copied),
            SQLITE_OK);
  ASSERT_GT(copied, 20);
  ASSERT_LT(copied, frames);
  disk.fail(Fault::sync_error, 1, 0, "history");
  ASSERT_NE(File::database(*writer).sync(), SQLITE_OK);

  ASSERT_TRUE(redo_log(*writer));
  reader.reset();
  ASSERT_EQ(sqlite3_wal_checkpoint_v2(writer->get(), nullptr, SQLITE_CHECKPOINT_TRUNCATE, nullptr, nullptr),
            SQLITE_OK);
  Platter platter;
  const std::vector<Event> events = disk.events();
  for (const Event& event : events) {
    if (event.file == "history") platter.apply(event);
  }
  std::mt19937 random;
  EXPECT_TRUE(platter.after_power_cut(0, random) == *read_file(path, std::size_t{1} << 24));
}

// `espy history` of another process may be reading when a server starts that was killed before.
TEST(RedoLog, LeavesALogThatAReaderNeeds) {
  const Folder folder;
  const std::string path = folder.file("history");
  auto killed = *open_for_writing(path);
  leave_log(*killed);
  ASSERT_TRUE(killed->execute("INSERT INTO meta VALUES ('a', '1')", "fill"));
  auto reader = *open_for_reading(path);
  ASSERT_TRUE(reader->execute("BEGIN; SELECT count(*) FROM meta;", "read"));
  ASSERT_TRUE(killed->execute("INSERT INTO meta VALUES ('b', '2')", "fill"));
  killed.reset();
  const auto started = open_for_writing(path);
  ASSERT_TRUE(started) << started.error().message;
  EXPECT_EQ(*(*started)->value("SELECT count(*) FROM meta", "read"),
            std::to_string(1 + std::stoi(*reader->value("SELECT count(*) FROM meta", "read"))));
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

INSTANTIATE_TEST_SUITE_P(, FailingOnce,
                         ::testing::Values(Fault::write_error, Fault::short_write, Fault::sync_error),
                         [](const auto& fault) {
                           return fault.param == Fault::write_error   ? "Write"
                                  : fault.param == Fault::short_write ? "ShortWrite"
                                                                      : "Sync";
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
  // After a failed recovery the next is not tried at once.
  bool goes_on = false;
  for (int attempt = 0; attempt < 1000 && !goes_on; ++attempt) {
    goes_on = static_cast<bool>(append(5));
    if (!goes_on) std::this_thread::sleep_for(std::chrono::milliseconds{10});
  }
  EXPECT_TRUE(goes_on);
}

// One failure at the n-th operation of a history with everything in it, for every n until none is met. What
// was promised is there when the store is opened again, and the counts add up.
TEST_P(FailingOnce, AtTheNthCallNothingPromisedIsBroken) {
  // A history has some hundred writes, but not so many syncs.
  const int step = is_slow_tier() ? 1 : GetParam() == Fault::sync_error ? 7 : 31;
  int trials = 0;
  bool was_last = false;
  for (int spared = 0; !was_last; spared += step, ++trials) {
    const std::string path = folder_.file(format("history-{}", spared));
    Promises promises;
    {
      std::atomic<int> now = 0;
      StoreOptions options;
      options.max_age = std::chrono::seconds{20};
      options.retention_pace = kAnyPace;
      options.clock = [&] { return kStart + std::chrono::seconds{now.load()}; };
      auto connection = open_for_writing(path);
      ASSERT_TRUE(connection) << connection.error().message;
      auto writer = Writer::start(*std::move(connection), options, 20, std::chrono::milliseconds{1});
      ASSERT_TRUE(writer);
      disk_.fail(GetParam(), 1, spared);
      for (int number = 0; number < 40; ++number) {
        std::latch answered(1);
        (*writer)->append(std::make_shared<Entry>(Entry{make_record(number), make_upload(number)}),
                          [&](Result<void> stored) {
                            if (stored) promises.stored.insert(number);
                            answered.count_down();
                          });
        answered.wait();
        now = number;
        promises.expired = std::max(0, number - 20);
        if (number % 5 == 4) {
          const Uuid id = make_record(number - 3).id;
          promises.erasing.insert(number - 3);
          const auto erased = (*writer)->erase({.id = id}, "");
          if (erased) promises.erased.insert(number - 3);
        }
      }
      was_last = disk_.has_failures_left();
      disk_.fail(Fault::none, 0);
      const WriterStatus status = (*writer)->status();
      EXPECT_EQ(status.accepted, 40);
      EXPECT_EQ(status.durable, std::ssize(promises.stored));
      EXPECT_EQ(status.accepted, status.durable + status.failed);
    }
    const auto found = read_all(path);
    ASSERT_TRUE(found) << "damaged after operation " << spared;
    for (const int number : promises.stored) {
      if (number < promises.expired || promises.erasing.contains(number)) continue;
      EXPECT_TRUE(found->records.contains(make_record(number).id)) << number << " after operation " << spared;
    }
    for (const int number : promises.erased)
      EXPECT_FALSE(found->records.contains(make_record(number).id)) << number;
  }
  std::printf("%d places of failure\n", trials);
  EXPECT_GT(trials, 10);
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
