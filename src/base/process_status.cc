#include "base/process_status.h"

#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <ctime>
#include <filesystem>
#include <sstream>
#include <string>
#include <system_error>

#include "base/file.h"

namespace espy {
namespace {

constexpr std::size_t kMaxStatBytes = 4096;

// Returns the seconds since 1970 at which the system started. /proc/stat has them, too, but services often do
// not see it (systemd's ProcSubset=pid).
double boot_time() {
  timespec now{};
  timespec since_boot{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  ::clock_gettime(CLOCK_BOOTTIME, &since_boot);
  return static_cast<double>(now.tv_sec - since_boot.tv_sec) +
         static_cast<double>(now.tv_nsec - since_boot.tv_nsec) * 1e-9;
}

}  // namespace

ProcessStatus read_process_status() {
  ProcessStatus status;
  // The second field is the program's name in brackets, which may hold anything; the rest are numbers.
  const Result<std::string> text = read_file("/proc/self/stat", kMaxStatBytes);
  if (const std::size_t name_end = text ? text->rfind(')') : std::string::npos;
      name_end != std::string::npos) {
    std::istringstream fields(text->substr(name_end + 1));
    std::array<std::string, 22> field;  // the third field of proc(5) is the first one here
    for (std::string& one : field) fields >> one;
    const auto number = [&](int proc_number) {
      const std::string& digits = field[static_cast<std::size_t>(proc_number - 3)];
      std::uint64_t value = 0;
      std::from_chars(digits.data(), digits.data() + digits.size(), value);
      return value;
    };
    const auto ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
    status.cpu_seconds = static_cast<double>(number(14) + number(15)) / ticks;
    status.threads = number(20);
    status.start_seconds = boot_time() + static_cast<double>(number(22)) / ticks;
    status.virtual_bytes = number(23);
    status.resident_bytes = number(24) * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  }
  std::error_code error;
  for (auto entry = std::filesystem::directory_iterator("/proc/self/fd", error);
       !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    ++status.open_descriptors;
  }
  if (status.open_descriptors > 0) --status.open_descriptors;  // the one that this reading takes
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) status.max_descriptors = limit.rlim_cur;
  return status;
}

}  // namespace espy
