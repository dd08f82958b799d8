// Makes sure of everything that the write-ahead log holds, whatever happened to it before.
#pragma once

#include "base/result.h"
#include "store/sqlite.h"

namespace espy::store {

// After a failed fsync the system takes what it could not write for written and does not try again (Rebello
// and others, "Can Applications Recover from fsync Failures?", USENIX ATC 2020). So here the log is written
// over itself and synced before any of it is copied: else a loss of power could leave a part of a commit in
// the database and none of it in the log. Then the log is copied, and so is once more what counts as copied:
// SQLite syncs the database only when a copy reaches the log's end, so of an earlier copy that did not, the
// sync may have failed since. Then the log is emptied, unless readers still need it, or even keep some of it
// from being copied.
// The caller's is the only connection that writes or copies. Errors: unavailable, corrupt; then the log is as
// it was. A sector that cannot be read is an error, also in what older logs left behind the end of this one.
Result<void> redo_log(Connection& connection);

}  // namespace espy::store
