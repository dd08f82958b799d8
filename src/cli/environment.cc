#include "cli/environment.h"

#include <sys/utsname.h>

#include <cstdlib>
#include <fstream>

#include "base/processors.h"
#include "model/dataset.h"

namespace espy::cli {
namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

}  // namespace

std::vector<std::filesystem::path> data_search() {
  return model::data_folders(variable("ESPY_DATA"), variable("XDG_CACHE_HOME"), variable("HOME"));
}

int thread_count(int threads) { return threads > 0 ? threads : usable_processors(); }

Result<nn::Precision> usable_precision(const std::string& name) {
  const nn::Precision precision = *nn::precision_named(name);
  if (auto ok = nn::check_precision(precision); !ok) return std::move(ok).error();
  return precision;
}

std::string processor_name() {
  std::ifstream information("/proc/cpuinfo");
  for (std::string line; std::getline(information, line);) {
    const std::size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  utsname system{};
  return ::uname(&system) == 0 ? system.machine : "unknown processor";
}

}  // namespace espy::cli
