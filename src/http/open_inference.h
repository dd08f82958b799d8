// The Open Inference Protocol, version 2, over REST: what its requests and answers look like
// (github.com/kserve/open-inference-protocol, with Triton's extensions classification and binary tensor
// data). What they mean is in service/inference.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "service/inference.h"

namespace espy::http {

// How the numbers of an output are sent.
enum class Encoding { json, binary };

struct InferRequest {
  service::Inference inference;
  Encoding encoding = Encoding::json;              // of outputs that do not say
  std::vector<std::optional<Encoding>> encodings;  // of each output that was named
};

// Reads the body of an infer request. `json_bytes` is the field Inference-Header-Content-Length: so much of
// the body is JSON, the tensors follow; nothing: all of it is; 0: the body is one picture as it is, 784
// pixels (UINT8, or FP32), or an encoded one. Errors: invalid_input.
Result<InferRequest> parse_infer(std::string_view body, std::optional<std::size_t> json_bytes);

// The body of an answer, and how much of it is JSON when tensors follow.
struct InferResponse {
  std::string body;
  std::optional<std::size_t> json_bytes;
};

InferResponse write_infer_response(const InferRequest& request, std::string_view model, std::int64_t version,
                                   std::span<const service::Tensor> outputs);

// Reads the body of a repository request: an object with parameters, or nothing at all.
struct RepositoryRequest {
  bool ready = false;  // only what is ready is asked for
};
// Errors: invalid_input (not JSON; parameters that bring a model along, which nobody may).
Result<RepositoryRequest> parse_repository_request(std::string_view body);

}  // namespace espy::http
