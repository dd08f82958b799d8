// The text of --help.
#pragma once

#include <string>

#include "cli/commands.h"
#include "cli/flags.h"

namespace espy::cli {

// Returns "espy 0.1.0".
std::string version_text();

// Returns the help of `espy` itself.
std::string program_help();

// Returns the help of a group, which lists its commands, or of a command, which shows its flags.
std::string command_help(const Command& command, const Flags& flags);

}  // namespace espy::cli
