// In which numbers a network multiplies.
#pragma once

#include <optional>
#include <string_view>

#include "base/result.h"

namespace espy::nn {

// f32: everything in single precision. bf16: convolutions behind the first layer, and dense layers behind it
// and before the last one, with AMX also a first one, read and write bfloat16, the upper half of a float;
// sums, batch norms, the loss, the optimizer and its copy of the parameters stay single.
enum class Precision { f32, bf16 };

// "f32" or "bf16", and back; nothing for any other name.
std::string_view to_string(Precision precision);
std::optional<Precision> precision_named(std::string_view name);

// Returns whether this machine multiplies bfloat16 in hardware (AVX512-BF16 or AMX).
bool multiplies_bf16();

// Returns whether this machine has AVX-512 (F, BW, DQ, VL).
bool has_avx512();

// Returns the name of what this machine multiplies with, of which the last bits of every sum depend:
// "AMX", "AVX512-BF16", "AVX-512", "AVX2", or "portable".
std::string_view instructions();

// Returns success when this machine can compute so.
// Errors: invalid_input (bf16 where it has no instructions).
Result<void> check_precision(Precision precision);

}  // namespace espy::nn
