// What a request of the Open Inference Protocol means, however it was sent: version 2 of the protocol
// (github.com/kserve/open-inference-protocol) with Triton's extensions classification, model repository and
// statistics.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "service/classifier.h"
#include "service/registry.h"
#include "service/tensor.h"

namespace espy::service {

inline constexpr std::size_t kMaxIdBytes = 255;

inline constexpr std::string_view kPlatform = "onnx_onnxv1";
inline constexpr std::string_view kInputName = "input";
inline constexpr std::array<std::int64_t, 4> kInputShape = {-1, 1, 28, 28};  // of FP32

// Returns an output's shape as metadata has it: -1 stands for the number of pictures.
std::vector<std::int64_t> output_shape(const OutputKind& kind, const ServedModel& model);

// Returns the numbers of the versions of a name that are served, as texts.
std::vector<std::string> served_versions(const Registry& registry, std::string_view name);

// Returns the model that a request names; with an empty version the chosen one.
// Errors: not_found (as Registry::find; a version that is no number).
Result<std::shared_ptr<const ServedModel>> find_version(const Registry& registry, std::string_view name,
                                                        std::string_view version);

// Returns every version that is served of all names, or those that `name` and `version` name (find_version).
// Errors: not_found.
Result<std::vector<std::shared_ptr<const ServedModel>>> find_versions(const Registry& registry,
                                                                      std::string_view name,
                                                                      std::string_view version);

struct WantedOutput {
  const OutputKind* kind;
  std::size_t classification = 0;  // so many classes as texts; 0: the numbers
};

struct Inference {
  std::string id;  // at most kMaxIdBytes; empty: none was given
  std::vector<Picture> pictures;
  std::vector<WantedOutput> outputs{};  // as they were named; all, when none was
  std::string file_name{};              // of the parameter file_name, cleaned
  std::string subject{};                // of the parameter subject

  // Adds a wanted output. Errors: invalid_input (there is no such output; it has no classes; too many).
  Result<void> want(std::string_view name, std::int64_t classification);

  // Returns what a lane classifies together; takes the pictures. `otherwise_id` and `otherwise_subject` count
  // where the inference says neither. Errors: as check_said().
  Result<std::vector<Request>> take_requests(std::shared_ptr<const ServedModel> model,
                                             std::string_view otherwise_id,
                                             std::string_view otherwise_subject);

  // Returns the wanted outputs, in order.
  std::vector<Tensor> make_outputs(std::span<const Answer> answers,
                                   const std::vector<std::string>& class_names) const;
};

}  // namespace espy::service
