#include "store/retention.h"

#include <algorithm>
#include <charconv>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/format.h"

namespace espy::store {
namespace {

// A step stands in the way of the commits behind it, so what it does before its own commit is short, and
// under load the steps have a fifth of the time at most.
constexpr std::chrono::milliseconds kStep{2};
constexpr int kShare = 5;
constexpr int kFewestRowsAtOnce = 128;
constexpr int kMostRowsAtOnce = 1024;

// Free pages are given back to the disk when they are more than a tenth of all and more than 8 MiB; fewer are
// used again soon.
constexpr std::int64_t kFreePages = 1024;
constexpr int kFreePart = 10;
constexpr int kPagesAtOnce = 64;

// Where time has got to is kept this often, so that it goes back by no more when the history is opened again.
constexpr std::chrono::minutes kBetweenKeptTimes{1};
constexpr std::string_view kKeptTime = "retention_time";

}  // namespace

// The newest record may have been made while the clock was wrong, so it counts only when nothing better is
// known. Of records whose ids say nothing of their time there is none to be had cheaply.
Result<void> Retention::begin_time(const Connection& connection) {
  time_ = options_.clock();
  time_asked_ = Steady::now();
  // Not at once: whoever carries the history elsewhere opens an outbox first, behind which nothing may be
  // removed.
  next_ = time_asked_ + interval_;
  const Result<std::optional<Timestamp>> kept = read_kept_time(connection);
  if (!kept) return kept.error();
  if (*kept) {
    time_ = std::min(time_, **kept);
    return {};
  }
  Result<Statement> newest = Statement::prepare(
      connection, "SELECT time FROM record INDEXED BY record_page WHERE astray = 0 ORDER BY id DESC LIMIT 1");
  if (!newest) return std::move(newest).error();
  const int status = newest->step();
  if (status != SQLITE_ROW && status != SQLITE_DONE) return connection.error("read");
  if (status == SQLITE_ROW) time_ = std::min(time_, Timestamp(std::chrono::microseconds(newest->integer(0))));
  return {};
}

Result<std::optional<Timestamp>> Retention::read_kept_time(const Connection& connection) {
  Result<Statement> select = Statement::prepare(connection, "SELECT value FROM meta WHERE key = ?1");
  if (!select) return std::move(select).error();
  select->bind(1, kKeptTime);
  const int status = select->step();
  if (status != SQLITE_ROW && status != SQLITE_DONE) return connection.error("read");
  if (status == SQLITE_DONE) return std::optional<Timestamp>();
  const std::string_view text = select->text(0);
  std::int64_t microseconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), microseconds);
  if (error != std::errc() || end != text.data() + text.size()) {
    return Error{ErrorCode::corrupt, format("the time of retention is \"{}\", must be a number", text)};
  }
  return std::optional(Timestamp(std::chrono::microseconds(microseconds)));
}

int Retention::keep_time(const Connection& connection) const {
  Result<Statement> insert = Statement::prepare(connection, "INSERT OR REPLACE INTO meta VALUES (?1, ?2)");
  if (!insert) return sqlite3_errcode(connection.get());
  const std::string value = format("{}", time_.time_since_epoch().count());
  insert->bind(1, kKeptTime);
  insert->bind(2, std::string_view(value));
  return insert->run();
}

Timestamp Retention::now() {
  const Steady::time_point asked = Steady::now();
  const auto passed =
      std::chrono::duration_cast<std::chrono::microseconds>(asked - std::exchange(time_asked_, asked));
  time_ = std::min(options_.clock(), time_ + options_.retention_pace * passed);
  return time_;
}

Result<Retention::Step> Retention::step(Connection& connection, Remover& remover, const Transact& transact) {
  const Steady::time_point begin = Steady::now();
  Result<Step> step = try_step(connection, remover, transact);
  const Steady::time_point end = Steady::now();
  lags_ = step && step->did_something;
  next_ = end + (lags_ ? (kShare - 1) * (end - begin) : Steady::duration(interval_));
  if (step) step->spent = end - begin;
  return step;
}

Result<Retention::Step> Retention::try_step(Connection& connection, Remover& remover,
                                            const Transact& transact) {
  const Result<std::int64_t> removed = remove_expired(connection, remover, transact);
  if (!removed) return removed.error();
  if (*removed > 0) return Step{.records = *removed, .did_something = true};
  const Result<bool> shrunk = shrink(connection, transact);
  if (!shrunk) return shrunk.error();
  return Step{.did_something = *shrunk};
}

// Removes one step's worth of what is too old or too much, and returns how many records that were.
Result<std::int64_t> Retention::remove_expired(Connection& connection, Remover& remover,
                                               const Transact& transact) {
  bool too_large = false;
  if (options_.max_bytes) {
    const std::lock_guard lock(connection.mutex());
    const Result<Pages> pages = count_pages(connection);
    if (!pages) return pages.error();
    too_large = static_cast<std::uint64_t>((pages->all - pages->free) * pages->size) > *options_.max_bytes;
  }
  std::optional<Timestamp> until;
  if (options_.max_age) until = now() - *options_.max_age;
  if (!until && !too_large) return std::int64_t{0};
  const bool keeps_time = until && Steady::now() >= keep_time_at_;
  Remover::Step step;
  Steady::duration spent{};  // without the commit, whose fsync takes what it takes
  const Result<void> committed = transact([&](ChainPoint&) {
    const Steady::time_point begin = Steady::now();
    int status = remover.begin();
    if (status == SQLITE_OK && until) status = remover.remove_older(*until, rows_at_once_, step);
    if (status == SQLITE_OK && too_large && step.records == 0) {
      status = remover.remove_oldest(rows_at_once_, step);
    }
    if (status == SQLITE_OK && step.records > 0) status = remover.end(step, {});
    if (status == SQLITE_OK && keeps_time) status = keep_time(connection);
    spent = Steady::now() - begin;
    return status;
  });
  if (!committed) return committed.error();
  if (keeps_time) keep_time_at_ = Steady::now() + kBetweenKeptTimes;
  if (step.records > 0 && spent < kStep / 2) rows_at_once_ = std::min(2 * rows_at_once_, kMostRowsAtOnce);
  if (step.records > 0 && spent > kStep) rows_at_once_ = std::max(rows_at_once_ / 2, kFewestRowsAtOnce);
  return step.records;
}

Result<bool> Retention::shrink(Connection& connection, const Transact& transact) {
  {
    const std::lock_guard lock(connection.mutex());
    const Result<Pages> pages = count_pages(connection);
    if (!pages) return pages.error();
    if (pages->free <= kFreePages || pages->free <= pages->all / kFreePart) return false;
  }
  const Result<void> shrunk = transact([&](ChainPoint&) {
    const std::string give_back = format("PRAGMA incremental_vacuum({})", kPagesAtOnce);
    return sqlite3_exec(connection.get(), give_back.c_str(), nullptr, nullptr, nullptr);
  });
  if (!shrunk) return shrunk.error();
  return true;
}

Result<Retention::Pages> Retention::count_pages(Connection& connection) {
  Result<Statement> count = Statement::prepare(
      connection,
      "SELECT page_count, freelist_count, page_size FROM pragma_page_count, pragma_freelist_count,"
      " pragma_page_size");
  if (!count) return std::move(count).error();
  if (count->step() != SQLITE_ROW) return connection.error("read");
  return Pages{count->integer(0), count->integer(1), count->integer(2)};
}

}  // namespace espy::store
