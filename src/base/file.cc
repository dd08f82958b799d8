#include "base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/format.h"
#include "base/huge_pages.h"

namespace espy {
namespace {

// Owns one file descriptor.
class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (value_ > STDERR_FILENO) ::close(value_);
  }
  int get() const { return value_; }

 private:
  int value_;
};

Error system_error(ErrorCode code, const char* what, const std::filesystem::path& path, int reason) {
  return {code, format("cannot {} {}: {}", what, path.string(), std::strerror(reason))};
}

Result<void> write_all(int file, std::span<const std::byte> bytes, const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return system_error(ErrorCode::unavailable, "write", path, errno);
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
  return {};
}

}  // namespace

Result<std::string> read_file(const std::filesystem::path& path, std::size_t max_bytes) {
  const Descriptor file(path == "-" ? STDIN_FILENO : ::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) {
    return system_error(errno == ENOENT ? ErrorCode::not_found : ErrorCode::unavailable, "read", path, errno);
  }
  std::string bytes;
  struct stat status;
  if (::fstat(file.get(), &status) == 0 && S_ISREG(status.st_mode)) {
    bytes.reserve(std::min(static_cast<std::size_t>(status.st_size), max_bytes));
    prefer_huge_pages(bytes.data(), bytes.capacity());
  }
  std::array<char, 1 << 16> part;
  while (true) {
    const ssize_t count = ::read(file.get(), part.data(), part.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      return system_error(errno == EISDIR ? ErrorCode::invalid_input : ErrorCode::unavailable, "read", path,
                          errno);
    }
    if (count == 0) return bytes;
    if (bytes.size() + static_cast<size_t>(count) > max_bytes) {
      return Error{ErrorCode::too_large, format("{} is larger than {} bytes", path.string(), max_bytes)};
    }
    bytes.append(part.data(), static_cast<size_t>(count));
  }
}

Result<void> write_file(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  std::string temporary = (folder / ("." + path.filename().string() + ".XXXXXX")).string();
  Result<void> written;
  {
    const Descriptor file(::mkostemp(temporary.data(), O_CLOEXEC));
    if (file.get() < 0) return system_error(ErrorCode::unavailable, "write", path, errno);
    written = write_all(file.get(), bytes, path);
    // mkostemp makes the file private; a saved model is as readable as any other new file.
    if (written && ::fchmod(file.get(), 0644) != 0) {
      written = system_error(ErrorCode::unavailable, "write", path, errno);
    }
    if (written && ::fsync(file.get()) != 0)
      written = system_error(ErrorCode::unavailable, "write", path, errno);
  }
  if (written && ::rename(temporary.c_str(), path.c_str()) != 0) {
    written = system_error(ErrorCode::unavailable, "write", path, errno);
  }
  if (!written) {
    ::unlink(temporary.c_str());
    return written;
  }
  const Descriptor parent(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (parent.get() < 0 || ::fsync(parent.get()) != 0) {
    return system_error(ErrorCode::unavailable, "write", folder, errno);
  }
  return {};
}

}  // namespace espy
