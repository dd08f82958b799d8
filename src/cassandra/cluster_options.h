// What the options of a cluster may say. ClusterOptions and parse_cluster() are in cluster.h.
#pragma once

#include <chrono>
#include <optional>
#include <string_view>

#include "base/result.h"
#include "cassandra/cluster.h"

namespace espy::cassandra {

// Cassandra counts seconds to live in an int and takes 20 years at most.
inline constexpr std::chrono::days kMostRetention{20 * 365};

// Errors: invalid_input (names the option, its value and its limits).
Result<void> check(const ClusterOptions& options);

// Returns the number that the whole text is; nothing when it is none, or outside the limits.
std::optional<int> parse_number(std::string_view text, int least, int most);

}  // namespace espy::cassandra
