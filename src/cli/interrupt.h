// Ctrl-C as something to ask about, for commands that have an end of their own to reach.
#pragma once

#include <csignal>

namespace espy::cli {

// While it lives, the first SIGINT only sets interrupted(); a second one ends the program at once.
class InterruptWatch {
 public:
  InterruptWatch();
  ~InterruptWatch();
  InterruptWatch(const InterruptWatch&) = delete;
  InterruptWatch& operator=(const InterruptWatch&) = delete;

  bool interrupted() const;

 private:
  struct sigaction before_ {};
};

}  // namespace espy::cli
