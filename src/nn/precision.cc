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

namespace {

// What oneDNN would use: it knows the processor, and the limit that a user may set in DNNL_MAX_CPU_ISA. An
// instruction set's bits include those of the sets that it contains.
bool has(dnnl::cpu_isa needed) {
  const auto effective = static_cast<unsigned>(dnnl::get_effective_cpu_isa());
  return (effective & static_cast<unsigned>(needed)) == static_cast<unsigned>(needed);
}

}  // namespace

bool multiplies_bf16() { return has(dnnl::cpu_isa::avx512_core_bf16); }

bool has_avx512() { return has(dnnl::cpu_isa::avx512_core); }

std::string_view instructions() {
  if (has(dnnl::cpu_isa::avx512_core_amx)) return "AMX";
  if (has(dnnl::cpu_isa::avx512_core_bf16)) return "AVX512-BF16";
  if (has_avx512()) return "AVX-512";
  if (has(dnnl::cpu_isa::avx2)) return "AVX2";
  return "portable";
}

Result<void> check_precision(Precision precision) {
  if (precision == Precision::f32 || multiplies_bf16()) return {};
  return Error{ErrorCode::invalid_input,
               "precision is bf16, but this processor has neither AVX512-BF16 nor AMX"};
}

}  // namespace espy::nn
