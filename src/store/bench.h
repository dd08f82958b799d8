// How fast this machine keeps records, beside what its disk can do at all.
#pragma once

#include <chrono>
#include <filesystem>

#include "base/result.h"

namespace espy::store {

struct StoreFigures {
  double disk_syncs_per_second = 0;            // appends of 4 KiB, each followed by fdatasync
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

}  // namespace espy::store
