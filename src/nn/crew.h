// Threads that work through a fixed sequence of phases together.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

namespace espy::nn {

// Threads: run() from one thread at a time.
class Crew {
 public:
  // Tasks 0 to `tasks` - 1, in any order and on any thread; none throws.
  struct Phase {
    int tasks;
    std::function<void(int task)> work;
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
  void help();
  void work_until(std::uint64_t phase_to_stop_at);
  void begin(std::uint64_t phase);
  void wait_while(std::uint64_t ticket) const;

  std::vector<Phase> phases_;
  // What to do next: generation (32 bits), phase (8 bits), first task that nobody has taken (24 bits). The
  // generation is another one in each phase of each run, so a thread that slept cannot take a task by an old
  // ticket.
  std::atomic<std::uint64_t> ticket_;
  std::atomic<int> unfinished_ = 0;  // tasks of this phase
  std::vector<std::jthread> threads_;
};

}  // namespace espy::nn
