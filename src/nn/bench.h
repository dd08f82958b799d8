// What this machine's processor can do at all, and what the operations of a network take of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "nn/network.h"
#include "nn/precision.h"

namespace espy::nn {

// Calls work(thread) at once on so many threads, of which the caller's is thread 0, and returns when all have
// returned. `work` must not throw. threads >= 1. Errors: std::system_error, when the system does not start as
// many; then none of them has worked.
void run_on_threads(std::size_t threads, const std::function<void(std::size_t thread)>& work);

// Operations are multiplications and additions alike: a multiply-add is two. Those of convolutions and dense
// layers are counted, padding included, and no others.

// In operations a second, the best of several rounds of about 20 ms; with several threads that of all
// together.
struct Peak {
  // Independent multiply-adds of the widest kind that the processor has, on registers alone: what no program
  // can surpass. f32: AVX-512 or AVX2. bf16: tiles of AMX, or AVX512-BF16. 0 on other processors.
  double instructions;
  // oneDNN multiplies square matrices of 256, 512 or 1024 rows, whichever is quickest, a pair on each thread:
  // what a good library reaches.
  double matrices;
};

// Errors: invalid_input (no thread; bf16 where the processor has none), unavailable (no threads to be had),
// internal (the library that computes refused).
Result<Peak> measure_peak(Precision precision, int threads);

// Returns how many operations one sample takes in inference, and in one step of training: a way forward, and
// a way back by the weights and, but for the first layer that has any, by the data. Errors: as layer_shapes.
Result<std::int64_t> inference_operations(const Architecture& architecture);
Result<std::int64_t> training_operations(const Architecture& architecture);

// What a part of a training step takes.
struct OperationTime {
  std::string name;            // "convolution 3x3x64 of 32x14x14 forward"
  std::string implementation;  // "brgconv:avx512_core", oneDNN's, or "espy"
  double seconds;
  std::int64_t operations;  // of the samples together; 0 for what is not counted
};

// Returns the parts of one step of training on `samples` samples, of noise, by one thread, in order: the
// median of several steps. What the optimizer does is not among them. Errors: as Trainer::create.
Result<std::vector<OperationTime>> measure_operations(const Network& network, int samples,
                                                      Precision precision);

}  // namespace espy::nn
