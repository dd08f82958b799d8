#include "cassandra/merged_history.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cassandra/driver/espy_cql.h"
#include "cassandra/fake_driver.h"
#include "cassandra/testing.h"
#include "store/test_records.h"

namespace espy::cassandra {
namespace {

using store::expect_error;
using store::make_record;
using store::make_upload;

class MergedHistoryTest : public ::testing::Test {
 protected:
  MergedHistoryTest() {
    cluster_ = *Cluster::open(cluster_options());
    EXPECT_TRUE(cluster_->prepare());
    outbox_ = *own_->open_outbox("cassandra:espy", 1'000'000);
    history_ = std::make_unique<MergedHistory>(*own_, *cluster_, outbox_.get());
  }
  void have(int number) { ASSERT_TRUE(own_->append(make_record(number), make_upload(number))); }
  void there(int number) { ASSERT_EQ(cluster_->insert(make_record(number)).delivery, Delivery::confirmed); }
  static store::Record held(int number, store::Holder by) {
    store::Record record = make_record(number);
    record.held_by = by;
    return record;
  }
  // Everything from first to last, by pages.
  std::vector<store::Record> all(int limit, bool oldest_first = false) {
    std::vector<store::Record> records;
    store::Query query;
    query.limit = limit;
    query.oldest_first = oldest_first;
    std::optional<Uuid> next;
    do {
      const Result<store::Listing> listing = history_->list(query);
      EXPECT_TRUE(listing) << listing.error().message;
      EXPECT_EQ(listing->missing, "");
      records.insert(records.end(), listing->page.records.begin(), listing->page.records.end());
      next = listing->page.next;
      (oldest_first ? query.after : query.before) = next;
    } while (next);
    return records;
  }

  FakeCassandra cassandra_;
  std::unique_ptr<store::Store> own_ = *store::Store::open("sqlite::memory:");
  std::unique_ptr<Cluster> cluster_;
  std::unique_ptr<store::Outbox> outbox_;
  std::unique_ptr<MergedHistory> history_;
};

TEST_F(MergedHistoryTest, WhatIsHereAndWhatIsThereIsListedOnce) {
  std::vector<store::Record> expected;
  for (int number = 0; number < 60; ++number) {
    if (number % 3 != 0) have(number);
    const bool is_there = number % 2 == 0 || number % 3 == 0;
    if (is_there) there(number);
    expected.insert(expected.begin(), held(number, is_there ? store::Holder::quorum : store::Holder::disk));
  }
  for (const int limit : {1, 7, 60, 1000}) EXPECT_EQ(all(limit), expected) << limit;
  EXPECT_EQ(all(7, true), std::vector<store::Record>(expected.rbegin(), expected.rend()));
  EXPECT_EQ(*history_->find(make_record(3).id), held(3, store::Holder::quorum));  // there alone
  EXPECT_EQ(*history_->find(make_record(2).id), held(2, store::Holder::quorum));
  EXPECT_EQ(*history_->find(make_record(1).id), held(1, store::Holder::disk));  // here alone
  expect_error(history_->find(make_record(99).id), ErrorCode::not_found, "no record");
}

TEST_F(MergedHistoryTest, TheNewestCorrectionCountsWhereverItIs) {
  have(4);
  there(4);
  store::Correction older{.id = make_record(90).id,
                          .record = make_record(4).id,
                          .time = store::kStart,
                          .label = 1,
                          .class_name = "1",
                          .author = "",
                          .note = ""};
  ASSERT_TRUE(own_->correct(older));
  EXPECT_EQ(history_->find(make_record(4).id)->correction, older);
  store::Correction newer = older;
  newer.id = make_record(91).id;
  newer.label = 2;
  cluster_->insert(newer, make_record(4).model, [](Receipt) {});
  EXPECT_EQ(history_->find(make_record(4).id)->correction, newer);
  EXPECT_EQ(history_->list({})->page.records.at(0).correction, newer);
}

TEST_F(MergedHistoryTest, WithoutTheClusterOursIsReadAndItIsSaid) {
  have(1);
  there(2);
  cassandra_.interfere([](const Asked&) {
    return Said{ESPY_CQL_RETRY, ESPY_CQL_NO_CONNECTION, "nobody there"};
  });
  const Result<store::Listing> listing = history_->list({});
  ASSERT_TRUE(listing) << listing.error().message;
  EXPECT_EQ(listing->page.records, std::vector{held(1, store::Holder::disk)});
  EXPECT_NE(listing->missing.find("nobody there"), std::string::npos);
  EXPECT_EQ(*history_->find(make_record(1).id), held(1, store::Holder::disk));
  expect_error(history_->find(make_record(2).id), ErrorCode::unavailable, "nobody there");
}

TEST_F(MergedHistoryTest, WhatIsErasedHereIsNotFoundThereAnyMore) {
  have(1);
  there(1);
  there(2);
  ASSERT_TRUE(own_->erase({.id = make_record(1).id}, ""));
  EXPECT_EQ(all(1), std::vector{held(2, store::Holder::quorum)});
  expect_error(history_->find(make_record(1).id), ErrorCode::not_found, "no record");
}

}  // namespace
}  // namespace espy::cassandra
