// Reads a whole history and says what does not fit.
#pragma once

#include <optional>

#include "base/result.h"
#include "store/chain.h"
#include "store/sqlite.h"
#include "store/store.h"

namespace espy::store {

// As Store::verify, on a connection that nothing else uses meanwhile; the caller holds its mutex.
Result<Verification> verify(Connection& connection, const std::optional<ChainPoint>& known);

}  // namespace espy::store
