// Figures in Prometheus's text format, version 0.0.4.
#pragma once

#include <string>
#include <string_view>

#include "base/clock.h"
#include "store/store.h"

namespace espy::http {

inline constexpr std::string_view kMetricsType = "text/plain; version=0.0.4; charset=utf-8";

// `now` is what ages are counted to.
std::string metrics_text(const store::HistoryStatus& status, Timestamp now);

}  // namespace espy::http
