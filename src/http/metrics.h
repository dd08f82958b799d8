// Figures in Prometheus's text format, version 0.0.4. docs/observability.md lists them all.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/process_status.h"
#include "http/figures.h"
#include "service/figures.h"
#include "store/store.h"

namespace espy::http {

inline constexpr std::string_view kMetricsType = "text/plain; version=0.0.4; charset=utf-8";

// What a route is called where it is measured.
struct RouteName {
  std::string_view method;
  std::string_view path;
};

struct MetricsInput {
  Timestamp now;                                  // what ages are counted to
  const store::HistoryStatus* history = nullptr;  // none: it cannot be read
  std::span<const service::ModelTotals> models{};
  LoopTotals loops{};
  std::span<const RouteName> routes{};           // of those that `loops` has; more are "none"
  const LineLog::Figures* access_log = nullptr;  // none: nothing was written
  ProcessStatus process{};
  bool ready = false;
};

std::string metrics_text(const MetricsInput& input);

}  // namespace espy::http
