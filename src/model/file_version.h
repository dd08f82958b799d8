// The version inside a model file: SHA-256 of the file in which the version's own 64 digits are '0'.
//
// A file is checked in two steps. This one looks at the outermost structure of the ONNX file and at its
// version, without taking memory, so that a file that was cut off or changed never reaches the parser. The
// other (onnx_graph.h) gives the content a meaning.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace espy::model {

inline constexpr std::string_view kProducer = "espy";
inline constexpr std::string_view kVersionKey = "espy.version";
inline constexpr std::size_t kVersionDigits = 64;

inline constexpr std::size_t kMaxModelBytes = std::size_t{1} << 30;

// A file's bytes without the values of its tensors: names, shapes, metadata. Ours have a few KB. Protobuf may
// take a hundred times the memory of such bytes, so they have a limit of their own.
inline constexpr std::size_t kMaxStructureBytes = std::size_t{1} << 20;

// Returns the file with the right version in the place of the one that it has. A file that has no such place
// comes back as it is.
std::string with_version(std::string file);

// Returns the version of a file that is whole.
// Errors: as Model::parse, but for what only the content can show.
Result<std::string> verify_version(std::span<const std::byte> file);

}  // namespace espy::model
