#include "store/redo_log.h"

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

namespace espy::store {
namespace {

// The log's format: sqlite.org/fileformat2.html#walformat.
constexpr std::int64_t kHeaderBytes = 32;
constexpr std::int64_t kPageSizeAt = 8;
constexpr std::int64_t kFrameHeaderBytes = 24;

// SQLite itself writes pages, of 64 KiB at most, and its VFS takes the size of a write modulo 128 KiB
// (os_unix.c).
constexpr std::size_t kBytesAtOnce = std::size_t{1} << 16;

// A big-endian number of 32 bits.
int read_number(const File& file, std::int64_t offset, std::uint32_t& number) {
  std::uint8_t bytes[4];
  const int status = file.read(bytes, offset);
  number =
      std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 | std::uint32_t{bytes[2]} << 8 | bytes[3];
  return status;
}

int write_over_itself(const File& log) {
  std::int64_t size = 0;
  int status = log.size(size);
  if (size == 0) return status;
  std::vector<std::uint8_t> buffer(std::min(kBytesAtOnce, static_cast<std::size_t>(size)));
  for (std::int64_t offset = 0; offset < size && status == SQLITE_OK;) {
    const std::span part =
        std::span(buffer).first(std::min(buffer.size(), static_cast<std::size_t>(size - offset)));
    status = log.read(part, offset);
    if (status == SQLITE_OK) status = log.write(part, offset);
    offset += static_cast<std::int64_t>(part.size());
  }
  return status == SQLITE_OK ? log.sync() : status;
}

// Writes the pages of the log's first `frames` into the database once more.
int copy_again(const File& log, const File& database, int frames) {
  if (frames <= 0) return SQLITE_OK;
  std::uint32_t page_size = 0;
  int status = read_number(log, kPageSizeAt, page_size);
  const std::int64_t page_bytes = page_size;
  std::unordered_map<std::uint32_t, std::int64_t> newest;  // where in the log each page is
  for (std::int64_t frame = 0; frame < frames && status == SQLITE_OK; ++frame) {
    const std::int64_t offset = kHeaderBytes + frame * (kFrameHeaderBytes + page_bytes);
    std::uint32_t page = 0;
    status = read_number(log, offset, page);
    newest[page] = offset + kFrameHeaderBytes;
  }
  std::int64_t size = 0;
  if (status == SQLITE_OK) status = database.size(size);
  std::vector<std::uint8_t> content(page_size);
  for (const auto& [page, offset] : newest) {
    const std::int64_t place = (std::int64_t{page} - 1) * page_bytes;
    // The database has become shorter since, or a newer frame of the page stands behind those.
    if (place + page_bytes > size) continue;
    if (status == SQLITE_OK) status = log.read(content, offset);
    if (status == SQLITE_OK) status = database.write(content, place);
  }
  return status == SQLITE_OK ? database.sync() : status;
}

}  // namespace

Result<void> redo_log(Connection& connection) {
  // A database that has just been put into this mode opens its log when it is first read.
  if (auto read = connection.value("SELECT count(*) FROM sqlite_schema", "recover"); !read)
    return read.error();
  const File log = File::log(connection);
  assert(log.is_open());
  int status = write_over_itself(log);
  int copied = 0;
  if (status == SQLITE_OK) status = checkpoint(connection, SQLITE_CHECKPOINT_PASSIVE, copied);
  if (status == SQLITE_OK) status = copy_again(log, File::database(connection), copied);
  if (status == SQLITE_OK) {
    status = checkpoint(connection, SQLITE_CHECKPOINT_TRUNCATE, copied);
    if ((status & 0xff) == SQLITE_BUSY) status = SQLITE_OK;
  }
  if (status != SQLITE_OK) return connection.error("recover", status);
  return {};
}

}  // namespace espy::store
