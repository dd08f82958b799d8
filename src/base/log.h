// Talk for the operator, on standard error unless it is asked for elsewhere; results never go through here.
// Threads: configure() before others tell something; the rest from any thread.
#pragma once

#include <string_view>

namespace espy::log {

enum class Level { debug, info, warning, error, off };
enum class Style { text, json };
enum class Output { standard_error, standard_output };

// Sets what is shown, how and where. Before the first call: Level::info, Style::text, Output::standard_error.
// Style::text is "2026-11-22T03:41:00.123Z info message"; Style::json is one object a line with "time",
// "level" and "message".
void configure(Level level, Style style, Output output);

void debug(std::string_view message);
void info(std::string_view message);
void warning(std::string_view message);
void error(std::string_view message);

}  // namespace espy::log
