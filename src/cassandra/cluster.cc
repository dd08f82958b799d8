#include "cassandra/cluster.h"

#include <algorithm>
#include <cassert>
#include <charconv>
#include <deque>
#include <future>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <tuple>
#include <utility>

#include "base/format.h"
#include "cassandra/cells.h"
#include "cassandra/driver.h"
#include "cassandra/tables.h"

namespace espy::cassandra {
namespace {

constexpr std::size_t kMaxNameLength = 48;  // of a keyspace or table, Cassandra's own limit
constexpr std::string_view kBucketsSetting = "buckets";
constexpr std::size_t kPartitionsAtOnce = 256;  // are asked for a page at the same time
constexpr Day kFirstDay{};
constexpr Day kLastDay{std::chrono::days{3'257'812}};  // the last that an id's 48 bits of milliseconds reach

// Not below any identifier of version 7.
constexpr Uuid kLastId{
    {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xbf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

Error invalid(std::string message) { return {ErrorCode::invalid_input, std::move(message)}; }

// A keyspace's or a table's name as it stands in a statement without quotes.
bool is_name(std::string_view text) {
  const auto lower = [](char c) { return c >= 'a' && c <= 'z'; };
  const auto inside = [&](char c) { return lower(c) || (c >= '0' && c <= '9') || c == '_'; };
  return !text.empty() && text.size() <= kMaxNameLength && lower(text[0]) &&
         std::all_of(text.begin(), text.end(), inside);
}

std::optional<int> parse_number(std::string_view text, int least, int most) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size() || number < least || number > most) return {};
  return number;
}

// "HOST", "HOST:PORT", "[ADDRESS]" or "[ADDRESS]:PORT", with the port that is meant.
Result<std::string> parse_host(std::string_view text) {
  const std::size_t bracket = text.rfind(']');
  const std::size_t colon = text.find(':', bracket == std::string_view::npos ? 0 : bracket);
  const std::string_view host = text.substr(0, colon);
  const bool plain = host.find_first_of("[]/, ") == std::string_view::npos;
  const bool bracketed = host.size() > 2 && host.front() == '[' && bracket == host.size() - 1;
  if (host.empty() || !(plain || bracketed)) {
    return invalid(format("cassandra host is \"{}\", wanted is HOST, HOST:PORT or [ADDRESS]:PORT", text));
  }
  if (colon == std::string_view::npos) return format("{}:{}", host, kDefaultPort);
  const std::optional<int> port = parse_number(text.substr(colon + 1), 1, 65535);
  if (!port) return invalid(format("port of cassandra host \"{}\" is not a number from 1 to 65535", text));
  return format("{}:{}", host, *port);
}

Result<void> check(const ClusterOptions& options) {
  if (options.hosts.empty()) return invalid("there is no cassandra host");
  if (!is_name(options.keyspace)) {
    return invalid(
        format("cassandra keyspace is \"{}\", wanted are at most {} lower-case letters, digits and _, a "
               "letter first",
               options.keyspace, kMaxNameLength));
  }
  if (options.datacenter.find('\'') != std::string::npos) {
    return invalid(format("cassandra data centre {} has a quote in its name", options.datacenter));
  }
  if (options.replication < 1) {
    return invalid(format("cassandra replication is {}, the least is 1", options.replication));
  }
  if (options.buckets < 1 || options.buckets > kMaxBuckets) {
    return invalid(format("cassandra buckets are {}, limits are 1 and {}", options.buckets, kMaxBuckets));
  }
  // Cassandra counts seconds to live in an int and takes 20 years at most.
  constexpr std::chrono::days kMostRetention{20 * 365};
  if (options.retention.count() < 0 || options.retention > kMostRetention) {
    return invalid(format("cassandra retention is {} days, limits are 0 and {}", options.retention.count(),
                          kMostRetention.count()));
  }
  if (options.plain_table.empty()) return {};
  if (!is_name(options.plain_table)) {
    return invalid(format(
        "cassandra table is \"{}\", wanted are at most {} lower-case letters, digits and _, a letter first",
        options.plain_table, kMaxNameLength));
  }
  ClusterOptions without = options;
  without.plain_table.clear();
  for (const Table& table : tables_of(without)) {
    if (table.name == options.plain_table) {
      return invalid(format("cassandra table {} is espy's own", options.plain_table));
    }
  }
  return {};
}

Error not_checked() { return {ErrorCode::unavailable, "cassandra's tables are not checked yet"}; }

Receipt receipt_of(const Answer& answer) {
  if (answer.ok()) return {Delivery::confirmed, {}};
  return {answer.status == ESPY_CQL_REJECT ? Delivery::rejected : Delivery::retry, error_of(answer)};
}

bool matches(const store::Record& record, const store::Query& query) {
  return (!query.from || record.time >= *query.from) && (!query.until || record.time < *query.until) &&
         (!query.label || record.label == *query.label) &&
         (!query.min_confidence || record.confidence >= *query.min_confidence) &&
         (!query.max_confidence || record.confidence <= *query.max_confidence) &&
         (!query.file_name || record.file_name == *query.file_name) &&
         (!query.subject || record.subject == *query.subject) &&
         (!query.before || record.id < *query.before) && (!query.after || record.id > *query.after);
}

// The inserts of one record: answers once, when all are answered, with the worst.
class Together {
 public:
  Together(int parts, Cluster::Completion done) : left_(parts), done_(std::move(done)) {}

  void add(Receipt receipt) {
    {
      const std::lock_guard lock(mutex_);
      if (receipt.delivery > worst_.delivery) worst_ = std::move(receipt);
      if (--left_ > 0) return;
    }
    done_(std::move(worst_));
  }

 private:
  std::mutex mutex_;
  int left_;
  Receipt worst_{Delivery::confirmed, {}};
  const Cluster::Completion done_;
};

// What is read of a partition, newest first, page by page.
struct Stream {
  Partition partition;
  std::string page = {};
  bool more = true;
  std::deque<store::Record> records = {};
};

}  // namespace

Result<ClusterOptions> parse_cluster(std::string_view text) {
  const std::size_t slash = text.rfind('/');
  if (slash == std::string_view::npos) {
    return invalid(format("cassandra is \"{}\", wanted is HOST[,HOST...]/KEYSPACE", text));
  }
  ClusterOptions options;
  options.keyspace = text.substr(slash + 1);
  std::string_view hosts = text.substr(0, slash);
  while (true) {
    const std::size_t comma = hosts.find(',');
    Result<std::string> host = parse_host(hosts.substr(0, comma));
    if (!host) return std::move(host).error();
    options.hosts.push_back(*std::move(host));
    if (comma == std::string_view::npos) break;
    hosts.remove_prefix(comma + 1);
  }
  if (Result<void> right = check(options); !right) return std::move(right).error();
  return options;
}

void Digest::add(const Uuid& id) { add(Digest{1, id}); }

void Digest::add(const Digest& others) {
  count += others.count;
  for (std::size_t i = 0; i < ids.bytes.size(); ++i) ids.bytes[i] ^= others.ids.bytes[i];
}

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
  std::mutex mutex;  // guards the two below
  std::shared_ptr<const Layout> layout;
  std::set<std::pair<std::string, Day>> known_days;  // are in the table of days for certain
  std::unique_ptr<Driver> driver;                    // goes first: its completions use the above
};

Result<void> Cluster::State::have_keyspace() {
  std::string datacenter = options.datacenter;
  Result<void> done = read(request(std::string(kFindLocal)), [&](CellReader& row) {
    const std::string_view local = row.text();
    if (datacenter.empty()) datacenter = local;
  });
  if (!done) return done;

  CellWriter name;
  name.text(options.keyspace);
  bool exists = false;
  done = read(request(std::string(kFindKeyspace), std::move(name)), [&](CellReader& row) {
    row.text();
    exists = true;
  });
  if (!done || exists) return done;
  if (!options.create) {
    return Error{ErrorCode::not_found, format("there is no keyspace {} in cassandra", options.keyspace)};
  }

  std::int64_t nodes = 1;
  done =
      read(request(std::string(kCountPeers)), [&](CellReader& row) { nodes += row.integer<std::int64_t>(); });
  if (!done) return done;
  if (options.replication > nodes) {
    return invalid(format("keyspace {} is to have {} copies of each record, but the cluster has {} {}",
                          options.keyspace, options.replication, nodes, nodes == 1 ? "node" : "nodes"));
  }
  return change(create_keyspace(options, datacenter));
}

Result<void> Cluster::State::have_table(const Table& table) {
  Result<std::vector<FoundColumn>> columns = columns_of(table);
  if (columns && columns->empty()) {
    if (!options.create) {
      return Error{ErrorCode::not_found,
                   format("there is no table {}.{} in cassandra", options.keyspace, table.name)};
    }
    if (Result<void> made = change(create_table(options.keyspace, table)); !made) return made;
    columns = columns_of(table);
  }
  if (!columns) return std::move(columns).error();
  return check_table(options.keyspace, table, *columns);
}

Result<std::optional<int>> Cluster::State::find_buckets() {
  CellWriter name;
  name.text(kBucketsSetting);
  std::string value;
  bool found = false;
  Result<void> done = read(request(find_setting(options.keyspace), std::move(name)), [&](CellReader& row) {
    value = row.text();
    found = true;
  });
  if (!done) return std::move(done).error();
  if (!found) return std::optional<int>{};
  const std::optional<int> buckets = parse_number(value, 1, kMaxBuckets);
  if (!buckets) {
    return Error{ErrorCode::corrupt,
                 format("{}.settings says that there are \"{}\" buckets, limits are 1 and {}",
                        options.keyspace, value, kMaxBuckets)};
  }
  return buckets;
}

Result<int> Cluster::State::have_buckets() {
  Result<std::optional<int>> buckets = find_buckets();
  if (buckets && !*buckets) {
    CellWriter values;
    values.text(kBucketsSetting).text(format("{}", options.buckets));
    const Answer answer = driver->execute(request(keep_setting(options.keyspace), std::move(values)));
    if (!answer.ok()) return error_of(answer);
    buckets = find_buckets();
  }
  if (!buckets) return std::move(buckets).error();
  if (!*buckets) {
    return Error{ErrorCode::unavailable,
                 format("{}.settings does not keep what is written", options.keyspace)};
  }
  return **buckets;
}

// Newest days first.
Result<std::vector<Partition>> Cluster::State::partitions(const Layout& of, Day first, Day last,
                                                          const std::optional<std::string>& model) {
  CellWriter values;
  values.date(first).date(last);
  std::vector<Partition> all;
  Result<void> done = read(request(find_days(options.keyspace), std::move(values)), [&](CellReader& row) {
    const Day day = row.date();
    const std::string name{row.text()};
    if (model && *model != name) return;
    for (int bucket = 0; bucket < of.buckets; ++bucket) all.push_back({name, day, bucket});
  });
  if (!done) return std::move(done).error();
  return all;
}

// Gives records to each stream that has none and may have more.
Result<void> Cluster::State::refill(std::vector<Stream>& streams, const store::Query& query,
                                    std::uint32_t page_size) {
  const std::string statement =
      query.oldest_first ? list_oldest(options.keyspace) : list_newest(options.keyspace);
  const Uuid from = query.oldest_first ? query.after.value_or(Uuid{}) : query.before.value_or(kLastId);
  std::vector<Stream*> dry;
  for (Stream& stream : streams) {
    if (stream.records.empty() && stream.more) dry.push_back(&stream);
  }
  for (std::size_t begin = 0; begin < dry.size(); begin += kPartitionsAtOnce) {
    const std::size_t end = std::min(dry.size(), begin + kPartitionsAtOnce);
    std::vector<std::future<Answer>> answers;
    for (std::size_t i = begin; i < end; ++i) {
      const Partition& partition = dry[i]->partition;
      CellWriter values;
      values.text(partition.model)
          .date(partition.day)
          .integer(static_cast<std::int16_t>(partition.bucket))
          .uuid(from);
      Request request = this->request(statement, std::move(values));
      request.page_size = page_size;
      request.page = dry[i]->page;
      answers.push_back(submit(request));
    }
    for (std::size_t i = begin; i < end; ++i) {
      Answer answer = answers[i - begin].get();
      if (!answer.ok()) return error_of(answer);
      CellReader rows(answer.rows);
      for (std::uint32_t row = 0; row < answer.row_count; ++row) {
        Result<store::Record> record = read_record(rows);
        if (!record) return std::move(record).error();
        dry[i]->records.push_back(*std::move(record));
      }
      dry[i]->page = std::move(answer.next_page);
      dry[i]->more = !dry[i]->page.empty();
    }
  }
  return {};
}

// Gives each of the records, which are in order, its newest correction.
Result<void> Cluster::State::add_corrections(const Layout& of, std::span<store::Record> records) {
  struct Range {
    Uuid first;
    Uuid last;
  };
  std::map<std::tuple<std::string, Day, int>, Range> ranges;
  std::map<Uuid, store::Record*> by_id;
  for (store::Record& record : records) {
    by_id[record.id] = &record;
    const auto range =
        ranges
            .emplace(std::tuple(record.model, day_of(record.id), bucket_of(record.id, of.buckets)),
                     Range{record.id, record.id})
            .first;
    range->second.first = std::min(range->second.first, record.id);
    range->second.last = std::max(range->second.last, record.id);
  }
  std::vector<Request> requests;
  for (const auto& [partition, range] : ranges) {
    const auto& [model, day, bucket] = partition;
    CellWriter values;
    values.text(model)
        .date(day)
        .integer(static_cast<std::int16_t>(bucket))
        .uuid(range.first)
        .uuid(range.last);
    requests.push_back(request(list_corrections(options.keyspace), std::move(values)));
  }
  while (!requests.empty()) {
    std::vector<Request> more;
    for (std::size_t begin = 0; begin < requests.size(); begin += kPartitionsAtOnce) {
      const std::size_t end = std::min(requests.size(), begin + kPartitionsAtOnce);
      std::vector<std::future<Answer>> answers;
      for (std::size_t i = begin; i < end; ++i) answers.push_back(submit(requests[i]));
      for (std::size_t i = begin; i < end; ++i) {
        Answer answer = answers[i - begin].get();
        if (!answer.ok()) return error_of(answer);
        CellReader rows(answer.rows);
        for (std::uint32_t row = 0; row < answer.row_count; ++row) {
          Result<store::Correction> correction = read_correction(rows);
          if (!correction) return std::move(correction).error();
          const auto record = by_id.find(correction->record);
          if (record == by_id.end()) continue;
          std::optional<store::Correction>& newest = record->second->correction;
          if (!newest || correction->id > newest->id) newest = *std::move(correction);
        }
        if (answer.next_page.empty()) continue;
        more.push_back(requests[i]);
        more.back().page = std::move(answer.next_page);
      }
    }
    requests = std::move(more);
  }
  return {};
}

Cluster::Cluster(std::unique_ptr<State> state) : state_(std::move(state)) {}
Cluster::~Cluster() = default;

Result<std::unique_ptr<Cluster>> Cluster::open(const ClusterOptions& options) {
  if (Result<void> right = check(options); !right) return std::move(right).error();
  Result<std::unique_ptr<Driver>> driver = Driver::open(options);
  if (!driver) return std::move(driver).error();
  auto state = std::make_unique<State>(options);
  state->driver = *std::move(driver);
  return std::unique_ptr<Cluster>(new Cluster(std::move(state)));
}

Result<void> Cluster::prepare() {
  State& state = *state_;
  if (Result<void> done = state.have_keyspace(); !done) return done;
  for (const Table& table : tables_of(state.options)) {
    if (Result<void> done = state.have_table(table); !done) return done;
  }
  Result<int> buckets = state.have_buckets();
  if (!buckets) return std::move(buckets).error();

  const ClusterOptions& options = state.options;
  auto layout = std::make_shared<State::Layout>();
  layout->buckets = *buckets;
  layout->insert_record = insert_row(options.keyspace, predictions_table(options));
  layout->insert_correction = insert_row(options.keyspace, corrections_table(options));
  layout->insert_day = insert_row(options.keyspace, days_table(options));
  if (!options.plain_table.empty()) {
    layout->insert_plain = insert_row(options.keyspace, plain_table(options));
    layout->erase_plain = erase_plain(options.keyspace, plain_table(options));
  }
  const std::lock_guard lock(state.mutex);
  state.layout = std::move(layout);
  state.known_days.clear();  // whoever checks again may have lost them
  return {};
}

void Cluster::insert(const store::Record& record, Completion done) {
  State& state = *state_;
  const std::shared_ptr<const State::Layout> layout = state.current();
  if (!layout) {
    done({Delivery::retry, not_checked()});
    return;
  }
  const std::optional<std::chrono::seconds> time_to_live = state.time_to_live(record.time);
  if (!time_to_live) {
    done({Delivery::confirmed, {}});
    return;
  }
  std::pair<std::string, Day> day{record.model, day_of(record.id)};
  bool day_known = false;
  {
    const std::lock_guard lock(state.mutex);
    day_known = state.known_days.contains(day);
  }
  const bool plain = !layout->insert_plain.empty();
  auto together = std::make_shared<Together>(1 + !day_known + plain, std::move(done));
  const auto add = [together](Answer answer) { together->add(receipt_of(answer)); };
  if (!day_known) {
    // Readers find a day's records by this row, so it has to be there before any of them counts as confirmed.
    state.driver->submit(state.request(layout->insert_day, day_values(record, *time_to_live)),
                         [together, &state, day = std::move(day)](Answer answer) {
                           if (answer.ok()) {
                             const std::lock_guard lock(state.mutex);
                             state.known_days.insert(day);
                           }
                           together->add(receipt_of(answer));
                         });
  }
  state.driver->submit(state.request(layout->insert_record, record_values(record, layout->buckets,
                                                                          state.options.node, *time_to_live)),
                       add);
  if (plain)
    state.driver->submit(state.request(layout->insert_plain, plain_values(record, *time_to_live)), add);
}

void Cluster::insert(const store::Correction& correction, const std::string& model, Completion done) {
  State& state = *state_;
  const std::shared_ptr<const State::Layout> layout = state.current();
  if (!layout) {
    done({Delivery::retry, not_checked()});
    return;
  }
  // As long as its record.
  const std::optional<std::chrono::seconds> time_to_live = state.time_to_live(time_of(correction.record));
  if (!time_to_live) {
    done({Delivery::confirmed, {}});
    return;
  }
  state.driver->submit(
      state.request(layout->insert_correction,
                    correction_values(correction, model, layout->buckets, state.options.node, *time_to_live)),
      [done = std::move(done)](Answer answer) { done(receipt_of(answer)); });
}

void Cluster::withdraw(const store::Withdrawal& withdrawal, Completion done) {
  State& state = *state_;
  const std::shared_ptr<const State::Layout> layout = state.current();
  if (!layout) {
    done({Delivery::retry, not_checked()});
    return;
  }
  const bool plain = !layout->erase_plain.empty();
  auto together = std::make_shared<Together>(2 + plain, std::move(done));
  const auto add = [together](Answer answer) { together->add(receipt_of(answer)); };
  const std::string& keyspace = state.options.keyspace;
  const CellWriter key = record_key(withdrawal.id, withdrawal.model, layout->buckets);
  state.driver->submit(state.request(erase_record(keyspace), key), add);
  state.driver->submit(state.request(erase_corrections(keyspace), key), add);
  if (plain) state.driver->submit(state.request(layout->erase_plain, plain_key(withdrawal)), add);
}

std::uint64_t Cluster::losses() const { return state_->driver->losses(); }

Receipt Cluster::insert(const store::Record& record) {
  std::promise<Receipt> promise;
  insert(record, [&](Receipt receipt) { promise.set_value(std::move(receipt)); });
  return promise.get_future().get();
}

Partition Cluster::partition_of(const store::Record& record) const {
  const std::shared_ptr<const State::Layout> layout = state_->current();
  assert(layout);
  return {record.model, day_of(record.id), bucket_of(record.id, layout->buckets)};
}

Result<store::Record> Cluster::find(const Uuid& id) {
  State& state = *state_;
  const std::shared_ptr<const State::Layout> layout = state.current();
  if (!layout) return not_checked();
  const Day day = day_of(id);
  const int bucket = bucket_of(id, layout->buckets);
  Result<std::vector<Partition>> partitions = state.partitions(*layout, day, day, std::nullopt);
  if (!partitions) return std::move(partitions).error();
  for (const Partition& partition : *partitions) {
    if (partition.bucket != bucket) continue;
    const Answer answer = state.driver->execute(
        state.request(find_record(state.options.keyspace), record_key(id, partition.model, layout->buckets)));
    if (!answer.ok()) return error_of(answer);
    if (answer.row_count == 0) continue;
    CellReader row(answer.rows);
    Result<store::Record> record = read_record(row);
    if (!record) return record;
    if (Result<void> added = state.add_corrections(*layout, {&*record, 1}); !added)
      return std::move(added).error();
    return record;
  }
  return Error{ErrorCode::not_found, format("there is no record {} in cassandra", to_string(id))};
}

Result<store::Page> Cluster::list(const store::Query& query) {
  State& state = *state_;
  const std::shared_ptr<const State::Layout> layout = state.current();
  if (!layout) return not_checked();
  if (query.limit < 1 || query.limit > 1000) {
    return invalid(format("limit is {}, limits are 1 and 1000", query.limit));
  }
  // An id is made within a day of its record's time, unless the clock was turned.
  const auto day_at = [](Timestamp time) {
    return std::clamp(std::chrono::floor<std::chrono::days>(time), Day{kFirstDay + std::chrono::days{1}},
                      Day{kLastDay - std::chrono::days{1}});
  };
  const Day first = std::max(query.from ? day_at(*query.from) - std::chrono::days{1} : kFirstDay,
                             query.after ? day_of(*query.after) : kFirstDay);
  const Day last = std::min(query.until ? day_at(*query.until) + std::chrono::days{1} : kLastDay,
                            query.before ? day_of(*query.before) : kLastDay);
  Result<std::vector<Partition>> partitions = state.partitions(*layout, first, last, query.model);
  if (!partitions) return std::move(partitions).error();
  if (query.oldest_first) std::reverse(partitions->begin(), partitions->end());

  const auto comes_before = [&](const store::Record& one, const store::Record& other) {
    return query.oldest_first ? one.id < other.id : one.id > other.id;
  };
  const auto end = std::chrono::steady_clock::now() + state.options.list_limit;
  const std::size_t wanted =
      static_cast<std::size_t>(query.limit) + 1;  // one more tells whether there is a next page
  store::Page page;
  for (auto begin = partitions->begin(); begin != partitions->end() && page.records.size() < wanted;) {
    const Day day = begin->day;
    std::vector<Stream> streams;
    for (; begin != partitions->end() && begin->day == day; ++begin) streams.push_back({*begin});
    // Twice a stream's fair share: most pages then need one round of requests.
    const auto page_size = static_cast<std::uint32_t>(8 + 2 * wanted / streams.size());
    while (page.records.size() < wanted) {
      if (std::chrono::steady_clock::now() > end) {
        return Error{
            ErrorCode::unavailable,
            format("cassandra's history could not be searched within {} ms: ask for less, by time and model",
                   state.options.list_limit.count())};
      }
      if (Result<void> done = state.refill(streams, query, page_size); !done) return std::move(done).error();
      Stream* next = nullptr;
      for (Stream& stream : streams) {
        if (stream.records.empty()) continue;
        if (next == nullptr || comes_before(stream.records.front(), next->records.front())) next = &stream;
      }
      if (next == nullptr) break;
      if (matches(next->records.front(), query)) page.records.push_back(std::move(next->records.front()));
      next->records.pop_front();
    }
  }
  if (page.records.size() == wanted) {
    page.records.pop_back();
    page.next = page.records.back().id;
  }
  if (Result<void> added = state.add_corrections(*layout, page.records); !added)
    return std::move(added).error();
  return page;
}

Result<Digest> Cluster::digest(const Partition& partition) {
  State& state = *state_;
  if (!state.current()) return not_checked();
  CellWriter values;
  values.text(partition.model).date(partition.day).integer(static_cast<std::int16_t>(partition.bucket));
  Digest digest;
  Result<void> done = state.read(state.request(list_ids(state.options.keyspace), std::move(values)),
                                 [&](CellReader& row) { digest.add(row.uuid()); });
  if (!done) return std::move(done).error();
  return digest;
}

}  // namespace espy::cassandra
