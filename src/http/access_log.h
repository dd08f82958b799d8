// One line for each request that was answered. Lines are made on the event loops and written by a thread of
// their own, so that a slow or full disk delays and loses lines, never answers.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>

#include "base/clock.h"
#include "base/descriptor.h"
#include "base/result.h"
#include "base/uuid.h"

namespace espy::http {

// What is told of one request. Texts that say nothing are empty.
struct AccessEntry {
  Timestamp time{};  // of the answer
  std::string_view id{};
  std::string_view traceparent{};
  std::string_view client{};  // its address
  std::string_view method{};
  std::string_view path{};  // without the query, which may say whom a picture is about
  std::string_view route{};
  int status = 0;
  std::size_t bytes = 0;  // of the answer's body
  std::chrono::nanoseconds duration{};
  std::string_view model{};
  std::span<const Uuid> records{};  // that it made or changed
};

enum class LogFormat { json, text };

// Returns the line with its end. What a client says is escaped, so that it stays one line.
std::string access_line(const AccessEntry& entry, LogFormat format);

// Lines on their way to a file.
// Threads: all functions may be called from any thread at once.
class LineLog {
 public:
  // How many lines were written, and how many were not: the disk was full, or too many waited.
  struct Figures {
    std::atomic<std::uint64_t> written = 0;
    std::atomic<std::uint64_t> dropped = 0;
  };

  // Opens a file to append to; "-" is standard output. `figures` must outlive it.
  // Errors: unavailable.
  static Result<std::unique_ptr<LineLog>> open(const std::filesystem::path& path, Figures& figures);
  // The same on standard error.
  static Result<std::unique_ptr<LineLog>> open_standard_error(Figures& figures);

  LineLog(const LineLog&) = delete;
  LineLog& operator=(const LineLog&) = delete;

  // Writes what still waits, as far as that is possible within a second.
  ~LineLog();

  // Takes whole lines, to be written within some milliseconds; does not wait.
  void append(std::string_view lines);

  // Opens the file anew, soon, so that the old one may have been moved away. When that fails the old one is
  // kept and the operator told.
  void reopen();

 private:
  LineLog(Descriptor file, std::filesystem::path path, Figures& figures);

  void run();
  void write(std::string_view lines);
  bool wait_until_writable();
  void open_anew();

  const std::filesystem::path path_;  // empty: it cannot be opened anew
  Figures& figures_;

  std::mutex mutex_;  // guards these
  std::condition_variable changed_;
  std::string waiting_;
  bool ending_ = false;
  bool reopening_ = false;

  // The thread's own.
  std::optional<Descriptor> file_;
  bool may_block_ = false;                                         // it is no regular file
  bool line_is_cut_ = false;                                       // the last write ended within a line
  bool failing_ = false;                                           // the last write failed
  std::optional<std::chrono::steady_clock::time_point> deadline_;  // when ending

  std::thread thread_;
};

}  // namespace espy::http
