// What Store promises, for the store in a file and the one in memory; then what only a file can suffer.
#include "store/store.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <future>
#include <latch>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <thread>

#include "base/file.h"
#include "base/format.h"
#include "store/bench.h"
#include "store/row.h"
#include "store/schema.h"
#include "store/test_records.h"

namespace espy::store {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

std::vector<int> labels(const Page& page) {
  std::vector<int> found;
  for (const Record& record : page.records) found.push_back(record.label);
  return found;
}

// Holds the writer's thread in a completion until release(), so that what is appended meanwhile must wait.
class Barrier {
 public:
  explicit Barrier(Store& store, int number) {
    store.append(make_record(number), {}, [this](Result<void>) {
      reached_.count_down();
      released_.wait();
    });
    reached_.wait();
  }
  void release() { released_.count_down(); }

 private:
  std::latch reached_{1};
  std::latch released_{1};
};

// Root may write anywhere, so for a while the process is another user when it is root.
class OrdinaryUser {
 public:
  OrdinaryUser() {
    if (::getuid() == 0) {
      EXPECT_EQ(::seteuid(65534), 0);
    }
  }
  ~OrdinaryUser() {
    if (::getuid() == 0) {
      EXPECT_EQ(::seteuid(0), 0);
    }
  }
};

class StoreContract : public ::testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<Store> open(const StoreOptions& options = {}) {
    const std::string url = GetParam() == "memory" ? "sqlite::memory:" : "sqlite:" + folder_.file("store");
    Result<std::unique_ptr<Store>> store = Store::open(url, options);
    EXPECT_TRUE(store) << store.error().message;
    return store ? *std::move(store) : nullptr;
  }

  // A store that holds the records 0 to count - 1.
  std::unique_ptr<Store> open_with(int count) {
    std::unique_ptr<Store> store = open();
    std::atomic<int> stored = 0;
    for (int number = 0; number < count - 1; ++number) {
      store->append(make_record(number), make_upload(number),
                    [&](Result<void> done) { stored += done ? 1 : 0; });
    }
    EXPECT_TRUE(store->append(make_record(count - 1), make_upload(count - 1)));  // answered after the others
    EXPECT_EQ(stored, count - 1);
    return store;
  }

  Folder folder_;
};

INSTANTIATE_TEST_SUITE_P(, StoreContract, ::testing::Values("file", "memory"),
                         [](const auto& kind) { return kind.param; });

TEST_P(StoreContract, FindsWhatWasAppended) {
  const auto store = open_with(3);
  for (int number = 0; number < 3; ++number) {
    const Result<Record> found = store->find(make_record(number).id);
    ASSERT_TRUE(found) << found.error().message;
    EXPECT_EQ(*found, make_record(number));
    const Result<Upload> upload = store->find_upload(make_record(number).id);
    ASSERT_TRUE(upload) << upload.error().message;
    EXPECT_EQ(*upload, make_upload(number));
  }
}

TEST_P(StoreContract, KeepsEveryValueAsItWas) {
  Record record = make_record(1);
  record.time = Timestamp{microseconds{-1}};
  record.model = "";
  record.class_name = "T-shirt \"top\"; DROP TABLE record; --";
  record.file_name =
      std::string("r\xc3\xa9sum\xc3\xa9 \xf0\x9f\x91\x9f \xff\xfe\n\t'/../") + std::string("\0.png", 5);
  record.label = 32'767;
  record.confidence = 1e-38F;
  record.upload_bytes = std::uint64_t{1} << 40;
  record.latency = hours{100};
  const auto store = open();
  ASSERT_TRUE(store->append(record, {}));
  const Result<Record> found = store->find(record.id);
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(*found, record);
  Query query;
  query.file_name = record.file_name;
  const Result<Page> page = store->list(query);
  ASSERT_TRUE(page);
  EXPECT_EQ(page->records, std::vector{record});
}

TEST_P(StoreContract, NegativeZeroIsZero) {
  Record record = make_record(1);
  record.confidence = -0.0F;
  const auto store = open();
  ASSERT_TRUE(store->append(record, {}));
  const Result<Record> found = store->find(record.id);
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(found->confidence, 0.0F);
}

TEST_P(StoreContract, SaysThatThereIsNoSuchRecord) {
  const auto store = open_with(1);
  const Uuid absent = make_record(7).id;
  expect_error(store->find(absent), ErrorCode::not_found, "no record " + to_string(absent));
  expect_error(store->find_upload(absent), ErrorCode::not_found, "no record " + to_string(absent));
}

TEST_P(StoreContract, ASecondAppendOfAnIdChangesNothing) {
  const auto store = open_with(1);
  Record other = make_record(0);
  other.label = 5;
  ASSERT_TRUE(store->append(other, Upload{"image/gif", "other"}));
  EXPECT_EQ(*store->find(other.id), make_record(0));
  EXPECT_EQ(*store->find_upload(other.id), make_upload(0));
  EXPECT_EQ(store->list({})->records.size(), 1U);
}

// Appends, waits, and returns the outcome with the record that stands for this one.
struct Repeated {
  Result<void> outcome;
  std::optional<Record> earlier;
};
Repeated append_named(Store& store, int number, std::uint8_t key) {
  Entry entry{make_record(number), make_upload(number)};
  entry.retry = std::make_unique<Retry>();
  entry.retry->key.fill(key);
  const auto shared = std::make_shared<const Entry>(std::move(entry));
  std::promise<Result<void>> outcome;
  store.append(shared, [&](Result<void> result) { outcome.set_value(std::move(result)); });
  Result<void> result = outcome.get_future().get();
  return {std::move(result), shared->retry->earlier};
}

TEST_P(StoreContract, ARepeatedKeyIsTheRecordThatHasIt) {
  const auto store = open();
  ASSERT_TRUE(append_named(*store, 1, 7).outcome);
  const Repeated again = append_named(*store, 2, 7);
  ASSERT_TRUE(again.outcome);
  EXPECT_EQ(again.earlier, make_record(1));
  const Repeated other = append_named(*store, 3, 8);
  ASSERT_TRUE(other.outcome);
  EXPECT_EQ(other.earlier, std::nullopt);
  EXPECT_EQ(store->list({})->records.size(), 2u);
  EXPECT_EQ(store->verify({})->damages, 0);
}

TEST_P(StoreContract, AKeyGoesWithItsRecord) {
  const auto store = open();
  ASSERT_TRUE(append_named(*store, 1, 7).outcome);
  ASSERT_TRUE(store->erase({.id = make_record(1).id}, "asked for"));
  const Repeated again = append_named(*store, 2, 7);
  ASSERT_TRUE(again.outcome);
  EXPECT_EQ(again.earlier, std::nullopt);
  EXPECT_EQ(store->list({})->records.size(), 1u);
}

TEST_P(StoreContract, KeepsSeveralTogether) {
  const auto store = open();
  std::vector<std::shared_ptr<const Entry>> entries;
  for (int i = 0; i < 1500; ++i) {
    entries.push_back(std::make_shared<const Entry>(Entry{make_record(i), make_upload(i), {}}));
  }
  const auto commits = store->status()->writer->commits.count;
  std::promise<Result<void>> outcome;
  store->append_together(entries, [&](Result<void> result) { outcome.set_value(std::move(result)); });
  ASSERT_TRUE(outcome.get_future().get());
  EXPECT_EQ(store->status()->writer->commits.count, commits + 1);
  EXPECT_EQ(store->status()->writer->durable, 1500);
  EXPECT_EQ(store->status()->records, 1500);
}

TEST_P(StoreContract, RefusesAllOfSeveralWhenOneCannotBe) {
  const auto store = open();
  std::vector<std::shared_ptr<const Entry>> entries;
  for (int i = 0; i < 3; ++i) {
    Record record = make_record(i);
    if (i == 2) record.confidence = std::numeric_limits<float>::quiet_NaN();
    entries.push_back(std::make_shared<const Entry>(Entry{std::move(record), make_upload(i), {}}));
  }
  std::promise<Result<void>> outcome;
  store->append_together(entries, [&](Result<void> result) { outcome.set_value(std::move(result)); });
  expect_error(outcome.get_future().get(), ErrorCode::invalid_input, "must be a number");
  EXPECT_EQ(store->status()->records, 0);
}

TEST_P(StoreContract, KeepsUploadsUpToTheLimit) {
  StoreOptions options;
  options.max_kept_upload_bytes = make_upload(1).bytes.size();
  const auto store = open(options);
  Upload larger = make_upload(2);
  larger.bytes += "x";
  ASSERT_TRUE(store->append(make_record(1), make_upload(1)));
  ASSERT_TRUE(store->append(make_record(2), larger));
  ASSERT_TRUE(store->append(make_record(3), {}));
  EXPECT_TRUE(store->find_upload(make_record(1).id));
  expect_error(store->find_upload(make_record(2).id), ErrorCode::not_found, "was not kept");
  expect_error(store->find_upload(make_record(3).id), ErrorCode::not_found, "was not kept");
  EXPECT_EQ(*store->find(make_record(2).id), make_record(2));
}

TEST_P(StoreContract, KeepsLargeUploads) {
  const auto store = open();
  Record record = make_record(1);
  const Upload upload{"image/bmp", std::string(1 << 20, '\xa5')};
  record.upload_digest = sha256(as_bytes(upload.bytes));
  ASSERT_TRUE(store->append(record, upload));
  EXPECT_EQ(*store->find_upload(record.id), upload);
}

TEST_P(StoreContract, KnowsTheNewestId) {
  const auto store = open();
  EXPECT_EQ(*store->newest_id(), std::nullopt);
  ASSERT_TRUE(store->append(make_record(9), {}));
  ASSERT_TRUE(store->append(make_record(4), {}));
  EXPECT_EQ(*store->newest_id(), make_record(9).id);
}

TEST_P(StoreContract, ListsNewestFirst) {
  const auto store = open_with(4);
  const Result<Page> page = store->list({});
  ASSERT_TRUE(page);
  EXPECT_EQ(labels(*page), (std::vector{3, 2, 1, 0}));
  EXPECT_EQ(page->next, std::nullopt);
}

TEST_P(StoreContract, AnEmptyStoreHasAnEmptyPage) {
  const Result<Page> page = open()->list({});
  ASSERT_TRUE(page);
  EXPECT_TRUE(page->records.empty());
  EXPECT_EQ(page->next, std::nullopt);
}

TEST_P(StoreContract, OnlyAFullPageWithMoreBehindItHasANext) {
  const auto store = open_with(4);
  Query query;
  query.limit = 4;
  EXPECT_EQ(store->list(query)->next, std::nullopt);
  query.limit = 3;
  EXPECT_EQ(store->list(query)->next, make_record(1).id);
}

TEST_P(StoreContract, RefusesALimitOutOfRange) {
  const auto store = open();
  Query query;
  for (const int limit : {0, -1, 1001}) {
    query.limit = limit;
    expect_error(store->list(query), ErrorCode::invalid_input,
                 format("limit is {}, must be 1 to 1000", limit));
  }
  query.limit = 1000;
  EXPECT_TRUE(store->list(query));
}

// Each filter, and pairs of them, against the same choice made here.
TEST_P(StoreContract, FiltersByEveryCondition) {
  constexpr int kCount = 60;
  const auto store = open_with(kCount);
  const auto expect_query = [&](const Query& query, auto wanted) {
    std::vector<Record> expected;
    for (int number = kCount - 1; number >= 0; --number) {
      if (wanted(number)) expected.push_back(make_record(number));
    }
    ASSERT_FALSE(expected.empty());
    ASSERT_LT(expected.size(), static_cast<size_t>(kCount));
    const Result<Page> whole = store->list(query);
    ASSERT_TRUE(whole) << whole.error().message;
    EXPECT_EQ(whole->records, expected);

    std::vector<Record> in_pages;
    Query part = query;
    part.limit = 3;
    do {
      const Result<Page> page = store->list(part);
      ASSERT_TRUE(page);
      in_pages.insert(in_pages.end(), page->records.begin(), page->records.end());
      part.before = page->next;
    } while (part.before);
    EXPECT_EQ(in_pages, expected);
  };
  Query query;
  query.label = 3;
  expect_query(query, [](int n) { return n % 10 == 3; });
  query.model = "garments";
  query.file_name = "3.png";
  expect_query(query, [](int n) { return n % 10 == 3; });

  query = {};
  query.model = "digits";
  expect_query(query, [](int n) { return n % 2 == 0; });
  query.from = kStart + seconds{10};
  expect_query(query, [](int n) { return n % 2 == 0 && n >= 10; });

  query = {};
  query.from = kStart + seconds{10};
  query.until = kStart + seconds{20};
  expect_query(query, [](int n) { return n >= 10 && n < 20; });
  query.from.reset();
  expect_query(query, [](int n) { return n < 20; });
  query.file_name = "2.png";
  expect_query(query, [](int n) { return n < 20 && n % 5 == 2; });

  query = {};
  query.min_confidence = 0.25F;
  expect_query(query, [](int n) { return n >= 25; });
  query.max_confidence = 0.5F;
  expect_query(query, [](int n) { return n >= 25 && n <= 50; });

  query = {};
  query.file_name = "4.png";
  expect_query(query, [](int n) { return n % 5 == 4; });
}

// Enough records that the index by names has three ranges, with two stretches that arrive behind their turn.
TEST_P(StoreContract, FindsNamesInEveryRangeAndAmongStrays) {
  constexpr int kCount = 9000;
  const auto is_late = [](int n) { return (n >= 100 && n < 130) || (n >= 5000 && n < 5020); };
  const auto is_rare = [](int n) {
    return n == 0 || n == 115 || n == 4095 || n == 4096 || n == 5010 || n == 8999;
  };
  const auto make = [&](int number) {
    Record record = make_record(number);
    if (is_rare(number)) record.file_name = "rare.png";
    return record;
  };
  const auto store = open();
  std::atomic<int> stored = 0;
  for (const bool late : {false, true}) {
    for (int number = 0; number < kCount; ++number) {
      if (is_late(number) != late) continue;
      store->append(make(number), {}, [&](Result<void> done) { stored += done ? 1 : 0; });
    }
  }
  ASSERT_TRUE(store->append(make(kCount), {}));  // answered after the others
  ASSERT_EQ(stored, kCount);

  const auto expect_query = [&](Query query, auto wanted) {
    query.file_name = query.file_name.value_or("rare.png");
    std::vector<Uuid> expected;
    for (int number = 0; number <= kCount; ++number) {
      if (make(number).file_name == query.file_name && wanted(number)) expected.push_back(make(number).id);
    }
    ASSERT_FALSE(expected.empty());
    for (query.oldest_first = true;; query.oldest_first = false) {
      for (query.limit = 2; query.limit <= 1000; query.limit *= 500) {
        std::vector<Uuid> found;
        Query part = query;
        std::optional<Uuid>& cursor = query.oldest_first ? part.after : part.before;
        do {
          const Result<Page> page = store->list(part);
          ASSERT_TRUE(page) << page.error().message;
          for (const Record& record : page->records) found.push_back(record.id);
          cursor = page->next;
        } while (cursor);
        EXPECT_EQ(found, expected) << query.oldest_first << " " << query.limit;
      }
      std::ranges::reverse(expected);
      if (!query.oldest_first) return;
    }
  };
  expect_query({}, [](int) { return true; });
  expect_query({.until = kStart + seconds{7000}, .file_name = "3.png"}, [](int n) { return n < 7000; });
  expect_query({.from = kStart + seconds{4096}}, [](int n) { return n >= 4096; });
  expect_query({.from = kStart + seconds{1}, .until = kStart + seconds{8999}},
               [](int n) { return n >= 1 && n < 8999; });
  expect_query({.label = 5}, [](int n) { return n % 10 == 5; });

  const Result<Erased> erased = store->erase({.file_name = "rare.png"}, "asked to");
  ASSERT_TRUE(erased) << erased.error().message;
  EXPECT_EQ(erased->records, 6);
  Query rare;
  rare.file_name = "rare.png";
  EXPECT_TRUE(store->list(rare)->records.empty());
  EXPECT_TRUE((*store->verify({})).shown_damages.empty());
}

TEST_P(StoreContract, TimeBoundsAreExactToTheMicrosecond) {
  const auto store = open_with(3);
  Query query;
  query.from = make_record(1).time;
  query.until = make_record(1).time + microseconds{1};
  EXPECT_EQ(labels(*store->list(query)), std::vector{1});
  query.from = make_record(1).time + microseconds{1};
  query.until = make_record(2).time;
  EXPECT_TRUE(store->list(query)->records.empty());
}

// An id's time runs on while the clock is set back, so that a range of times is not one of ids.
TEST_P(StoreContract, FindsByTimeWhatWasMadeWhileTheClockWasWrong) {
  const auto store = open_with(4);
  Record behind = make_record(4);
  behind.time = kStart - hours{5};
  Record ahead = make_record(5);
  ahead.time = kStart + hours{5};
  Record foreign = make_record(6);
  foreign.id = {};
  foreign.time = kStart + seconds{2};
  for (const Record& record : {behind, ahead, foreign}) ASSERT_TRUE(store->append(record, {}));

  Query query;
  query.until = kStart + seconds{1};
  EXPECT_EQ(labels(*store->list(query)), (std::vector{4, 0}));
  query = {};
  query.from = kStart + seconds{2};
  EXPECT_EQ(labels(*store->list(query)), (std::vector{5, 3, 2, 6}));
  query.until = kStart + seconds{3};
  EXPECT_EQ(labels(*store->list(query)), (std::vector{2, 6}));
  query.before = make_record(2).id;
  EXPECT_EQ(labels(*store->list(query)), std::vector{6});
}

TEST_P(StoreContract, TimesBeyondWhatAnIdCanSayAreNoTrouble) {
  const auto store = open_with(3);
  Query query;
  query.from = Timestamp::min();
  query.until = Timestamp::max();
  EXPECT_EQ(store->list(query)->records.size(), 3U);
  query.from = Timestamp::max();
  EXPECT_TRUE(store->list(query)->records.empty());
}

TEST_P(StoreContract, PagesWithoutGapOrDoubleWhileAppendsGoOn) {
  constexpr int kBefore = 100;
  const auto store = open_with(kBefore);
  std::atomic<bool> reading = true;
  std::thread appender([&] {
    for (int number = kBefore; reading; ++number) {
      EXPECT_TRUE(store->append(make_record(number), {}));
    }
  });
  for (int round = 0; round < 5; ++round) {
    std::vector<Uuid> seen;
    Query query;
    query.limit = 7;
    do {
      const Result<Page> page = store->list(query);
      if (!page) {
        ADD_FAILURE() << page.error().message;
        break;
      }
      for (const Record& record : page->records) seen.push_back(record.id);
      query.before = page->next;
    } while (query.before);
    ASSERT_GE(seen.size(), static_cast<size_t>(kBefore));
    for (size_t i = 0; i < seen.size(); ++i) {
      ASSERT_EQ(seen[i], make_record(static_cast<int>(seen.size() - i) - 1).id) << i;
    }
  }
  reading = false;
  appender.join();
}

TEST_P(StoreContract, TakesAppendsAndQuestionsOfManyThreadsAtOnce) {
  constexpr int kThreads = 8;
  constexpr int kEach = 50;
  const auto store = open();
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = 0; i < kEach; ++i) {
        const int number = i * kThreads + thread;
        EXPECT_TRUE(store->append(make_record(number), make_upload(number)));
        EXPECT_EQ(*store->find(make_record(number).id), make_record(number));
        EXPECT_TRUE(store->find_upload(make_record(number).id));
        EXPECT_GE((*store->newest_id())->bytes, make_record(number).id.bytes);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  Query query;
  query.limit = 1000;
  const Result<Page> page = store->list(query);
  ASSERT_TRUE(page);
  ASSERT_EQ(page->records.size(), static_cast<size_t>(kThreads * kEach));
  for (int number = 0; number < kThreads * kEach; ++number) {
    EXPECT_EQ(page->records[static_cast<size_t>(kThreads * kEach - 1 - number)], make_record(number));
  }
}

TEST_P(StoreContract, RefusesMoreRecordsThanMayWait) {
  StoreOptions options;
  options.max_pending_records = 3;
  const auto store = open(options);
  Barrier barrier(*store, 0);
  std::vector<Result<void>> outcomes;
  std::latch answered(5);
  for (int number = 1; number <= 5; ++number) {
    store->append(make_record(number), {}, [&](Result<void> outcome) {
      outcomes.push_back(std::move(outcome));
      answered.count_down();
    });
  }
  // Those beyond the limit have their answer at once, on this thread.
  ASSERT_EQ(outcomes.size(), 2U);
  expect_error(outcomes[0], ErrorCode::unavailable, "3 records wait for the disk, limit is 3");
  barrier.release();
  answered.wait();
  for (size_t i = 2; i < 5; ++i) EXPECT_TRUE(outcomes[i]);
  EXPECT_TRUE(store->append(make_record(6), {}));
  EXPECT_EQ(labels(*store->list({})), (std::vector{6, 3, 2, 1, 0}));
}

TEST_P(StoreContract, RefusesMoreBytesThanMayWait) {
  StoreOptions options;
  options.max_pending_bytes = 10'000;
  const auto store = open(options);
  const Result<void> outcome = store->append(make_record(1), Upload{"image/png", std::string(10'000, 'x')});
  expect_error(outcome, ErrorCode::unavailable, "limit is 10000");
  EXPECT_TRUE(store->append(make_record(1), Upload{"image/png", std::string(5'000, 'x')}));
}

TEST_P(StoreContract, RefusesAConfidenceThatIsNoNumberAndKeepsTheOthers) {
  const auto store = open();
  Record record = make_record(1);
  record.confidence = std::nanf("");
  expect_error(store->append(record, {}), ErrorCode::invalid_input, "is nan, must be a number");
  EXPECT_TRUE(store->append(make_record(2), {}));
}

TEST_P(StoreContract, ACompletionMayAppend) {
  const auto store = open();
  std::latch finished(1);
  std::function<void(int)> append = [&](int number) {
    store->append(make_record(number), {}, [&, number](Result<void> stored) {
      EXPECT_TRUE(stored);
      if (number < 20) return append(number + 1);
      finished.count_down();
    });
  };
  append(0);
  finished.wait();
  EXPECT_EQ(store->list({})->records.size(), 21U);
}

TEST_P(StoreContract, ClosingAnswersEveryAppend) {
  std::atomic<int> stored = 0;
  {
    const auto store = open();
    Barrier barrier(*store, 0);
    for (int number = 1; number <= 100; ++number) {
      store->append(make_record(number), {}, [&](Result<void> outcome) { stored += outcome ? 1 : 0; });
    }
    barrier.release();
  }
  EXPECT_EQ(stored, 100);
}

class StoreFile : public ::testing::Test {
 protected:
  Result<std::unique_ptr<Store>> open(Access access = Access::read_write) {
    StoreOptions options;
    options.access = access;
    return Store::open("sqlite:" + path_, options);
  }

  void fill(int count) {
    auto store = open();
    ASSERT_TRUE(store) << store.error().message;
    for (int number = 0; number < count; ++number) {
      ASSERT_TRUE((*store)->append(make_record(number), make_upload(number)));
    }
  }

  // Changes one bit of the one place in the file where `bytes` stand.
  void flip_bit_of(std::string_view bytes) {
    Result<std::string> content = read_file(path_, std::size_t{1} << 30);
    ASSERT_TRUE(content);
    const size_t place = content->find(bytes);
    ASSERT_NE(place, std::string::npos);
    ASSERT_EQ(content->find(bytes, place + 1), std::string::npos);
    (*content)[place + bytes.size() / 2] ^= 0x10;
    ASSERT_TRUE(write_file(path_, as_bytes(*content)));
  }

  Folder folder_;
  std::string path_ = folder_.file("history");
};

TEST_F(StoreFile, RecordsSurviveReopening) {
  fill(20);
  const auto store = open();
  ASSERT_TRUE(store) << store.error().message;
  EXPECT_EQ(*(*store)->newest_id(), make_record(19).id);
  for (int number = 0; number < 20; ++number) {
    EXPECT_EQ(*(*store)->find(make_record(number).id), make_record(number));
    EXPECT_EQ(*(*store)->find_upload(make_record(number).id), make_upload(number));
  }
}

TEST_F(StoreFile, ClosingLeavesOneFileAndTheLock) {
  fill(3);
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
    names.insert(entry.path().filename());
  }
  EXPECT_EQ(names, (std::set<std::string>{"history", "history-lock"}));
}

TEST_F(StoreFile, RefusesASecondWriter) {
  const auto first = open();
  ASSERT_TRUE(first);
  const std::string told = format("another espy (process {}) writes to store {}", ::getpid(), path_);
  expect_error(open(), ErrorCode::unavailable, told);
  // Nor by another name.
  std::filesystem::create_symlink(path_, folder_.file("link"));
  expect_error(Store::open("sqlite:" + folder_.file("link")), ErrorCode::unavailable, told);
}

TEST_F(StoreFile, TheNextWriterFollowsTheFirst) {
  fill(1);
  EXPECT_TRUE(open());
}

TEST_F(StoreFile, AReaderMayStandBesideTheWriter) {
  const auto writer = open();
  ASSERT_TRUE(writer);
  const auto reader = open(Access::read_only);
  ASSERT_TRUE(reader) << reader.error().message;
  EXPECT_EQ(*(*reader)->newest_id(), std::nullopt);
  ASSERT_TRUE((*writer)->append(make_record(1), make_upload(1)));
  EXPECT_EQ(*(*reader)->find(make_record(1).id), make_record(1));
  EXPECT_EQ(*(*reader)->find_upload(make_record(1).id), make_upload(1));
  expect_error((*reader)->append(make_record(2), {}), ErrorCode::unavailable, "is open for reading only");
}

TEST_F(StoreFile, AReaderNeedsNoWriter) {
  fill(2);
  const auto reader = open(Access::read_only);
  ASSERT_TRUE(reader) << reader.error().message;
  EXPECT_EQ((*reader)->list({})->records.size(), 2U);
  fill(3);
  EXPECT_EQ((*reader)->list({})->records.size(), 3U);
}

TEST_F(StoreFile, AReaderDoesNotCreateAStore) {
  expect_error(open(Access::read_only), ErrorCode::not_found, "there is no store " + path_);
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

TEST_F(StoreFile, RefusesOtherUrls) {
  for (const char* url : {"", "sqlite:", "cassandra:host", "history.db"}) {
    expect_error(Store::open(url), ErrorCode::invalid_input,
                 format("store url is '{}', must be sqlite:PATH", url));
  }
  StoreOptions options;
  options.access = Access::read_only;
  expect_error(Store::open("sqlite::memory:", options), ErrorCode::invalid_input, "in memory");
}

TEST_F(StoreFile, SaysThatTheFolderIsMissing) {
  expect_error(Store::open("sqlite:" + folder_.file("none/history")), ErrorCode::unavailable,
               "No such file or directory");
}

TEST_F(StoreFile, SaysThatTheFolderMayNotBeWritten) {
  std::filesystem::permissions(folder_.path(), std::filesystem::perms{0555});
  {
    const OrdinaryUser user;
    expect_error(open(), ErrorCode::unavailable, "Permission denied");
  }
  std::filesystem::permissions(folder_.path(), std::filesystem::perms{0755});
}

TEST_F(StoreFile, SaysThatTheFileMayNotBeWritten) {
  fill(1);
  std::filesystem::permissions(path_, std::filesystem::perms{0444});
  std::filesystem::permissions(path_ + "-lock", std::filesystem::perms{0666});
  std::filesystem::permissions(folder_.path(), std::filesystem::perms{0777});
  const OrdinaryUser user;
  expect_error(open(), ErrorCode::unavailable, path_ + " cannot be written: its file is read only");
}

TEST_F(StoreFile, SaysThatThePathIsAFolder) {
  std::filesystem::create_directory(path_);
  expect_error(open(), ErrorCode::unavailable, "Is a directory");
}

TEST_F(StoreFile, RefusesAFileThatIsNoDatabase) {
  ASSERT_TRUE(write_file(path_, as_bytes(std::string(5000, '?'))));
  expect_error(open(), ErrorCode::corrupt, "file is not a database");
  expect_error(open(Access::read_only), ErrorCode::corrupt, "file is not a database");
  EXPECT_EQ(*read_file(path_, 10'000), std::string(5000, '?'));
}

TEST_F(StoreFile, RefusesADatabaseOfAnotherProgramAndLeavesItAlone) {
  {
    auto other = Connection::open(path_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    ASSERT_TRUE((*other)->execute("CREATE TABLE bookmarks (url TEXT)", "make"));
  }
  const std::string before = *read_file(path_, 1 << 20);
  expect_error(open(), ErrorCode::corrupt, "is not an espy store");
  expect_error(open(Access::read_only), ErrorCode::corrupt, "is not an espy store");
  EXPECT_EQ(*read_file(path_, 1 << 20), before);
}

TEST_F(StoreFile, TakesAnEmptyFileForANewStore) {
  ASSERT_TRUE(write_file(path_, {}));
  const auto store = open();
  ASSERT_TRUE(store) << store.error().message;
  EXPECT_TRUE((*store)->append(make_record(0), {}));
}

TEST_F(StoreFile, RefusesANewerStore) {
  fill(1);
  ASSERT_TRUE((*open_for_writing(path_))->execute("PRAGMA user_version=99", "change"));
  expect_error(open(), ErrorCode::corrupt,
               format("its schema is version 99, this program knows {}", kSchemaVersion));
  expect_error(open(Access::read_only), ErrorCode::corrupt, "newer espy");
}

// As records were before version 4 of the schema.
Record record_without_reason(int number) {
  Record record = make_record(number);
  record.reason = Reason::none;
  record.alternative.clear();
  return record;
}

// As they were before version 5.
constexpr std::string_view kColumnsBeforeChain =
    "id, time, model, model_version, file_name, label, class_name, confidence, verdict, reason, alternative, "
    "upload_digest, upload_bytes, latency, astray, checksum, input";

constexpr std::string_view kColumnsBeforeReasons =
    "id, time, model, model_version, file_name, label, class_name, confidence, verdict, upload_digest, "
    "upload_bytes, latency, astray, checksum, input";

class OlderStore : public StoreFile, public ::testing::WithParamInterface<int> {};

TEST_P(OlderStore, IsMigratedWithItsRecords) {
  const int version = GetParam();
  {
    auto connection = open_for_writing(path_, version);
    ASSERT_TRUE(connection) << connection.error().message;
    EXPECT_EQ(*(*connection)->value("PRAGMA user_version", "read"), format("{}", version));
    EXPECT_EQ(*(*connection)->value("SELECT count(*) FROM sqlite_schema WHERE name = 'record_page'", "read"),
              version < 3 ? "0" : "1");
  }
  // Today's records are put into a store of today and carried over.
  const std::string present = folder_.file("present");
  {
    auto store = Store::open("sqlite:" + present);
    for (int place = 0; place < 30; ++place) {
      const int number = place == 7 ? 12 : place == 12 ? 7 : place;  // one behind its turn
      ASSERT_TRUE(
          (*store)->append(record_without_reason(number), number == 8 ? Upload() : make_upload(number)));
    }
  }
  {
    auto connection = open_for_writing(path_, version);
    const std::string in_two_tables = format(
        "INSERT INTO record SELECT seq, {0} FROM present.record;"
        "INSERT INTO upload SELECT seq, {1} FROM present.record WHERE upload NOT NULL;",
        kColumnsBeforeReasons, kUploadColumns);
    const std::string in_one =
        format("INSERT INTO record SELECT seq, {0}, {1} FROM present.record;",
               version < 4 ? kColumnsBeforeReasons : kColumnsBeforeChain, kUploadColumns);
    const Result<void> filled =
        (*connection)
            ->execute(format("ATTACH '{}' AS present; {}", present, version < 3 ? in_two_tables : in_one),
                      "fill");
    ASSERT_TRUE(filled) << filled.error().message;
  }
  expect_error(open(Access::read_only), ErrorCode::unavailable,
               format("has schema version {}, needs {}", version, kSchemaVersion));
  auto store = open();
  ASSERT_TRUE(store) << store.error().message;
  Query query;
  query.label = 3;
  EXPECT_EQ((*store)->list(query)->records,
            (std::vector{record_without_reason(23), record_without_reason(13), record_without_reason(3)}));
  query = {};
  query.file_name = "2.png";
  query.limit = 4;
  const Result<Page> page = (*store)->list(query);
  EXPECT_EQ(page->records, (std::vector{record_without_reason(27), record_without_reason(22),
                                        record_without_reason(17), record_without_reason(12)}));
  query.before = page->next;
  EXPECT_EQ((*store)->list(query)->records,
            (std::vector{record_without_reason(7), record_without_reason(2)}));
  EXPECT_EQ(*(*store)->find_upload(make_record(7).id), make_upload(7));
  expect_error((*store)->find_upload(make_record(8).id), ErrorCode::not_found, "was not kept");
  EXPECT_TRUE((*store)->append(make_record(30), {}));
  EXPECT_EQ(*(*store)->find(make_record(30).id), make_record(30));
  const Result<Verification> verified = (*store)->verify({});
  ASSERT_TRUE(verified) << verified.error().message;
  EXPECT_EQ(verified->shown_damages, std::vector<std::string>());
  EXPECT_EQ(verified->records, 31);
  EXPECT_EQ(verified->head.seq, 31);
  store = Error{ErrorCode::internal, "closed"};
  EXPECT_EQ(*(*open_for_reading(path_))->value("PRAGMA user_version", "read"), format("{}", kSchemaVersion));
}

INSTANTIATE_TEST_SUITE_P(Versions, OlderStore, ::testing::Values(1, 2, 3, 4));

// Version 9 changes no row, but what a row may be.
TEST_F(StoreFile, OfVersionEightTakesPackedInputsBesideItsOwn) {
  const std::string present = folder_.file("present");
  ASSERT_TRUE((*Store::open("sqlite:" + present))->append(make_record(1), make_upload(1)));
  Record sparse = make_record(2);
  std::ranges::fill(std::span(sparse.input).subspan(100), std::uint8_t{0});
  {
    auto connection = open_for_writing(path_, 8);
    ASSERT_TRUE(connection) << connection.error().message;
    const std::string fill =
        format("ATTACH '{}' AS present; INSERT INTO record SELECT * FROM present.record;", present);
    const Result<void> filled = (*connection)->execute(fill, "fill");
    ASSERT_TRUE(filled) << filled.error().message;
    EXPECT_FALSE((*connection)->execute("UPDATE record SET input = x'00'", "shorten"));
  }
  {
    auto store = open();
    ASSERT_TRUE(store) << store.error().message;
    ASSERT_TRUE((*store)->append(sparse, {}));
    EXPECT_EQ(*(*store)->find(make_record(1).id), make_record(1));
    EXPECT_EQ(*(*store)->find(sparse.id), sparse);
    EXPECT_EQ((*store)->verify({})->shown_damages, std::vector<std::string>());
  }
  auto connection = open_for_reading(path_);
  const auto value = [&](const std::string& sql) { return *(*connection)->value(sql, "read"); };
  EXPECT_EQ(value("SELECT group_concat(length(input)) FROM (SELECT input FROM record ORDER BY seq)"),
            "784,198");
  EXPECT_EQ(value("PRAGMA integrity_check"), "ok");
}

TEST_F(StoreFile, FindsAChangedReason) {
  fill(6);
  ASSERT_TRUE(
      (*open_for_writing(path_))->execute("UPDATE record SET alternative = '8' WHERE reason = 3", "change"));
  const auto store = open();
  expect_error((*store)->find(make_record(5).id), ErrorCode::corrupt, "is damaged");
  EXPECT_EQ(*(*store)->find(make_record(3).id), make_record(3));
}

TEST_F(StoreFile, FindsAFlippedBitInARecord) {
  fill(3);
  const auto& input = make_record(1).input;
  flip_bit_of({reinterpret_cast<const char*>(input.data()), input.size()});
  const auto store = open();
  ASSERT_TRUE(store) << store.error().message;
  const std::string damaged = format("record {} is damaged", to_string(make_record(1).id));
  expect_error((*store)->find(make_record(1).id), ErrorCode::corrupt, damaged);
  expect_error((*store)->find_upload(make_record(1).id), ErrorCode::corrupt, damaged);
  expect_error((*store)->list({}), ErrorCode::corrupt, damaged);
  EXPECT_EQ(*(*store)->find(make_record(0).id), make_record(0));
}

TEST_F(StoreFile, FindsAFlippedBitInAnUpload) {
  fill(3);
  flip_bit_of(upload_bytes(1));
  const auto store = open();
  ASSERT_TRUE(store);
  EXPECT_TRUE((*store)->find(make_record(1).id));
  expect_error((*store)->find_upload(make_record(1).id), ErrorCode::corrupt,
               format("the upload of record {} is damaged", to_string(make_record(1).id)));
}

TEST_F(StoreFile, MeasuresItself) {
  const Result<StoreFigures> figures = measure(folder_.path(), 4, milliseconds{80});
  ASSERT_TRUE(figures) << figures.error().message;
  EXPECT_GT(figures->disk.syncs_per_second, 0);
  EXPECT_GT(figures->rows_per_second, 0);
  EXPECT_GT(figures->cpu_microseconds_per_row, 0);
  EXPECT_LE(figures->median_latency, figures->p99_latency);
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
  const Result<HalfLoadFigures> half = measure_half_load(folder_.path(), milliseconds{160});
  ASSERT_TRUE(half) << half.error().message;
  EXPECT_GT(half->rows_per_second, 0);
  EXPECT_LE(half->p99_latency, half->greatest_latency);
  const Result<PageFigures> pages = measure_pages(folder_.path(), 2000);
  ASSERT_TRUE(pages) << pages.error().message;
  EXPECT_GT(pages->bulk_rows_per_second, 0);
  EXPECT_LE(pages->by_label.median, pages->by_label.p99);
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
  expect_error(measure(folder_.path(), 0, milliseconds{80}), ErrorCode::invalid_input, "0 clients");
  expect_error(measure(folder_.file("none"), 1, milliseconds{80}), ErrorCode::unavailable,
               "No such file or directory");
}

}  // namespace
}  // namespace espy::store
