#include "store/backup.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "base/format.h"
#include "store/verify.h"

namespace espy::store {
namespace {

// Pages that are copied at once: 1 MiB. Commits beside a backup wait for the disk behind each such piece.
constexpr int kPagesAtOnce = 128;

// Removes what was begun unless it was finished.
class Part {
 public:
  explicit Part(std::filesystem::path path) : path_(std::move(path)) {}
  Part(const Part&) = delete;
  Part& operator=(const Part&) = delete;
  ~Part() {
    std::error_code error;
    if (!finished_) std::filesystem::remove(path_, error);
  }
  void finish() { finished_ = true; }

 private:
  const std::filesystem::path path_;
  bool finished_ = false;
};

Error cannot_write(const std::filesystem::path& path) {
  return {ErrorCode::unavailable, format("cannot write {}: {}", path.string(), std::strerror(errno))};
}

Result<void> sync(const std::filesystem::path& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return cannot_write(path);
  const bool synced = ::fsync(file) == 0;
  const int reason = errno;
  ::close(file);
  errno = reason;
  if (!synced) return cannot_write(path);
  return {};
}

// Copies all pages of one moment: the transaction holds that moment, so that appends do not start it anew.
Result<void> copy_pages(Connection& source, Connection& target) {
  if (auto begun = source.execute("BEGIN; SELECT count(*) FROM sqlite_schema;", "read"); !begun) return begun;
  sqlite3_backup* const backup = sqlite3_backup_init(target.get(), "main", source.get(), "main");
  int status = backup == nullptr ? SQLITE_ERROR : SQLITE_OK;
  // Synced as it goes, and with pauses: else the disk would have no time for the commits beside it.
  while (status == SQLITE_OK) {
    const auto begin = std::chrono::steady_clock::now();
    status = sqlite3_backup_step(backup, kPagesAtOnce);
    if (status == SQLITE_OK) status = File::database(target).sync();
    if (status == SQLITE_OK) std::this_thread::sleep_for(std::chrono::steady_clock::now() - begin);
  }
  sqlite3_backup_finish(backup);
  Result<void> copied;
  if (status != SQLITE_DONE) copied = target.error("write", status);
  if (auto ended = source.execute("COMMIT", "read"); !ended) return ended;
  return copied;
}

}  // namespace

Result<Verification> backup(Connection& source, const std::filesystem::path& path) {
  std::error_code error;
  const std::filesystem::path target = std::filesystem::absolute(path, error);
  if (std::filesystem::exists(target, error)) {
    return Error{ErrorCode::invalid_input,
                 format("{} exists; a backup is written under a new name", target.string())};
  }
  const std::filesystem::path part_path = target.string() + ".part";
  std::filesystem::remove(part_path, error);
  Part part(part_path);
  Result<Verification> found = Verification{};
  {
    auto opened = Connection::open(part_path.string(), SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    if (!opened) return std::move(opened).error();
    // A part that a crash leaves is thrown away, so it needs no journal; what is complete is synced below.
    const Result<void> set = (*opened)->execute("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;", "set up");
    if (!set) return set.error();
    if (auto copied = copy_pages(source, **opened); !copied) return std::move(copied).error();
    // The copy says that it has a write-ahead log, as its source; it is one file and has none.
    const Result<void> alone = (*opened)->execute("PRAGMA journal_mode=DELETE;", "finish");
    if (!alone) return alone.error();
    found = verify(**opened, std::nullopt);
  }
  if (!found) return found;
  if (found->damages > 0) {
    return Error{ErrorCode::corrupt,
                 format("the history is damaged, so is its copy: {}", found->shown_damages.front())};
  }
  if (auto synced = sync(part_path); !synced) return std::move(synced).error();
  if (::rename(part_path.c_str(), target.c_str()) != 0) return cannot_write(target);
  part.finish();
  if (auto synced = sync(target.parent_path()); !synced) return std::move(synced).error();
  return found;
}

}  // namespace espy::store
