// A disk for the durability tests: it fails on demand, remembers what was done to it, and can lose power.
#pragma once

#include <sqlite3.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace espy::store {

enum class Fault { none, disk_full, write_error, short_write, sync_error };

struct Event {
  enum class Kind { write, truncate, sync, failed_sync, remove, acknowledgement };
  Kind kind;
  std::string file;         // its name without the folder; of an acknowledgement what was promised
  std::int64_t number = 0;  // offset, size, or what was acknowledged
  std::string bytes = {};
};

// A VFS (sqlite.org/vfs.html) before the system's own, which it stands in for as the default while it lives.
// Threads: all functions may be called from any thread at once.
class Disk {
 public:
  Disk() {
    vfs_ = *system_;
    vfs_.zName = "disk-of-the-test";
    vfs_.szOsFile = static_cast<int>(sizeof(File)) + system_->szOsFile;
    vfs_.pAppData = this;
    vfs_.xOpen = [](sqlite3_vfs* vfs, sqlite3_filename name, sqlite3_file* file, int flags, int* out) {
      return static_cast<Disk*>(vfs->pAppData)->open(name, file, flags, out);
    };
    vfs_.xDelete = [](sqlite3_vfs* vfs, const char* name, int sync) {
      Disk& disk = *static_cast<Disk*>(vfs->pAppData);
      disk.record({Event::Kind::remove, base_name(name)});
      return disk.system_->xDelete(disk.system_, name, sync);
    };
    sqlite3_vfs_register(&vfs_, 1);
  }
  Disk(const Disk&) = delete;
  Disk& operator=(const Disk&) = delete;
  ~Disk() { sqlite3_vfs_unregister(&vfs_); }

  // Of the operations that the fault concerns, on the file of that name or on any, passes over the next
  // `spared` and fails the `times` behind them.
  void fail(Fault fault, int times, int spared = 0, std::string file = {}) {
    const std::lock_guard lock(mutex_);
    fault_ = fault;
    spared_ = spared;
    times_ = times;
    faulty_file_ = std::move(file);
  }
  static constexpr int kForEver = 1 << 30;

  // Whether there have been too few operations for all the failures.
  bool has_failures_left() {
    const std::lock_guard lock(mutex_);
    return times_ > 0;
  }

  // From now on says that it has synced and does not.
  void lie() { lies_ = true; }

  // `what` was promised of record `number`.
  void acknowledge(int number, std::string what = "stored") {
    record({Event::Kind::acknowledgement, std::move(what), number});
  }

  std::vector<Event> events() {
    const std::lock_guard lock(mutex_);
    return events_;
  }

 private:
  // What SQLite takes for its file; the system's own lies behind it in the same memory.
  struct File {
    sqlite3_file base;
    Disk* disk;
    std::string* name;     // none for the files of no interest
    int told_of_failures;  // how many of its file's failed syncs this one has heard of, or was opened behind
  };
  static File& outer(sqlite3_file* file) { return *reinterpret_cast<File*>(file); }
  static sqlite3_file* inner(sqlite3_file* file) { return reinterpret_cast<sqlite3_file*>(&outer(file) + 1); }
  static const sqlite3_io_methods& methods(sqlite3_file* file) { return *inner(file)->pMethods; }

  static std::string base_name(const char* path) { return std::filesystem::path(path).filename().string(); }

  void record(Event event) {
    const std::lock_guard lock(mutex_);
    events_.push_back(std::move(event));
  }

  bool fails(Fault fault, const File& file) {
    const std::lock_guard lock(mutex_);
    if (fault_ != fault || (!faulty_file_.empty() && (file.name == nullptr || *file.name != faulty_file_)))
      return false;
    return spared_-- <= 0 && times_-- > 0;
  }

  int open(sqlite3_filename name, sqlite3_file* file, int flags, int* out) {
    const int status = system_->xOpen(system_, name, inner(file), flags, out);
    outer(file).base.pMethods = status == SQLITE_OK ? &kMethods : nullptr;
    outer(file).disk = this;
    const bool kept = name != nullptr && (flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL)) != 0;
    outer(file).name = status == SQLITE_OK && kept ? new std::string(base_name(name)) : nullptr;
    if (outer(file).name != nullptr) {
      const std::lock_guard lock(mutex_);
      outer(file).told_of_failures = failed_syncs_[*outer(file).name];
    }
    return status;
  }

  static int close(sqlite3_file* file) {
    delete outer(file).name;
    return methods(file).xClose(inner(file));
  }

  static int write(sqlite3_file* file, const void* bytes, int size, sqlite3_int64 offset) {
    File& self = outer(file);
    if (self.disk->fails(Fault::disk_full, self)) return SQLITE_FULL;
    if (self.disk->fails(Fault::write_error, self)) return SQLITE_IOERR_WRITE;
    const bool is_short = self.disk->fails(Fault::short_write, self);
    if (is_short) size /= 2;
    if (self.name != nullptr) {
      self.disk->record({Event::Kind::write, *self.name, offset,
                         std::string(static_cast<const char*>(bytes), static_cast<size_t>(size))});
    }
    const int status = methods(file).xWrite(inner(file), bytes, size, offset);
    return is_short && status == SQLITE_OK ? SQLITE_IOERR_WRITE : status;
  }

  static int truncate(sqlite3_file* file, sqlite3_int64 size) {
    File& self = outer(file);
    if (self.name != nullptr) self.disk->record({Event::Kind::truncate, *self.name, size});
    return methods(file).xTruncate(inner(file), size);
  }

  // Durability is simulated, so the true disk is spared. A failure is told once to whoever has the file open
  // then, as Linux does (errseq_t), though the sync that tells of it may itself have done everything.
  static int sync(sqlite3_file* file, int) {
    File& self = outer(file);
    const bool failed = self.disk->fails(Fault::sync_error, self);
    if (self.name == nullptr) return failed ? SQLITE_IOERR_FSYNC : SQLITE_OK;
    if (!self.disk->lies_) {
      self.disk->record({failed ? Event::Kind::failed_sync : Event::Kind::sync, *self.name});
    }
    const std::lock_guard lock(self.disk->mutex_);
    int& failures = self.disk->failed_syncs_[*self.name];
    if (failed) ++failures;
    return std::exchange(self.told_of_failures, failures) == failures ? SQLITE_OK : SQLITE_IOERR_FSYNC;
  }

  static const sqlite3_io_methods kMethods;

  sqlite3_vfs* system_ = sqlite3_vfs_find(nullptr);
  sqlite3_vfs vfs_;
  std::atomic<bool> lies_ = false;
  std::mutex mutex_;  // guards the rest
  Fault fault_ = Fault::none;
  int times_ = 0;
  int spared_ = 0;
  std::string faulty_file_;
  std::map<std::string, int> failed_syncs_;
  std::vector<Event> events_;
};

inline const sqlite3_io_methods Disk::kMethods = {
    2,  // without memory mapping
    &Disk::close,
    [](sqlite3_file* file, void* into, int size, sqlite3_int64 offset) {
      return methods(file).xRead(inner(file), into, size, offset);
    },
    &Disk::write,
    &Disk::truncate,
    &Disk::sync,
    [](sqlite3_file* file, sqlite3_int64* size) { return methods(file).xFileSize(inner(file), size); },
    [](sqlite3_file* file, int level) { return methods(file).xLock(inner(file), level); },
    [](sqlite3_file* file, int level) { return methods(file).xUnlock(inner(file), level); },
    [](sqlite3_file* file, int* held) { return methods(file).xCheckReservedLock(inner(file), held); },
    [](sqlite3_file* file, int what, void* with) {
      return methods(file).xFileControl(inner(file), what, with);
    },
    [](sqlite3_file*) { return 512; },
    [](sqlite3_file*) { return 0; },  // promises nothing: neither safe appends nor whole sectors
    [](sqlite3_file* file, int page, int size, int extend, void volatile** memory) {
      return methods(file).xShmMap(inner(file), page, size, extend, memory);
    },
    [](sqlite3_file* file, int offset, int count, int flags) {
      return methods(file).xShmLock(inner(file), offset, count, flags);
    },
    [](sqlite3_file* file) { methods(file).xShmBarrier(inner(file)); },
    [](sqlite3_file* file, int remove) { return methods(file).xShmUnmap(inner(file), remove); },
    nullptr,
    nullptr,
};

// What of a file outlives the loss of power: all that was synced, and of what was written since then any of
// the sectors.
class Platter {
 public:
  // The event must outlive the platter.
  void apply(const Event& event) {
    switch (event.kind) {
      case Event::Kind::write:
      case Event::Kind::truncate:
        unsynced_.push_back(&event);
        break;
      case Event::Kind::sync:
        for (const Event* write : unsynced_) put(bytes_, *write, [] { return true; });
        unsynced_.clear();
        break;
      case Event::Kind::failed_sync: {
        // As on Linux: what did not reach the disk is taken for written and not tried again.
        std::mt19937 random(1);
        for (const Event* write : unsynced_) put(bytes_, *write, [&] { return random() % 2 == 0; });
        unsynced_.clear();
        break;
      }
      case Event::Kind::remove:
        bytes_.clear();
        unsynced_.clear();
        break;
      case Event::Kind::acknowledgement:
        break;
    }
  }

  // `kept` is the part of the unsynced sectors that survives.
  std::string after_power_cut(double kept, std::mt19937& random) const {
    std::bernoulli_distribution survives(kept);
    std::string bytes = bytes_;
    for (const Event* write : unsynced_) put(bytes, *write, [&] { return survives(random); });
    return bytes;
  }

 private:
  static constexpr size_t kSector = 512;

  static void put(std::string& bytes, const Event& event, auto survives) {
    const auto offset = static_cast<size_t>(event.number);
    if (event.kind == Event::Kind::truncate) {
      if (survives()) bytes.resize(offset);
      return;
    }
    for (size_t begin = 0; begin < event.bytes.size();) {
      const size_t end = std::min(((offset + begin) / kSector + 1) * kSector - offset, event.bytes.size());
      if (survives()) {
        bytes.resize(std::max(bytes.size(), offset + end));
        std::copy(event.bytes.begin() + static_cast<std::ptrdiff_t>(begin),
                  event.bytes.begin() + static_cast<std::ptrdiff_t>(end),
                  bytes.begin() + static_cast<std::ptrdiff_t>(offset + begin));
      }
      begin = end;
    }
  }

  std::string bytes_;
  std::vector<const Event*> unsynced_;
};

}  // namespace espy::store
