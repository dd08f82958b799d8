// What the machine and the user's settings say, beside flags. The only other reader of the environment is the
// flags themselves.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"
#include "nn/precision.h"

namespace espy::cli {

// Returns where named data sets are looked for.
std::vector<std::filesystem::path> data_search();

// Returns `threads`, or the number of processors that the program may use when it is 0.
int thread_count(int threads);

// Returns the precision that --precision names, f32 or bf16. Errors: invalid_input (bf16 where the processor
// has none).
Result<nn::Precision> usable_precision(const std::string& name);

// Returns the processor's own name, or its architecture when it tells none.
std::string processor_name();

}  // namespace espy::cli
