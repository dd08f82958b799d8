#include "base/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/format.h"
#include "base/huge_pages.h"

namespace espy {
namespace {

Error system_error(ErrorCode code, const char* what, const std::filesystem::path& path, int reason) {
  return {code, format("cannot {} {}: {}", what, path.string(), std::strerror(reason))};
}

// Opens the file for writing, which is locked against other writers and empty. `path` is what is told in an
// error.
Result<Descriptor> open_part(const std::filesystem::path& part, const std::filesystem::path& path) {
  while (true) {
    Descriptor file(::open(part.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644));
    if (file.get() < 0) return system_error(ErrorCode::unavailable, "write", path, errno);
    if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK) return system_error(ErrorCode::unavailable, "write", path, errno);
      return Error{ErrorCode::unavailable, format("cannot write {}: it is being written already, to {}",
                                                  path.string(), part.string())};
    }
    // Between the two calls another writer may have finished, and what is open here is its result.
    struct stat opened {};
    struct stat named {};
    if (::fstat(file.get(), &opened) != 0) {
      return system_error(ErrorCode::unavailable, "write", path, errno);
    }
    if (::stat(part.c_str(), &named) != 0 || named.st_ino != opened.st_ino) continue;
    if (::ftruncate(file.get(), 0) != 0) {
      return system_error(ErrorCode::unavailable, "write", path, errno);
    }
    return file;
  }
}

}  // namespace

Result<std::string> read_file(const std::filesystem::path& path, std::size_t max_bytes) {
  const Descriptor file(path == "-" ? ::dup(STDIN_FILENO) : ::open(path.c_str(), O_RDONLY | O_CLOEXEC));
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

Result<NewFile> NewFile::create(const std::filesystem::path& path) {
  std::filesystem::path part = path;
  part.replace_filename("." + path.filename().string() + ".part");
  Result<Descriptor> file = open_part(part, path);
  if (!file) return std::move(file).error();
  return NewFile(path, std::move(part), *std::move(file));
}

NewFile::NewFile(std::filesystem::path path, std::filesystem::path part, Descriptor file)
    : path_(std::move(path)), part_(std::move(part)), file_(std::move(file)) {}

NewFile::~NewFile() {
  if (file_.get() >= 0) ::unlink(part_.c_str());
}

Result<void> NewFile::append(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file_.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return system_error(ErrorCode::unavailable, "write", path_, errno);
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
  return {};
}

Result<void> NewFile::finish() {
  if (::fsync(file_.get()) != 0 || ::rename(part_.c_str(), path_.c_str()) != 0) {
    return system_error(ErrorCode::unavailable, "write", path_, errno);
  }
  const Descriptor complete(std::move(file_));
  const std::filesystem::path folder = path_.has_parent_path() ? path_.parent_path() : ".";
  const Descriptor parent(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (parent.get() < 0 || ::fsync(parent.get()) != 0) {
    return system_error(ErrorCode::unavailable, "write", folder, errno);
  }
  return {};
}

Result<void> write_file(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  Result<NewFile> file = NewFile::create(path);
  if (!file) return std::move(file).error();
  if (auto written = file->append(bytes); !written) return written;
  return file->finish();
}

}  // namespace espy
