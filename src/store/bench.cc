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
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "base/digest.h"
#include "base/file.h"
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

// Sorts the latencies.
std::chrono::microseconds quantile(std::vector<std::chrono::microseconds>& latencies, double share) {
  std::ranges::sort(latencies);
  const auto last = static_cast<double>(latencies.size() - 1);
  return latencies.empty() ? std::chrono::microseconds{} : latencies[static_cast<std::size_t>(share * last)];
}

Result<DiskFigures> measure_disk(const std::filesystem::path& folder, SteadyClock::duration duration) {
  const std::filesystem::path path = folder / "sync";
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  const std::array<char, 4096> page{1};
  const auto begin = SteadyClock::now();
  std::vector<std::chrono::microseconds> latencies;
  bool sound = file >= 0;
  for (auto now = begin; sound && (latencies.empty() || now - begin < duration);) {
    sound = ::write(file, page.data(), page.size()) == static_cast<ssize_t>(page.size()) &&
            ::fdatasync(file) == 0;
    const auto then = std::exchange(now, SteadyClock::now());
    latencies.push_back(std::chrono::duration_cast<std::chrono::microseconds>(now - then));
  }
  const int reason = errno;
  const Seconds spent = SteadyClock::now() - begin;
  if (file >= 0) ::close(file);
  if (!sound) {
    return Error{ErrorCode::unavailable, format("cannot write {}: {}", path.string(), std::strerror(reason))};
  }
  const double syncs = static_cast<double>(latencies.size()) / spent.count();
  return DiskFigures{syncs, quantile(latencies, 0.5), quantile(latencies, 0.99)};
}

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

constexpr std::int64_t kFewestRecords = 1000;

Error too_few(std::int64_t records) {
  return {ErrorCode::invalid_input, format("{} records, must be at least {}", records, kFewestRecords)};
}

constexpr std::size_t kUploadBytes = 300;
constexpr int kFileNames = 10'000;
constexpr std::size_t kInkedPixels = 150;  // as MNIST's training pictures have on the mean (19.1 %)

Upload make_upload() { return {"image/png", std::string(kUploadBytes, 'x')}; }

Record make_record(UuidGenerator& ids, Timestamp now = system_clock()()) {
  Record record;
  record.id = ids.next(now);
  record.time = now;
  record.model = "digits";
  record.model_version = "0123456789ab";
  const int number = record.id.bytes[15] << 8 | record.id.bytes[14];
  record.file_name = format("{}.png", number % kFileNames);
  record.label = number % 10;
  record.class_name = "7";
  record.confidence = 0.97F;
  std::fill_n(record.input.begin(), kInkedPixels, static_cast<std::uint8_t>(record.id.bytes[14] | 1));
  static const Sha256 upload_digest = sha256(as_bytes(make_upload().bytes));
  record.upload_digest = upload_digest;
  record.upload_bytes = kUploadBytes;
  return record;
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
    store_.append(make_record(ids_), make_upload(), [this, begin = SteadyClock::now()](Result<void> stored) {
      answered(begin, std::move(stored));
    });
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

  Store& store_;
  const SteadyClock::time_point end_;
  UuidGenerator ids_;
  std::mutex mutex_;
  std::condition_variable finished_;
  int active_;
  std::vector<std::chrono::microseconds> latencies_;
  std::optional<Error> error_;
};

// Options of a store that refuses nothing, so that a stall shows as the latency that it is.
StoreOptions patient() {
  return {.max_pending_records = std::size_t{1} << 20, .max_pending_bytes = std::size_t{4} << 30};
}

// Lets records come at their times, whether or not earlier ones are answered, and returns how long each took.
Result<std::vector<std::chrono::microseconds>> append_at_rate(Store& store, double rows_per_second,
                                                              SteadyClock::duration duration) {
  UuidGenerator ids;
  std::mutex mutex;
  std::condition_variable answered;
  std::vector<std::chrono::microseconds> latencies;
  std::optional<Error> error;
  const auto begin = SteadyClock::now();
  const auto due = [&](std::size_t number) {
    return begin + std::chrono::duration_cast<SteadyClock::duration>(
                       Seconds(static_cast<double>(number) / rows_per_second));
  };
  std::size_t number = 0;
  for (; due(number) < begin + duration; ++number) {
    // From its due time on, so that a stall counts for all who would have come meanwhile.
    const auto arrival = due(number);
    std::this_thread::sleep_until(arrival);
    store.append(make_record(ids), make_upload(), [&, arrival](Result<void> stored) {
      const auto latency = SteadyClock::now() - arrival;
      const std::lock_guard lock(mutex);
      latencies.push_back(std::chrono::duration_cast<std::chrono::microseconds>(latency));
      if (!stored) error = stored.error();
      answered.notify_one();
    });
  }
  std::unique_lock lock(mutex);
  answered.wait(lock, [&] { return latencies.size() == number; });
  if (error) return *error;
  return latencies;
}

// Appends records with thousands outstanding, as an import does. `make` returns the next one; returns rows a
// second.
Result<double> append_in_bulk(Store& store, std::int64_t records, const std::function<Record()>& make) {
  constexpr std::int64_t kOutstanding = 8192;
  std::mutex mutex;
  std::condition_variable answered;
  std::int64_t outstanding = 0;
  std::optional<Error> error;
  const auto begin = SteadyClock::now();
  for (std::int64_t number = 0; number < records; ++number) {
    Record record = make();
    {
      std::unique_lock lock(mutex);
      answered.wait(lock, [&] { return outstanding < kOutstanding; });
      ++outstanding;
    }
    store.append(std::move(record), make_upload(), [&](Result<void> stored) {
      const std::lock_guard lock(mutex);
      if (!stored) error = stored.error();
      if (--outstanding % 256 == 0) answered.notify_one();
    });
  }
  std::unique_lock lock(mutex);
  answered.wait(lock, [&] { return outstanding == 0; });
  if (error) return *error;
  return static_cast<double>(records) / Seconds(SteadyClock::now() - begin).count();
}

std::string url_in(const ScratchFolder& scratch) { return "sqlite:" + (scratch.path() / "store").string(); }

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
  const Result<DiskFigures> disk = measure_disk(scratch->path(), duration / 4);
  if (!disk) return disk.error();
  figures.disk = *disk;

  Result<std::unique_ptr<Store>> store = Store::open(url_in(*scratch));
  if (!store) return std::move(store).error();
  const auto begin = SteadyClock::now();
  const double cpu_before = cpu_seconds();
  Load load(**store, clients, begin + duration * 3 / 4);
  const Seconds spent = SteadyClock::now() - begin;
  if (load.error()) return *load.error();

  auto& latencies = load.latencies();
  const auto rows = static_cast<double>(latencies.size());
  figures.rows_per_second = rows / spent.count();
  figures.median_latency = quantile(latencies, 0.5);
  figures.p99_latency = quantile(latencies, 0.99);
  figures.cpu_microseconds_per_row = (cpu_seconds() - cpu_before) * 1e6 / rows;
  return figures;
}

Result<HalfLoadFigures> measure_half_load(const std::filesystem::path& folder,
                                          std::chrono::milliseconds duration) {
  const Result<StoreFigures> full = measure(folder, 64, duration / 2);
  if (!full) return full.error();
  const Result<ScratchFolder> scratch = ScratchFolder::make(folder);
  if (!scratch) return scratch.error();
  Result<std::unique_ptr<Store>> store = Store::open(url_in(*scratch), patient());
  if (!store) return std::move(store).error();

  HalfLoadFigures figures;
  figures.disk = full->disk;
  figures.rows_per_second = full->rows_per_second / 2;
  auto latencies = append_at_rate(**store, figures.rows_per_second, duration / 2);
  if (!latencies) return latencies.error();
  figures.median_latency = quantile(*latencies, 0.5);
  figures.p99_latency = quantile(*latencies, 0.99);
  figures.greatest_latency = latencies->back();
  return figures;
}

Result<UpkeepFigures> measure_upkeep(const std::filesystem::path& folder, std::int64_t records,
                                     double rows_per_second, std::chrono::milliseconds duration) {
  if (records < kFewestRecords) return too_few(records);
  const Result<ScratchFolder> scratch = ScratchFolder::make(folder);
  if (!scratch) return scratch.error();
  UpkeepFigures figures;
  figures.rows_per_second = rows_per_second;
  const Result<DiskFigures> disk = measure_disk(scratch->path(), std::chrono::milliseconds(500));
  if (!disk) return disk.error();
  figures.disk = *disk;

  // Old enough that retention by age, which comes last, finds every one of these.
  constexpr std::chrono::hours kAge{24};
  std::uint64_t bytes = 0;
  {
    Result<std::unique_ptr<Store>> store = Store::open(url_in(*scratch));
    if (!store) return std::move(store).error();
    UuidGenerator ids;
    const Result<double> filled =
        append_in_bulk(**store, records, [&] { return make_record(ids, system_clock()() - kAge); });
    if (!filled) return filled.error();
    const Result<HistoryStatus> status = (*store)->status();
    if (!status) return status.error();
    bytes = status->bytes;
  }
  // Each with the store opened anew, and something that goes on beside the appends.
  const auto measure_beside = [&](UpkeepFigures::Latency& latency, const StoreOptions& options,
                                  const std::function<Result<void>(Store&)>& beside) -> Result<void> {
    Result<std::unique_ptr<Store>> store = Store::open(url_in(*scratch), options);
    if (!store) return std::move(store).error();
    Result<void> done;
    std::thread other([&] { done = beside(**store); });
    auto latencies = append_at_rate(**store, rows_per_second, duration);
    other.join();
    if (!latencies) return latencies.error();
    if (!done) return done;
    latency.p99 = quantile(*latencies, 0.99);
    latency.greatest = latencies->back();
    const Result<HistoryStatus> status = (*store)->status();
    if (!status) return status.error();
    const auto longer = [](std::chrono::microseconds& greatest, const Histogram& histogram) {
      const Seconds found(histogram.greatest);
      greatest = std::max(greatest, std::chrono::duration_cast<std::chrono::microseconds>(found));
    };
    longer(figures.checkpoint, status->writer->checkpoints);
    longer(figures.retention_step, status->writer->retentions);
    return {};
  };
  const auto nothing = [](Store&) -> Result<void> { return {}; };
  Result<void> measured = measure_beside(figures.alone, patient(), nothing);
  if (!measured) return measured.error();
  measured = measure_beside(figures.backup, patient(), [&](Store& store) -> Result<void> {
    const auto copied = store.backup(scratch->path() / "copy");
    if (!copied) return copied.error();
    return {};
  });
  if (!measured) return measured.error();
  StoreOptions by_size = patient();
  by_size.max_bytes = bytes / 2;
  measured = measure_beside(figures.retention_by_size, by_size, nothing);
  if (!measured) return measured.error();
  StoreOptions by_age = patient();
  by_age.max_age = kAge / 2;
  measured = measure_beside(figures.retention_by_age, by_age, nothing);
  if (!measured) return measured.error();
  return figures;
}

Result<PageFigures> measure_pages(const std::filesystem::path& folder, std::int64_t records) {
  constexpr int kPages = 400;
  if (records < kFewestRecords) return too_few(records);
  const Result<ScratchFolder> scratch = ScratchFolder::make(folder);
  if (!scratch) return scratch.error();
  PageFigures figures;
  const Result<DiskFigures> disk = measure_disk(scratch->path(), std::chrono::milliseconds(500));
  if (!disk) return disk.error();
  figures.disk = *disk;
  Result<std::unique_ptr<Store>> opened = Store::open(url_in(*scratch));
  if (!opened) return std::move(opened).error();
  Store& store = **opened;

  std::vector<Uuid> sample;
  std::vector<Timestamp> times;
  std::optional<Error> error;
  UuidGenerator ids;
  std::int64_t made = 0;
  // As a server at a thousand a second would have left it, the newest just now.
  const Timestamp oldest = system_clock()() - records * std::chrono::milliseconds(1);
  const Result<double> filled = append_in_bulk(store, records, [&] {
    Record record = make_record(ids, oldest + made * std::chrono::milliseconds(1));
    if (made++ % (records / kFewestRecords) == 0) {
      sample.push_back(record.id);
      times.push_back(record.time);
    }
    return record;
  });
  if (!filled) return filled.error();
  figures.bulk_rows_per_second = *filled;

  std::atomic<bool> appending = true;
  std::vector<std::thread> clients;
  for (int client = 0; client < 16; ++client) {
    clients.emplace_back([&] {
      while (appending && store.append(make_record(ids), make_upload())) {
      }
    });
  }
  std::mt19937 random(1);
  std::uniform_int_distribution<std::size_t> place(0, sample.size() - 1);
  const auto measure_kind = [&](auto choose) {
    std::vector<std::chrono::microseconds> latencies;
    for (int page = 0; page < kPages && !error; ++page) {
      Query query;
      choose(query);
      const auto begin = SteadyClock::now();
      const Result<Page> found = store.list(query);
      latencies.push_back(std::chrono::duration_cast<std::chrono::microseconds>(SteadyClock::now() - begin));
      if (!found) error = found.error();
    }
    return PageFigures::Latency{quantile(latencies, 0.5), quantile(latencies, 0.99)};
  };
  figures.newest = measure_kind([](Query&) {});
  figures.by_time = measure_kind([&](Query& query) { query.until = times[place(random)]; });
  figures.by_label = measure_kind([&](Query& query) {
    query.before = sample[place(random)];
    query.label = static_cast<int>(random() % 10);
  });
  figures.by_file_name = measure_kind([&](Query& query) {
    query.file_name = format("{}.png", random() % static_cast<unsigned>(kFileNames));
  });
  figures.by_unknown_file_name = measure_kind([](Query& query) { query.file_name = "none.png"; });
  figures.by_id = measure_kind([&](Query& query) { query.before = sample[place(random)]; });
  appending = false;
  for (std::thread& client : clients) client.join();
  if (error) return *error;
  return figures;
}

}  // namespace espy::store
