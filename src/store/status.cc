#include "store/status.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <string_view>
#include <utility>

#include "base/format.h"
#include "store/row.h"
#include "store/schema.h"

namespace espy::store {

namespace {

Result<std::optional<Comparison>> read_comparison(const Connection& connection,
                                                  const std::string& destination) {
  Result<Statement> select = Statement::prepare(connection, "SELECT value FROM meta WHERE key = ?1");
  if (!select) return std::move(select).error();
  const std::string key = comparison_key(destination);
  select->bind(1, std::string_view(key));
  const int status = select->step();
  if (status == SQLITE_DONE) return std::optional<Comparison>{};
  if (status != SQLITE_ROW) return connection.error("read");
  std::array<std::int64_t, 3> numbers{};
  const std::string_view text = select->text(0);
  const char* begin = text.data();
  const char* const end = text.data() + text.size();
  for (std::int64_t& number : numbers) {
    const auto [stop, error] = std::from_chars(begin, end, number);
    if (error != std::errc{}) {
      return Error{ErrorCode::corrupt, format("{} of store {} is \"{}\", wanted are three numbers", key,
                                              connection.path(), text)};
    }
    begin = stop == end ? stop : stop + 1;
  }
  return std::optional(Comparison{Timestamp(std::chrono::microseconds(numbers[0])), numbers[1], numbers[2]});
}

Result<std::vector<DestinationStatus>> read_destinations(const Connection& connection) {
  Result<Statement> select = Statement::prepare(
      connection,
      "SELECT destination, settled_seq,"
      " (SELECT count(*) FROM dead_letter AS dead WHERE dead.destination = destination.destination),"
      " (SELECT count(*) FROM withdrawal AS gone WHERE gone.destination = destination.destination)"
      " FROM destination ORDER BY destination");
  if (!select) return std::move(select).error();
  std::vector<DestinationStatus> all;
  int status = select->step();
  for (; status == SQLITE_ROW; status = select->step()) {
    DestinationStatus one;
    one.name = select->text(0);
    one.settled = select->integer(1);
    one.dead_letters = select->integer(2);
    one.withdrawals = select->integer(3);
    Result<Pending> pending = read_pending(connection, one.settled);
    if (!pending) return std::move(pending).error();
    one.pending = *pending;
    Result<std::optional<Comparison>> comparison = read_comparison(connection, one.name);
    if (!comparison) return std::move(comparison).error();
    one.comparison = *comparison;
    all.push_back(std::move(one));
  }
  if (status != SQLITE_DONE) return connection.error("read");
  return all;
}

}  // namespace

Result<HistoryStatus> read_status(Connection& connection) {
  HistoryStatus found;
  // Places are numbered without a gap, so that what is no correction, erasure or removed one is a record. One
  // statement, so that it is of one moment.
  Result<Statement> counts = Statement::prepare(
      connection,
      "SELECT start_seq, start_link, expired_records, erased_records_in_all,"
      " (SELECT count(*) FROM correction WHERE correction_seq > start_seq),"
      " (SELECT count(*) FROM erasure WHERE erasure_seq > start_seq), (SELECT count(*) FROM erasure),"
      " (SELECT count(*) FROM removed),"
      " max(start_seq, ifnull((SELECT max(seq) FROM record), 0),"
      "     ifnull((SELECT max(correction_seq) FROM correction), 0),"
      "     ifnull((SELECT max(erasure_seq) FROM erasure), 0),"
      "     ifnull((SELECT max(removed_seq) FROM removed), 0)),"
      " (SELECT time FROM record INDEXED BY record_page ORDER BY id LIMIT 1),"
      " (SELECT time FROM record INDEXED BY record_page ORDER BY id DESC LIMIT 1),"
      " (SELECT page_count FROM pragma_page_count), (SELECT freelist_count FROM pragma_freelist_count),"
      " (SELECT page_size FROM pragma_page_size) FROM chain_start");
  if (!counts) return std::move(counts).error();
  if (counts->step() != SQLITE_ROW) return connection.error("read");
  found.start.seq = counts->integer(0);
  const auto link = counts->blob(1);
  std::copy_n(link.begin(), std::min(link.size(), found.start.link.size()), found.start.link.begin());
  found.expired_records = counts->integer(2);
  found.erased_records = counts->integer(3);
  found.corrections = counts->integer(4);
  found.erasures = counts->integer(6);
  const std::int64_t last = counts->integer(8);
  found.records = last - found.start.seq - found.corrections - counts->integer(5) - counts->integer(7);
  const auto time = [&](int column) -> std::optional<Timestamp> {
    if (counts->is_null(column)) return {};
    return Timestamp(std::chrono::microseconds(counts->integer(column)));
  };
  found.oldest = time(9);
  found.newest = time(10);
  const auto page_size = static_cast<std::uint64_t>(counts->integer(13));
  found.free_bytes = static_cast<std::uint64_t>(counts->integer(12)) * page_size;
  found.bytes = static_cast<std::uint64_t>(counts->integer(11)) * page_size - found.free_bytes;
  counts->reset();

  Result<ChainPoint> head = read_head(connection);
  if (!head) return std::move(head).error();
  found.head = *head;

  Result<Statement> erasures = Statement::prepare(
      connection, format("SELECT {} FROM erasure ORDER BY erasure_seq DESC LIMIT 10", kErasureColumns));
  if (!erasures) return std::move(erasures).error();
  int status = erasures->step();
  for (; status == SQLITE_ROW; status = erasures->step()) {
    found.newest_erasures.push_back(read_erasure(*erasures, 0));
  }
  if (status != SQLITE_DONE) return connection.error("read");

  Result<std::vector<DestinationStatus>> destinations = read_destinations(connection);
  if (!destinations) return std::move(destinations).error();
  found.destinations = *std::move(destinations);
  return found;
}

std::string comparison_key(const std::string& destination) { return format("comparison {}", destination); }

Result<Pending> read_pending(const Connection& connection, std::int64_t place) {
  Result<Statement> select =
      Statement::prepare(connection,
                         "SELECT max(?1, start_seq, ifnull((SELECT max(seq) FROM record), 0),"
                         "           ifnull((SELECT max(correction_seq) FROM correction), 0),"
                         "           ifnull((SELECT max(erasure_seq) FROM erasure), 0),"
                         "           ifnull((SELECT max(removed_seq) FROM removed), 0)) - max(?1, start_seq)"
                         " - (SELECT count(*) FROM erasure WHERE erasure_seq > max(?1, start_seq))"
                         " - (SELECT count(*) FROM removed WHERE removed_seq > ?1),"
                         " (SELECT time FROM record WHERE seq > ?1 ORDER BY seq LIMIT 1) FROM chain_start");
  if (!select) return std::move(select).error();
  select->bind(1, place);
  if (select->step() != SQLITE_ROW) return connection.error("read");
  Pending pending{.entries = select->integer(0)};
  if (!select->is_null(1)) pending.oldest = Timestamp(std::chrono::microseconds(select->integer(1)));
  return pending;
}

}  // namespace espy::store
