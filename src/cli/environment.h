// What the machine and the user's settings say, beside flags. The only other reader of the environment is the
// flags themselves.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace espy::cli {

// Returns where named data sets are looked for.
std::vector<std::filesystem::path> data_search();

// Returns `threads`, or the number of processors that the program may use when it is 0.
int thread_count(int threads);

// Returns the processor's own name, or its architecture when it tells none.
std::string processor_name();

}  // namespace espy::cli
