// What the operating system says of this process.
#pragma once

#include <cstdint>

namespace espy {

struct ProcessStatus {
  double cpu_seconds = 0;            // of all threads, user and system
  double start_seconds = 0;          // since 1970
  std::uint64_t resident_bytes = 0;  // memory in use
  std::uint64_t virtual_bytes = 0;
  std::uint64_t open_descriptors = 0;
  std::uint64_t max_descriptors = 0;  // how many there may be
  std::uint64_t threads = 0;
};

// Reads /proc (proc(5)); what cannot be read stays 0. Threads: any.
ProcessStatus read_process_status();

}  // namespace espy
