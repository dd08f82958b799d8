// Retention: what is too old, or too much, goes in steps so short that the commits behind them hardly wait.
// Part of the writer: everything here runs on its thread and its connection.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>

#include "base/clock.h"
#include "base/result.h"
#include "store/chain.h"
#include "store/erase.h"
#include "store/sqlite.h"
#include "store/store.h"

namespace espy::store {

// How often is looked for something to remove.
inline constexpr std::chrono::milliseconds kRetentionInterval{1000};

class Retention {
 public:
  using Steady = std::chrono::steady_clock;

  // Runs `steps`, which return SQLITE_OK or the failure, as one transaction.
  using Transact = std::function<Result<void>(const std::function<int(ChainPoint& head)>& steps)>;

  // What a step did.
  struct Step {
    std::int64_t records = 0;  // removed
    bool did_something = false;
    Steady::duration spent{};
  };

  // `options` must outlive it.
  Retention(const StoreOptions& options, std::chrono::milliseconds interval)
      : options_(options), interval_(interval) {}

  // Whether anything is ever removed.
  bool is_on() const { return options_.max_age || options_.max_bytes; }

  // Lets time begin where it was when the history was last retained, or at the newest record's when it never
  // was (StoreOptions::retention_pace says why). Errors: unavailable.
  Result<void> begin_time(const Connection& connection);

  // When the next step is due beside commits, and when nobody waits.
  Steady::time_point next_under_load() const { return next_; }
  Steady::time_point next_when_idle() const { return lags_ ? Steady::time_point{} : next_; }

  // Removes some of what is too old or too much; when there is nothing of it, gives some free pages back to
  // the disk. Errors: as of `transact`; unavailable.
  Result<Step> step(Connection& connection, Remover& remover, const Transact& transact);

 private:
  struct Pages {
    std::int64_t all;
    std::int64_t free;
    std::int64_t size;  // bytes of one
  };

  static Result<Pages> count_pages(Connection& connection);
  Result<Step> try_step(Connection& connection, Remover& remover, const Transact& transact);
  Result<std::int64_t> remove_expired(Connection& connection, Remover& remover, const Transact& transact);
  // Returns whether there were free pages to give back.
  static Result<bool> shrink(Connection& connection, const Transact& transact);
  Timestamp now();
  // Both use the table `meta`. The second returns SQLITE_OK or the failure.
  static Result<std::optional<Timestamp>> read_kept_time(const Connection& connection);
  int keep_time(const Connection& connection) const;

  const StoreOptions& options_;
  const std::chrono::milliseconds interval_;
  Steady::time_point next_{};
  bool lags_ = false;       // the last step left something to do
  int rows_at_once_ = 128;  // as many as take about a step's time
  Timestamp time_{};        // when it was last asked for, which was:
  Steady::time_point time_asked_{};
  Steady::time_point keep_time_at_{};
};

}  // namespace espy::store
