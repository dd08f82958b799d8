// The models that are being served, as they are at one moment; Catalog (catalog.h) makes the next one.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "model/model.h"
#include "model/predictor.h"
#include "nn/precision.h"

namespace espy::service {

// How often something was done, and how long it took in all.
struct Timed {
  std::uint64_t count = 0;
  std::chrono::nanoseconds time{};
};

// What became of the requests for one version since it was loaded.
struct Statistics {
  std::uint64_t inferences = 0;  // pictures whose records are durable
  std::uint64_t executions = 0;  // batches
  std::optional<Timestamp> last_inference;
  Timed success;    // from the arrival to the durable records, a request each
  Timed failure;    // from the arrival to the refusal, a request each
  Timed input;      // decoding and preparing, a picture each
  Timed queue;      // from there to its batch's beginning
  Timed inference;  // of its batch, a picture each
};

// One lane's part of the statistics. Threads: one writes, any read.
class Tally {
 public:
  enum Row { success, failure, input, queue, inference, kRows };

  void add(Row row, std::uint64_t count, std::chrono::nanoseconds time);
  void add_execution(Timestamp now);
  void add_inference();
  void add_to(Statistics& sum) const;

 private:
  using Number = std::atomic<std::uint64_t>;
  static void increase(Number& number, std::uint64_t by);

  std::array<Number, kRows> counts_{};
  std::array<Number, kRows> nanoseconds_{};
  Number inferences_{};
  Number executions_{};
  std::atomic<std::int64_t> last_{};  // microseconds since 1970; 0: never
};

// One version of a model in memory. It goes when the last request that it answers is done.
// Threads: all functions may be called from any thread at once.
class ServedModel {
 public:
  ServedModel(std::string name, std::int64_t number, std::shared_ptr<const model::Model> model);

  const std::string& name() const { return name_; }
  std::int64_t number() const { return number_; }  // the version's, from 1 on
  const model::Model& model() const { return *model_; }
  const std::shared_ptr<const model::Model>& shared_model() const { return model_; }

  // Makes predictors that have planned their memory and made their code for every size of batch, for
  // take_predictor() to give away. It takes long; not on an event loop.
  void prepare(std::size_t predictors, nn::Precision precision) const;
  // Returns one that is prepared, or a new one that has seen one picture.
  std::unique_ptr<model::Predictor> take_predictor(nn::Precision precision) const;

  // Returns a part of the statistics of its own for whoever asks.
  std::shared_ptr<Tally> open_tally() const;
  Statistics statistics() const;

 private:
  const std::string name_;
  const std::int64_t number_;
  const std::shared_ptr<const model::Model> model_;
  mutable std::mutex mutex_;  // guards these
  mutable std::vector<std::pair<nn::Precision, std::unique_ptr<model::Predictor>>> prepared_;
  mutable std::vector<std::shared_ptr<Tally>> tallies_;
};

// A version that there is, served or not.
struct ModelVersion {
  std::int64_t number = 0;
  std::shared_ptr<const ServedModel> served;  // nullptr: it is not
  std::string reason;  // why it is not, or why a newer file did not take its place; empty: all is well
};

// All versions of one name.
struct ModelEntry {
  std::string name;
  std::vector<ModelVersion> versions;  // in order of their numbers
  // What answers when no version is named; nullptr when none is served.
  std::shared_ptr<const ServedModel> chosen;
  std::map<std::string, std::int64_t, std::less<>> labels;  // names for versions, such as "stable"
};

// Threads: immutable.
class Registry {
 public:
  // The first entry that is served is the default model.
  explicit Registry(std::vector<ModelEntry> entries = {});

  // Returns a served version: of the default model when name is empty, the chosen one when no number is
  // given. Errors: not_found ("there is no model x; there are digits, garments").
  Result<std::shared_ptr<const ServedModel>> find(std::string_view name,
                                                  std::optional<std::int64_t> number = std::nullopt) const;

  // Returns nullptr when there is no such name, served or not.
  const ModelEntry* entry(std::string_view name) const;
  const std::vector<ModelEntry>& entries() const { return entries_; }

  // Returns whether this very version is served.
  bool has(const ServedModel& model) const;

  // The names that are served, each with its chosen version.
  std::size_t size() const { return served_.size(); }
  const std::string& name(std::size_t index) const { return served_[index]->name(); }
  const std::shared_ptr<const model::Model>& model(std::size_t index) const {
    return served_[index]->shared_model();
  }

 private:
  std::vector<ModelEntry> entries_;
  std::vector<std::shared_ptr<const ServedModel>> served_;
};

}  // namespace espy::service
