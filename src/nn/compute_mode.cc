#include "nn/compute_mode.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

// Of the OpenMP runtime that oneDNN computes with, libgomp. Declared here as OpenMP 5.2, sections 18.2.1 and
// 18.2.3, say, since <omp.h> is not on every compiler's path.
extern "C" {
void omp_set_num_threads(int count);
int omp_get_max_threads();
}

namespace espy::nn {
namespace {

#if defined(__SSE2__)
// Intel 64 manual, volume 1, section 10.2.3: flush to zero is bit 15 of MXCSR, denormals are zeros is bit 6.
constexpr std::uint64_t kFlushDenormals = 1U << 15 | 1U << 6;
std::uint64_t float_control() { return _mm_getcsr(); }
void set_float_control(std::uint64_t value) { _mm_setcsr(static_cast<unsigned>(value)); }
#elif defined(__aarch64__)
// Arm Architecture Reference Manual, FPCR: flush to zero is bit 24.
constexpr std::uint64_t kFlushDenormals = 1U << 24;
std::uint64_t float_control() {
  std::uint64_t value;
  asm volatile("mrs %0, fpcr" : "=r"(value));
  return value;
}
void set_float_control(std::uint64_t value) { asm volatile("msr fpcr, %0" : : "r"(value)); }
#else
constexpr std::uint64_t kFlushDenormals = 0;
std::uint64_t float_control() { return 0; }
void set_float_control(std::uint64_t) {}
#endif

}  // namespace

ComputeMode::ComputeMode() : float_control_(float_control()), openmp_threads_(omp_get_max_threads()) {
  set_float_control(float_control_ | kFlushDenormals);
  omp_set_num_threads(1);
}

ComputeMode::~ComputeMode() {
  omp_set_num_threads(openmp_threads_);
  set_float_control(float_control_);
}

}  // namespace espy::nn
