// What is measured of each version of a model on the road from upload to record.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/figures.h"
#include "base/verdict.h"

namespace espy::service {

// Pictures of a batch; the last bound is the longest batch that there is.
inline constexpr std::array<std::uint64_t, 9> kBatchBounds = {1, 2, 4, 8, 16, 32, 64, 128, 256};
using BatchSizes = Distribution<kBatchBounds>;

// In order of their values.
inline constexpr std::array kVerdicts = {Verdict::recognized, Verdict::not_recognized, Verdict::unsure};

// One lane's figures of one version. Threads: the lane's writes, any read.
struct alignas(64) ModelFigures {
  Durations decode;     // of a picture, to the network's input
  Durations inference;  // of a batch
  Durations recording;  // from a prediction to the lane's hearing that its record is on disk
  BatchSizes batches;
  Count refused;                                    // pictures that could not be decoded
  std::array<Count, kVerdicts.size()> predictions;  // that are on disk, by their verdict's value
};

// The same, of all lanes.
struct ModelTotals {
  std::string model;
  std::string version;
  Durations::Sum decode{};
  Durations::Sum inference{};
  Durations::Sum recording{};
  BatchSizes::Sum batches{};
  std::uint64_t refused = 0;
  std::array<std::uint64_t, kVerdicts.size()> predictions{};
};

// Keeps the figures of lanes and versions that are gone: what counts must never go back.
// Threads: all functions may be called from any thread at once.
class Figures {
 public:
  // Returns the figures for a lane to write. A lane that names a version again gets the same ones.
  ModelFigures& open(const void* lane, std::string_view model, std::string_view version);

  // In the order in which versions came.
  std::vector<ModelTotals> totals() const;

 private:
  struct Part {
    const void* lane;
    std::string model;
    std::string version;
    std::unique_ptr<ModelFigures> figures;
  };

  mutable std::mutex mutex_;
  std::vector<Part> parts_;
};

}  // namespace espy::service
