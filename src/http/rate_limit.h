// A token bucket for each client, in bounded memory.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

namespace espy::http {

// A bucket holds the tokens of one second, at least one, and fills at a steady rate; a request takes one. It
// is kept as the time at which it will be full again, the form that ITU-T I.371 (Annex A) calls the generic
// cell rate algorithm, so that nobody has to fill it.
//
// There is room for 65,536 clients (1 MiB). A newcomer takes the place of the client among eight whose bucket
// is nearest to full: what is forgotten so is that a client has used a little, never that one has used up all
// while there are fuller ones.
// Threads: any.
class RateLimit {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Duration = std::chrono::steady_clock::duration;

  explicit RateLimit(double requests_per_second);

  // Takes a token from a client's bucket. Returns nothing when there was one, otherwise how long until there
  // will be.
  std::optional<Duration> take(std::uint64_t client, Time now);

  // Returns by what a client is known: a digest of the bytes with a secret of this process, so that nobody
  // can choose whose place he takes.
  std::uint64_t client_of(std::span<const std::byte> bytes) const;

 private:
  static constexpr std::size_t kPlaces = 8;  // where a client can be
  static constexpr std::size_t kGroups = (1 << 16) / kPlaces;
  static constexpr std::size_t kLocks = 64;

  struct Bucket {
    std::uint64_t client = 0;
    Time full{};
  };

  const Duration interval_;  // between two tokens
  const Duration depth_;     // from empty to full
  const std::array<std::byte, 16> secret_;
  std::vector<std::array<Bucket, kPlaces>> groups_;
  std::array<std::mutex, kLocks> locks_;  // each guards the groups whose number leaves its own as remainder
};

}  // namespace espy::http
