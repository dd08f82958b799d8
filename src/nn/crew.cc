#include "nn/crew.h"

#include <cassert>
#include <utility>

#include "nn/compute_mode.h"

namespace espy::nn {
namespace {

constexpr int kTaskBits = 24;
constexpr int kPhaseBits = 8;
constexpr std::uint64_t kStop = (1 << kPhaseBits) - 1;

constexpr std::uint64_t phase_of(std::uint64_t ticket) { return (ticket >> kTaskBits) & kStop; }
constexpr std::uint64_t task_of(std::uint64_t ticket) { return ticket & ((1 << kTaskBits) - 1); }
constexpr std::uint64_t next_ticket(std::uint64_t ticket, std::uint64_t phase) {
  const std::uint64_t generation = (ticket >> (kTaskBits + kPhaseBits)) + 1;
  return (generation << kPhaseBits | phase) << kTaskBits;
}

// Some 50 microseconds: longer than the phases of a small network are apart, shorter than waking a thread
// costs when it is done too often.
constexpr int kSpins = 1000;

void pause_spinning() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

Crew::Crew(int threads, std::vector<Phase> phases) : phases_(std::move(phases)) {
  assert(threads >= 1);
  std::erase_if(phases_, [](const Phase& phase) { return phase.tasks == 0; });
  assert(phases_.size() < kStop);
  ticket_ = next_ticket(0, phases_.size());
  threads_.reserve(static_cast<std::size_t>(threads) - 1);
  try {
    for (int i = 1; i < threads; ++i) threads_.emplace_back([this] { help(); });
  } catch (...) {
    begin(kStop);
    throw;
  }
}

Crew::~Crew() { begin(kStop); }

void Crew::run() {
  const ComputeMode mode;
  begin(0);
  work_until(phases_.size());
}

void Crew::help() {
  const ComputeMode mode;
  work_until(kStop);
}

void Crew::work_until(std::uint64_t phase_to_stop_at) {
  std::uint64_t ticket = ticket_.load(std::memory_order_acquire);
  while (true) {
    const std::uint64_t phase = phase_of(ticket);
    if (phase == phase_to_stop_at) return;
    if (phase >= phases_.size() || task_of(ticket) == static_cast<std::uint64_t>(phases_[phase].tasks)) {
      wait_while(ticket);
      ticket = ticket_.load(std::memory_order_acquire);
      continue;
    }
    if (!ticket_.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acquire)) continue;
    phases_[phase].work(static_cast<int>(task_of(ticket)));
    if (unfinished_.fetch_sub(1, std::memory_order_acq_rel) == 1) begin(phase + 1);
    ticket = ticket_.load(std::memory_order_acquire);
  }
}

// Called by the thread that finished the phase before: every task is taken, so nobody else changes the
// ticket.
void Crew::begin(std::uint64_t phase) {
  if (phase < phases_.size()) unfinished_.store(phases_[phase].tasks, std::memory_order_relaxed);
  ticket_.store(next_ticket(ticket_.load(std::memory_order_relaxed), phase), std::memory_order_release);
  ticket_.notify_all();
}

void Crew::wait_while(std::uint64_t ticket) const {
  for (int i = 0; i < kSpins; ++i) {
    if (ticket_.load(std::memory_order_relaxed) != ticket) return;
    pause_spinning();
  }
  ticket_.wait(ticket, std::memory_order_acquire);
}

}  // namespace espy::nn
