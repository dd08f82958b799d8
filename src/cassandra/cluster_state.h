// What a Cluster is made of: its driver, what it has learned of the keyspace, and the requests that its parts
// share (cluster.cc writes, cluster_schema.cc prepares, cluster_reading.cc reads).
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/format.h"
#include "base/result.h"
#include "cassandra/cells.h"
#include "cassandra/cluster.h"
#include "cassandra/driver.h"
#include "cassandra/tables.h"
#include "store/record.h"

namespace espy::cassandra {

// What is read of a partition, newest first, page by page.
struct Stream;

inline Error not_checked() { return {ErrorCode::unavailable, "cassandra's tables are not checked yet"}; }

struct Cluster::State {
  // What prepare() learned and made; never changed afterwards.
  struct Layout {
    int buckets;
    std::string insert_record;
    std::string insert_correction;
    std::string insert_day;
    std::string insert_plain;  // empty: there is no such table
    std::string erase_plain;   // likewise
  };

  explicit State(ClusterOptions given) : options(std::move(given)) {}

  std::shared_ptr<const Layout> current() {
    const std::lock_guard lock(mutex);
    return layout;
  }

  Request request(std::string statement, CellWriter values = {}) const {
    Request made{std::move(statement), std::move(values), options.request_limit};
    return made;
  }

  // A row's insert. The driver may try it on several nodes, each time with the same stamp, so that none of
  // them beats what was sent behind it.
  Request insertion(std::string statement, CellWriter values, std::int64_t stamp) const {
    values.integer(stamp);
    return request(std::move(statement), std::move(values));
  }

  // The timestamp of what is sent now, in microseconds: greater than all before it, also when the clock is
  // set back.
  std::int64_t stamp() {
    const std::lock_guard lock(mutex);
    return last_stamp = std::max(options.clock().time_since_epoch().count(), last_stamp + 1);
  }

  std::future<Answer> submit(const Request& request) {
    auto promise = std::make_shared<std::promise<Answer>>();
    std::future<Answer> answer = promise->get_future();
    driver->submit(request, [promise](Answer came) { promise->set_value(std::move(came)); });
    return answer;
  }

  // Changes the schema.
  Result<void> change(std::string statement) {
    Request request{std::move(statement), {}, options.schema_limit};
    request.prepare = false;
    const Answer answer = driver->execute(request);
    if (!answer.ok()) return error_of(answer);
    return {};
  }

  // Calls take(CellReader&) for each row of all pages.
  template <typename Take>
  Result<void> read(Request request, Take take) {
    do {
      Answer answer = driver->execute(request);
      if (!answer.ok()) return error_of(answer);
      CellReader rows(answer.rows);
      for (std::uint32_t row = 0; row < answer.row_count; ++row) take(rows);
      if (rows.broken())
        return Error{ErrorCode::corrupt, format("cassandra's answer to {} is cut off", request.statement)};
      request.page = std::move(answer.next_page);
    } while (!request.page.empty());
    return {};
  }

  Result<std::vector<FoundColumn>> columns_of(const Table& table) {
    CellWriter values;
    values.text(options.keyspace).text(table.name);
    std::vector<FoundColumn> columns;
    Result<void> done = read(request(std::string(kFindColumns), std::move(values)), [&](CellReader& row) {
      FoundColumn column;
      column.name = row.text();
      column.type = row.text();
      column.kind = row.text();
      column.position = row.integer<std::int32_t>();
      columns.push_back(std::move(column));
    });
    if (!done) return std::move(done).error();
    return columns;
  }

  Result<void> have_keyspace();
  Result<void> have_table(const Table& table);
  Result<std::optional<int>> find_buckets();
  Result<int> have_buckets();

  Result<std::vector<Partition>> partitions(const Layout& of, Day first, Day last,
                                            const std::optional<std::string>& model);
  Result<void> refill(std::vector<Stream>& streams, const store::Query& query, std::uint32_t page_size);
  Result<void> add_corrections(const Layout& of, std::span<store::Record> records);

  // The seconds that a row of this time has left to live; nothing when it is too old to be kept, 0: for ever.
  std::optional<std::chrono::seconds> time_to_live(Timestamp time) const {
    if (options.retention.count() == 0) return std::chrono::seconds{0};
    // A record that arrives late shall not stay longer than the others.
    const auto left = std::chrono::floor<std::chrono::seconds>(time + options.retention - options.clock());
    if (left.count() <= 0) return {};
    return std::min(left, std::chrono::seconds{options.retention});
  }

  const ClusterOptions options;
  std::mutex mutex;  // guards the three below
  std::shared_ptr<const Layout> layout;
  std::int64_t last_stamp = 0;
  std::set<std::pair<std::string, Day>> known_days;  // are in the table of days for certain
  std::unique_ptr<Driver> driver;                    // goes first: its completions use the above
};

}  // namespace espy::cassandra
