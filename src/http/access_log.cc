#include "http/access_log.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/format.h"
#include "base/log.h"
#include "http/json.h"

namespace espy::http {
namespace {

using namespace std::chrono_literals;

// Some 15,000 lines. More wait only where the disk has stopped.
constexpr std::size_t kMaxWaitingBytes = 4 << 20;
constexpr std::size_t kManyBytes = 64 << 10;
// Lines gather so long, so that a busy server makes few and large writes.
constexpr std::chrono::milliseconds kGathering = 20ms;
constexpr std::chrono::milliseconds kLastWait = 1000ms;
constexpr int kPollMilliseconds = 50;
constexpr mode_t kFileMode = 0640;  // addresses of clients are for the operator

std::uint64_t count_lines(std::string_view text) {
  return static_cast<std::uint64_t>(std::ranges::count(text, '\n'));
}

Result<Descriptor> open_file(const std::filesystem::path& path) {
  Descriptor file(path == "-" ? ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0)
                              : ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, kFileMode));
  if (file.get() < 0) {
    return Error{ErrorCode::unavailable,
                 format("cannot write the access log {}: {}", path.string(), std::strerror(errno))};
  }
  return file;
}

// As JSON has it: with quotes and escapes.
std::string quoted(std::string_view text) { return std::move(JsonWriter().value(text)).text(); }

}  // namespace

std::string access_line(const AccessEntry& entry, LogFormat log_format) {
  const std::int64_t microseconds =
      std::chrono::duration_cast<std::chrono::microseconds>(entry.duration).count();
  if (log_format == LogFormat::json) {
    JsonWriter json;
    json.begin_object().field("time", to_string(entry.time)).field("id", entry.id);
    if (!entry.traceparent.empty()) json.field("traceparent", entry.traceparent);
    json.field("client", entry.client).field("method", entry.method).field("path", entry.path);
    json.field("route", entry.route).field("status", entry.status);
    json.field("bytes", static_cast<std::uint64_t>(entry.bytes)).field("duration_us", microseconds);
    if (!entry.model.empty()) json.field("model", entry.model);
    if (!entry.records.empty()) {
      json.key("records").begin_array();
      for (const Uuid& record : entry.records) json.value(to_string(record));
      json.end_array();
    }
    json.end_object();
    return std::move(json).text() + "\n";
  }
  std::string line = format("{} {} {} {} {} {} {} B {} us id={}", to_string(entry.time),
                            entry.client.empty() ? "-" : entry.client, entry.method, quoted(entry.path),
                            entry.route, entry.status, entry.bytes, microseconds, entry.id);
  if (!entry.traceparent.empty()) line += format(" traceparent={}", entry.traceparent);
  if (!entry.model.empty()) line += format(" model={}", entry.model);
  for (const Uuid& record : entry.records) line += format(" record={}", to_string(record));
  return line + "\n";
}

Result<std::unique_ptr<LineLog>> LineLog::open(const std::filesystem::path& path, Figures& figures) {
  Result<Descriptor> file = open_file(path);
  if (!file) return std::move(file).error();
  return std::unique_ptr<LineLog>(
      new LineLog(*std::move(file), path == "-" ? std::filesystem::path() : path, figures));
}

Result<std::unique_ptr<LineLog>> LineLog::open_standard_error(Figures& figures) {
  Descriptor file(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0));
  if (file.get() < 0) {
    return Error{ErrorCode::unavailable, format("cannot write to standard error: {}", std::strerror(errno))};
  }
  return std::unique_ptr<LineLog>(new LineLog(std::move(file), {}, figures));
}

LineLog::LineLog(Descriptor file, std::filesystem::path path, Figures& figures)
    : path_(std::move(path)), figures_(figures), file_(std::move(file)) {
  struct stat status {};
  may_block_ = ::fstat(file_->get(), &status) != 0 || !S_ISREG(status.st_mode);
  thread_ = std::thread([this] { run(); });
}

LineLog::~LineLog() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void LineLog::append(std::string_view lines) {
  bool wakes = false;
  {
    const std::lock_guard lock(mutex_);
    if (waiting_.size() + lines.size() > kMaxWaitingBytes) {
      figures_.dropped += count_lines(lines);
      return;
    }
    const std::size_t before = waiting_.size();
    waiting_ += lines;
    wakes = before == 0 || (before < kManyBytes && waiting_.size() >= kManyBytes);
  }
  if (wakes) changed_.notify_one();
}

void LineLog::reopen() {
  {
    const std::lock_guard lock(mutex_);
    reopening_ = true;
  }
  changed_.notify_one();
}

void LineLog::run() {
  std::string lines;
  for (;;) {
    bool reopens = false;
    bool ends = false;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return ending_ || reopening_ || !waiting_.empty(); });
      changed_.wait_for(lock, kGathering,
                        [&] { return ending_ || reopening_ || waiting_.size() >= kManyBytes; });
      lines.clear();
      lines.swap(waiting_);
      reopens = std::exchange(reopening_, false);
      ends = ending_;
    }
    if (ends && !deadline_) deadline_ = std::chrono::steady_clock::now() + kLastWait;
    write(lines);
    if (reopens) open_anew();
    if (ends) return;
  }
}

// A pipe that can be written at all takes so much at once (pipe(7)): such a write does not block.
bool LineLog::wait_until_writable() {
  for (;;) {
    pollfd waited{.fd = file_->get(), .events = POLLOUT, .revents = 0};
    if (::poll(&waited, 1, kPollMilliseconds) > 0) return true;
    if (!deadline_) {
      const std::lock_guard lock(mutex_);
      if (ending_) deadline_ = std::chrono::steady_clock::now() + kLastWait;
    }
    if (deadline_ && std::chrono::steady_clock::now() >= *deadline_) return false;
  }
}

void LineLog::write(std::string_view lines) {
  constexpr std::size_t kPipeBytes = 4096;  // PIPE_BUF
  const std::uint64_t count = count_lines(lines);
  if (line_is_cut_ && !lines.empty()) {
    if (may_block_ && !wait_until_writable()) {
      figures_.dropped += count;
      return;
    }
    if (::write(file_->get(), "\n", 1) == 1) line_is_cut_ = false;
  }
  while (!lines.empty()) {
    if (may_block_ && !wait_until_writable()) break;
    const ssize_t written =
        ::write(file_->get(), lines.data(), may_block_ ? std::min(lines.size(), kPipeBytes) : lines.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      if (!std::exchange(failing_, true)) {
        log::warning(format("lines of the access log are lost: {}", std::strerror(errno)));
      }
      break;
    }
    failing_ = false;
    line_is_cut_ = written > 0 && lines[static_cast<std::size_t>(written) - 1] != '\n';
    lines.remove_prefix(static_cast<std::size_t>(written));
  }
  const std::uint64_t lost = count_lines(lines);
  figures_.dropped += lost;
  figures_.written += count - lost;
}

void LineLog::open_anew() {
  if (path_.empty()) return;
  Result<Descriptor> file = open_file(path_);
  if (!file) return log::error(format("{}; the old file is kept", file.error().message));
  file_.emplace(*std::move(file));
  line_is_cut_ = false;
}

}  // namespace espy::http
