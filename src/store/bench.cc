#include "store/bench.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <mutex>
#include <string>
#include <system_error>
#include <vector>

#include "base/format.h"
#include "store/store.h"

namespace espy::store {
namespace {

using SteadyClock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

// A folder that goes with what was measured in it.
class ScratchFolder {
 public:
  static Result<ScratchFolder> make(const std::filesystem::path& parent) {
    std::string path = (parent / "espy-bench-XXXXXX").string();
    if (::mkdtemp(path.data()) == nullptr) {
      return Error{ErrorCode::unavailable,
                   format("cannot write in folder {}: {}", parent.string(), std::strerror(errno))};
    }
    return ScratchFolder(path);
  }
  ScratchFolder(ScratchFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  ScratchFolder& operator=(ScratchFolder&&) = delete;
  ~ScratchFolder() {
    std::error_code error;
    if (!path_.empty()) std::filesystem::remove_all(path_, error);
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  explicit ScratchFolder(std::filesystem::path path) : path_(std::move(path)) {}

  std::filesystem::path path_;
};

Result<double> measure_disk(const std::filesystem::path& folder, SteadyClock::duration duration) {
  const std::filesystem::path path = folder / "sync";
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  const std::array<char, 4096> page{1};
  const auto begin = SteadyClock::now();
  int syncs = 0;
  bool sound = file >= 0;
  while (sound && (syncs == 0 || SteadyClock::now() - begin < duration)) {
    sound = ::write(file, page.data(), page.size()) == static_cast<ssize_t>(page.size()) &&
            ::fdatasync(file) == 0;
    ++syncs;
  }
  const int reason = errno;
  const Seconds spent = SteadyClock::now() - begin;
  if (file >= 0) ::close(file);
  if (!sound) {
    return Error{ErrorCode::unavailable, format("cannot write {}: {}", path.string(), std::strerror(reason))};
  }
  return syncs / spent.count();
}

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// Clients without threads: each one's next append is issued by the completion of its last.
class Load {
 public:
  Load(Store& store, int clients, SteadyClock::time_point end) : store_(store), end_(end), active_(clients) {
    for (int client = 0; client < clients; ++client) append();
    std::unique_lock lock(mutex_);
    finished_.wait(lock, [&] { return active_ == 0; });
  }

  // Valid when the constructor has returned.
  const std::optional<Error>& error() const { return error_; }
  std::vector<std::chrono::microseconds>& latencies() { return latencies_; }

 private:
  void append() {
    const Timestamp now = system_clock()();
    Record record;
    record.id = ids_.next(now);
    record.time = now;
    record.model = "digits";
    record.model_version = "0123456789ab";
    record.file_name = "seven.png";
    record.label = static_cast<int>(record.id.bytes[15] % 10);
    record.class_name = "7";
    record.confidence = 0.97F;
    std::fill(record.input.begin(), record.input.end(), record.id.bytes[14]);
    record.upload_bytes = kUploadBytes;
    store_.append(
        std::move(record), Upload{"image/png", std::string(kUploadBytes, 'x')},
        [this, begin = SteadyClock::now()](Result<void> stored) { answered(begin, std::move(stored)); });
  }

  void answered(SteadyClock::time_point begin, Result<void> stored) {
    const auto now = SteadyClock::now();
    {
      const std::lock_guard lock(mutex_);
      if (stored) {
        latencies_.push_back(std::chrono::duration_cast<std::chrono::microseconds>(now - begin));
      } else {
        error_ = stored.error();
      }
      if (!stored || now >= end_) {
        if (--active_ == 0) finished_.notify_one();
        return;
      }
    }
    append();
  }

  static constexpr std::size_t kUploadBytes = 300;

  Store& store_;
  const SteadyClock::time_point end_;
  UuidGenerator ids_;
  std::mutex mutex_;
  std::condition_variable finished_;
  int active_;
  std::vector<std::chrono::microseconds> latencies_;
  std::optional<Error> error_;
};

}  // namespace

Result<StoreFigures> measure(const std::filesystem::path& folder, int clients,
                             std::chrono::milliseconds duration) {
  if (clients < 1 || duration <= std::chrono::milliseconds::zero()) {
    return Error{ErrorCode::invalid_input,
                 format("{} clients for {} ms, must be at least 1 of each", clients, duration.count())};
  }
  const Result<ScratchFolder> scratch = ScratchFolder::make(folder);
  if (!scratch) return scratch.error();

  StoreFigures figures;
  const Result<double> disk = measure_disk(scratch->path(), duration / 4);
  if (!disk) return disk.error();
  figures.disk_syncs_per_second = *disk;

  Result<std::unique_ptr<Store>> store = Store::open("sqlite:" + (scratch->path() / "store").string());
  if (!store) return std::move(store).error();
  const auto begin = SteadyClock::now();
  const double cpu_before = cpu_seconds();
  Load load(**store, clients, begin + duration * 3 / 4);
  const Seconds spent = SteadyClock::now() - begin;
  if (load.error()) return *load.error();

  auto& latencies = load.latencies();
  std::sort(latencies.begin(), latencies.end());
  const auto rows = static_cast<double>(latencies.size());
  figures.rows_per_second = rows / spent.count();
  figures.median_latency = latencies[latencies.size() / 2];
  figures.p99_latency = latencies[latencies.size() * 99 / 100];
  figures.cpu_microseconds_per_row = (cpu_seconds() - cpu_before) * 1e6 / rows;
  return figures;
}

}  // namespace espy::store
