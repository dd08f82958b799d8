// The way out of a history: what is sent, how far it has got, and what that means for retention and erasing.
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "store/schema.h"
#include "store/store.h"
#include "store/test_records.h"

namespace espy::store {
namespace {

constexpr std::int64_t kNoLimit = 1'000'000'000;

class OutboxTest : public ::testing::Test {
 protected:
  void open(StoreOptions options = {}) {
    outbox_.reset();
    store_.reset();
    auto opened = Store::open("sqlite:" + folder_.file("history.db"), options);
    ASSERT_TRUE(opened) << opened.error().message;
    store_ = *std::move(opened);
    open_outbox();
  }
  void open_outbox(std::int64_t max_pending = kNoLimit) {
    auto outbox = store_->open_outbox("elsewhere", max_pending);
    ASSERT_TRUE(outbox) << outbox.error().message;
    outbox_ = *std::move(outbox);
  }
  void append(int first, int last) {
    for (int number = first; number <= last; ++number) {
      ASSERT_TRUE(store_->append(make_record(number), make_upload(number)));
    }
  }
  Correction correction(int of, int number) {
    Correction one{.id = make_record(100 + number).id,
                   .record = make_record(of).id,
                   .time = kStart,
                   .label = 3,
                   .class_name = "3",
                   .author = "a person",
                   .note = ""};
    return one;
  }
  std::vector<std::int64_t> places(std::int64_t after, std::size_t limit = 100) {
    std::vector<std::int64_t> found;
    const auto read = outbox_->read(after, limit);
    for (const Outgoing& one : *read) found.push_back(one.place);
    return found;
  }
  // With options that leave nothing: a record goes when its correction is settled, the others before it.
  void expect_correction_waits(StoreOptions options) {
    options.retention_pace = kAnyPace;
    options.clock = [] { return kStart + std::chrono::hours{1}; };
    open(options);
    append(0, 9);
    ASSERT_TRUE(store_->correct(correction(1, 1)));  // place 11
    ASSERT_TRUE(outbox_->keep_settled(10));
    wait_for_places({2, 11});
    std::this_thread::sleep_for(std::chrono::milliseconds{1500});  // retention looks once a second
    EXPECT_EQ(places(0), (std::vector<std::int64_t>{2, 11}));
    ASSERT_TRUE(outbox_->keep_settled(11));
    wait_for_places({});
  }
  void wait_for_places(const std::vector<std::int64_t>& wanted) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds{30};
    while (places(0) != wanted && std::chrono::steady_clock::now() < end) {
      std::this_thread::sleep_for(std::chrono::milliseconds{20});
    }
    EXPECT_EQ(places(0), wanted);
  }
  DestinationStatus destination() { return store_->status()->destinations.at(0); }

  Folder folder_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Outbox> outbox_;
};

TEST_F(OutboxTest, RecordsAndCorrectionsComeInTheOrderOfTheirArrival) {
  open();
  append(0, 1);
  ASSERT_TRUE(store_->correct(correction(0, 1)));
  append(2, 2);
  const auto read = outbox_->read(0, 100);
  ASSERT_TRUE(read) << read.error().message;
  ASSERT_EQ(read->size(), 4u);
  EXPECT_EQ(std::get<Record>((*read)[0].entry), make_record(0));
  EXPECT_EQ(std::get<Record>((*read)[1].entry), make_record(1));
  const auto& corrected = std::get<OutgoingCorrection>((*read)[2].entry);
  EXPECT_EQ(corrected.correction, correction(0, 1));
  EXPECT_EQ(corrected.model, "digits");
  EXPECT_EQ(std::get<Record>((*read)[3].entry), make_record(2));
  EXPECT_EQ(places(1, 2), (std::vector<std::int64_t>{2, 3}));
  EXPECT_TRUE(places(4).empty());
}

TEST_F(OutboxTest, HowFarItGotOutlivesTheProcess) {
  open();
  append(0, 9);
  EXPECT_EQ(*outbox_->settled(), 0);
  ASSERT_TRUE(outbox_->keep_settled(7));
  ASSERT_TRUE(outbox_->keep_dead_letter(3, "too old"));
  ASSERT_TRUE(outbox_->keep_dead_letter(3, "twice is once"));
  open();
  EXPECT_EQ(*outbox_->settled(), 7);
  const DestinationStatus status = destination();
  EXPECT_EQ(status.name, "elsewhere");
  EXPECT_EQ(status.settled, 7);
  EXPECT_EQ(status.pending.entries, 3);
  EXPECT_EQ(status.pending.oldest, make_record(7).time);
  EXPECT_EQ(status.dead_letters, 1);
}

TEST_F(OutboxTest, DestinationsAreToldApart) {
  open();
  append(0, 3);
  const auto other = *store_->open_outbox("another", kNoLimit);
  ASSERT_TRUE(outbox_->keep_settled(4));
  EXPECT_EQ(*other->settled(), 0);
  EXPECT_EQ(store_->status()->destinations.size(), 2u);
}

TEST_F(OutboxTest, WhatIsRemovedLeavesGapsThatNobodyWaitsFor) {
  open();
  append(0, 5);
  ASSERT_TRUE(store_->erase({.id = make_record(4).id}, "asked for"));
  EXPECT_EQ(places(0), (std::vector<std::int64_t>{1, 2, 3, 4, 6}));
  EXPECT_EQ(outbox_->pending(2)->entries, 3);
  EXPECT_EQ(outbox_->pending(6)->entries, 0);
  EXPECT_EQ(outbox_->pending(7)->entries, 0);
  EXPECT_EQ(outbox_->pending(6)->oldest, std::nullopt);
}

TEST_F(OutboxTest, WhatIsErasedHereIsToBeErasedThere) {
  open();
  append(0, 5);
  const auto erased = store_->erase({.file_name = make_record(1).file_name}, "");
  ASSERT_TRUE(erased) << erased.error().message;
  EXPECT_EQ(erased->records, 1);
  EXPECT_EQ(erased->withdrawals, 1);
  open();
  const auto waiting = outbox_->withdrawals(10);
  ASSERT_TRUE(waiting) << waiting.error().message;
  ASSERT_EQ(waiting->size(), 1u);
  EXPECT_EQ((*waiting)[0].id, make_record(1).id);
  EXPECT_EQ((*waiting)[0].model, "garments");
  EXPECT_EQ((*waiting)[0].time, make_record(1).time);
  EXPECT_EQ((*waiting)[0].file_name, make_record(1).file_name);
  EXPECT_EQ(destination().withdrawals, 1);
  ASSERT_TRUE(outbox_->keep_withdrawn(std::vector{make_record(1).id}));
  EXPECT_TRUE(outbox_->withdrawals(10)->empty());
}

TEST_F(OutboxTest, WithoutADestinationNothingIsToBeErasedThere) {
  auto store = *Store::open("sqlite:" + folder_.file("other.db"), {});
  ASSERT_TRUE(store->append(make_record(0), {}));
  EXPECT_EQ(store->erase({.id = make_record(0).id}, "")->withdrawals, 0);
}

TEST_F(OutboxTest, WhatADestinationHasToHaveIsListedInOrder) {
  open();
  append(0, 9);
  ASSERT_TRUE(store_->correct(correction(2, 1)));  // place 11
  ASSERT_TRUE(store_->correct(correction(5, 2)));
  ASSERT_TRUE(outbox_->keep_dead_letter(4, "it is poisoned"));
  ASSERT_TRUE(outbox_->keep_settled(11));
  append(10, 12);
  const auto carried = [&](const Uuid& after, std::size_t limit) {
    std::vector<std::pair<std::int64_t, bool>> found;
    const auto listed = store_->carried("elsewhere", after, limit);
    EXPECT_TRUE(listed) << listed.error().message;
    for (const Carried& one : *listed) {
      found.emplace_back(one.place, one.correction.has_value());
      const int number = one.correction ? 2 : static_cast<int>(one.place) - 1;
      EXPECT_EQ(one.record, make_record(number).id);
      EXPECT_EQ(one.model, make_record(number).model);
    }
    return found;
  };
  using Found = std::vector<std::pair<std::int64_t, bool>>;
  EXPECT_EQ(carried({}, 100), (Found{{1, false},
                                     {2, false},
                                     {3, false},
                                     {5, false},
                                     {6, false},
                                     {7, false},
                                     {8, false},
                                     {9, false},
                                     {10, false},
                                     {11, true}}));
  EXPECT_EQ(carried({}, 2), (Found{{1, false}, {2, false}}));
  EXPECT_EQ(carried(make_record(1).id, 2), (Found{{3, false}, {5, false}, {11, true}}));
  EXPECT_EQ(carried(make_record(9).id, 2), Found{});
  EXPECT_TRUE(store_->carried("nowhere", {}, 10)->empty());
}

TEST_F(OutboxTest, WhatWasFoundThereIsKept) {
  open();
  EXPECT_EQ(destination().comparison, std::nullopt);
  ASSERT_TRUE(outbox_->keep_comparison({kStart, 10, 3}));
  const Comparison newer{kStart + std::chrono::hours{1}, 12, 0};
  ASSERT_TRUE(outbox_->keep_comparison(newer));
  open();
  EXPECT_EQ(destination().comparison, newer);
}

TEST_F(OutboxTest, RetentionWaitsForWhatIsNotSettled) {
  open({.max_age = std::chrono::seconds{1}, .retention_pace = kAnyPace, .clock = [] {
          return kStart + std::chrono::hours{1};
        }});
  append(0, 9);
  std::this_thread::sleep_for(std::chrono::milliseconds{1500});  // retention looks once a second
  EXPECT_EQ(places(0).size(), 10u);
  ASSERT_TRUE(outbox_->keep_settled(4));
  wait_for_places({5, 6, 7, 8, 9, 10});
}

TEST_F(OutboxTest, RetentionByAgePassesOverWhatHasACorrectionThatIsNotSettled) {
  expect_correction_waits({.max_age = std::chrono::seconds{1}});
}

TEST_F(OutboxTest, RetentionBySizePassesOverWhatHasACorrectionThatIsNotSettled) {
  expect_correction_waits({.max_bytes = 1});
}

TEST_F(OutboxTest, TooManyThatWaitRefuseMore) {
  open();
  append(0, 1);
  open_outbox(4);
  append(2, 3);
  expect_error(store_->append(make_record(4), {}), ErrorCode::unavailable,
               "4 records wait to be forwarded, which is the limit");
  ASSERT_TRUE(outbox_->keep_settled(1));
  append(4, 4);
}

TEST_F(OutboxTest, AStoreThatIsOnlyReadHasNone) {
  open();
  const auto reading = Store::open("sqlite:" + folder_.file("history.db"), {.access = Access::read_only});
  ASSERT_TRUE(reading) << reading.error().message;
  expect_error((*reading)->open_outbox("elsewhere", kNoLimit), ErrorCode::unavailable, "reading only");
}

TEST_F(OutboxTest, ADamagedEntryIsReadAsAnError) {
  open();
  append(0, 2);
  outbox_.reset();
  store_.reset();
  {
    auto connection = *open_for_writing(folder_.file("history.db"));
    ASSERT_TRUE(connection->execute("UPDATE record SET label = 8 WHERE seq = 2", "damage"));
  }
  open();
  const auto read = outbox_->read(0, 10);
  ASSERT_TRUE(read) << read.error().message;
  ASSERT_EQ(read->size(), 3u);
  EXPECT_EQ(std::get<Error>((*read)[1].entry).code, ErrorCode::corrupt);
}

}  // namespace
}  // namespace espy::store
