// How fast this machine keeps records, beside what its disk can do at all.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>

#include "base/result.h"

namespace espy::store {

// Appends of 4 KiB, each followed by fdatasync: what the disk can do at all.
struct DiskFigures {
  double syncs_per_second = 0;
  std::chrono::microseconds median{};
  std::chrono::microseconds p99{};
};

struct StoreFigures {
  DiskFigures disk;
  double rows_per_second = 0;                  // committed and fsynced
  std::chrono::microseconds median_latency{};  // from append to its completion
  std::chrono::microseconds p99_latency{};
  double cpu_microseconds_per_row = 0;  // of the whole process, kernel time included
};

// Measures the disk for a quarter of `duration`, then a new store for the rest, both in `folder`, and removes
// what it wrote. Each of `clients` has one append outstanding and issues the next when it is answered; a
// record carries a 300-byte upload. Errors: invalid_input (no client, no duration), unavailable (the folder
// cannot be written).
Result<StoreFigures> measure(const std::filesystem::path& folder, int clients,
                             std::chrono::milliseconds duration);

// What an append meets when half as many come as the store could take.
struct HalfLoadFigures {
  DiskFigures disk;
  double rows_per_second = 0;  // half of what 64 clients reach
  std::chrono::microseconds median_latency{};
  std::chrono::microseconds p99_latency{};
  std::chrono::microseconds greatest_latency{};
};

// As measure(), but records come at their times, whether or not earlier ones are answered.
Result<HalfLoadFigures> measure_half_load(const std::filesystem::path& folder,
                                          std::chrono::milliseconds duration);

// What appends meet while a history is looked after.
struct UpkeepFigures {
  DiskFigures disk;
  double rows_per_second = 0;  // that come, whatever else goes on
  struct Latency {
    std::chrono::microseconds p99{};
    std::chrono::microseconds greatest{};
  };
  // Nothing else goes on; a backup does; retention removes half of the history because it is too large, and
  // the rest because it is too old.
  Latency alone, backup, retention_by_size, retention_by_age;
  // The longest of each, by the writer's own figures.
  std::chrono::microseconds checkpoint{};
  std::chrono::microseconds retention_step{};
};

// Makes a store of `records` records (at least 1,000), lets `rows_per_second` more come for `duration` each
// time, and removes it.
Result<UpkeepFigures> measure_upkeep(const std::filesystem::path& folder, std::int64_t records,
                                     double rows_per_second, std::chrono::milliseconds duration);

struct PageFigures {
  DiskFigures disk;
  double bulk_rows_per_second = 0;  // appends with thousands outstanding, as an import makes them
  // Of pages of 50 from everywhere in the history, while 16 clients append.
  struct Latency {
    std::chrono::microseconds median{};
    std::chrono::microseconds p99{};
  };
  Latency newest, by_time, by_label, by_file_name, by_unknown_file_name, by_id;
};

// Makes a store of `records` records (about 1.5 KB each), one a millisecond, reads pages of it, and removes
// it.
Result<PageFigures> measure_pages(const std::filesystem::path& folder, std::int64_t records);

}  // namespace espy::store
