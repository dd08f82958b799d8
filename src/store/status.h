// Counts what a history holds, without reading it all.
#pragma once

#include <string>

#include "base/result.h"
#include "store/sqlite.h"
#include "store/store.h"

namespace espy::store {

// As Store::status, but for the writer's own; the caller holds the connection's mutex.
Result<HistoryStatus> read_status(Connection& connection);

// Where the table `meta` keeps a destination's Comparison: "TIME ENTRIES MISSING", the time in microseconds
// since 1970.
std::string comparison_key(const std::string& destination);

// As Outbox::pending; likewise.
Result<Pending> read_pending(const Connection& connection, std::int64_t place);

}  // namespace espy::store
