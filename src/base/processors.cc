#include "base/processors.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <thread>

#include "base/file.h"

namespace espy {
namespace {

constexpr std::size_t kMaxQuotaBytes = 256;

// Returns the path of this process's group below the file system of groups; in a container it is "/".
std::filesystem::path own_group() {
  constexpr std::string_view kUnified = "0::/";
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    if (line.starts_with(kUnified)) return line.substr(kUnified.size());
  }
  return {};
}

}  // namespace

std::optional<int> processors_in_quota(std::string_view cpu_max) {
  std::int64_t quota = 0;
  std::int64_t period = 0;
  const char* const end = cpu_max.data() + cpu_max.size();
  const auto [behind_quota, wrong] = std::from_chars(cpu_max.data(), end, quota);
  if (wrong != std::errc{} || behind_quota == end || *behind_quota != ' ') return {};
  if (std::from_chars(behind_quota + 1, end, period).ec != std::errc{}) return {};
  if (quota <= 0 || period <= 0) return {};
  const std::int64_t processors = quota / period + (quota % period != 0 ? 1 : 0);
  return static_cast<int>(std::min<std::int64_t>(processors, std::numeric_limits<int>::max()));
}

int usable_processors() {
  // It counts what the affinity mask allows (glibc).
  int processors = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  const std::filesystem::path root = "/sys/fs/cgroup";
  // Each group above may allow less.
  for (std::filesystem::path group = root / own_group();; group = group.parent_path()) {
    const Result<std::string> quota = read_file(group / "cpu.max", kMaxQuotaBytes);
    if (const auto allowed = quota ? processors_in_quota(*quota) : std::nullopt) {
      processors = std::min(processors, *allowed);
    }
    if (group == root || !group.has_relative_path() || group == group.parent_path()) break;
  }
  return processors;
}

}  // namespace espy
