// Where the program speaks: results on standard output, talk on standard error.
#pragma once

#include <cstdio>
#include <string_view>

#include "base/result.h"
#include "cli/exit_status.h"

namespace espy::cli {

// Writes a part of the result. A failure is kept for finish_printing().
void print(std::string_view text);

// Hands everything printed so far to whoever reads it, for results that come one by one.
void flush();

// Errors: unavailable, when anything that was printed could not be written.
Result<void> finish_printing();

// Writes "espy: MESSAGE" and a line break to standard error.
void say(std::string_view message);

// Says the error and returns what the program ends with.
ExitStatus fail(const Error& error);

// Returns the columns of the terminal that a stream writes to; 0 when it is no terminal.
int terminal_width(std::FILE* stream);

}  // namespace espy::cli
