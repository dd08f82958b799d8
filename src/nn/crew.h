// Threads that work through a fixed sequence of phases together.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

namespace espy::nn {

// Threads: run() from one thread at a time.
class Crew {
 public:
  // Tasks 0 to `tasks` - 1, in any order and on any thread; none throws. `thread` counts the crew's from 0.
  struct Phase {
    int tasks;
    std::function<void(int task, int thread)> work;
  };

  // Starts `threads` - 1 threads; the caller of run() is the last of the crew.
  // Errors: std::system_error (no more threads to be had).
  Crew(int threads, std::vector<Phase> phases);
  ~Crew();
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  // Works through the phases. A phase begins when every task of the one before it is done, whoever did them:
  // nobody waits for a thread that has no task, so one that the system keeps from running does no harm.
  void run();

 private:
  // A run of tasks of the current phase that is one thread's to begin with, so that it finds in its core's
  // cache what it left there the last time. Who has nothing left takes from the others.
  struct alignas(64) Share {
    std::atomic<std::uint64_t> next = 0;  // generation (32 bits), first task that nobody has taken (32 bits)
  };

  void work_until(std::uint64_t last_phase, std::size_t share);
  void work_on(std::uint64_t ticket, std::size_t first_share);
  void begin(std::uint64_t phase);
  void wait_while(std::uint64_t ticket) const;
  std::uint64_t share_end(const Phase& phase, std::size_t share) const;

  std::vector<Phase> phases_;
  std::vector<Share> shares_;
  // What there is to do: generation (56 bits), phase (8 bits). The generation is another one in each phase of
  // each run, so a thread that slept cannot take a task of a phase that is over.
  std::atomic<std::uint64_t> ticket_ = 0;
  std::atomic<int> unfinished_ = 0;  // tasks of this phase
  std::vector<std::jthread> threads_;
};

}  // namespace espy::nn
