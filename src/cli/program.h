// The program: a command line becomes one command, run to an exit status.
#pragma once

#include <functional>
#include <span>
#include <string>

#include "cli/exit_status.h"

namespace espy::cli {

// What a command line asks for: something to do, or something to say at once.
struct Invocation {
  std::function<ExitStatus()> action{};  // empty when there is nothing to do
  std::string output{};                  // for standard output
  std::string complaint{};               // for standard error
  ExitStatus status = ExitStatus::done;
};

// Reads the arguments (without the program's name), the environment and the config file.
Invocation parse(std::span<const std::string> arguments);

// Runs the program and returns its exit status.
int run(int argc, const char* const* argv);

}  // namespace espy::cli
