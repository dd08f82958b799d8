#include "nn/precision.h"

#include <oneapi/dnnl/dnnl.hpp>

namespace espy::nn {

std::string_view to_string(Precision precision) { return precision == Precision::bf16 ? "bf16" : "f32"; }

std::optional<Precision> precision_named(std::string_view name) {
  for (const Precision precision : {Precision::f32, Precision::bf16}) {
    if (name == to_string(precision)) return precision;
  }
  return std::nullopt;
}

bool multiplies_bf16() {
  // What oneDNN would use: it also honours the limit that a user may set in DNNL_MAX_CPU_ISA. An instruction
  // set's bits include those of the sets that it contains.
  const auto has = static_cast<unsigned>(dnnl::get_effective_cpu_isa());
  const auto needed = static_cast<unsigned>(dnnl::cpu_isa::avx512_core_bf16);
  return (has & needed) == needed;
}

Result<void> check_precision(Precision precision) {
  if (precision == Precision::f32 || multiplies_bf16()) return {};
  return Error{ErrorCode::invalid_input,
               "precision is bf16, but this processor has neither AVX512-BF16 nor AMX"};
}

}  // namespace espy::nn
