#include "cassandra/shared_store.h"

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "cassandra/driver/espy_cql.h"
#include "cassandra/fake_driver.h"
#include "cassandra/testing.h"
#include "store/test_records.h"

namespace espy::cassandra {
namespace {

using store::expect_error;
using store::make_record;
using store::make_upload;
using namespace std::chrono_literals;

SharedStoreOptions options() {
  SharedStoreOptions options;
  options.cluster = cluster_options();
  options.forwarder.idle_pause = 5ms;
  options.forwarder.first_pause = 5ms;
  options.forwarder.last_pause = 20ms;
  return options;
}

std::unique_ptr<store::Store> own() { return *store::Store::open("sqlite::memory:"); }

std::unique_ptr<SharedStore> shared(const SharedStoreOptions& options) {
  auto store = share(own(), options);
  EXPECT_TRUE(store) << store.error().message;
  return *std::move(store);
}

std::optional<Said> nobody(const Asked&) {
  return Said{ESPY_CQL_RETRY, ESPY_CQL_NO_CONNECTION, "nobody there"};
}

store::ForwardingStatus forwarding(store::Store& store) {
  return *store.status()->destinations.at(0).forwarding;
}

template <typename Condition>
void wait_for(Condition condition) {
  const auto end = std::chrono::steady_clock::now() + 60s;
  while (!condition()) {
    ASSERT_LT(std::chrono::steady_clock::now(), end) << "does not happen";
    std::this_thread::sleep_for(1ms);
  }
}

TEST(SharedStoreTest, RecordsAndCorrectionsAreOnDiskAtOnceAndInTheClusterSoon) {
  FakeCassandra cassandra;
  const auto store = shared(options());
  for (int number = 0; number < 20; ++number) {
    ASSERT_TRUE(store->append(make_record(number), make_upload(number)));
  }
  const store::Correction correction{.id = make_record(90).id,
                                     .record = make_record(3).id,
                                     .time = store::kStart,
                                     .label = 1,
                                     .class_name = "1",
                                     .author = "",
                                     .note = ""};
  ASSERT_TRUE(store->correct(correction));
  wait_for([&] { return forwarding(*store).pending.entries == 0; });
  EXPECT_EQ(cassandra.predictions.size(), 20u);
  EXPECT_EQ(cassandra.corrections.size(), 1u);
  EXPECT_TRUE(forwarding(*store).connected);
  EXPECT_EQ(store->status()->destinations.at(0).name, "cassandra:espy");
}

TEST(SharedStoreTest, WithoutTheClusterEverythingGoesOn) {
  FakeCassandra cassandra;
  cassandra.interfere(nobody);
  const auto store = shared(options());
  for (int number = 0; number < 20; ++number) {
    ASSERT_TRUE(store->append(make_record(number), make_upload(number)));
  }
  wait_for([&] { return !forwarding(*store).problem.empty(); });
  const store::ForwardingStatus status = forwarding(*store);
  EXPECT_FALSE(status.connected);
  EXPECT_EQ(status.pending.entries, 20);
  EXPECT_EQ(status.pending.oldest, make_record(0).time);
  cassandra.interfere(nullptr);
  wait_for([&] { return forwarding(*store).pending.entries == 0; });
}

TEST(SharedStoreTest, AQuorumIsWaitedForWhenAsked) {
  FakeCassandra cassandra;
  SharedStoreOptions asked = options();
  asked.acknowledge = Acknowledge::quorum;
  asked.forwarder.idle_pause = 1h;  // the append itself wakes the forwarder
  const auto store = shared(asked);
  ASSERT_TRUE(store->append(make_record(0), make_upload(0)));
  EXPECT_EQ(cassandra.predictions.count(make_record(0).id), 1u);
  EXPECT_EQ(store->holder(), store::Holder::quorum);
  EXPECT_EQ(shared(options())->holder(), store::Holder::disk);
}

TEST(SharedStoreTest, AQuorumThatDoesNotComeIsSaidInTime) {
  FakeCassandra cassandra;
  SharedStoreOptions asked = options();
  asked.acknowledge = Acknowledge::quorum;
  asked.quorum_limit = 50ms;
  cassandra.interfere(nobody);
  const auto store = shared(asked);
  expect_error(store->append(make_record(0), make_upload(0)), ErrorCode::unavailable,
               "is on disk, but cassandra has not confirmed it within 50 ms");
  EXPECT_TRUE(store->find(make_record(0).id));
  cassandra.interfere(nullptr);
  wait_for([&] { return forwarding(*store).pending.entries == 0; });
}

TEST(SharedStoreTest, ARecordThatTheClusterRefusesFailsItsAppend) {
  FakeCassandra cassandra;
  SharedStoreOptions asked = options();
  asked.acknowledge = Acknowledge::quorum;
  asked.quorum_limit = 60s;
  const auto store = shared(asked);
  cassandra.interfere([](const Asked& one) -> std::optional<Said> {
    if (!one.statement.starts_with("INSERT INTO espy.predictions")) return {};
    return Said{ESPY_CQL_REJECT, ESPY_CQL_INVALID, "does not fit"};
  });
  expect_error(store->append(make_record(0), make_upload(0)), ErrorCode::unavailable,
               "cassandra will not take record");
  EXPECT_EQ(store->status()->destinations.at(0).dead_letters, 1);
}

TEST(SharedStoreTest, ClosingAnswersWhoeverWaits) {
  FakeCassandra cassandra;
  cassandra.interfere(nobody);
  SharedStoreOptions asked = options();
  asked.acknowledge = Acknowledge::quorum;
  asked.quorum_limit = 1h;
  auto store = shared(asked);
  std::promise<Result<void>> answer;
  store->append(make_record(0), make_upload(0), [&](Result<void> result) { answer.set_value(result); });
  store.reset();
  expect_error(answer.get_future().get(), ErrorCode::unavailable, "is on disk");
}

TEST(SharedStoreTest, WhatIsErasedHereIsErasedThere) {
  FakeCassandra cassandra;
  const auto store = shared(options());
  ASSERT_TRUE(store->append(make_record(0), make_upload(0)));
  ASSERT_TRUE(store->append(make_record(1), make_upload(1)));
  wait_for([&] { return forwarding(*store).pending.entries == 0; });
  const auto erased = store->erase({.id = make_record(0).id}, "");
  ASSERT_TRUE(erased) << erased.error().message;
  EXPECT_EQ(erased->withdrawals, 1);
  wait_for([&] { return store->status()->destinations.at(0).withdrawals == 0; });
  EXPECT_EQ(cassandra.predictions.size(), 1u);
}

TEST(SharedStoreTest, ABuildWithoutADriverSaysSo) {
  FakeCassandra cassandra;
  cassandra.refuse_open = ESPY_CQL_ABSENT;
  expect_error(share(own(), options()), ErrorCode::invalid_input, "ESPY_CASSANDRA=OFF");
}

}  // namespace
}  // namespace espy::cassandra
