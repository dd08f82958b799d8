// Talk for the operator, on stderr; results never go through here.
// Threads: every function may be called from any thread.
#pragma once

#include <string_view>

namespace espy::log {

enum class Level { debug, info, warning, error, off };
enum class Style { text, json };

// Sets what is shown and how. Before the first call: Level::info, Style::text.
// Style::text is "2026-11-22T03:41:00.123Z info message"; Style::json is one object a line with "time",
// "level" and "message".
void configure(Level level, Style style);

void debug(std::string_view message);
void info(std::string_view message);
void warning(std::string_view message);
void error(std::string_view message);

}  // namespace espy::log
