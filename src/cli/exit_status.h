// What the program tells the shell.
#pragma once

#include "base/error.h"

namespace espy::cli {

enum class ExitStatus {
  done = 0,
  failed = 1,
  usage = 2,          // the command line was wrong; nothing was tried
  interrupted = 130,  // 128 + SIGINT, as shells have it
};

// Returns what an error that came up while a command ran ends the program with.
ExitStatus exit_status(ErrorCode code);

}  // namespace espy::cli
