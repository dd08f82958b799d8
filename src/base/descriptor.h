// A file descriptor that closes itself.
#pragma once

#include <unistd.h>

#include <utility>

namespace espy {

// Owns what open(2) and its like returned, their failure included.
class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  Descriptor(Descriptor&& other) noexcept : value_(std::exchange(other.value_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }

  int get() const { return value_; }

 private:
  int value_;
};

}  // namespace espy
