#include "cassandra/cluster.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <future>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cassandra/driver/espy_cql.h"
#include "cassandra/fake_driver.h"
#include "cassandra/testing.h"
#include "store/test_records.h"

namespace espy::cassandra {
namespace {

using store::expect_error;
using store::kStart;
using store::make_record;
using namespace std::chrono_literals;

std::unique_ptr<Cluster> prepared(const ClusterOptions& options) {
  Result<std::unique_ptr<Cluster>> cluster = Cluster::open(options);
  EXPECT_TRUE(cluster) << cluster.error().message;
  const Result<void> ready = (*cluster)->prepare();
  EXPECT_TRUE(ready) << ready.error().message;
  return *std::move(cluster);
}

Said failure(int reason, std::string message) { return {ESPY_CQL_RETRY, reason, std::move(message)}; }

TEST(ParseClusterTest, HostsHavePortsAndAKeyspace) {
  const Result<ClusterOptions> parsed =
      parse_cluster("cassandra-1,10.0.0.2:9043,[::1],[fe80::1]:19042/history_2");
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(parsed->hosts,
            (std::vector<std::string>{"cassandra-1:9042", "10.0.0.2:9043", "[::1]:9042", "[fe80::1]:19042"}));
  EXPECT_EQ(parsed->keyspace, "history_2");
}

TEST(ParseClusterTest, WhatIsNotOneSaysWhy) {
  expect_error(parse_cluster("cassandra-1"), ErrorCode::invalid_input, "wanted is HOST[,HOST...]/KEYSPACE");
  expect_error(parse_cluster("a/Espy"), ErrorCode::invalid_input, "keyspace is \"Espy\"");
  expect_error(parse_cluster("a/x;DROP"), ErrorCode::invalid_input, "keyspace is \"x;DROP\"");
  expect_error(parse_cluster("a/" + std::string(49, 'k')), ErrorCode::invalid_input, "at most 48");
  expect_error(parse_cluster("a,,b/espy"), ErrorCode::invalid_input, "host is \"\"");
  expect_error(parse_cluster("/espy"), ErrorCode::invalid_input, "host is \"\"");
  expect_error(parse_cluster("a:65536/espy"), ErrorCode::invalid_input, "from 1 to 65535");
  expect_error(parse_cluster("a:/espy"), ErrorCode::invalid_input, "from 1 to 65535");
  expect_error(parse_cluster("::1/espy"), ErrorCode::invalid_input, "host is \"::1\"");
}

TEST(ClusterTest, OptionsThatCannotBeAreRefused) {
  FakeCassandra cassandra;
  ClusterOptions asked = cluster_options();
  asked.plain_table = "predictions";
  expect_error(Cluster::open(asked), ErrorCode::invalid_input, "table predictions is espy's own");
  asked = cluster_options();
  asked.buckets = 0;
  expect_error(Cluster::open(asked), ErrorCode::invalid_input, "buckets are 0");
  asked = cluster_options();
  asked.retention = std::chrono::days{7301};
  expect_error(Cluster::open(asked), ErrorCode::invalid_input, "retention is 7301 days");
}

TEST(ClusterTest, ABuildWithoutADriverSaysSo) {
  FakeCassandra cassandra;
  cassandra.refuse_open = ESPY_CQL_ABSENT;
  expect_error(Cluster::open(cluster_options()), ErrorCode::invalid_input,
               "built without Cassandra (ESPY_CASSANDRA=OFF)");
  cassandra.refuse_open = ESPY_CQL_BAD_OPTIONS;
  expect_error(Cluster::open(cluster_options()), ErrorCode::invalid_input, "refused by the test");
}

TEST(ClusterTest, WhatIsMissingIsMadeOnceAndThenChecked) {
  FakeCassandra cassandra;
  ClusterOptions asked = cluster_options();
  asked.plain_table = "mytable";
  prepared(asked);
  EXPECT_TRUE(cassandra.keyspace_exists);
  EXPECT_EQ(cassandra.tables.size(), 5u);
  EXPECT_EQ(cassandra.settings["buckets"], "16");
  EXPECT_EQ(cassandra.hosts, "cassandra-1:9042");

  cassandra.asked.clear();
  asked.buckets = 4;  // too late: the keyspace has been made
  const auto cluster = prepared(asked);
  for (const Asked& one : cassandra.asked) EXPECT_FALSE(one.statement.starts_with("CREATE")) << one.statement;
  EXPECT_EQ(cluster->partition_of(make_record(31).id, "garments").bucket, 15);
}

TEST(ClusterTest, AnotherTableOfOurNameIsRefused) {
  FakeCassandra cassandra;
  prepared(cluster_options());
  for (FoundColumn& column : cassandra.tables["predictions"]) {
    if (column.name == "confidence") column.type = "double";
  }
  const auto cluster = *Cluster::open(cluster_options());
  expect_error(cluster->prepare(), ErrorCode::invalid_input, "column confidence is double, wanted is float");
}

TEST(ClusterTest, MoreCopiesThanNodesAreRefused) {
  FakeCassandra cassandra;
  ClusterOptions asked = cluster_options();
  asked.replication = 3;
  const auto cluster = *Cluster::open(asked);
  expect_error(cluster->prepare(), ErrorCode::invalid_input,
               "keyspace espy is to have 3 copies of each record, but the cluster has 1 node");
  EXPECT_FALSE(cassandra.keyspace_exists);
}

TEST(ClusterTest, WhoeverOnlyReadsMakesNothing) {
  FakeCassandra cassandra;
  ClusterOptions asked = cluster_options();
  asked.create = false;
  expect_error((*Cluster::open(asked))->prepare(), ErrorCode::not_found, "no keyspace espy in cassandra");
  EXPECT_FALSE(cassandra.keyspace_exists);
  prepared(cluster_options());
  prepared(asked);
  cassandra.tables.erase("days");
  expect_error((*Cluster::open(asked))->prepare(), ErrorCode::not_found, "no table espy.days in cassandra");
}

TEST(ClusterTest, FailuresSayWhoHasToActOnThem) {
  FakeCassandra cassandra;
  const auto cluster = *Cluster::open(cluster_options());
  const auto expect = [&](int reason, ErrorCode code, std::string_view part) {
    cassandra.interfere([=](const Asked&) { return failure(reason, "said the node"); });
    expect_error(cluster->prepare(), code, part);
  };
  expect(ESPY_CQL_LOGIN_REFUSED, ErrorCode::invalid_input, "refuses the login: said the node");
  expect(ESPY_CQL_UNAUTHORIZED, ErrorCode::invalid_input, "refuses the user: said the node");
  expect(ESPY_CQL_INVALID, ErrorCode::invalid_input, "refuses the statement: said the node");
  expect(ESPY_CQL_NO_CONNECTION, ErrorCode::unavailable, "cannot be reached: said the node");
  expect(ESPY_CQL_UNAVAILABLE, ErrorCode::unavailable, "said the node");
  // As the driver and OpenSSL say it (tests/cassandra/login_test.py has them of a real node).
  const auto expect_cause = [&](const char* said, std::string_view cause) {
    cassandra.interfere([=](const Asked&) { return failure(ESPY_CQL_NO_CONNECTION, said); });
    expect_error(cluster->prepare(), ErrorCode::unavailable, cause);
  };
  expect_cause("tls_post_process_server_certificate:certificate verify failed:1889",
               "not signed by the given authority");
  expect_cause("ssl3_get_record:wrong version number", "the node speaks no TLS");
  expect_cause("Request: OPTIONS, reason: Connection broken, reason: Connection reset by peer",
               "as one does that wants TLS");
}

TEST(ClusterTest, AnInsertBeforeTheTablesAreCheckedIsToBeRepeated) {
  FakeCassandra cassandra;
  const auto cluster = *Cluster::open(cluster_options());
  const Receipt receipt = cluster->insert(make_record(1));
  EXPECT_EQ(receipt.delivery, Delivery::retry);
  EXPECT_NE(receipt.error.message.find("not checked yet"), std::string::npos);
}

TEST(ClusterTest, ARecordComesBackAsItWas) {
  FakeCassandra cassandra;
  ClusterOptions asked = cluster_options();
  asked.plain_table = "mytable";
  asked.node = "here";
  const auto cluster = prepared(asked);
  const store::Record record = make_record(7);
  EXPECT_EQ(cluster->insert(record).delivery, Delivery::confirmed);
  EXPECT_EQ(cluster->insert(record).delivery, Delivery::confirmed);  // as often as one likes
  const Result<store::Record> found = cluster->find(record.id);
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(*found, record);
  EXPECT_EQ(cassandra.predictions.size(), 1u);
  EXPECT_EQ(cassandra.plain.size(), 1u);
  EXPECT_EQ(cassandra.days.size(), 1u);
  expect_error(cluster->find(make_record(8).id), ErrorCode::not_found, to_string(make_record(8).id));
}

TEST(ClusterTest, ARecordCountsAsConfirmedWhenAllItsRowsAre) {
  FakeCassandra cassandra;
  ClusterOptions asked = cluster_options();
  asked.plain_table = "mytable";
  const auto cluster = prepared(asked);
  for (const std::string_view table : {"espy.days", "espy.predictions", "espy.mytable"}) {
    cassandra.interfere([=](const Asked& one) -> std::optional<Said> {
      if (one.statement.find(table) == std::string::npos) return {};
      return failure(ESPY_CQL_SERVER_TIMEOUT, "too slow");
    });
    EXPECT_EQ(cluster->insert(make_record(1)).delivery, Delivery::retry) << table;
    cassandra.interfere([=](const Asked& one) -> std::optional<Said> {
      if (one.statement.find(table) == std::string::npos) return {};
      return Said{ESPY_CQL_REJECT, ESPY_CQL_INVALID, "never"};
    });
    EXPECT_EQ(cluster->insert(make_record(3)).delivery, Delivery::rejected) << table;
  }
}

TEST(ClusterTest, RecordsLiveAsLongAsTheRetentionFromTheirOwnTime) {
  FakeCassandra cassandra;
  ClusterOptions asked = cluster_options();
  asked.retention = std::chrono::days{10};
  asked.clock = [] { return kStart + std::chrono::days{4}; };
  auto cluster = prepared(asked);
  EXPECT_EQ(cluster->insert(make_record(0)).delivery, Delivery::confirmed);
  const std::string cells = cassandra.predictions.at(make_record(0).id);
  CellReader time_to_live(std::string_view(cells).substr(cells.size() - 8 - 12));
  EXPECT_EQ(time_to_live.integer<std::int32_t>(), 6 * 86'400);

  asked.clock = [] { return kStart + std::chrono::days{11}; };
  cluster.reset();
  cluster = prepared(asked);
  EXPECT_EQ(cluster->insert(make_record(2)).delivery, Delivery::confirmed);
  EXPECT_EQ(cassandra.predictions.count(make_record(2).id), 0u);  // too old to be sent
}

TEST(ClusterTest, ADayIsListedAsLongAsItsLastRecordCanLive) {
  FakeCassandra cassandra;
  ClusterOptions asked = cluster_options();
  asked.retention = std::chrono::days{10};
  const store::Record record = make_record(0);
  const Day day = std::chrono::floor<std::chrono::days>(record.time);
  asked.clock = [&] { return Timestamp(day) + std::chrono::days{4}; };
  const auto cluster = prepared(asked);
  EXPECT_EQ(cluster->insert(record).delivery, Delivery::confirmed);
  const auto insert = std::ranges::find_if(
      cassandra.asked, [](const Asked& one) { return one.statement.starts_with("INSERT INTO espy.days"); });
  ASSERT_NE(insert, cassandra.asked.end());
  CellReader time_to_live(std::string_view(insert->values).substr(insert->values.size() - 8 - 12));
  EXPECT_EQ(time_to_live.integer<std::int32_t>(), 7 * 86'400);
}

TEST(ClusterTest, PagesMergeAllPartitionsNewestFirst) {
  FakeCassandra cassandra;
  const auto cluster = prepared(cluster_options());
  std::vector<store::Record> all;
  for (int number = 0; number < 240; ++number) {
    store::Record record = make_record(number);
    // Over three days, ids included.
    const auto later = std::chrono::days{number / 80};
    record.time += later;
    std::uint64_t in_id = static_cast<std::uint64_t>(record.time.time_since_epoch() / 1ms);
    for (std::size_t i = 6; i-- > 0; in_id >>= 8) record.id.bytes[i] = static_cast<std::uint8_t>(in_id);
    ASSERT_EQ(cluster->insert(record).delivery, Delivery::confirmed);
    all.insert(all.begin(), record);
  }
  store::Query query;
  query.limit = 50;
  std::vector<store::Record> listed;
  int pages = 0;
  do {
    const Result<store::Page> page = cluster->list(query);
    ASSERT_TRUE(page) << page.error().message;
    listed.insert(listed.end(), page->records.begin(), page->records.end());
    query.before = page->next;
    ++pages;
  } while (query.before);
  EXPECT_EQ(pages, 5);
  EXPECT_EQ(listed, all);

  const auto expect_same = [&](const store::Query& asked, auto matches) {
    const Result<store::Page> page = cluster->list(asked);
    ASSERT_TRUE(page) << page.error().message;
    std::vector<store::Record> wanted;
    std::copy_if(all.begin(), all.end(), std::back_inserter(wanted), matches);
    EXPECT_EQ(page->records, wanted);
    EXPECT_FALSE(wanted.empty());
  };
  store::Query by_model;
  by_model.limit = 1000;
  by_model.model = "garments";
  expect_same(by_model, [](const store::Record& record) { return record.model == "garments"; });
  store::Query by_label;
  by_label.limit = 1000;
  by_label.label = 3;
  by_label.min_confidence = 0.5f;
  expect_same(by_label,
              [](const store::Record& record) { return record.label == 3 && record.confidence >= 0.5f; });
  store::Query by_time;
  by_time.limit = 1000;
  by_time.from = all[150].time;
  by_time.until = all[20].time;
  expect_same(by_time, [&](const store::Record& record) {
    return record.time >= all[150].time && record.time < all[20].time;
  });
  store::Query oldest;
  oldest.limit = 100;
  oldest.oldest_first = true;
  std::vector<store::Record> from_the_oldest;
  do {
    const Result<store::Page> page = cluster->list(oldest);
    ASSERT_TRUE(page) << page.error().message;
    from_the_oldest.insert(from_the_oldest.end(), page->records.begin(), page->records.end());
    oldest.after = page->next;
  } while (oldest.after);
  EXPECT_EQ(from_the_oldest, std::vector<store::Record>(all.rbegin(), all.rend()));
  query.limit = 1001;
  expect_error(cluster->list(query), ErrorCode::invalid_input, "limit is 1001");
}

TEST(ClusterTest, EveryReadShowsTheNewestCorrection) {
  FakeCassandra cassandra;
  const auto cluster = prepared(cluster_options());
  for (int number = 0; number < 50; ++number) (void)cluster->insert(make_record(number));
  store::Correction newest;
  for (const int label : {3, 8}) {
    newest = {.id = make_record(100 + label).id,
              .record = make_record(18).id,
              .time = kStart + std::chrono::microseconds{label},
              .label = label,
              .class_name = "a class",
              .author = "somebody",
              .note = "why"};
    std::optional<Receipt> receipt;
    std::promise<void> told;
    cluster->insert(newest, "digits", [&](Receipt came) {
      receipt = std::move(came);
      told.set_value();
    });
    told.get_future().wait();
    EXPECT_EQ(receipt->delivery, Delivery::confirmed) << receipt->error.message;
  }
  EXPECT_EQ(cluster->find(make_record(18).id)->correction, newest);
  EXPECT_EQ(cluster->find(make_record(16).id)->correction, std::nullopt);
  const Result<store::Page> page = cluster->list({});
  ASSERT_TRUE(page) << page.error().message;
  int corrected = 0;
  for (const store::Record& record : page->records) {
    if (!record.correction) continue;
    EXPECT_EQ(record.correction, newest);
    ++corrected;
  }
  EXPECT_EQ(corrected, 1);
}

TEST(ClusterTest, AWithdrawnRecordIsGoneWithAllThatBelongsToIt) {
  FakeCassandra cassandra;
  ClusterOptions asked = cluster_options();
  asked.plain_table = "mytable";
  const auto cluster = prepared(asked);
  const store::Record record = make_record(7);
  (void)cluster->insert(record);
  (void)cluster->insert(make_record(9));
  store::Correction correction;
  correction.id = make_record(8).id;
  correction.record = record.id;
  cluster->insert(correction, record.model, [](Receipt) {});
  std::promise<Receipt> receipt;
  cluster->withdraw({record.id, record.model, record.time, record.file_name},
                    [&](Receipt came) { receipt.set_value(std::move(came)); });
  EXPECT_EQ(receipt.get_future().get().delivery, Delivery::confirmed);
  expect_error(cluster->find(record.id), ErrorCode::not_found, "no record");
  EXPECT_EQ(cassandra.plain.size(), 1u);
  EXPECT_TRUE(cassandra.corrections.empty());
}

// The driver tries an insert on several nodes, perhaps when the record is erased already.
TEST(ClusterTest, WhatIsErasedBeatsWhatWasSentBeforeAlsoWhenTheClockWasSetBack) {
  FakeCassandra cassandra;
  ClusterOptions asked = cluster_options();
  asked.plain_table = "mytable";
  std::atomic<int> now = 1000;
  asked.clock = [&] { return kStart + std::chrono::seconds{now.load()}; };
  const auto cluster = prepared(asked);
  const store::Record record = make_record(900);
  (void)cluster->insert(record);
  now = 10;
  std::promise<Receipt> receipt;
  cluster->withdraw({record.id, record.model, record.time, record.file_name},
                    [&](Receipt came) { receipt.set_value(std::move(came)); });
  EXPECT_EQ(receipt.get_future().get().delivery, Delivery::confirmed);
  std::vector<std::int64_t> inserted;
  std::vector<std::int64_t> erased;
  for (const Asked& one : cassandra.asked) {
    const std::string_view values = one.values;
    if (one.statement.ends_with(" USING TTL ? AND TIMESTAMP ?")) {
      inserted.push_back(CellReader(values.substr(values.size() - 12)).integer<std::int64_t>());
    }
    if (one.statement.starts_with("DELETE")) {
      erased.push_back(CellReader(values.substr(0, 12)).integer<std::int64_t>());
    }
  }
  const std::int64_t sent = (kStart + std::chrono::seconds{1000}).time_since_epoch().count();
  EXPECT_EQ(inserted, std::vector<std::int64_t>(3, sent));  // day, record, plain row
  EXPECT_EQ(erased, std::vector<std::int64_t>(3, sent + 1));
}

TEST(ClusterTest, WhatIsErasedBeatsItsRecordAlsoByAClockThatIsBehind) {
  FakeCassandra cassandra;
  ClusterOptions asked = cluster_options();
  asked.clock = [] { return kStart; };
  const auto cluster = prepared(asked);
  const store::Record record = make_record(900);
  std::promise<Receipt> receipt;
  cluster->withdraw({record.id, record.model, record.time, record.file_name},
                    [&](Receipt came) { receipt.set_value(std::move(came)); });
  EXPECT_EQ(receipt.get_future().get().delivery, Delivery::confirmed);
  ASSERT_TRUE(cassandra.asked.back().statement.starts_with("DELETE"));
  CellReader values(cassandra.asked.back().values);
  EXPECT_EQ(values.integer<std::int64_t>(), record.time.time_since_epoch().count() + 1);
}

TEST(ClusterTest, TheIdsOfAPartitionTellWhatItHas) {
  FakeCassandra cassandra;
  ClusterOptions asked = cluster_options();
  asked.buckets = 1;
  const auto cluster = prepared(asked);
  std::vector<Uuid> inserted;
  for (int number = 0; number < 100; number += 2) {
    inserted.push_back(make_record(number).id);
    (void)cluster->insert(make_record(number));
  }
  store::Correction correction{.id = make_record(200).id,
                               .record = inserted[3],
                               .time = store::kStart,
                               .label = 1,
                               .class_name = "1",
                               .author = "",
                               .note = ""};
  cluster->insert(correction, "digits", [](Receipt) {});
  const Partition partition = cluster->partition_of(inserted[0], "digits");
  const auto ids = [&](Cluster::Kind kind, const Uuid& first, const Uuid& last) {
    const Result<std::vector<Uuid>> found = cluster->ids(kind, partition, first, last);
    EXPECT_TRUE(found) << found.error().message;
    return *found;
  };
  EXPECT_EQ(ids(Cluster::Kind::records, inserted.front(), inserted.back()), inserted);
  EXPECT_EQ(ids(Cluster::Kind::records, inserted[10], inserted[19]),
            std::vector<Uuid>(inserted.begin() + 10, inserted.begin() + 20));
  EXPECT_EQ(ids(Cluster::Kind::corrections, inserted[3], inserted[3]), std::vector<Uuid>{correction.id});
  EXPECT_TRUE(ids(Cluster::Kind::corrections, inserted[4], inserted[9]).empty());
}

TEST(ClusterTest, AnInsertInFlightIsAnsweredWhenTheClusterIsClosed) {
  FakeCassandra cassandra;
  auto cluster = prepared(cluster_options());
  cassandra.hold();
  int answers = 0;
  for (int number = 0; number < 10; ++number) {
    cluster->insert(make_record(number), [&](Receipt receipt) {
      EXPECT_EQ(receipt.delivery, Delivery::retry);
      ++answers;
    });
  }
  cluster.reset();
  EXPECT_EQ(answers, 10);
}

TEST(ClusterTest, MoreInsertsThanTheLimitAreToBeRepeated) {
  FakeCassandra cassandra;
  ClusterOptions asked = cluster_options();
  asked.max_outstanding = 4;
  auto cluster = prepared(asked);
  (void)cluster->insert(make_record(0));  // from here on the day is known
  cassandra.hold();
  int refused = 0;
  for (int number = 2; number < 14; number += 2) {
    cluster->insert(make_record(number), [&](Receipt receipt) {
      refused += receipt.error.message.find("which is the limit") != std::string::npos;
    });
  }
  EXPECT_EQ(refused, 2);
  cluster.reset();
}

}  // namespace
}  // namespace espy::cassandra
