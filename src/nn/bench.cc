#include "nn/bench.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include "nn/amx_tiles.h"
#endif

#include <algorithm>
#include <barrier>
#include <chrono>
#include <latch>
#include <memory>
#include <numeric>
#include <system_error>
#include <thread>
#include <unordered_map>
#include <utility>

#include "base/format.h"
#include "nn/amx_convolution.h"
#include "nn/compute_mode.h"
#include "nn/graph.h"
#include "nn/parameters.h"
#include "nn/random.h"

namespace espy::nn {
namespace {

using SteadyClock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

// Does its work so many times and returns how many operations that were.
using Load = std::function<double(int times)>;

#if defined(__x86_64__)

// Multiply-adds take four or five cycles and two begin in each, so ten that wait for none of the others keep
// the units busy; 24 registers leave room for the factors. The results are kept so that the work is not left
// out.
constexpr int kChains = 24;
constexpr int kRepeats = 1000;

__attribute__((target("avx512f"))) double multiply_avx512(int times) {
  __m512 sums[kChains];
  for (__m512& sum : sums) sum = _mm512_set1_ps(1);
  const __m512 factor = _mm512_set1_ps(0.999F);
  const __m512 addend = _mm512_set1_ps(1e-3F);
  for (long i = 0; i < long{times} * kRepeats; ++i) {
#pragma GCC unroll 24
    for (__m512& sum : sums) sum = _mm512_fmadd_ps(sum, factor, addend);
  }
  for (__m512& sum : sums) asm volatile("" : : "v"(sum));
  return 2.0 * 16 * kChains * kRepeats * times;
}

__attribute__((target("avx2,fma"))) double multiply_avx2(int times) {
  constexpr int kChainsOfAvx2 = 12;  // of 16 registers
  __m256 sums[kChainsOfAvx2];
  for (__m256& sum : sums) sum = _mm256_set1_ps(1);
  const __m256 factor = _mm256_set1_ps(0.999F);
  const __m256 addend = _mm256_set1_ps(1e-3F);
  for (long i = 0; i < long{times} * kRepeats; ++i) {
#pragma GCC unroll 12
    for (__m256& sum : sums) sum = _mm256_fmadd_ps(sum, factor, addend);
  }
  for (__m256& sum : sums) asm volatile("" : : "x"(sum));
  return 2.0 * 8 * kChainsOfAvx2 * kRepeats * times;
}

__attribute__((target("avx512f,avx512bw,avx512bf16"))) double multiply_avx512_bf16(int times) {
  __m512 sums[kChains];
  for (__m512& sum : sums) sum = _mm512_setzero_ps();
  const auto factors = (__m512bh)_mm512_set1_epi16(0x3c00);  // 2^-7
  for (long i = 0; i < long{times} * kRepeats; ++i) {
#pragma GCC unroll 24
    for (__m512& sum : sums) sum = _mm512_dpbf16_ps(sum, factors, factors);
  }
  for (__m512& sum : sums) asm volatile("" : : "v"(sum));
  return 2.0 * 32 * kChains * kRepeats * times;
}

ESPY_AMX double multiply_amx(int times) {
  const Tiles tiles;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  _tile_zero(6);
  _tile_zero(7);
  for (long i = 0; i < long{times} * kRepeats; ++i) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  return 2.0 * 16 * 16 * 32 * 4 * kRepeats * times;
}

Load instruction_load(Precision precision) {
  if (precision == Precision::bf16) {
    if (has_amx()) return multiply_amx;
    return multiplies_bf16() ? Load(multiply_avx512_bf16) : Load();
  }
  if (instructions() == "portable") return {};
  return instructions() == "AVX2" ? multiply_avx2 : multiply_avx512;
}

#else

Load instruction_load(Precision) { return {}; }

#endif

// Two matrices and their product, in the layouts that oneDNN likes best.
class MatrixLoad {
 public:
  MatrixLoad(Precision precision, dnnl::memory::dim side) : side_(side) {
    const auto type =
        precision == Precision::bf16 ? dnnl::memory::data_type::bf16 : dnnl::memory::data_type::f32;
    const dnnl::memory::desc any({side, side}, type, dnnl::memory::format_tag::any);
    const dnnl::memory::desc sums({side, side}, dnnl::memory::data_type::f32, dnnl::memory::format_tag::any);
    const dnnl::matmul::primitive_desc description({any, any, sums}, portable_attributes(), cpu());
    multiply_ = dnnl::matmul(description);
    arguments_ = {{DNNL_ARG_SRC, zeroed_memory(description.src_desc())},
                  {DNNL_ARG_WEIGHTS, zeroed_memory(description.weights_desc())},
                  {DNNL_ARG_DST, zeroed_memory(description.dst_desc())},
                  {DNNL_ARG_SCRATCHPAD, dnnl::memory(description.scratchpad_desc(), cpu())}};
  }

  double run(int times) {
    dnnl::stream stream(cpu());
    for (int i = 0; i < times; ++i) multiply_.execute(stream, arguments_);
    const auto side = static_cast<double>(side_);
    return 2.0 * side * side * side * times;
  }

 private:
  dnnl::memory::dim side_;
  dnnl::matmul multiply_;
  std::unordered_map<int, dnnl::memory> arguments_;
};

// Returns the best rate of all threads together. Each thread has its own load; a round lasts as long as its
// slowest thread.
double best_rate(const std::vector<Load>& loads) {
  constexpr int kRounds = 12;
  constexpr Seconds kRound{0.02};
  const ComputeMode mode;
  int times = 1;
  for (Seconds spent{}; spent < kRound / 2; times *= 2) {
    const auto began = SteadyClock::now();
    loads.front()(times);
    spent = SteadyClock::now() - began;
  }
  std::barrier meeting(static_cast<std::ptrdiff_t>(loads.size()));
  double best = 0;
  const auto work = [&](std::size_t thread) {
    const ComputeMode mode_of_thread;
    for (int round = 0; round < kRounds; ++round) {
      meeting.arrive_and_wait();
      const auto began = SteadyClock::now();
      const double operations = loads[thread](times);
      meeting.arrive_and_wait();
      const Seconds spent = SteadyClock::now() - began;
      if (thread == 0) best = std::max(best, operations * static_cast<double>(loads.size()) / spent.count());
    }
  };
  run_on_threads(loads.size(), work);
  return best;
}

// Multiply-adds of each layer for one sample; 0 where there are none to count.
Result<std::vector<std::int64_t>> multiply_adds(const Architecture& architecture) {
  const Result<std::vector<Shape>> shapes = layer_shapes(architecture);
  if (!shapes) return shapes.error();
  std::vector<std::int64_t> counts;
  for (std::size_t i = 0; i < architecture.layers.size(); ++i) {
    const Shape& input = i == 0 ? architecture.input : (*shapes)[i - 1];
    const auto outputs = static_cast<std::int64_t>(element_count((*shapes)[i]));
    if (const auto* convolution = std::get_if<Convolution>(&architecture.layers[i])) {
      counts.push_back(outputs * input[0] * convolution->kernel * convolution->kernel);
    } else if (std::holds_alternative<Dense>(architecture.layers[i])) {
      counts.push_back(outputs * static_cast<std::int64_t>(element_count(input)));
    } else {
      counts.push_back(0);
    }
  }
  return counts;
}

void fill_with_noise(std::span<float> values) {
  RandomSequence random(1);
  for (float& value : values) value = static_cast<float>(random.next_uniform());
}

}  // namespace

void run_on_threads(std::size_t threads, const std::function<void(std::size_t thread)>& work) {
  // Threads that waited for one another while one of them cannot be started would wait for ever.
  std::latch decided(1);
  bool all_started = false;
  std::vector<std::jthread> others;
  const auto work_with_all = [&](std::size_t thread) {
    decided.wait();
    if (all_started) work(thread);
  };
  try {
    for (std::size_t thread = 1; thread < threads; ++thread) others.emplace_back(work_with_all, thread);
  } catch (...) {
    decided.count_down();
    throw;
  }
  all_started = true;
  decided.count_down();
  work(0);
}

Result<Peak> measure_peak(Precision precision, int threads) {
  if (threads < 1) {
    return Error{ErrorCode::invalid_input, format("number of threads is {}, must be 1 or more", threads)};
  }
  if (auto ok = check_precision(precision); !ok) return std::move(ok).error();
  const auto count = static_cast<std::size_t>(threads);
  try {
    const Load instructions = instruction_load(precision);
    Peak peak{instructions ? best_rate(std::vector<Load>(count, instructions)) : 0, 0};
    for (const dnnl::memory::dim side : {256, 512, 1024}) {
      std::vector<Load> loads;
      for (std::size_t i = 0; i < count; ++i) {
        const auto matrices = std::make_shared<MatrixLoad>(precision, side);
        loads.emplace_back([matrices](int times) { return matrices->run(times); });
      }
      peak.matrices = std::max(peak.matrices, best_rate(loads));
    }
    return peak;
  } catch (const dnnl::error& error) {
    return to_error(error);
  } catch (const std::system_error& error) {
    return Error{ErrorCode::unavailable, format("cannot start {} threads: {}", threads, error.what())};
  }
}

Result<std::int64_t> inference_operations(const Architecture& architecture) {
  const auto counts = multiply_adds(architecture);
  if (!counts) return counts.error();
  return 2 * std::accumulate(counts->begin(), counts->end(), std::int64_t{0});
}

Result<std::int64_t> training_operations(const Architecture& architecture) {
  const auto counts = multiply_adds(architecture);
  if (!counts) return counts.error();
  const auto first = std::ranges::find_if(*counts, [](std::int64_t count) { return count > 0; });
  const std::int64_t all = std::accumulate(counts->begin(), counts->end(), std::int64_t{0});
  return 2 * (3 * all - (first == counts->end() ? 0 : *first));
}

Result<std::vector<OperationTime>> measure_operations(const Network& network, int samples,
                                                      Precision precision) {
  if (auto ok = validate(network); !ok) return std::move(ok).error();
  if (auto ok = check_precision(precision); !ok) return std::move(ok).error();
  constexpr int kSteps = 21;
  const Architecture& architecture = network.architecture;
  try {
    const ComputeMode mode;
    Parameters parameters(network.parameters);
    Graph graph(architecture, samples, Purpose::training, precision, parameters);
    fill_with_noise(graph.input());
    fill_with_noise(graph.logits_gradient());
    const std::vector<Graph::OperationInfo> operations = graph.operations();
    std::vector<std::vector<double>> seconds(operations.size());  // of each operation in each step
    for (int step = 0; step < kSteps; ++step) {
      std::vector<Seconds> spent(operations.size());
      graph.run_timed(spent);
      for (std::size_t i = 0; i < operations.size(); ++i) seconds[i].push_back(spent[i].count());
    }
    std::vector<OperationTime> times;
    for (std::size_t i = 0; i < operations.size(); ++i) {
      std::ranges::nth_element(seconds[i], seconds[i].begin() + kSteps / 2);
      times.push_back({operations[i].name, operations[i].implementation, seconds[i][kSteps / 2],
                       static_cast<std::int64_t>(operations[i].flops)});
    }
    return times;
  } catch (const dnnl::error& error) {
    return to_error(error);
  }
}

}  // namespace espy::nn
