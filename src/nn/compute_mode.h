// The state of a thread that computes.
#pragma once

#include <cstdint>

namespace espy::nn {

// While it lives, the calling thread flushes denormal floats to zero (they cost a hundred cycles each and
// mean nothing here), and oneDNN uses no thread but the caller's. It then restores what was before. Threads:
// belongs to the thread that made it.
class ComputeMode {
 public:
  ComputeMode();
  ~ComputeMode();
  ComputeMode(const ComputeMode&) = delete;
  ComputeMode& operator=(const ComputeMode&) = delete;

 private:
  std::uint64_t float_control_;
  int openmp_threads_;
};

}  // namespace espy::nn
