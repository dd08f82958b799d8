// Looking back: one record, a page of them, what a partition has.
#include <algorithm>
#include <chrono>
#include <deque>
#include <future>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "base/format.h"
#include "cassandra/cluster_state.h"

namespace espy::cassandra {

// What is read of a partition, newest first, page by page.
struct Stream {
  Partition partition;
  std::string page = {};
  bool more = true;
  std::deque<store::Record> records = {};
};

namespace {

constexpr std::size_t kPartitionsAtOnce = 256;  // are asked for a page at the same time
constexpr Day kFirstDay{};
constexpr Day kLastDay{std::chrono::days{3'257'812}};  // the last that an id's 48 bits of milliseconds reach

// Not below any identifier of version 7.
constexpr Uuid kLastId{
    {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xbf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

bool matches(const store::Record& record, const store::Query& query) {
  return (!query.from || record.time >= *query.from) && (!query.until || record.time < *query.until) &&
         (!query.label || record.label == *query.label) &&
         (!query.min_confidence || record.confidence >= *query.min_confidence) &&
         (!query.max_confidence || record.confidence <= *query.max_confidence) &&
         (!query.file_name || record.file_name == *query.file_name) &&
         (!query.subject || record.subject == *query.subject) &&
         (!query.before || record.id < *query.before) && (!query.after || record.id > *query.after);
}

}  // namespace

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
    return Error{ErrorCode::invalid_input, format("limit is {}, limits are 1 and 1000", query.limit)};
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

Result<std::vector<Uuid>> Cluster::ids(Kind kind, const Partition& partition, const Uuid& first,
                                       const Uuid& last) {
  State& state = *state_;
  if (!state.current()) return not_checked();
  const std::string& keyspace = state.options.keyspace;
  CellWriter values;
  values.text(partition.model)
      .date(partition.day)
      .integer(static_cast<std::int16_t>(partition.bucket))
      .uuid(first)
      .uuid(last);
  std::vector<Uuid> ids;
  Result<void> done =
      state.read(state.request(kind == Kind::records ? list_ids(keyspace) : list_correction_ids(keyspace),
                               std::move(values)),
                 [&](CellReader& row) { ids.push_back(row.uuid()); });
  if (!done) return std::move(done).error();
  std::sort(ids.begin(), ids.end());
  return ids;
}

}  // namespace espy::cassandra
