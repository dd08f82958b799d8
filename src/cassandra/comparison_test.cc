// What the cluster has lost is found, and sent again.
#include "cassandra/comparison.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "cassandra/driver/espy_cql.h"
#include "cassandra/fake_driver.h"
#include "cassandra/shared_store.h"
#include "cassandra/testing.h"
#include "store/test_records.h"

namespace espy::cassandra {
namespace {

using store::expect_error;
using store::make_record;
using store::make_upload;
using namespace std::chrono_literals;

constexpr int kRecords = 200;

SharedStoreOptions options() {
  SharedStoreOptions options;
  options.cluster = cluster_options();
  options.forwarder.idle_pause = 5ms;
  options.forwarder.first_pause = 5ms;
  options.forwarder.last_pause = 20ms;
  options.forwarder.settle_after = 0ms;
  options.reconciler.period = 0ms;
  return options;
}

class ComparisonTest : public ::testing::Test {
 protected:
  void open(const SharedStoreOptions& asked = options()) {
    store_ = *share(*store::Store::open("sqlite::memory:"), asked);
    for (int number = 0; number < kRecords; ++number) {
      ASSERT_TRUE(store_->append(make_record(number), make_upload(number)));
    }
    correction_ = {.id = make_record(900).id,
                   .record = make_record(7).id,
                   .time = store::kStart,
                   .label = 3,
                   .class_name = "3",
                   .author = "a person",
                   .note = ""};
    ASSERT_TRUE(store_->correct(correction_));
    wait_for([&] { return destination().settled == kRecords + 1; });
  }
  store::DestinationStatus destination() { return store_->status()->destinations.at(0); }
  store::ForwardingStatus forwarding() { return *destination().forwarding; }
  void lose(const std::set<int>& numbers) {
    const std::lock_guard lock(cassandra_.mutex);
    for (const int number : numbers) cassandra_.predictions.erase(make_record(number).id);
  }
  std::size_t rows() {
    const std::lock_guard lock(cassandra_.mutex);
    return cassandra_.predictions.size();
  }
  // Compares from beside, as a command does.
  Result<Compared> look(std::vector<std::int64_t>& missing, std::size_t slice) {
    return compare(
        *store_, "cassandra:espy", *beside(), {.slice = slice},
        [&](std::span<const std::int64_t> places) {
          missing.insert(missing.end(), places.begin(), places.end());
        },
        [](auto) { return true; });
  }
  Cluster* beside() {
    if (!beside_) {
      beside_ = *Cluster::open(cluster_options());
      EXPECT_TRUE(beside_->prepare());
    }
    return beside_.get();
  }

  FakeCassandra cassandra_;
  std::unique_ptr<SharedStore> store_;
  std::unique_ptr<Cluster> beside_;
  store::Correction correction_;
};

TEST_F(ComparisonTest, WhatIsThereIsFoundWhateverTheSlices) {
  open();
  for (const std::size_t slice : {1u, 7u, 200u, 20'000u}) {
    std::vector<std::int64_t> missing;
    const Result<Compared> compared = look(missing, slice);
    ASSERT_TRUE(compared) << compared.error().message;
    EXPECT_EQ(compared->entries, kRecords + 1);
    EXPECT_EQ(compared->missing, 0);
    EXPECT_EQ(compared->others, 0);
    EXPECT_TRUE(missing.empty());
  }
}

TEST_F(ComparisonTest, EachEntryThatIsMissingIsNamed) {
  open();
  lose({0, 42, 43, kRecords - 1});
  {
    const std::lock_guard lock(cassandra_.mutex);
    cassandra_.corrections.clear();
  }
  for (const std::size_t slice : {1u, 7u, 20'000u}) {
    std::vector<std::int64_t> missing;
    ASSERT_TRUE(look(missing, slice));
    EXPECT_EQ(std::set<std::int64_t>(missing.begin(), missing.end()),
              (std::set<std::int64_t>{1, 43, 44, kRecords, kRecords + 1}))
        << slice;
  }
}

TEST_F(ComparisonTest, RecordsOfOthersHideNothing) {
  open();
  lose({42});
  store::Record other = make_record(42);  // the same partition, and of the same range
  other.id.bytes[9] = 0x55;
  ASSERT_EQ(beside()->insert(other).delivery, Delivery::confirmed);
  std::vector<std::int64_t> missing;
  const Result<Compared> compared = look(missing, 20'000);
  ASSERT_TRUE(compared);
  EXPECT_EQ(missing, std::vector<std::int64_t>{43});
  EXPECT_EQ(compared->others, 1);
}

TEST_F(ComparisonTest, WhatIsErasedHereIsNotMissedThere) {
  open();
  ASSERT_TRUE(store_->erase({.id = make_record(7).id}, ""));  // and its correction
  wait_for([&] { return destination().withdrawals == 0; });
  std::vector<std::int64_t> missing;
  const Result<Compared> compared = look(missing, 20'000);
  ASSERT_TRUE(compared);
  EXPECT_EQ(compared->entries, kRecords - 1);
  EXPECT_TRUE(missing.empty());
}

TEST_F(ComparisonTest, AClusterThatCannotBeReadIsSaid) {
  open();
  beside();
  cassandra_.interfere([](const Asked&) {
    return Said{ESPY_CQL_RETRY, ESPY_CQL_NO_CONNECTION, "nobody there"};
  });
  std::vector<std::int64_t> missing;
  expect_error(look(missing, 20'000), ErrorCode::unavailable, "nobody there");
}

TEST_F(ComparisonTest, ItsRateIsBounded) {
  open();
  std::chrono::duration<double> asked_to_wait{0};
  ASSERT_TRUE(compare(
      *store_, "cassandra:espy", *beside(), {.slice = 50, .entries_per_second = 100}, [](auto) {},
      [&](std::chrono::duration<double> wait) {
        asked_to_wait += wait;
        return true;
      }));
  EXPECT_GT(asked_to_wait, 1.5s);  // 200 entries at 100 a second, less what the looking took
}

TEST_F(ComparisonTest, WhatIsMissingIsSentAgainAtOnceWhenAsked) {
  open();
  lose({0, 42, 43});
  const Result<Compared> compared = store_->compare_now();
  ASSERT_TRUE(compared) << compared.error().message;
  EXPECT_EQ(compared->missing, 3);
  EXPECT_EQ(rows(), static_cast<std::size_t>(kRecords));
  EXPECT_EQ(forwarding().sent_again, 3u);
  EXPECT_EQ(forwarding().to_send_again, 0u);
  EXPECT_EQ(forwarding().pending.entries, 0);
  EXPECT_EQ(destination().comparison->entries, kRecords + 1);
  EXPECT_EQ(destination().comparison->missing, 3);
  EXPECT_EQ(store_->compare_now()->missing, 0);
  EXPECT_EQ(destination().comparison->missing, 0);
  EXPECT_EQ(forwarding().missing, 3u);
}

TEST_F(ComparisonTest, TimeAndAgainItIsDoneUnasked) {
  SharedStoreOptions asked = options();
  asked.reconciler.period = 20ms;
  open(asked);
  wait_for([&] { return forwarding().comparisons > 0; });
  lose({1, 2, 3, 4});
  wait_for([&] { return rows() == kRecords; });
  wait_for([&] { return forwarding().sent_again == 4; });
  EXPECT_GE(forwarding().missing, 4u);
}

TEST_F(ComparisonTest, WhatWasSentAgainIsNotSafeSoonerThanOthers) {
  SharedStoreOptions asked = options();
  asked.forwarder.settle_after = 3s;
  open(asked);
  lose({42});
  ASSERT_EQ(store_->compare_now()->missing, 1);
  {
    const std::lock_guard lock(cassandra_.mutex);
    cassandra_.predictions.erase(make_record(42).id);  // the node died before it synced
    ++cassandra_.losses;
  }
  wait_for([&] { return rows() == kRecords; });
}

TEST_F(ComparisonTest, WhatIsErasedWhileItIsSentAgainDoesNotComeBack) {
  open();
  lose({42});
  std::atomic<bool> down = true;
  cassandra_.interfere([&](const Asked& asked) -> std::optional<Said> {
    if (!down || !asked.statement.starts_with("INSERT INTO espy.predictions")) return {};
    return Said{ESPY_CQL_RETRY, ESPY_CQL_UNAVAILABLE, "no quorum"};
  });
  std::thread asking([&] { (void)store_->compare_now(); });
  wait_for([&] { return forwarding().retries > 0; });
  ASSERT_TRUE(store_->erase({.id = make_record(42).id}, ""));
  down = false;
  asking.join();
  wait_for([&] { return destination().withdrawals == 0; });
  EXPECT_EQ(rows(), static_cast<std::size_t>(kRecords - 1));
}

}  // namespace
}  // namespace espy::cassandra
