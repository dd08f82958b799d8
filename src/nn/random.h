// Random numbers from integer arithmetic alone, so that a seed means the same on every machine.
#pragma once

#include <cstdint>

namespace espy::nn {

// The output function of SplitMix64: a bijection whose results pass for random even for inputs in sequence
// (Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators", section 5; constants:
// Stafford's variant 13).
constexpr std::uint64_t mix(std::uint64_t value) {
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

// The odd number next to 2^64 divided by the golden ratio: SplitMix64's step from one state to the next.
constexpr std::uint64_t kGoldenGamma = 0x9e3779b97f4a7c15;

// SplitMix64.
class RandomSequence {
 public:
  explicit constexpr RandomSequence(std::uint64_t seed) : state_(seed) {}

  constexpr std::uint64_t next() { return mix(state_ += kGoldenGamma); }

  // Returns a multiple of 2^-53 in [0, 1).
  constexpr double next_uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }

 private:
  std::uint64_t state_;
};

}  // namespace espy::nn
