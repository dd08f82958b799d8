#include "store/lock_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "base/format.h"

namespace espy::store {
namespace {

// The holder's process id, as it left it in the file; "?" when it has not yet.
std::string holder(int descriptor) {
  std::array<char, 16> text;
  const ssize_t size = ::pread(descriptor, text.data(), text.size(), 0);
  return size > 0 ? std::string(text.data(), static_cast<size_t>(size)) : "?";
}

}  // namespace

Result<LockFile> LockFile::take(const std::string& store_path) {
  const std::string path = store_path + "-lock";
  Descriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (file.get() < 0) {
    return Error{ErrorCode::unavailable, format("store {} cannot be written: cannot open {}: {}", store_path,
                                                path, std::strerror(errno))};
  }
  if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) {
      return Error{ErrorCode::unavailable, format("store {} cannot be written: cannot lock {}: {}",
                                                  store_path, path, std::strerror(errno))};
    }
    return Error{ErrorCode::unavailable, format("another espy (process {}) writes to store {}; it holds {}",
                                                holder(file.get()), store_path, path)};
  }
  // For the message above only; the lock holds without it.
  const std::string self = format("{}", ::getpid());
  if (::ftruncate(file.get(), 0) == 0) {
    [[maybe_unused]] const ssize_t written = ::pwrite(file.get(), self.data(), self.size(), 0);
  }
  return LockFile(std::move(file));
}

}  // namespace espy::store
