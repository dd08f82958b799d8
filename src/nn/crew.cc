#include "nn/crew.h"

#include <cassert>
#include <utility>

#include "nn/compute_mode.h"

namespace espy::nn {
namespace {

constexpr int kPhaseBits = 8;
constexpr std::uint64_t kStop = (1 << kPhaseBits) - 1;

constexpr std::uint64_t phase_of(std::uint64_t ticket) { return ticket & kStop; }
constexpr std::uint64_t generation_of(std::uint64_t ticket) { return ticket >> kPhaseBits; }

constexpr int kTaskBits = 32;
constexpr std::uint64_t kTaskMask = (std::uint64_t{1} << kTaskBits) - 1;

constexpr std::uint64_t stamped(std::uint64_t generation, std::uint64_t task) {
  return generation << kTaskBits | task;
}

// Some 50 microseconds: longer than the phases of a small network are apart, and little beside what waking a
// thread costs.
constexpr int kSpins = 1000;

void pause_spinning() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

Crew::Crew(int threads, std::vector<Phase> phases)
    : phases_(std::move(phases)), shares_(static_cast<std::size_t>(threads)) {
  std::erase_if(phases_, [](const Phase& phase) { return phase.tasks == 0; });
  assert(phases_.size() < kStop);
  begin(phases_.size());
  threads_.reserve(shares_.size() - 1);
  try {
    for (std::size_t share = 1; share < shares_.size(); ++share) {
      threads_.emplace_back([this, share] {
        const ComputeMode mode;
        work_until(kStop, share);
      });
    }
  } catch (...) {
    begin(kStop);
    throw;
  }
}

Crew::~Crew() { begin(kStop); }

void Crew::run() {
  const ComputeMode mode;
  begin(0);
  work_until(phases_.size(), 0);
}

void Crew::work_until(std::uint64_t last_phase, std::size_t share) {
  while (true) {
    const std::uint64_t ticket = ticket_.load(std::memory_order_acquire);
    if (phase_of(ticket) == last_phase) return;
    if (phase_of(ticket) < phases_.size()) work_on(ticket, share);
    wait_while(ticket);
  }
}

// Takes tasks until none is left, or until the ticket is out of date.
void Crew::work_on(std::uint64_t ticket, std::size_t first_share) {
  const Phase& phase = phases_[phase_of(ticket)];
  for (std::size_t i = 0; i < shares_.size(); ++i) {
    const std::size_t share = (first_share + i) % shares_.size();
    std::atomic<std::uint64_t>& next = shares_[share].next;
    const std::uint64_t end = stamped(generation_of(ticket), share_end(phase, share));
    std::uint64_t task = next.load(std::memory_order_relaxed);
    while (task >> kTaskBits == end >> kTaskBits && task < end) {
      if (!next.compare_exchange_weak(task, task + 1, std::memory_order_acquire)) continue;
      phase.work(static_cast<int>(task & kTaskMask), static_cast<int>(first_share));
      if (unfinished_.fetch_sub(1, std::memory_order_acq_rel) == 1) begin(phase_of(ticket) + 1);
      task = next.load(std::memory_order_relaxed);
    }
  }
}

// Called by whoever finished the phase before: every task is taken, so nobody else changes anything here.
void Crew::begin(std::uint64_t phase) {
  const std::uint64_t generation = generation_of(ticket_.load(std::memory_order_relaxed)) + 1;
  if (phase < phases_.size()) {
    unfinished_.store(phases_[phase].tasks, std::memory_order_relaxed);
    std::uint64_t first = 0;
    for (std::size_t share = 0; share < shares_.size(); ++share) {
      shares_[share].next.store(stamped(generation, first), std::memory_order_release);
      first = share_end(phases_[phase], share);
    }
  }
  ticket_.store(generation << kPhaseBits | phase, std::memory_order_release);
  ticket_.notify_all();
}

void Crew::wait_while(std::uint64_t ticket) const {
  for (int i = 0; i < kSpins; ++i) {
    if (ticket_.load(std::memory_order_relaxed) != ticket) return;
    pause_spinning();
  }
  ticket_.wait(ticket, std::memory_order_relaxed);
}

std::uint64_t Crew::share_end(const Phase& phase, std::size_t share) const {
  return static_cast<std::uint64_t>(phase.tasks) * (share + 1) / shares_.size();
}

}  // namespace espy::nn
