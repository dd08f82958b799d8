#include "nn/predictor.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <optional>
#include <utility>

#include "nn/compute_mode.h"
#include "nn/graph.h"
#include "nn/parameters.h"

namespace espy::nn {
namespace {

// The batch sizes with a graph of their own; any other count is made up of these.
constexpr std::array kSizes = {1, 4, 16, 64};

// Returns the index of the size to compute next: the largest that fits, or a larger one that gets more than
// half full.
std::size_t choose_size(int count) {
  std::size_t index = 0;
  while (index + 1 < kSizes.size() && 2 * count > kSizes[index + 1]) ++index;
  return index;
}

class GraphPredictor final : public Predictor {
 public:
  // Errors: dnnl::error.
  GraphPredictor(const Network& network, Precision precision)
      : architecture_(network.architecture),
        precision_(precision),
        sample_size_(element_count(architecture_.input)),
        parameters_(network.parameters) {
    // What can fail fails here: the other sizes differ in nothing but their size.
    const ComputeMode mode;
    classes_ = graph(0).logits().size();
    feature_count_ = graph(0).features().size();
  }

  std::span<const float> logits(std::span<const float> inputs, int count) override {
    assert(count >= 1 && inputs.size() == static_cast<std::size_t>(count) * sample_size_);
    const ComputeMode mode;
    logits_.resize(static_cast<std::size_t>(count) * classes_);
    features_.resize(static_cast<std::size_t>(count) * feature_count_);
    std::size_t done = 0;
    while (done < static_cast<std::size_t>(count)) {
      const std::size_t left = static_cast<std::size_t>(count) - done;
      Graph& chosen = graph(choose_size(static_cast<int>(left)));
      const std::size_t now = std::min(left, static_cast<std::size_t>(chosen.samples()));
      const std::span<const float> part = inputs.subspan(done * sample_size_, now * sample_size_);
      if (now == static_cast<std::size_t>(chosen.samples())) {
        chosen.read_input_from(part.data());
      } else {
        std::copy(part.begin(), part.end(), chosen.input().begin());
        chosen.read_input_from(chosen.input().data());
      }
      chosen.forward({});
      std::copy_n(chosen.logits().begin(), now * classes_,
                  logits_.begin() + static_cast<std::ptrdiff_t>(done * classes_));
      std::copy_n(chosen.features().begin(), now * feature_count_,
                  features_.begin() + static_cast<std::ptrdiff_t>(done * feature_count_));
      done += now;
    }
    return logits_;
  }

  std::span<const float> features() const override { return features_; }

 private:
  Graph& graph(std::size_t index) {
    std::optional<Graph>& slot = graphs_[index];
    if (!slot) slot.emplace(architecture_, kSizes[index], Purpose::inference, precision_, parameters_);
    return *slot;
  }

  const Architecture architecture_;
  const Precision precision_;
  const std::size_t sample_size_;
  std::size_t classes_ = 0;
  std::size_t feature_count_ = 0;
  Parameters parameters_;
  std::array<std::optional<Graph>, kSizes.size()> graphs_;
  std::vector<float> logits_;
  std::vector<float> features_;
};

}  // namespace

Result<std::unique_ptr<Predictor>> Predictor::create(const Network& network, Precision precision) {
  if (auto ok = check_precision(precision); !ok) return std::move(ok).error();
  Result<Network> folded = for_inference(network);
  if (!folded) return std::move(folded).error();
  try {
    return std::unique_ptr<Predictor>(std::make_unique<GraphPredictor>(*folded, precision));
  } catch (const dnnl::error& error) {
    return to_error(error);
  }
}

}  // namespace espy::nn
