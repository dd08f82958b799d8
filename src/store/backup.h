// A copy of a history that is in use.
#pragma once

#include <filesystem>

#include "base/result.h"
#include "store/sqlite.h"
#include "store/store.h"

namespace espy::store {

// As Store::backup, on a connection that nothing else uses meanwhile; the caller holds its mutex.
Result<Verification> backup(Connection& source, const std::filesystem::path& path);

}  // namespace espy::store
