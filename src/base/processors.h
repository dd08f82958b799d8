// How many processors this process may use.
#pragma once

#include <optional>
#include <string_view>

namespace espy {

// Returns how many threads can run at once, at least 1: what the affinity mask allows, or fewer where a group
// of processes that this one is in may use less time than that (the kernel's control groups, version 2:
// `docker run --cpus`, Kubernetes' limits, systemd's CPUQuota=). A part of a processor counts as one.
int usable_processors();

// Returns what "cpu.max" of a control group allows (kernel documentation, admin-guide/cgroup-v2): "QUOTA
// PERIOD" is their ratio, rounded up; nothing when it says "max", or something else.
std::optional<int> processors_in_quota(std::string_view cpu_max);

}  // namespace espy
