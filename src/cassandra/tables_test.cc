#include "cassandra/tables.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "cassandra/fake_driver.h"
#include "store/test_records.h"

namespace espy::cassandra {
namespace {

using store::expect_error;
using store::make_record;

ClusterOptions options() {
  ClusterOptions options;
  options.keyspace = "espy";
  options.plain_table = "mytable";
  return options;
}

std::vector<FoundColumn> as_found(const Table& table) {
  std::vector<FoundColumn> found;
  std::int32_t partition = 0;
  std::int32_t clustering = 0;
  for (const Column& column : table.columns) {
    switch (column.kind) {
      case Column::Kind::partition_key:
        found.push_back({std::string(column.name), std::string(column.type), "partition_key", partition++});
        break;
      case Column::Kind::clustering:
        found.push_back({std::string(column.name), std::string(column.type), "clustering", clustering++});
        break;
      case Column::Kind::regular:
        found.push_back({std::string(column.name), std::string(column.type), "regular", -1});
        break;
    }
  }
  return found;
}

TEST(TablesTest, ThePlainTablesKeyCannotOverwrite) {
  EXPECT_EQ(create_table("espy", plain_table(options())),
            "CREATE TABLE IF NOT EXISTS espy.mytable (time timestamp, file_name text, id uuid, number int, "
            "PRIMARY KEY ((time), file_name, id)) WITH default_time_to_live = 0");
}

TEST(TablesTest, AKeyspaceIsMadeAsAskedFor) {
  ClusterOptions asked = options();
  EXPECT_EQ(
      create_keyspace(asked, "dc1"),
      "CREATE KEYSPACE IF NOT EXISTS espy WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 3}");
  asked.placement = Placement::simple;
  asked.replication = 2;
  EXPECT_EQ(create_keyspace(asked, "dc1"),
            "CREATE KEYSPACE IF NOT EXISTS espy WITH replication = {'class': 'SimpleStrategy', "
            "'replication_factor': 2}");
}

TEST(TablesTest, RetentionSetsTheWindowsOfCompaction) {
  ClusterOptions asked = options();
  asked.retention = std::chrono::days{90};
  const std::string statement = create_table("espy", predictions_table(asked));
  EXPECT_NE(statement.find("'compaction_window_size': 3"), std::string::npos) << statement;
  EXPECT_NE(statement.find("default_time_to_live = 7776000"), std::string::npos) << statement;
}

TEST(TablesTest, ATableThatIsOursPassesAlsoWithMoreColumns) {
  for (const Table& table : tables_of(options())) {
    std::vector<FoundColumn> found = as_found(table);
    EXPECT_TRUE(check_table("espy", table, found)) << table.name;
    found.push_back({"note", "text", "regular", -1});
    EXPECT_TRUE(check_table("espy", table, found)) << table.name;
  }
}

TEST(TablesTest, ATableThatIsNotOursIsRefusedWithWhatDiffers) {
  const Table table = predictions_table(options());
  std::vector<FoundColumn> found = as_found(table);
  found[8].type = "text";
  expect_error(check_table("espy", table, found), ErrorCode::invalid_input,
               "table espy.predictions is not espy's: column label is text, wanted is smallint");
  found = as_found(table);
  found.pop_back();
  expect_error(check_table("espy", table, found), ErrorCode::invalid_input, "it has no column node");
  found = as_found(table);
  found[2].kind = "clustering";
  expect_error(check_table("espy", table, found), ErrorCode::invalid_input,
               "its partition key is (model, day), wanted is (model, day, bucket)");
}

TEST(TablesTest, RecordsComeBackAsTheyWere) {
  for (int number = 0; number < 40; ++number) {
    store::Record record = make_record(number);
    record.time += std::chrono::microseconds{number * 37};
    const CellWriter values =
        record_values(record, 16, number % 2 == 0 ? "" : "host", std::chrono::seconds{0});
    EXPECT_EQ(values.count(), predictions_table(options()).columns.size() + 1);
    const Result<store::Record> back = inserted_record(values.bytes());
    ASSERT_TRUE(back) << back.error().message;
    EXPECT_EQ(*back, record);
  }
}

TEST(TablesTest, ARowThatEspyWouldNotWriteIsCorrupt) {
  const auto read = [](const store::Record& record) {
    return inserted_record(record_values(record, 16, "", std::chrono::seconds{0}).bytes());
  };
  store::Record record = make_record(3);
  record.verdict = static_cast<Verdict>(9);
  expect_error(read(record), ErrorCode::corrupt, "there is no verdict 9");
  record = make_record(3);
  record.confidence = std::numeric_limits<float>::quiet_NaN();
  expect_error(read(record), ErrorCode::corrupt, to_string(record.id));
  CellReader nothing("");
  expect_error(read_record(nothing), ErrorCode::corrupt, "wrong size");
}

// Readers in other languages compute both; docs/cassandra.md says how.
TEST(TablesTest, DayAndBucketFollowFromTheId) {
  const Uuid id = *parse_uuid("01936f2e-7a1b-7c3d-8e4f-0123456789ab");
  EXPECT_EQ(day_of(id), Day{std::chrono::year{2024} / 11 / 27});
  EXPECT_EQ(bucket_of(id, 16), 0x89ab % 16);
  EXPECT_EQ(bucket_of(id, 1000), 0x89ab % 1000);
}

}  // namespace
}  // namespace espy::cassandra
