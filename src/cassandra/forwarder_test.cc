#include "cassandra/forwarder.h"

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>

#include "cassandra/driver/espy_cql.h"
#include "cassandra/fake_driver.h"
#include "cassandra/testing.h"
#include "store/test_records.h"

namespace espy::cassandra {
namespace {

using store::make_record;
using namespace std::chrono_literals;

ForwarderOptions quick() {
  ForwarderOptions options;
  options.records_per_second = 0;
  options.first_pause = 2ms;
  options.last_pause = 16ms;
  options.idle_pause = 20ms;
  return options;
}

std::size_t rows(FakeCassandra& cassandra) {
  const std::lock_guard lock(cassandra.mutex);
  return cassandra.predictions.size();
}

TEST(ForwarderTest, EveryRecordArrivesAndTheCursorFollows) {
  FakeCassandra cassandra;
  Journal journal(1000);
  const auto cluster = *Cluster::open(cluster_options());
  Forwarder forwarder(journal, *cluster, quick());
  wait_for([&] { return forwarder.figures().confirmed_place == 1000; });
  EXPECT_EQ(rows(cassandra), 1000u);
  journal.add(10);
  forwarder.wake();
  wait_for([&] { return forwarder.figures().confirmed_place == 1010; });
  const ForwarderFigures figures = forwarder.figures();
  EXPECT_EQ(figures.confirmed, 1010u);
  EXPECT_EQ(figures.retries, 0u);
  EXPECT_TRUE(figures.connected);
}

TEST(ForwarderTest, ItStartsWithoutTheClusterAndCatchesUp) {
  FakeCassandra cassandra;
  std::atomic<bool> down = true;
  cassandra.interfere([&](const Asked&) -> std::optional<Said> {
    if (!down) return {};
    return Said{ESPY_CQL_RETRY, ESPY_CQL_NO_CONNECTION, "nobody there"};
  });
  Journal journal(100);
  const auto cluster = *Cluster::open(cluster_options());
  Forwarder forwarder(journal, *cluster, quick());
  wait_for([&] { return forwarder.figures().problem.find("nobody there") != std::string::npos; });
  EXPECT_FALSE(forwarder.figures().connected);
  EXPECT_EQ(forwarder.figures().confirmed_place, 0);
  down = false;
  wait_for([&] { return forwarder.figures().confirmed_place == 100; });
  EXPECT_EQ(rows(cassandra), 100u);
}

TEST(ForwarderTest, WithNothingToSendItFindsTheClusterAgainAndErases) {
  FakeCassandra cassandra;
  std::atomic<bool> down = true;
  cassandra.interfere([&](const Asked&) -> std::optional<Said> {
    if (!down) return {};
    return Said{ESPY_CQL_RETRY, ESPY_CQL_NO_CONNECTION, "nobody there"};
  });
  Journal journal(10);
  ASSERT_TRUE(journal.keep_settled(10));
  journal.erase(4);
  const auto cluster = *Cluster::open(cluster_options());
  Forwarder forwarder(journal, *cluster, quick());
  wait_for([&] { return !forwarder.figures().problem.empty(); });
  EXPECT_FALSE(forwarder.figures().connected);
  down = false;
  wait_for([&] { return forwarder.figures().connected; });
  wait_for([&] { return forwarder.figures().withdrawn == 1; });
  EXPECT_EQ(forwarder.figures().problem, "");
  const int reads = journal.reads();
  std::this_thread::sleep_for(300ms);
  // One each 20 ms, and as many again for what wakes it.
  EXPECT_LE(journal.reads() - reads, 30);
}

TEST(ForwarderTest, WithNothingToSendItIsConnectedFromTheStart) {
  FakeCassandra cassandra;
  Journal journal(10);
  ASSERT_TRUE(journal.keep_settled(10));
  const auto cluster = *Cluster::open(cluster_options());
  Forwarder forwarder(journal, *cluster, quick());
  wait_for([&] { return forwarder.figures().connected; });
}

TEST(ForwarderTest, ItWaitsForTheAnswerOfTheOneThatIsTried) {
  FakeCassandra cassandra;
  Journal journal(1);
  const auto cluster = *Cluster::open(cluster_options());
  ASSERT_TRUE(cluster->prepare());
  std::atomic<int> tried = 0;
  cassandra.interfere([&](const Asked& asked) -> std::optional<Said> {
    if (!asked.statement.starts_with("INSERT INTO espy.predictions")) return {};
    if (++tried == 1) cassandra.held = true;  // answer() holds the lock; the next one gets no answer
    return Said{ESPY_CQL_RETRY, ESPY_CQL_UNAVAILABLE, "no quorum"};
  });
  Forwarder forwarder(journal, *cluster, quick());
  wait_for([&] { return forwarder.figures().retries == 1 && forwarder.figures().in_flight == 1; });
  const int reads = journal.reads();
  std::this_thread::sleep_for(300ms);
  EXPECT_LE(journal.reads() - reads, 30);
  cassandra.interfere(nullptr);
  cassandra.release();
  wait_for([&] { return forwarder.figures().confirmed_place == 1; });
}

TEST(ForwarderTest, WhileTheClusterIsDownOneRecordIsTried) {
  FakeCassandra cassandra;
  Journal journal(100);
  const auto cluster = *Cluster::open(cluster_options());
  ASSERT_TRUE(cluster->prepare());
  std::atomic<int> failures = 0;
  cassandra.interfere([&](const Asked& asked) -> std::optional<Said> {
    if (!asked.statement.starts_with("INSERT INTO espy.predictions")) return {};
    ++failures;
    return Said{ESPY_CQL_RETRY, ESPY_CQL_UNAVAILABLE, "no quorum"};
  });
  ForwarderOptions options = quick();
  options.first_pause = options.last_pause = 50ms;
  Forwarder forwarder(journal, *cluster, options);
  wait_for([&] { return failures > 0; });
  std::this_thread::sleep_for(500ms);
  // The whole window once, then one a pause of at least 25 ms (and as many again for a slow machine's sake).
  EXPECT_LE(failures, 100 + 2 * 20);
  EXPECT_EQ(forwarder.figures().confirmed_place, 0);
  cassandra.interfere(nullptr);
  wait_for([&] { return forwarder.figures().confirmed_place == 100; });
}

TEST(ForwarderTest, FailuresAtRandomLoseNothing) {
  FakeCassandra cassandra;
  std::minstd_rand random(1);
  cassandra.interfere([&](const Asked&) -> std::optional<Said> {
    switch (random() % 4) {
      case 0:
        return Said{ESPY_CQL_RETRY, ESPY_CQL_SERVER_TIMEOUT, "too slow"};
      case 1:
        return Said{ESPY_CQL_PANIC, ESPY_CQL_OTHER, "a bug"};
      default:
        return {};
    }
  });
  Journal journal(300);
  const auto cluster = *Cluster::open(cluster_options());
  ForwarderOptions options = quick();
  options.window = 16;
  Forwarder forwarder(journal, *cluster, options);
  wait_for([&] { return forwarder.figures().confirmed_place == 300; });
  EXPECT_EQ(rows(cassandra), 300u);
  EXPECT_GT(forwarder.figures().retries, 0u);
  EXPECT_TRUE(journal.dead_letters().empty());
}

TEST(ForwarderTest, APoisonedRecordBecomesADeadLetterAndStopsNobody) {
  FakeCassandra cassandra;
  const std::string poison = record_values(make_record(5), 16, "", std::chrono::seconds{0}).bytes();
  cassandra.interfere([&](const Asked& asked) -> std::optional<Said> {
    if (!asked.values.starts_with(poison)) return {};
    return Said{ESPY_CQL_REJECT, ESPY_CQL_INVALID, "does not fit"};
  });
  Journal journal(50);
  const auto cluster = *Cluster::open(cluster_options());
  Forwarder forwarder(journal, *cluster, quick());
  wait_for([&] { return forwarder.figures().confirmed_place == 50; });
  ASSERT_EQ(journal.dead_letters().size(), 1u);
  EXPECT_EQ(journal.dead_letters()[0].first, 5);
  EXPECT_NE(journal.dead_letters()[0].second.find("does not fit"), std::string::npos);
  EXPECT_EQ(rows(cassandra), 49u);
  EXPECT_EQ(forwarder.figures().confirmed, 49u);
  EXPECT_EQ(forwarder.figures().rejected, 1u);
}

TEST(ForwarderTest, ATableThatIsGoneMakesNoDeadLetters) {
  FakeCassandra cassandra;
  std::atomic<bool> gone = true;
  std::atomic<bool> refused = false;
  std::atomic<bool> checked = false;
  Journal journal(50);
  const auto cluster = *Cluster::open(cluster_options());
  ASSERT_TRUE(cluster->prepare());
  cassandra.interfere([&](const Asked& asked) -> std::optional<Said> {
    if (!gone) return {};
    if (asked.statement.starts_with("INSERT INTO espy.predictions")) {
      refused = true;
      return Said{ESPY_CQL_REJECT, ESPY_CQL_INVALID, "unconfigured table predictions"};
    }
    if (asked.statement == kFindColumns && refused) {
      checked = true;
      return Said{ESPY_CQL_RETRY, ESPY_CQL_UNAVAILABLE, "no quorum"};
    }
    return {};
  });
  Forwarder forwarder(journal, *cluster, quick());
  wait_for([&] { return checked.load(); });
  gone = false;
  wait_for([&] { return forwarder.figures().confirmed_place == 50; });
  EXPECT_TRUE(journal.dead_letters().empty());
  EXPECT_EQ(rows(cassandra), 50u);
}

TEST(ForwarderTest, WhatIsNotSettledIsSentAgainAfterANodeWentAway) {
  FakeCassandra cassandra;
  Journal journal(60);
  const auto cluster = *Cluster::open(cluster_options());
  ForwarderOptions options = quick();
  options.settle_after = 3s;
  Forwarder forwarder(journal, *cluster, options);
  wait_for([&] { return *journal.settled() == 60; });
  journal.add(40);
  forwarder.wake();
  wait_for([&] { return forwarder.figures().confirmed_place == 100; });
  {
    const std::lock_guard lock(cassandra.mutex);
    cassandra.predictions.clear();  // all nodes died before they synced
    ++cassandra.losses;
  }
  forwarder.wake();
  wait_for([&] { return rows(cassandra) == 40 && *journal.settled() == 100; });
  EXPECT_EQ(forwarder.figures().losses, 1u);
}

TEST(ForwarderTest, ANodeThatWentAwayBeforeItConfirmedAnythingIsNoLoss) {
  FakeCassandra cassandra;
  std::atomic<bool> down = true;
  cassandra.interfere([&](const Asked& asked) -> std::optional<Said> {
    if (!down || !asked.statement.starts_with("INSERT INTO espy.predictions")) return {};
    return Said{ESPY_CQL_RETRY, ESPY_CQL_NO_CONNECTION, "nobody there"};
  });
  Journal journal(20);
  const auto cluster = *Cluster::open(cluster_options());
  Forwarder forwarder(journal, *cluster, quick());
  wait_for([&] { return forwarder.figures().retries >= 20; });
  {
    const std::lock_guard lock(cassandra.mutex);
    ++cassandra.losses;
  }
  std::this_thread::sleep_for(100ms);  // it looks each 20 ms
  EXPECT_EQ(forwarder.figures().losses, 0u);
  down = false;
  wait_for([&] { return forwarder.figures().confirmed_place == 20; });
}

TEST(ForwarderTest, NothingIsSettledBeforeItsTime) {
  FakeCassandra cassandra;
  Journal journal(10);
  const auto cluster = *Cluster::open(cluster_options());
  ForwarderOptions options = quick();
  options.settle_after = 1s;
  const auto start = std::chrono::steady_clock::now();
  Forwarder forwarder(journal, *cluster, options);
  wait_for([&] { return forwarder.figures().confirmed_place == 10; });
  wait_for([&] { return *journal.settled() == 10; });
  EXPECT_GE(std::chrono::steady_clock::now() - start, 1s);
}

TEST(ForwarderTest, CorrectionsFollowTheirRecords) {
  FakeCassandra cassandra;
  Journal journal(10);
  const store::Record record = make_record(4);
  const store::Correction correction{.id = make_record(90).id,
                                     .record = record.id,
                                     .time = store::kStart,
                                     .label = 9,
                                     .class_name = "9",
                                     .author = "a person",
                                     .note = "a tail"};
  journal.add(correction, record.model);
  const auto cluster = *Cluster::open(cluster_options());
  Forwarder forwarder(journal, *cluster, quick());
  wait_for([&] { return forwarder.figures().confirmed_place == 11; });
  const Result<store::Record> found = cluster->find(record.id);
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(found->correction, correction);
}

TEST(ForwarderTest, WhatWasErasedIsErasedThere) {
  FakeCassandra cassandra;
  Journal journal(10);
  const auto cluster = *Cluster::open(cluster_options());
  Forwarder forwarder(journal, *cluster, quick());
  wait_for([&] { return forwarder.figures().confirmed_place == 10; });
  journal.erase(4);
  wait_for([&] { return forwarder.figures().withdrawn == 1; });
  EXPECT_EQ(rows(cassandra), 9u);
  EXPECT_EQ(cassandra.predictions.count(make_record(4).id), 0u);
  EXPECT_TRUE(journal.withdrawals(10)->empty());
}

TEST(ForwarderTest, WhatWasErasedBeforeItWasSentIsNotSent) {
  FakeCassandra cassandra;
  std::atomic<bool> down = true;
  cassandra.interfere([&](const Asked& asked) -> std::optional<Said> {
    if (!down || !asked.statement.starts_with("INSERT INTO espy.predictions")) return {};
    return Said{ESPY_CQL_RETRY, ESPY_CQL_UNAVAILABLE, "no quorum"};
  });
  Journal journal(10);
  const auto cluster = *Cluster::open(cluster_options());
  Forwarder forwarder(journal, *cluster, quick());
  wait_for([&] { return forwarder.figures().retries >= 10; });  // all of them have been read
  journal.erase(4);
  down = false;
  wait_for([&] { return forwarder.figures().withdrawn == 1 && forwarder.figures().confirmed_place == 10; });
  EXPECT_EQ(cassandra.predictions.count(make_record(4).id), 0u);
}

TEST(ForwarderTest, WhatWasErasedBeforeItWasRefusedIsNotSentAgain) {
  FakeCassandra cassandra;
  Journal journal(1);
  const auto cluster = *Cluster::open(cluster_options());
  Forwarder forwarder(journal, *cluster, quick());
  wait_for([&] { return forwarder.figures().confirmed_place == 1; });
  std::atomic<int> sent = 0;
  cassandra.interfere([&](const Asked& asked) -> std::optional<Said> {
    if (!asked.statement.starts_with("INSERT INTO espy.predictions")) return {};
    if (++sent > 1) return {};
    return Said{ESPY_CQL_REJECT, ESPY_CQL_INVALID, "unconfigured table predictions"};
  });
  cassandra.hold();
  journal.add(1);
  forwarder.wake();
  wait_for([&] { return forwarder.figures().in_flight == 1; });
  journal.erase(2);
  std::this_thread::sleep_for(1200ms);  // it looks for records to erase each second
  cassandra.release();
  wait_for([&] { return forwarder.figures().withdrawn == 1 && forwarder.figures().confirmed_place == 2; });
  EXPECT_EQ(sent, 1);
  EXPECT_EQ(rows(cassandra), 1u);
}

TEST(ForwarderTest, AnEntryThatIsDamagedBecomesADeadLetter) {
  FakeCassandra cassandra;
  Journal journal(10);
  journal.damage(3);
  const auto cluster = *Cluster::open(cluster_options());
  Forwarder forwarder(journal, *cluster, quick());
  wait_for([&] { return forwarder.figures().confirmed_place == 10; });
  ASSERT_EQ(journal.dead_letters().size(), 1u);
  EXPECT_EQ(journal.dead_letters()[0], (std::pair<std::int64_t, std::string>{3, "it is damaged"}));
  EXPECT_EQ(rows(cassandra), 9u);
}

TEST(ForwarderTest, OneRecordThatDoesNotGetThroughHoldsUpNoOther) {
  FakeCassandra cassandra;
  const std::string stuck = record_values(make_record(1), 16, "", std::chrono::seconds{0}).bytes();
  std::atomic<bool> away = true;  // the nodes that have its partition
  cassandra.interfere([&](const Asked& asked) -> std::optional<Said> {
    if (!away || !asked.values.starts_with(stuck)) return {};
    return Said{ESPY_CQL_RETRY, ESPY_CQL_UNAVAILABLE, "no quorum"};
  });
  Journal journal(100);
  const auto cluster = *Cluster::open(cluster_options());
  ForwarderOptions options = quick();
  options.window = 8;
  Forwarder forwarder(journal, *cluster, options);
  wait_for([&] { return rows(cassandra) == 99; });
  EXPECT_EQ(forwarder.figures().confirmed_place, 0);
  away = false;
  wait_for([&] { return forwarder.figures().confirmed_place == 100; });
}

TEST(ForwarderTest, TheRateIsBounded) {
  FakeCassandra cassandra;
  Journal journal(400);
  const auto cluster = *Cluster::open(cluster_options());
  ForwarderOptions options = quick();
  options.records_per_second = 1000;
  const auto start = std::chrono::steady_clock::now();
  Forwarder forwarder(journal, *cluster, options);
  wait_for([&] { return forwarder.figures().confirmed_place == 400; });
  // A tenth of a second's records may go at once.
  EXPECT_GE(std::chrono::steady_clock::now() - start, 290ms);
}

TEST(ForwarderTest, WhatIsInFlightAtTheEndIsSentAgainByTheNext) {
  FakeCassandra cassandra;
  Journal journal(20);
  auto cluster = *Cluster::open(cluster_options());
  ASSERT_TRUE(cluster->prepare());
  std::thread later;
  {
    Forwarder forwarder(journal, *cluster, quick());
    wait_for([&] { return forwarder.figures().confirmed_place == 20; });
    cassandra.hold();
    journal.add(20);
    forwarder.wake();
    wait_for([&] { return forwarder.figures().in_flight == 20; });
    later = std::thread([&] {
      std::this_thread::sleep_for(50ms);
      cassandra.interfere([](const Asked&) {
        return Said{ESPY_CQL_RETRY, ESPY_CQL_CLIENT_TIMEOUT, "too late"};
      });
      cassandra.release();
    });
  }
  later.join();
  EXPECT_EQ(*journal.settled(), 0);
  cassandra.interfere(nullptr);
  Forwarder next(journal, *cluster, quick());
  wait_for([&] { return next.figures().confirmed_place == 40; });
  EXPECT_EQ(rows(cassandra), 40u);
}

TEST(ForwarderTest, AJournalThatCannotBeReadIsTriedAgain) {
  FakeCassandra cassandra;
  Journal journal(10);
  journal.set_broken(true);
  const auto cluster = *Cluster::open(cluster_options());
  Forwarder forwarder(journal, *cluster, quick());
  wait_for([&] { return forwarder.figures().problem == "the disk is gone"; });
  journal.set_broken(false);
  wait_for([&] { return forwarder.figures().confirmed_place == 10; });
}

}  // namespace
}  // namespace espy::cassandra
