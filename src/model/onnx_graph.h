// A model's content as an ONNX message and back. The only place that knows protobuf.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "base/result.h"
#include "model/model.h"

namespace espy::model {

// Returns an ONNX file whose version (file_version.h) is still all '0'. The network is one for inference
// (nn::for_inference): without dropout, its batch norms folded into the convolutions.
std::string write_onnx(const ModelContent& content);

// Reads what write_onnx writes, and nothing else: every node must be the one that write_onnx would have
// written for its layer. The version is not looked at. Errors: invalid_input (not the message; another input;
// a layer, a tensor or metadata that espy does not know).
Result<ModelContent> read_onnx(std::span<const std::byte> file);

}  // namespace espy::model
