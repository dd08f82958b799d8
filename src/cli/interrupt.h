// Being asked to stop, as something to ask about, for commands that have an end of their own to reach.
#pragma once

#include <csignal>

namespace espy::cli {

// While it lives, the first SIGINT (Ctrl-C) or SIGTERM only sets interrupted(); a second one of the same kind
// ends the program at once.
class InterruptWatch {
 public:
  InterruptWatch();
  ~InterruptWatch();
  InterruptWatch(const InterruptWatch&) = delete;
  InterruptWatch& operator=(const InterruptWatch&) = delete;

  bool interrupted() const;

 private:
  struct sigaction interrupt_before_ {};
  struct sigaction terminate_before_ {};
};

}  // namespace espy::cli
