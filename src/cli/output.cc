#include "cli/output.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/format.h"
#include "cli/text.h"

namespace espy::cli {
namespace {

// What a terminal that does not tell its size is taken for.
constexpr int kUsualTerminalWidth = 80;

// errno of the first write that failed; printing is for the main thread alone.
int first_failure = 0;

}  // namespace

void print(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() && first_failure == 0) {
    first_failure = errno;
  }
}

void flush() {
  if (std::fflush(stdout) != 0 && first_failure == 0) first_failure = errno;
}

Result<void> finish_printing() {
  flush();
  if (first_failure == 0) return {};
  return Error{ErrorCode::unavailable,
               format("cannot write standard output: {}", std::strerror(first_failure))};
}

void say(std::string_view message) {
  const std::string line = format("espy: {}\n", printable(message));
  std::fwrite(line.data(), 1, line.size(), stderr);
}

ExitStatus fail(const Error& error) {
  say(error.message);
  return exit_status(error.code);
}

int terminal_width(std::FILE* stream) {
  const int file = ::fileno(stream);
  if (!::isatty(file)) return 0;
  winsize size{};
  if (::ioctl(file, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kUsualTerminalWidth;
  return size.ws_col;
}

}  // namespace espy::cli
