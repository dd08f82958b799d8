// A driver for unit tests: the functions of driver/espy_cql.h over tables in memory, with failures on demand.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "cassandra/cells.h"
#include "cassandra/cluster.h"
#include "cassandra/tables.h"

namespace espy::cassandra {

// What a request said.
struct Asked {
  std::string statement;
  std::string values;
  std::uint32_t value_count = 0;
  bool prepare = true;
  std::chrono::milliseconds limit{};
  std::uint32_t page_size = 0;
  std::string page;
};

struct Said {
  int status = 0;
  int reason = 0;
  std::string message = {};
  std::uint32_t row_count = 0;
  std::string rows = {};
  std::string next_page = {};
};

// As much of a Cassandra cluster as espy's statements need. Stands behind every Cluster that is opened while
// it lives; one at a time. Threads: all functions may be called from any thread at once.
class FakeCassandra {
 public:
  // Answers a request in place of the tables; nothing leaves it to them.
  using Interfere = std::function<std::optional<Said>(const Asked&)>;

  FakeCassandra();
  FakeCassandra(const FakeCassandra&) = delete;
  FakeCassandra& operator=(const FakeCassandra&) = delete;
  ~FakeCassandra();

  void interfere(Interfere interfere);
  // Holds requests back, until release() or the driver's end.
  void hold();
  void release();

  int nodes = 1;
  bool keyspace_exists = false;
  std::map<std::string, std::vector<FoundColumn>> tables;
  std::map<std::string, std::string> settings;
  std::map<std::pair<std::string, std::string>, std::string> days;  // (day, model) as cells -> cells
  std::map<Uuid, std::string> predictions;                          // id -> the inserted cells
  std::map<Uuid, int> inserts;                                      // how often
  std::map<Uuid, std::string> plain;
  std::map<std::pair<Uuid, Uuid>, std::string> corrections;  // (record, its id) -> the inserted cells
  std::vector<Asked> asked;
  std::string hosts;  // of the last Cluster
  std::string user;
  std::uint64_t losses = 0;  // of nodes
  int refuse_open = 0;       // what espy_cql_open returns instead

  Said answer(const Asked& asked);  // by the interference or the tables
  std::mutex mutex;                 // guards everything
  bool held = false;

 private:
  Said from_tables(const Asked& asked);

  Interfere interfere_;
};

// The cells of one inserted record, read back as espy reads it from the table.
Result<store::Record> inserted_record(const std::string& cells);

}  // namespace espy::cassandra
