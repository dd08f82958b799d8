#include "cli/interrupt.h"

#include <atomic>

namespace espy::cli {
namespace {

// Signal handlers reach nothing but globals.
std::atomic<bool> signalled = false;
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler may not lock");

}  // namespace

InterruptWatch::InterruptWatch() {
  signalled = false;
  struct sigaction action {};
  action.sa_handler = [](int) { signalled = true; };
  // SA_RESETHAND: a second Ctrl-C finds the default action.
  action.sa_flags = SA_RESETHAND | SA_RESTART;
  ::sigaction(SIGINT, &action, &interrupt_before_);
  ::sigaction(SIGTERM, &action, &terminate_before_);
}

InterruptWatch::~InterruptWatch() {
  ::sigaction(SIGINT, &interrupt_before_, nullptr);
  ::sigaction(SIGTERM, &terminate_before_, nullptr);
}

bool InterruptWatch::interrupted() const { return signalled; }

}  // namespace espy::cli
