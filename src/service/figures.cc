#include "service/figures.h"

#include <algorithm>

namespace espy::service {

ModelFigures& Figures::open(const void* lane, std::string_view model, std::string_view version) {
  const std::lock_guard lock(mutex_);
  const auto found = std::ranges::find_if(parts_, [&](const Part& part) {
    return part.lane == lane && part.model == model && part.version == version;
  });
  if (found != parts_.end()) return *found->figures;
  parts_.push_back({lane, std::string(model), std::string(version), std::make_unique<ModelFigures>()});
  return *parts_.back().figures;
}

std::vector<ModelTotals> Figures::totals() const {
  const std::lock_guard lock(mutex_);
  std::vector<ModelTotals> totals;
  for (const Part& part : parts_) {
    auto total = std::ranges::find_if(totals, [&](const ModelTotals& other) {
      return other.model == part.model && other.version == part.version;
    });
    if (total == totals.end()) {
      total = totals.insert(total, {.model = part.model, .version = part.version});
    }
    total->decode += part.figures->decode.sum();
    total->inference += part.figures->inference.sum();
    total->recording += part.figures->recording.sum();
    total->batches += part.figures->batches.sum();
    total->refused += part.figures->refused.value();
    for (std::size_t i = 0; i < kVerdicts.size(); ++i) {
      total->predictions[i] += part.figures->predictions[i].value();
    }
  }
  return totals;
}

}  // namespace espy::service
