#include "cassandra/fake_driver.h"

#include <algorithm>
#include <cassert>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <string_view>
#include <utility>

#include "cassandra/driver/espy_cql.h"

using espy::cassandra::Asked;
using espy::cassandra::FakeCassandra;
using espy::cassandra::Said;

namespace {

FakeCassandra* current = nullptr;

}  // namespace

// What the opaque handle of the ABI is here.
struct espy_cql {
  struct Completed {
    std::uint64_t tag;
    Said said;
  };

  explicit espy_cql(FakeCassandra& behind, std::size_t max) : cassandra(behind), max_outstanding(max) {}

  FakeCassandra& cassandra;
  const std::size_t max_outstanding;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Completed> completed;
  std::vector<std::pair<std::uint64_t, Asked>> waiting;
  std::size_t outstanding = 0;
  bool closed = false;
};

namespace {

espy_cql* open_driver = nullptr;

std::string copy(espy_cql_bytes bytes) { return {reinterpret_cast<const char*>(bytes.bytes), bytes.size}; }

espy_cql_bytes view(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

void complete_waiting(espy_cql& cql) {
  std::vector<std::pair<std::uint64_t, Asked>> waiting;
  {
    const std::lock_guard lock(cql.mutex);
    waiting.swap(cql.waiting);
  }
  for (auto& [tag, asked] : waiting) {
    Said said = cql.cassandra.answer(asked);
    const std::lock_guard lock(cql.mutex);
    cql.completed.push_back({tag, std::move(said)});
  }
  cql.changed.notify_all();
}

}  // namespace

extern "C" {

int32_t espy_cql_open(const espy_cql_options* options, espy_cql** out, char* message, size_t capacity) {
  assert(current != nullptr && capacity > 0);
  const std::lock_guard lock(current->mutex);
  current->hosts = copy(options->hosts);
  current->user = copy(options->user);
  if (current->refuse_open != 0) {
    std::strncpy(message, "refused by the test", capacity - 1);
    return current->refuse_open;
  }
  *out = open_driver = new espy_cql(*current, options->max_outstanding);
  return ESPY_CQL_DONE;
}

int32_t espy_cql_submit(espy_cql* cql, const espy_cql_request* request) {
  Asked asked{copy(request->statement),
              copy(request->values),
              request->value_count,
              request->prepare != 0,
              std::chrono::milliseconds{request->timeout_ms},
              request->page_size,
              copy(request->page)};
  bool held = false;
  {
    const std::lock_guard lock(cql->cassandra.mutex);
    held = cql->cassandra.held;
  }
  {
    const std::lock_guard lock(cql->mutex);
    if (cql->closed) return ESPY_CQL_CLOSED;
    if (cql->outstanding >= cql->max_outstanding) return ESPY_CQL_FULL;
    ++cql->outstanding;
    cql->waiting.emplace_back(request->tag, std::move(asked));
  }
  if (!held) complete_waiting(*cql);
  return ESPY_CQL_DONE;
}

int64_t espy_cql_wait(espy_cql* cql, espy_cql_completion* out, size_t max, uint32_t timeout_ms) {
  std::unique_lock lock(cql->mutex);
  cql->changed.wait_for(lock, std::chrono::milliseconds{timeout_ms},
                        [&] { return cql->closed || !cql->completed.empty(); });
  if (cql->completed.empty()) return cql->closed ? ESPY_CQL_CLOSED : 0;
  const std::size_t count = std::min(max, cql->completed.size());
  for (std::size_t i = 0; i < count; ++i) {
    auto* said = new Said(std::move(cql->completed.front().said));
    out[i] = {
        cql->completed.front().tag, said->status,        said->reason, said->row_count, 0, view(said->rows),
        view(said->next_page),      view(said->message), said};
    cql->completed.pop_front();
  }
  cql->outstanding -= count;
  return static_cast<int64_t>(count);
}

void espy_cql_release(espy_cql_completion* completion) { delete static_cast<Said*>(completion->owner); }

uint64_t espy_cql_losses(const espy_cql* cql) {
  const std::lock_guard lock(cql->cassandra.mutex);
  return cql->cassandra.losses;
}

void espy_cql_close(espy_cql* cql, uint32_t) {
  const std::lock_guard lock(cql->mutex);
  for (auto& [tag, asked] : cql->waiting) {
    cql->completed.push_back({tag, {ESPY_CQL_RETRY, ESPY_CQL_SHUTDOWN, "the driver is being closed"}});
  }
  cql->waiting.clear();
  cql->closed = true;
  cql->changed.notify_all();
}

void espy_cql_free(espy_cql* cql) {
  if (open_driver == cql) open_driver = nullptr;
  delete cql;
}
}

namespace espy::cassandra {
namespace {

// The next `count` cells as they are.
std::string_view raw_cells(std::string_view& rest, int count) {
  std::size_t end = 0;
  for (int i = 0; i < count; ++i) {
    std::uint32_t bits = 0;
    for (const char byte : rest.substr(end, 4)) bits = bits << 8 | static_cast<std::uint8_t>(byte);
    end += 4 + static_cast<std::size_t>(std::max(static_cast<std::int32_t>(bits), 0));
  }
  const std::string_view cells = rest.substr(0, end);
  rest.remove_prefix(end);
  return cells;
}

// What find_record() and list_records() return of a row, from what was inserted: the insert has day and
// bucket behind the model and the node at the end.
std::string selected(const std::string& inserted) {
  std::string_view rest = inserted;
  std::string cells{raw_cells(rest, 1)};
  raw_cells(rest, 2);
  cells += raw_cells(rest, 16);
  return cells;
}

Said rows_of(std::vector<std::string> rows, const Asked& asked) {
  const std::size_t begin = asked.page.empty() ? 0 : static_cast<std::size_t>(std::stoul(asked.page));
  const std::size_t end = std::min(rows.size(), begin + asked.page_size);
  Said said;
  for (std::size_t i = begin; i < end; ++i) {
    said.rows += rows[i];
    ++said.row_count;
  }
  if (end < rows.size()) said.next_page = std::to_string(end);
  return said;
}

bool begins(const std::string& text, std::string_view with) { return text.starts_with(with); }

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace

FakeCassandra::FakeCassandra() {
  assert(current == nullptr);
  current = this;
}

FakeCassandra::~FakeCassandra() { current = nullptr; }

void FakeCassandra::interfere(Interfere interfere) {
  const std::lock_guard lock(mutex);
  interfere_ = std::move(interfere);
}

void FakeCassandra::hold() {
  const std::lock_guard lock(mutex);
  held = true;
}

void FakeCassandra::release() {
  {
    const std::lock_guard lock(mutex);
    held = false;
  }
  if (open_driver != nullptr) complete_waiting(*open_driver);
}

Said FakeCassandra::answer(const Asked& request) {
  const std::lock_guard lock(mutex);
  asked.push_back(request);
  if (interfere_) {
    if (std::optional<Said> said = interfere_(request)) return *std::move(said);
  }
  return from_tables(request);
}

Said FakeCassandra::from_tables(const Asked& request) {
  const std::string& statement = request.statement;
  CellReader values(request.values);
  if (statement == kFindLocal) {
    CellWriter row;
    row.text("datacenter1");
    return rows_of({row.bytes()}, request);
  }
  if (statement == kCountPeers) {
    CellWriter row;
    row.integer(static_cast<std::int64_t>(nodes - 1));
    return rows_of({row.bytes()}, request);
  }
  if (statement == kFindKeyspace) {
    return keyspace_exists ? rows_of({request.values}, request) : Said{};
  }
  if (begins(statement, "CREATE KEYSPACE")) {
    keyspace_exists = true;
    return {};
  }
  if (begins(statement, "CREATE TABLE")) {
    ClusterOptions options;
    options.keyspace = "espy";
    options.plain_table = "mytable";
    for (const Table& table : tables_of(options)) {
      if (!contains(statement, " espy." + table.name + " ")) continue;
      int position[2] = {0, 0};
      for (const Column& column : table.columns) {
        const bool partition = column.kind == Column::Kind::partition_key;
        const bool clustering = column.kind == Column::Kind::clustering;
        tables[table.name].push_back({std::string(column.name), std::string(column.type),
                                      partition    ? "partition_key"
                                      : clustering ? "clustering"
                                                   : "regular",
                                      partition || clustering ? position[clustering]++ : -1});
      }
    }
    return {};
  }
  if (statement == kFindColumns) {
    values.text();
    std::vector<std::string> rows;
    for (const FoundColumn& column : tables[std::string(values.text())]) {
      CellWriter row;
      row.text(column.name).text(column.type).text(column.kind).integer(column.position);
      rows.push_back(row.bytes());
    }
    return rows_of(rows, request);
  }
  if (contains(statement, ".settings") && begins(statement, "INSERT")) {
    const std::string name{values.text()};
    settings.emplace(name, values.text());
    return {};
  }
  if (contains(statement, ".settings")) {
    const auto found = settings.find(std::string(values.text()));
    if (found == settings.end()) return {};
    CellWriter row;
    row.text(found->second);
    return rows_of({row.bytes()}, request);
  }
  if (begins(statement, "INSERT INTO espy.days")) {
    std::string_view rest = request.values;
    raw_cells(rest, 1);
    const std::string day{raw_cells(rest, 1)};
    const std::string model{raw_cells(rest, 1)};
    days[{day, model}] = day + model;
    return {};
  }
  if (begins(statement, "INSERT INTO espy.predictions")) {
    values.text();
    values.date();
    values.integer<std::int16_t>();
    const Uuid id = values.uuid();
    predictions[id] = request.values;
    ++inserts[id];
    return {};
  }
  if (begins(statement, "INSERT INTO espy.corrections")) {
    values.text();
    values.date();
    values.integer<std::int16_t>();
    const Uuid record = values.uuid();
    corrections[{record, values.uuid()}] = request.values;
    return {};
  }
  if (begins(statement, "DELETE FROM espy.mytable")) {
    values.integer<std::int64_t>();
    values.timestamp();
    values.text();
    plain.erase(values.uuid());
    return {};
  }
  if (begins(statement, "DELETE FROM espy.")) {
    values.integer<std::int64_t>();
    values.text();
    values.date();
    values.integer<std::int16_t>();
    const Uuid id = values.uuid();
    if (contains(statement, "espy.predictions")) {
      predictions.erase(id);
    } else {
      std::erase_if(corrections, [&](const auto& one) { return one.first.first == id; });
    }
    return {};
  }
  if (begins(statement, "INSERT INTO espy.mytable")) {
    values.timestamp();
    values.text();
    plain[values.uuid()] = request.values;
    return {};
  }
  if (contains(statement, "FROM espy.days")) {
    const Day first = values.date();
    const Day last = values.date();
    std::vector<std::string> rows;
    for (auto day = days.rbegin(); day != days.rend(); ++day) {
      CellReader cells(day->second);
      const Day which = cells.date();
      if (which >= first && which <= last) rows.push_back(day->second);
    }
    return rows_of(rows, request);
  }
  if (contains(statement, "FROM espy.corrections")) {
    std::string_view rest = request.values;
    const std::string partition{raw_cells(rest, 3)};
    CellReader range(rest);
    const Uuid first = range.uuid();
    const Uuid last = range.uuid();
    std::vector<std::string> rows;
    for (auto row = corrections.rbegin(); row != corrections.rend(); ++row) {
      if (!begins(row->second, partition) || row->first.first < first || row->first.first > last) continue;
      if (begins(statement, "SELECT correction_id ")) {
        CellWriter cell;
        cell.uuid(row->first.second);
        rows.push_back(cell.bytes());
        continue;
      }
      std::string_view cells = row->second;
      raw_cells(cells, 3);
      rows.emplace_back(raw_cells(cells, 8));
    }
    return rows_of(rows, request);
  }
  if (contains(statement, "FROM espy.predictions")) {
    std::string_view rest = request.values;
    const std::string partition{raw_cells(rest, 3)};
    CellReader key(rest);
    const bool one = contains(statement, "id = ?");
    const Uuid id = key.uuid();
    std::vector<std::string> rows;
    const Uuid last = begins(statement, "SELECT id ") ? key.uuid() : Uuid{};
    const bool oldest_first = contains(statement, "ORDER BY id ASC");
    for (auto row = predictions.rbegin(); row != predictions.rend(); ++row) {
      if (!begins(row->second, partition)) continue;
      if (begins(statement, "SELECT id ")) {
        if (row->first < id || row->first > last) continue;
        CellWriter cell;
        cell.uuid(row->first);
        rows.push_back(cell.bytes());
      } else if (one ? row->first == id : oldest_first ? row->first > id : row->first < id) {
        rows.push_back(selected(row->second));
      }
    }
    if (oldest_first) std::reverse(rows.begin(), rows.end());
    return rows_of(rows, request);
  }
  return {ESPY_CQL_REJECT, ESPY_CQL_INVALID, "the fake does not know " + statement};
}

Result<store::Record> inserted_record(const std::string& cells) {
  const std::string row = selected(cells);
  CellReader reader(row);
  return read_record(reader);
}

}  // namespace espy::cassandra
