// Opens a store's database: is it one, of which version, migrated to ours, with the settings that make it
// durable.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "store/chain.h"
#include "store/sqlite.h"

namespace espy::store {

// The version that this program writes: the number of the newest file in migrations/.
inline constexpr std::int64_t kSchemaVersion = 9;

// The one connection that may write. SQLite 3.7.0 to 3.51.2 can corrupt a database that two connections
// checkpoint (sqlite.org/wal.html#walresetbug); Debian 12's 3.40.1 is one of them: who else does so is
// LogKeeper, which says why that is safe. The caller holds the LockFile.
// Creates the file, or migrates it up to `version`. What an earlier process left in the write-ahead log is
// made sure of: redo_log().
// Errors: unavailable (cannot be opened or written, or the settings do not take), corrupt (not a store, or
// newer than this program).
Result<std::unique_ptr<Connection>> open_for_writing(const std::string& path,
                                                     std::int64_t version = kSchemaVersion);

// Returns the end of the chain: the place behind which the next entry goes.
// Errors: unavailable, corrupt.
Result<ChainPoint> read_head(const Connection& connection);

// A connection that never writes and never checkpoints; close it before the writer's.
// Errors: not_found, unavailable (also: older than this program), corrupt.
Result<std::unique_ptr<Connection>> open_for_reading(const std::string& path);

// A database of the process's own memory, for reading and writing.
Result<std::unique_ptr<Connection>> open_in_memory();

}  // namespace espy::store
