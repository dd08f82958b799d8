// Figures in Prometheus's text format, version 0.0.4.
#pragma once

#include <string>
#include <string_view>

#include "store/store.h"

namespace espy::http {

inline constexpr std::string_view kMetricsType = "text/plain; version=0.0.4; charset=utf-8";

std::string metrics_text(const store::HistoryStatus& status);

}  // namespace espy::http
