// Looking back, perhaps over more than one store.
#pragma once

#include <string>

#include "base/result.h"
#include "store/store.h"

namespace espy::store {

struct Listing {
  Page page;
  std::string missing;  // why some of the history could not be read; empty: all of it was
};

// Threads: all functions may be called from any thread at once. They may wait for a network.
class History {
 public:
  virtual ~History() = default;

  // As Store::list and Store::find.
  virtual Result<Listing> list(const Query& query) = 0;
  virtual Result<Record> find(const Uuid& id) = 0;
};

}  // namespace espy::store
