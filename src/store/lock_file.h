// Keeps a second writer away from a store.
#pragma once

#include <string>
#include <utility>

#include "base/descriptor.h"
#include "base/result.h"

namespace espy::store {

// Holds flock(2) on the side file "PATH-lock" (on the database itself it would meet SQLite's own locks). The
// system lets go when the process dies. The file stays: to remove it would let two processes hold two locks
// of one name.
class LockFile {
 public:
  // Errors: unavailable (another opener holds it, named by its process id; or the file cannot be made).
  static Result<LockFile> take(const std::string& store_path);

 private:
  explicit LockFile(Descriptor descriptor) : descriptor_(std::move(descriptor)) {}

  Descriptor descriptor_;
};

}  // namespace espy::store
