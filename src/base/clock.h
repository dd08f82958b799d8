// Wall-clock time as records carry it: UTC, microseconds.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace espy {

using Timestamp = std::chrono::sys_time<std::chrono::microseconds>;

// Where the time comes from; a parameter wherever time matters, so that tests can set it.
using Clock = std::function<Timestamp()>;

// Returns the system's clock.
Clock system_clock();

// Returns "2026-11-22T03:41:00.123456Z" (RFC 3339).
std::string to_string(Timestamp time);

// Reads RFC 3339 in UTC, shortened at will: "2026-11-22", "2026-11-22T03:41Z", "...:00Z", "...:00.5Z".
// Returns nothing for any other text.
std::optional<Timestamp> parse_timestamp(std::string_view text);

}  // namespace espy
