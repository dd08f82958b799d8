// What src/cassandra promises, against a real node: contract_test.py starts one, runs this, and counts
// afterwards with a driver that is not ours. The node wants a login.
//
// ESPY_CASSANDRA_HOST     the node, ADDRESS:PORT
// ESPY_CASSANDRA_CLUSTER  how the tool cassandra-cluster is called
// ESPY_CASSANDRA_EXPECTED a file to write: one JSON object a record that must be in keyspace `contract`
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/format.h"
#include "cassandra/cluster.h"
#include "cassandra/forwarder.h"
#include "cassandra/testing.h"
#include "store/test_records.h"

namespace espy::cassandra {
namespace {

using store::expect_error;
using store::make_record;
using namespace std::chrono_literals;
using std::chrono::steady_clock;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

ClusterOptions options(const std::string& keyspace) {
  ClusterOptions options = *parse_cluster(environment("ESPY_CASSANDRA_HOST") + "/" + keyspace);
  options.replication = 1;
  options.user = "cassandra";
  options.password = "cassandra";
  options.plain_table = "mytable";
  options.node = "contract";
  return options;
}

std::unique_ptr<Cluster> prepared(const ClusterOptions& options) {
  auto cluster = *Cluster::open(options);
  const Result<void> ready = cluster->prepare();
  EXPECT_TRUE(ready) << ready.error().message;
  return cluster;
}

void nodes(const std::string& command) {
  ASSERT_EQ(std::system(format("{} {}", environment("ESPY_CASSANDRA_CLUSTER"), command).c_str()), 0)
      << command;
}

void wait_for(const std::function<bool()>& condition, std::chrono::seconds limit = 240s) {
  const auto end = steady_clock::now() + limit;
  while (!condition()) {
    ASSERT_LT(steady_clock::now(), end) << "does not happen";
    std::this_thread::sleep_for(10ms);
  }
}

std::string hex(const auto& bytes) {
  std::string text;
  for (const std::uint8_t byte : bytes) text += format("{:02x}", byte);
  return text;
}

// Records `first` to `last` must be in the cluster.
void expect_in_cluster(int first, int last) {
  std::ofstream file(environment("ESPY_CASSANDRA_EXPECTED"), std::ios::app);
  for (int number = first; number <= last; ++number) {
    const store::Record record = make_record(number);
    file << format(
        R"({{"id": "{}", "model": "{}", "file_name": "{}", "label": {}, "confidence": {}, "time_ms": {}, "input": "{}"}})"
        "\n",
        to_string(record.id), record.model, record.file_name, record.label, record.confidence,
        record.time.time_since_epoch() / 1ms, hex(record.input));
  }
}

TEST(ContractTest, NobodyThereIsSaidAtOnce) {
  ClusterOptions asked = options("contract");
  const std::string host = environment("ESPY_CASSANDRA_HOST");
  asked.hosts = {host.substr(0, host.rfind(':')) + ":1"};
  const auto start = steady_clock::now();
  expect_error((*Cluster::open(asked))->prepare(), ErrorCode::unavailable, "cassandra cannot be reached");
  EXPECT_LT(steady_clock::now() - start, 10s);
}

TEST(ContractTest, AWrongPasswordIsSaidAtOnce) {
  ClusterOptions asked = options("contract");
  asked.password = "wrong";
  expect_error((*Cluster::open(asked))->prepare(), ErrorCode::invalid_input, "cassandra refuses the login");
  asked.user.clear();
  expect_error((*Cluster::open(asked))->prepare(), ErrorCode::invalid_input, "cassandra refuses the login");
}

TEST(ContractTest, MoreCopiesThanNodesAreRefused) {
  ClusterOptions asked = options("three_copies");
  asked.replication = 3;
  expect_error((*Cluster::open(asked))->prepare(), ErrorCode::invalid_input,
               "keyspace three_copies is to have 3 copies of each record, but the cluster has 1 node");
}

TEST(ContractTest, AKeyspaceOfSomebodyElseIsRefused) {
  // Cassandra's own, where nobody may make tables.
  expect_error((*Cluster::open(options("system")))->prepare(), ErrorCode::invalid_input, "system");
}

TEST(ContractTest, ATableOfSomebodyElseIsRefused) {
  // contract_test.py made it.
  ClusterOptions ours = options("somebody_else");
  ours.plain_table = "taken";
  expect_error((*Cluster::open(ours))->prepare(), ErrorCode::invalid_input,
               "table somebody_else.taken is not espy's: its clustering key is ()");
}

TEST(ContractTest, RecordsComeBackAsTheyWereHoweverOftenTheyAreSent) {
  const auto cluster = prepared(options("contract"));
  constexpr int kRecords = 2000;
  std::atomic<int> in_flight = 0;
  std::vector<std::atomic<bool>> confirmed(2 * kRecords);
  std::atomic<int> left = 2 * kRecords;
  const auto send = [&](int number) {
    // The limit is on requests, and a record is up to three.
    wait_for([&] { return in_flight < 500; });
    ++in_flight;
    cluster->insert(make_record(number % kRecords), [&, number](Receipt receipt) {
      EXPECT_NE(receipt.delivery, Delivery::rejected) << receipt.error.message;
      if (receipt.delivery == Delivery::confirmed) {
        confirmed[static_cast<std::size_t>(number)] = true;
        --left;
      }
      --in_flight;
    });
  };
  // A busy machine makes some wait too long: they are sent again.
  while (left > 0) {
    for (int number = 0; number < 2 * kRecords; ++number) {
      if (!confirmed[static_cast<std::size_t>(number)]) send(number);
    }
    wait_for([&] { return in_flight == 0; });
  }
  expect_in_cluster(0, kRecords - 1);

  for (const int number : {0, 1, 777, 1999}) {
    const Result<store::Record> found = cluster->find(make_record(number).id);
    ASSERT_TRUE(found) << found.error().message;
    EXPECT_EQ(*found, make_record(number));
  }
  expect_error(cluster->find(make_record(99'999).id), ErrorCode::not_found, "no record");

  store::Query query;
  query.limit = 700;
  int next = kRecords;
  do {
    const Result<store::Page> page = cluster->list(query);
    ASSERT_TRUE(page) << page.error().message;
    for (const store::Record& record : page->records) ASSERT_EQ(record, make_record(--next));
    query.before = page->next;
  } while (query.before);
  EXPECT_EQ(next, 0);

  std::vector<Uuid> here;
  std::vector<Uuid> there;
  for (int number = 0; number < kRecords; ++number) here.push_back(make_record(number).id);
  Partition partition = cluster->partition_of(here[0], "digits");
  for (const std::string model : {"digits", "garments"}) {
    partition.model = model;
    for (partition.bucket = 0; partition.bucket < options("contract").buckets; ++partition.bucket) {
      const Result<std::vector<Uuid>> part =
          cluster->ids(Cluster::Kind::records, partition, here.front(), here.back());
      ASSERT_TRUE(part) << part.error().message;
      EXPECT_TRUE(std::is_sorted(part->begin(), part->end()));
      there.insert(there.end(), part->begin(), part->end());
    }
  }
  std::sort(there.begin(), there.end());
  EXPECT_EQ(there, here);
}

TEST(ContractTest, APausedNodeEndsInTimeAndNothingIsLost) {
  ClusterOptions asked = options("contract");
  asked.request_limit = 2s;
  const auto cluster = prepared(asked);
  nodes("pause 1");
  const auto start = steady_clock::now();
  const Receipt receipt = cluster->insert(make_record(2000));
  const auto took = steady_clock::now() - start;
  nodes("resume 1");
  EXPECT_EQ(receipt.delivery, Delivery::retry) << receipt.error.message;
  EXPECT_LT(took, 8s);
  wait_for([&] { return cluster->insert(make_record(2000)).delivery == Delivery::confirmed; });
  expect_in_cluster(2000, 2000);
}

TEST(ContractTest, ClosingAnswersWhatIsInFlight) {
  auto cluster = prepared(options("contract"));
  nodes("pause 1");
  std::atomic<int> answers = 0;
  for (int number = 0; number < 500; ++number) {
    cluster->insert(make_record(number), [&](Receipt) { ++answers; });
  }
  const auto start = steady_clock::now();
  cluster.reset();
  EXPECT_LT(steady_clock::now() - start, 4s);
  EXPECT_EQ(answers, 500);
  nodes("resume 1");
}

TEST(ContractTest, TheForwarderBringsEveryRecordOverAKilledNode) {
  constexpr int kRecords = 10'000;
  Journal journal(kRecords);
  const auto cluster = *Cluster::open(options("contract"));
  ForwarderOptions asked;
  asked.records_per_second = 1000;
  asked.last_pause = 2s;
  Forwarder forwarder(journal, *cluster, asked);
  wait_for([&] { return forwarder.figures().confirmed > 1000; });
  nodes("kill 1");
  wait_for([&] { return !forwarder.figures().connected; });
  EXPECT_LT(forwarder.figures().confirmed_place, kRecords);
  nodes("restart 1");
  // The node may have lost what it had confirmed and not yet synced.
  wait_for([&] { return forwarder.figures().confirmed_place == kRecords; });
  // Once for the kill; a node that a busy machine keeps from answering may be taken for lost again.
  EXPECT_GE(forwarder.figures().losses, 1u);
  wait_for([&] { return *journal.settled() == kRecords; });
  EXPECT_TRUE(journal.dead_letters().empty());
  expect_in_cluster(2001, kRecords);
}

}  // namespace
}  // namespace espy::cassandra
