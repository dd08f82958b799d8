// The life of a history behind its first day: corrections, erasing, retention, backup, and what is counted.
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/file.h"
#include "base/format.h"
#include "store/schema.h"
#include "store/store.h"
#include "store/test_records.h"
#include "store/writer.h"

namespace espy::store {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

Correction make_correction(int record, int number, int label) {
  Correction correction;
  correction.id = make_record(number).id;
  correction.id.bytes[14] = 0xcc;
  correction.record = make_record(record).id;
  correction.time = kStart + hours{1} + seconds{number};
  correction.label = label;
  correction.class_name = format("{}", label);
  correction.author = "ann\n";
  correction.note = format("note {}", number);
  return correction;
}

class Life : public ::testing::Test {
 protected:
  std::unique_ptr<Store> open(const StoreOptions& options = {}) {
    auto store = Store::open("sqlite:" + path_, options);
    EXPECT_TRUE(store) << store.error().message;
    return *std::move(store);
  }

  static void fill(
      Store& store, int begin, int end, const std::function<void(Record&)>& change = [](Record&) {}) {
    std::atomic<int> stored = 0;
    for (int number = begin; number < end; ++number) {
      Record record = make_record(number);
      change(record);
      const auto count = [&](Result<void> done) { stored += done ? 1 : 0; };
      if (number + 1 < end) {
        store.append(std::move(record), make_upload(number), count);
      } else {
        count(store.append(std::move(record), make_upload(number)));  // answered after the others
      }
    }
    EXPECT_EQ(stored, end - begin);
  }

  static Verification expect_sound(Store& store) {
    const Result<Verification> found = store.verify({});
    EXPECT_TRUE(found) << found.error().message;
    EXPECT_EQ(found->shown_damages, std::vector<std::string>());
    return *found;
  }

  static void expect_counts_add_up(Store& store) {
    const WriterStatus status = *store.status()->writer;
    EXPECT_EQ(status.accepted, status.durable + status.failed + status.waiting);
  }

  // Returns which of the store's files hold the bytes.
  std::vector<std::string> files_with(std::string_view bytes) const {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
      if (!entry.is_regular_file()) continue;  // the writer's socket
      const Result<std::string> content = read_file(entry.path(), std::size_t{1} << 30);
      EXPECT_TRUE(content);
      if (content && content->find(bytes) != std::string::npos) found.push_back(entry.path().filename());
    }
    return found;
  }

  Folder folder_;
  std::string path_ = folder_.file("history");
};

// ---- Corrections.

TEST_F(Life, EveryReadShowsTheNewestCorrection) {
  auto store = open();
  fill(*store, 0, 10);
  ASSERT_TRUE(store->correct(make_correction(3, 1, 8)));
  ASSERT_TRUE(store->correct(make_correction(3, 2, 9)));
  ASSERT_TRUE(store->correct(make_correction(3, 2, 9)));  // a second time: nothing
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(store->find(make_record(3).id)->correction, make_correction(3, 2, 9));
    EXPECT_EQ(store->find(make_record(4).id)->correction, std::nullopt);
    EXPECT_EQ(*store->corrections(make_record(3).id),
              (std::vector{make_correction(3, 1, 8), make_correction(3, 2, 9)}));
    EXPECT_EQ(store->corrections(make_record(4).id)->size(), 0U);
    Query query;
    query.label = 3;  // what was predicted
    EXPECT_EQ(store->list(query)->records.front().correction, make_correction(3, 2, 9));
    query.from = kStart;
    EXPECT_EQ(store->list(query)->records.front().correction, make_correction(3, 2, 9));
    EXPECT_EQ(*store->find_upload(make_record(3).id), make_upload(3));
    EXPECT_EQ(expect_sound(*store).corrections, 2);
    EXPECT_EQ(store->status()->corrections, 2);
    EXPECT_EQ(store->status()->records, 10);
    store.reset();
    store = open();
  }
  expect_error(store->correct(make_correction(77, 1, 8)), ErrorCode::not_found, "there is no record");
  store.reset();
  ASSERT_TRUE((*open_for_writing(path_))->execute("UPDATE correction SET right_label = 1", "change"));
  store = open();
  expect_error(store->find(make_record(3).id), ErrorCode::corrupt, "correction");
  expect_error(store->corrections(make_record(3).id), ErrorCode::corrupt, "correction");
  EXPECT_EQ(store->verify({})->damages, 2);
}

TEST_F(Life, CorrectsAndErasesWhileTheQueueIsNeverEmpty) {
  constexpr int kWaiting = 5000;  // several groups' worth
  constexpr int kFarTooMany = 500'000;
  auto store = *Store::open("sqlite::memory:");
  fill(*store, 0, 10);
  std::atomic<bool> ending = false;
  std::atomic<int> next = 10;
  std::atomic<int> waiting = 0;
  const std::function<void()> append = [&] {
    ++waiting;
    store->append(make_record(next++), {}, [&](Result<void> done) {
      EXPECT_TRUE(done);
      if (!ending && next < kFarTooMany) append();
      --waiting;
    });
  };
  for (int i = 0; i < kWaiting; ++i) append();
  ASSERT_TRUE(store->correct(make_correction(3, 1, 8)));
  ASSERT_TRUE(store->erase({.id = make_record(4).id}, ""));
  EXPECT_LT(next, kFarTooMany) << "they have waited for the end";
  ending = true;
  while (waiting > 0) std::this_thread::sleep_for(milliseconds{1});
  expect_counts_add_up(*store);
}

TEST_F(Life, ACorrectionFindsTheRecordThatWasAppendedBeforeIt) {
  auto store = open();
  std::atomic<int> corrected = 0;
  for (int number = 0; number < 3000; ++number) {
    store->append(make_record(number), {}, [](Result<void> done) { EXPECT_TRUE(done); });
    if (number % 100 != 0) continue;
    store->correct(make_correction(number, 1, 8), [&](Result<void> done) { corrected += done ? 1 : 0; });
  }
  ASSERT_TRUE(store->correct(make_correction(2999, 1, 8)));
  EXPECT_EQ(corrected, 30);
}

TEST_F(Life, RefusesWhatCouldNotBeKeptEverywhere) {
  auto store = open();
  fill(*store, 0, 1);
  const auto refused = [&](const std::function<void(Correction&)>& change, std::string_view why) {
    Correction correction = make_correction(0, 1, 8);
    change(correction);
    expect_error(store->correct(correction), ErrorCode::invalid_input, why);
  };
  refused([](Correction& one) { one.label = 32'768; }, "label is 32768, limits are 0 and 32767");
  refused([](Correction& one) { one.label = -1; }, "label is -1");
  refused([](Correction& one) { one.author = std::string(256, 'x'); }, "author has 256 bytes, limit is 255");
  refused([](Correction& one) { one.note = std::string(4001, 'x'); }, "note has 4001 bytes, limit is 4000");
  refused([](Correction& one) { one.class_name = std::string(4001, 'x'); }, "class has 4001 bytes");
  refused([](Correction& one) { one.note = "caf\xe9"; }, "note is not UTF-8");
  refused([](Correction& one) { one.author = "\xff"; }, "author is not UTF-8");
  EXPECT_TRUE(store->corrections(make_record(0).id)->empty());
  Record record = make_record(1);
  record.label = 32'768;
  expect_error(store->append(record, {}), ErrorCode::invalid_input, "is 32768, limits are 0 and 32767");
}

TEST_F(Life, CorrectsInMemoryToo) {
  auto store = *Store::open("sqlite::memory:");
  ASSERT_TRUE(store->append(make_record(1), {}));
  ASSERT_TRUE(store->correct(make_correction(1, 1, 8)));
  EXPECT_EQ(store->find(make_record(1).id)->correction->label, 8);
}

// ---- Erasing.

TEST_F(Life, ErasesWhatWasChosenAndNothingElse) {
  auto store = open();
  fill(*store, 0, 40, [](Record& record) {
    if (record.label == 7) record.subject = "ann";
  });
  ASSERT_TRUE(store->correct(make_correction(7, 1, 8)));
  const ChainPoint noted = expect_sound(*store).head;

  const Result<Erased> by_id = store->erase({.id = make_record(20).id}, "request 1");
  ASSERT_TRUE(by_id) << by_id.error().message;
  EXPECT_EQ(by_id->records, 1);
  EXPECT_TRUE(by_id->log_is_empty);
  EXPECT_EQ(store->erase({.subject = "ann"}, "request 2")->records, 4);
  EXPECT_EQ(store->erase({.file_name = "3.png"}, "")->records, 8);  // but for none that is gone already

  for (int number = 0; number < 40; ++number) {
    const bool gone = number == 20 || number % 10 == 7 || number % 5 == 3;
    EXPECT_EQ(static_cast<bool>(store->find(make_record(number).id)), !gone) << number;
    EXPECT_EQ(static_cast<bool>(store->find_upload(make_record(number).id)), !gone) << number;
  }
  for (int round = 0; round < 2; ++round) {
    const Result<Verification> found = store->verify(noted);
    ASSERT_TRUE(found) << found.error().message;
    EXPECT_EQ(found->shown_damages, std::vector<std::string>());
    EXPECT_EQ(found->records, 27);
    EXPECT_EQ(found->corrections, 0);
    EXPECT_EQ(found->erasures, 3);
    EXPECT_EQ(found->removed, 14);
    EXPECT_EQ(found->head.seq, 44);
    const HistoryStatus status = *store->status();
    EXPECT_EQ(status.records, 27);
    EXPECT_EQ(status.erased_records, 13);
    ASSERT_EQ(status.newest_erasures.size(), 3U);
    EXPECT_EQ(status.newest_erasures[1].chosen_by, "subject");
    EXPECT_EQ(status.newest_erasures[1].records, 4);
    EXPECT_EQ(status.newest_erasures[1].corrections, 1);
    EXPECT_EQ(status.newest_erasures[1].reason, "request 2");
    store.reset();
    store = open();
  }
  expect_error(store->erase({.subject = "ann"}, ""), ErrorCode::not_found, "no such record");
  expect_error(store->erase({}, ""), ErrorCode::invalid_input, "one thing");
  expect_error(store->erase({.file_name = "a", .subject = "b"}, ""), ErrorCode::invalid_input, "one thing");
  expect_error(store->erase({.subject = ""}, ""), ErrorCode::invalid_input, "one thing");
  EXPECT_EQ(store->status()->erasures, 3);
}

// The newest record's place must not be given to another.
TEST_F(Life, APlaceIsNeverUsedTwice) {
  {
    auto store = open();
    fill(*store, 0, 3);
    ASSERT_TRUE(store->erase({.id = make_record(2).id}, ""));
    ASSERT_TRUE(store->erase({.id = make_record(1).id}, ""));
    ASSERT_TRUE(store->erase({.id = make_record(0).id}, ""));
    EXPECT_EQ(store->status()->records, 0);
    EXPECT_EQ(store->status()->start.seq, 6);  // all that was there, and the three erasures
  }
  auto store = open();
  fill(*store, 3, 4);
  const Verification found = expect_sound(*store);
  EXPECT_EQ(found.head.seq, 7);
  EXPECT_EQ(store->status()->records, 1);
}

TEST_F(Life, ErasesManyInSteps) {
  auto store = open();
  fill(*store, 0, 1000, [](Record& record) { record.subject = "everybody"; });
  EXPECT_EQ(store->erase({.subject = "everybody"}, "")->records, 1000);
  EXPECT_EQ(expect_sound(*store).records, 0);
}

// Also what SQLite keeps for itself: free pages, what a page that was split leaves, the log.
TEST_F(Life, NothingOfWhatWasErasedIsLeftInTheFiles) {
  const std::string name = "the-name-of-somebodys-file.png";
  const std::string subject = "somebody-who-asked";
  const std::string secret = "what somebody's picture looked like";
  auto store = open();
  constexpr int kRecords = 3000;
  std::atomic<int> stored = 0;
  for (int number = 0; number < kRecords; ++number) {
    Record record = make_record(number);
    Upload upload = make_upload(number);
    // Large and small ones, so that pages split, and overflow.
    if (number % 7 == 0) {
      record.file_name = name;
      record.subject = subject;
      upload.bytes = secret + std::string(static_cast<size_t>(number % 3) * 9000, 'x') + secret;
    } else {
      record.file_name =
          format("{}-{}", number * 7919 % 1000, std::string(static_cast<size_t>(number % 90), 'y'));
    }
    record.upload_digest = sha256(as_bytes(upload.bytes));
    const auto count = [&](Result<void> done) { stored += done ? 1 : 0; };
    if (number + 1 < kRecords) {
      store->append(record, upload, count);
    } else {
      count(store->append(record, upload));
    }
  }
  Correction correction = make_correction(7, 1, 8);
  correction.note = secret;
  ASSERT_EQ(stored, kRecords);
  ASSERT_TRUE(store->correct(correction));
  ASSERT_FALSE(files_with(secret).empty());
  ASSERT_FALSE(files_with(name).empty());

  const Result<Erased> erased = store->erase({.subject = subject}, "");
  ASSERT_TRUE(erased) << erased.error().message;
  EXPECT_TRUE(erased->log_is_empty);
  for (const std::string& bytes : {secret, name, subject}) {
    EXPECT_EQ(files_with(bytes), std::vector<std::string>()) << bytes;
  }
  const auto& id = make_record(7).id.bytes;
  EXPECT_EQ(files_with({reinterpret_cast<const char*>(id.data()), id.size()}), std::vector<std::string>());
  expect_sound(*store);
}

// By the writer that erased, or by the next one.
class LifeBesideAReader : public Life, public ::testing::WithParamInterface<bool> {};

INSTANTIATE_TEST_SUITE_P(, LifeBesideAReader, ::testing::Bool(),
                         [](const auto& anew) { return anew.param ? "OpenedAnew" : "StillOpen"; });

TEST_P(LifeBesideAReader, EmptiesTheLogOnceTheReaderLetsGoOfIt) {
  const std::string secret = upload_bytes(5);
  auto store = open();
  fill(*store, 0, 10);
  auto reader = open_for_reading(path_);
  ASSERT_TRUE((*reader)->execute("BEGIN; SELECT count(*) FROM record;", "read"));
  const Result<Erased> erased = store->erase({.id = make_record(5).id}, "");
  ASSERT_TRUE(erased);
  EXPECT_FALSE(erased->log_is_empty);
  if (GetParam()) {
    store.reset();
    store = open();
  }
  EXPECT_FALSE(files_with(secret).empty());
  ASSERT_TRUE((*reader)->execute("COMMIT", "read"));
  for (int wait = 0; wait < 500 && !files_with(secret).empty(); ++wait) {
    std::this_thread::sleep_for(milliseconds{20});
  }
  EXPECT_EQ(files_with(secret), std::vector<std::string>());
}

TEST_F(Life, TheOldestRecordThatWaitsMayBeInHand) {
  auto writer = *Writer::start(*open_for_writing(path_), {}, 200);
  const auto other = open_for_writing(path_);
  ASSERT_TRUE((*other)->execute("BEGIN IMMEDIATE", "hold up"));
  std::promise<bool> answered;
  writer->append(std::make_shared<Entry>(Entry{make_record(0), make_upload(0)}),
                 [&](const Result<void>& done) { answered.set_value(static_cast<bool>(done)); });
  std::this_thread::sleep_for(milliseconds{100});
  EXPECT_EQ(writer->status().waiting, 1);
  EXPECT_GE(writer->status().oldest_waiting, milliseconds{90});
  ASSERT_TRUE((*other)->execute("COMMIT", "hold up"));
  EXPECT_TRUE(answered.get_future().get());
  EXPECT_EQ(writer->status().oldest_waiting.count(), 0);
}

TEST_F(Life, EmptiesTheLogAlsoWhileMoreIsAppended) {
  constexpr int kFrames = 200;
  const std::string secret = upload_bytes(1 << 20);
  auto writer = *Writer::start(*open_for_writing(path_), {}, kFrames);
  const auto append = [&](int number) {
    std::promise<void> answered;
    writer->append(std::make_shared<Entry>(Entry{make_record(number), make_upload(number)}),
                   [&](Result<void> done) {
                     EXPECT_TRUE(done);
                     answered.set_value();
                   });
    answered.get_future().wait();
  };
  // Far from the beginning of the log, which is the first to be overwritten.
  for (int number = 0; number < 20; ++number) append(number);
  append(1 << 20);
  auto reader = open_for_reading(path_);
  ASSERT_TRUE((*reader)->execute("BEGIN; SELECT count(*) FROM record;", "read"));
  EXPECT_FALSE(writer->erase({.id = make_record(1 << 20).id}, "")->log_is_empty);
  ASSERT_TRUE((*reader)->execute("COMMIT", "read"));
  const std::int64_t before = writer->status().checkpoints.count;
  for (int number = 20; writer->status().checkpoints.count == before; ++number) append(number);
  EXPECT_EQ(files_with(secret), std::vector<std::string>());
}

// ---- Retention.

void wait_until(const std::function<bool()>& reached) {
  for (int wait = 0; wait < 1000 && !reached(); ++wait) std::this_thread::sleep_for(milliseconds{10});
  EXPECT_TRUE(reached());
}

TEST_F(Life, RemovesWhatIsTooOld) {
  std::atomic<int> now = 1000;
  StoreOptions options;
  options.max_age = seconds{600};
  options.retention_pace = kAnyPace;
  options.clock = [&] { return kStart + seconds{now.load()}; };
  auto store = open(options);
  // The last ones went astray: their ids say nothing of their time.
  fill(*store, 0, 1000, [](Record& record) {
    if (record.upload_digest[0] % 16 == 0) record.id.bytes[0] ^= 0x40;
  });
  ASSERT_TRUE(store->correct(make_correction(500, 1, 8)));
  wait_until([&] { return store->status()->records == 600; });
  const Result<Page> page = store->list({.limit = 1000});
  ASSERT_TRUE(page);
  for (const Record& record : page->records) EXPECT_GE(record.time, kStart + seconds{400});
  EXPECT_EQ(store->status()->expired_records, 400);
  expect_sound(*store);

  now = 1550;
  wait_until([&] { return store->status()->records == 50; });
  EXPECT_EQ(expect_sound(*store).corrections, 0);
  now = 10'000;
  wait_until([&] { return store->status()->records == 0; });
  const HistoryStatus status = *store->status();
  EXPECT_EQ(status.expired_records, 1000);
  EXPECT_EQ(status.start, status.head);  // nothing is left of them, not even their places
  EXPECT_EQ(status.head.seq, 1001);
  fill(*store, 9990, 9991);
  EXPECT_EQ(expect_sound(*store).head.seq, 1002);
}

TEST_F(Life, DoesNotTakeAJumpOfTheClockForAge) {
  constexpr int kFarAhead = 100'000'000;
  constexpr milliseconds kUntilRetentionLooks = kRetentionInterval + milliseconds{300};
  std::atomic<int> now = 1000;
  StoreOptions options;
  options.max_age = seconds{600};
  options.clock = [&] { return kStart + seconds{now.load()}; };
  {
    auto store = open(options);
    fill(*store, 900, 1000);
    now = kFarAhead;
    std::this_thread::sleep_for(kUntilRetentionLooks);
    fill(*store, kFarAhead, kFarAhead + 1);  // and gives records its time
    std::this_thread::sleep_for(kUntilRetentionLooks);
    EXPECT_EQ(store->status()->records, 101);
  }
  {
    auto store = open(options);  // with a newest record from far ahead
    std::this_thread::sleep_for(kUntilRetentionLooks);
    EXPECT_EQ(store->status()->records, 101);
    ASSERT_TRUE(store->erase({.id = make_record(kFarAhead).id}, ""));
  }
  {
    auto store = open(options);  // it is wrong from the beginning
    std::this_thread::sleep_for(kUntilRetentionLooks);
    EXPECT_EQ(store->status()->records, 100);
  }
  options.retention_pace = kAnyPace;
  auto store = open(options);
  wait_until([&] { return store->status()->records == 0; });
}

TEST_F(Life, KeepsAnErasuresEntryWhenItsPlaceIsPassed) {
  std::atomic<int> now = 10;
  StoreOptions options;
  options.max_age = seconds{600};
  options.retention_pace = kAnyPace;
  options.clock = [&] { return kStart + seconds{now.load()}; };
  auto store = open(options);
  fill(*store, 0, 10);
  ASSERT_TRUE(store->erase({.id = make_record(5).id}, "request"));
  fill(*store, 10, 20);
  const ChainPoint noted = expect_sound(*store).head;
  now = 10'000;
  wait_until([&] { return store->status()->records == 0; });
  EXPECT_EQ(store->status()->newest_erasures.front().reason, "request");
  EXPECT_EQ(store->status()->start, noted);
  EXPECT_TRUE(store->verify(noted));
  expect_error(store->verify(ChainPoint{.seq = 3, .link = {}}), ErrorCode::not_found, "has expired");
}

TEST_F(Life, KeepsToItsSizeAndGivesTheDiskBack) {
  constexpr std::uint64_t kLimit = 4 << 20;
  {
    auto store = open();
    fill(*store, 0, 12'000);
    fill(*store, 12'000, 16'000);
    EXPECT_GT(store->status()->bytes, 2 * kLimit);
  }
  const std::uintmax_t before = std::filesystem::file_size(path_);
  StoreOptions options;
  options.max_bytes = kLimit;
  auto store = open(options);
  wait_until([&] { return store->status()->bytes <= kLimit && store->status()->free_bytes <= (9 << 20); });
  EXPECT_GT(store->status()->bytes, kLimit / 2);
  // The newest stay.
  EXPECT_TRUE(store->find(make_record(15'999).id));
  EXPECT_FALSE(store->find(make_record(0).id));
  // And while more come.
  for (int begin = 16'000; begin < 22'000; begin += 1000) fill(*store, begin, begin + 1000);
  wait_until([&] { return store->status()->bytes <= kLimit; });
  expect_sound(*store);
  expect_counts_add_up(*store);
  const HistoryStatus status = *store->status();
  EXPECT_EQ(status.records + status.expired_records, 22'000);
  EXPECT_GT(status.writer->retentions.count, 0);
  store.reset();
  EXPECT_LT(std::filesystem::file_size(path_), before);
}

// ---- Backup.

TEST_F(Life, ABackupWhileAppendsGoOnIsWholeAndOfOneMoment) {
  auto store = open();
  fill(*store, 0, 2000);
  ASSERT_TRUE(store->correct(make_correction(3, 1, 8)));
  ASSERT_TRUE(store->erase({.id = make_record(9).id}, ""));
  std::atomic<bool> appending = true;
  std::atomic<int> last = 2000;
  std::thread appender([&] {
    for (; appending; ++last) EXPECT_TRUE(store->append(make_record(last), make_upload(last)));
  });
  while (last < 2010) std::this_thread::yield();
  const int before = last;
  const std::string copy = folder_.file("copy");
  const Result<Verification> saved = store->backup(copy);
  const int after = last;
  appending = false;
  appender.join();
  ASSERT_TRUE(saved) << saved.error().message;
  EXPECT_GE(saved->records, before - 1);
  EXPECT_LE(saved->records, after + 1);
  expect_error(store->backup(copy), ErrorCode::invalid_input, "exists");
  EXPECT_FALSE(std::filesystem::exists(copy + ".part"));

  // Restored: it is a store like any other, and a part of the one that it was made of.
  const auto restored = Store::open("sqlite:" + copy);
  ASSERT_TRUE(restored) << restored.error().message;
  for (int number = 0; number < before; ++number) {
    if (number == 9) continue;
    Record expected = make_record(number);
    if (number == 3) expected.correction = make_correction(3, 1, 8);
    ASSERT_EQ(*(*restored)->find(expected.id), expected);
    ASSERT_EQ(*(*restored)->find_upload(expected.id), make_upload(number));
  }
  EXPECT_EQ((*restored)->verify({})->head, saved->head);
  const Result<Verification> original = store->verify(saved->head);
  ASSERT_TRUE(original);
  EXPECT_EQ(original->shown_damages, std::vector<std::string>());
  ASSERT_TRUE((*restored)->append(make_record(1 << 20), {}));
  EXPECT_EQ((*restored)->verify({})->damages, 0);
}

TEST_F(Life, ABackupOfADamagedHistoryIsRefused) {
  {
    auto store = open();
    fill(*store, 0, 10);
  }
  ASSERT_TRUE((*open_for_writing(path_))->execute("UPDATE record SET label = 77 WHERE seq = 4", "change"));
  auto store = open({.access = Access::read_only});
  expect_error(store->backup(folder_.file("copy")), ErrorCode::corrupt, "place 4");
  EXPECT_FALSE(std::filesystem::exists(folder_.file("copy")));
  EXPECT_FALSE(std::filesystem::exists(folder_.file("copy.part")));
  expect_error(store->backup(folder_.file("none/copy")), ErrorCode::unavailable, "none/copy");
}

// ---- Order, subject, counts.

TEST_F(Life, ListsOldestFirstWhenAsked) {
  auto store = open();
  fill(*store, 0, 25);
  std::vector<Record> found;
  Query query;
  query.oldest_first = true;
  query.limit = 7;
  query.from = kStart + seconds{3};
  do {
    const Result<Page> page = store->list(query);
    ASSERT_TRUE(page) << page.error().message;
    found.insert(found.end(), page->records.begin(), page->records.end());
    query.after = page->next;
  } while (query.after);
  ASSERT_EQ(found.size(), 22U);
  for (int number = 3; number < 25; ++number) {
    EXPECT_EQ(found[static_cast<size_t>(number - 3)], make_record(number));
  }
}

TEST_F(Life, FindsBySubject) {
  auto store = open();
  fill(*store, 0, 30, [](Record& record) { record.subject = record.label < 2 ? "ann" : ""; });
  Query query;
  query.subject = "ann";
  EXPECT_EQ(store->list(query)->records.size(), 6U);
  query.label = 1;
  EXPECT_EQ(store->list(query)->records.size(), 3U);
  EXPECT_EQ(store->list(query)->records.front().subject, "ann");
  query.subject = "bob";
  EXPECT_TRUE(store->list(query)->records.empty());
  expect_sound(*store);
}

TEST_F(Life, CountsWhatItDoes) {
  StoreOptions options;
  options.max_pending_bytes = 4000;
  auto store = open(options);
  fill(*store, 0, 1);
  EXPECT_FALSE(store->append(make_record(1), Upload{"image/png", std::string(5000, 'x')}));
  ASSERT_TRUE(store->append(make_record(1), {}));
  const HistoryStatus status = *store->status();
  ASSERT_TRUE(status.writer);
  EXPECT_EQ(status.writer->accepted, 2);
  EXPECT_EQ(status.writer->durable, 2);
  EXPECT_EQ(status.writer->refused, 1);
  EXPECT_EQ(status.writer->failed, 0);
  EXPECT_EQ(status.writer->waiting, 0);
  EXPECT_EQ(status.writer->commits.count, 2);
  EXPECT_GT(status.writer->commits.sum, 0);
  EXPECT_EQ(status.oldest, make_record(0).time);
  EXPECT_EQ(status.newest, make_record(1).time);
  EXPECT_EQ(status.head.seq, 2);
  EXPECT_FALSE(open({.access = Access::read_only})->status()->writer);
  expect_error(open({.access = Access::read_only})->erase({.file_name = "x"}, ""), ErrorCode::unavailable,
               "reading only");
}

}  // namespace
}  // namespace espy::store
