// SQLite's connections and statements as values that close themselves.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace espy::store {

// One connection.
// Threads: one at a time, which holds mutex().
class Connection {
 public:
  // `flags` are SQLITE_OPEN_...; `path` is absolute (so that it is never taken for a URI) or ":memory:".
  // Errors: unavailable, with the system's reason.
  static Result<std::unique_ptr<Connection>> open(const std::string& path, int flags);

  sqlite3* get() const { return handle_.get(); }
  const std::string& path() const { return path_; }
  std::mutex& mutex() { return mutex_; }

  // Runs every statement of the text. Errors: as error().
  Result<void> execute(const std::string& sql, std::string_view purpose);

  // Runs a statement that returns one value. Errors: as error().
  Result<std::string> value(const std::string& sql, std::string_view purpose);

  // The latest failure as "cannot <purpose> store <path>: <reason>": corrupt when the file's content is to
  // blame, else unavailable.
  Error error(std::string_view purpose) const;
  // The same of a failure that SQLite, or a File, has returned.
  Error error(std::string_view purpose, int status) const;

 private:
  struct Close {
    void operator()(sqlite3* handle) const { sqlite3_close(handle); }
  };

  Connection(sqlite3* handle, std::string path) : handle_(handle), path_(std::move(path)) {}

  std::unique_ptr<sqlite3, Close> handle_;
  std::string path_;
  std::mutex mutex_;
};

// How long a connection waits for another's short hold on the file: opening, recovery.
inline constexpr int kBusyMilliseconds = 5000;

// Checkpoints in that mode (SQLITE_CHECKPOINT_...). One that waits for readers gives up after 20 ms, because
// appends wait behind it. Sets how many frames of the log are in the database then. Returns SQLITE_OK or the
// failure.
int checkpoint(Connection& connection, int mode, int& copied);

// Whether the connection, when it is the last one that is closed, leaves the log behind as it is, instead of
// copying it into the database and removing it as SQLite does by itself.
void leave_log(Connection& connection, bool leaves = true);

// A file that a connection has open, below SQLite's own reading and writing. To open the same file once more
// would not do: when that is closed, this process loses all its locks on it (POSIX, fcntl). Functions return
// SQLITE_OK or the failure; offsets and sizes are bytes. Threads: the connection's.
class File {
 public:
  static File database(const Connection& connection);
  static File log(const Connection& connection);  // the write-ahead log

  // A database in memory has neither file.
  bool is_open() const { return file_ != nullptr && file_->pMethods != nullptr; }

  int size(std::int64_t& bytes) const;
  int read(std::span<std::uint8_t> into, std::int64_t offset) const;
  int write(std::span<const std::uint8_t> bytes, std::int64_t offset) const;
  int sync() const;

 private:
  explicit File(sqlite3_file* file) : file_(file) {}

  sqlite3_file* file_;
};

// One prepared statement. It must not outlive its connection; parameters and columns count as SQLite counts
// them, from 1 and from 0.
class Statement {
 public:
  Statement() = default;

  static Result<Statement> prepare(const Connection& connection, std::string_view sql);

  // Values are not copied: they must live until the next reset(). A failure is returned by the next step().
  void bind(int parameter, std::int64_t value);
  void bind(int parameter, double value);
  void bind(int parameter, std::string_view value);
  void bind(int parameter, std::span<const std::uint8_t> value);
  void bind_null(int parameter);

  // Returns SQLITE_ROW, SQLITE_DONE, or the failure.
  int step();

  // Ends the statement's run and with it, outside a transaction, its hold on the file.
  void reset();

  // Runs a statement that returns no row. Returns SQLITE_OK or the failure.
  int run();

  // The current row's values, valid until the next step() or reset().
  bool is_null(int column) const;
  std::int64_t integer(int column) const;
  double real(int column) const;
  std::string_view text(int column) const;
  std::span<const std::uint8_t> blob(int column) const;

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };

  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
  int bind_status_ = SQLITE_OK;
};

}  // namespace espy::store
