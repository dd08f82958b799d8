#include "service/registry.h"

#include <algorithm>
#include <utility>

#include "base/format.h"

namespace espy::service {
namespace {

// A name comes from outside and may be of any length.
std::string shown(std::string_view name) {
  constexpr std::size_t kShownBytes = 64;
  return std::string(name.substr(0, kShownBytes)) + (name.size() > kShownBytes ? "..." : "");
}

// The sizes of batches that nn::Predictor has a graph for, so that none is left to be made.
constexpr std::size_t kPreparedSizes[] = {1, 4, 16, 64};

}  // namespace

void Tally::increase(Number& number, std::uint64_t by) {
  number.store(number.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
}

void Tally::add(Row row, std::uint64_t count, std::chrono::nanoseconds time) {
  increase(counts_[row], count);
  increase(nanoseconds_[row], static_cast<std::uint64_t>(time.count()));
}

void Tally::add_inference() { increase(inferences_, 1); }

void Tally::add_execution(Timestamp now) {
  increase(executions_, 1);
  last_.store(now.time_since_epoch().count(), std::memory_order_relaxed);
}

void Tally::add_to(Statistics& sum) const {
  const auto read = [](const Number& number) { return number.load(std::memory_order_relaxed); };
  const std::pair<Timed*, Row> rows[] = {{&sum.success, success},
                                         {&sum.failure, failure},
                                         {&sum.input, input},
                                         {&sum.queue, queue},
                                         {&sum.inference, inference}};
  for (const auto& [timed, row] : rows) {
    timed->count += read(counts_[row]);
    timed->time += std::chrono::nanoseconds(read(nanoseconds_[row]));
  }
  sum.inferences += read(inferences_);
  sum.executions += read(executions_);
  const std::int64_t last = last_.load(std::memory_order_relaxed);
  if (last == 0) return;
  const Timestamp time{std::chrono::microseconds(last)};
  if (!sum.last_inference || *sum.last_inference < time) sum.last_inference = time;
}

ServedModel::ServedModel(std::string name, std::int64_t number, std::shared_ptr<const model::Model> model)
    : name_(std::move(name)), number_(number), model_(std::move(model)) {}

void ServedModel::prepare(std::size_t predictors, nn::Precision precision) const {
  for (std::size_t i = 0; i < predictors; ++i) {
    auto predictor = std::make_unique<model::Predictor>(model_, precision);
    for (const std::size_t size : kPreparedSizes) predictor->predict(std::vector<image::Input>(size));
    const std::lock_guard lock(mutex_);
    prepared_.emplace_back(precision, std::move(predictor));
  }
}

std::unique_ptr<model::Predictor> ServedModel::take_predictor(nn::Precision precision) const {
  {
    const std::lock_guard lock(mutex_);
    const auto found = std::ranges::find(prepared_, precision, &decltype(prepared_)::value_type::first);
    if (found != prepared_.end()) {
      std::unique_ptr<model::Predictor> predictor = std::move(found->second);
      prepared_.erase(found);
      return predictor;
    }
  }
  auto predictor = std::make_unique<model::Predictor>(model_, precision);
  // The first prediction plans memory and makes code; better now than in the first request.
  predictor->predict(std::array<image::Input, 1>{});
  return predictor;
}

std::shared_ptr<Tally> ServedModel::open_tally() const {
  auto tally = std::make_shared<Tally>();
  const std::lock_guard lock(mutex_);
  tallies_.push_back(tally);
  return tally;
}

Statistics ServedModel::statistics() const {
  Statistics sum;
  const std::lock_guard lock(mutex_);
  for (const auto& tally : tallies_) tally->add_to(sum);
  return sum;
}

Registry::Registry(std::vector<ModelEntry> entries) : entries_(std::move(entries)) {
  for (const ModelEntry& entry : entries_) {
    if (entry.chosen) served_.push_back(entry.chosen);
  }
}

const ModelEntry* Registry::entry(std::string_view name) const {
  const auto found = std::ranges::find(entries_, name, &ModelEntry::name);
  return found != entries_.end() ? &*found : nullptr;
}

bool Registry::has(const ServedModel& model) const {
  const ModelEntry* const found = entry(model.name());
  return found != nullptr && std::ranges::any_of(found->versions, [&](const ModelVersion& version) {
           return version.served.get() == &model;
         });
}

Result<std::shared_ptr<const ServedModel>> Registry::find(std::string_view name,
                                                          std::optional<std::int64_t> number) const {
  if (served_.empty()) return Error{ErrorCode::not_found, "no model is served"};
  const ModelEntry* const found = entry(name.empty() ? std::string_view(served_[0]->name()) : name);
  if (found == nullptr) {
    std::string known;
    for (const auto& served : served_) known += (known.empty() ? "" : ", ") + served->name();
    return Error{ErrorCode::not_found, format("there is no model {}; there are {}", shown(name), known)};
  }
  if (!number) {
    if (found->chosen) return found->chosen;
    std::string why;
    for (const ModelVersion& version : found->versions) why = version.reason;
    return Error{ErrorCode::not_found, format("model {} is not served: {}", found->name, why)};
  }
  std::string known;
  for (const ModelVersion& version : found->versions) {
    if (version.number == *number) {
      if (version.served) return version.served;
      return Error{ErrorCode::not_found,
                   format("version {} of model {} is not served: {}", *number, found->name, version.reason)};
    }
    known += (known.empty() ? "" : ", ") + std::to_string(version.number);
  }
  return Error{ErrorCode::not_found,
               format("model {} has no version {}; there are {}", found->name, *number, known)};
}

}  // namespace espy::service
