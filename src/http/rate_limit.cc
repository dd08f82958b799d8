#include "http/rate_limit.h"

#include <algorithm>
#include <cstring>
#include <random>

#include "base/digest.h"

namespace espy::http {
namespace {

RateLimit::Duration seconds(double count) {
  return std::chrono::duration_cast<RateLimit::Duration>(std::chrono::duration<double>(count));
}

std::array<std::byte, 16> random_secret() {
  std::random_device random;
  std::array<std::byte, 16> secret;
  for (std::byte& byte : secret) byte = static_cast<std::byte>(random());
  return secret;
}

}  // namespace

RateLimit::RateLimit(double requests_per_second)
    : interval_(seconds(1 / requests_per_second)),
      depth_(seconds(std::max(1.0, 1 / requests_per_second))),
      secret_(random_secret()),
      groups_(kGroups) {}

std::optional<RateLimit::Duration> RateLimit::take(std::uint64_t client, Time now) {
  const std::size_t number = client % kGroups;
  const std::lock_guard lock(locks_[number % kLocks]);
  std::array<Bucket, kPlaces>& group = groups_[number];
  auto bucket = std::ranges::find(group, client, &Bucket::client);
  if (bucket == group.end()) {
    bucket = std::ranges::min_element(group, {}, &Bucket::full);
    *bucket = {client, now};
  }
  const Time full = std::max(bucket->full, now) + interval_;
  if (full - now > depth_) return full - now - depth_;
  bucket->full = full;
  return {};
}

std::uint64_t RateLimit::client_of(std::span<const std::byte> bytes) const {
  const Sha256 digest = sha256({std::span<const std::byte>(secret_), bytes});
  std::uint64_t client;
  std::memcpy(&client, digest.data(), sizeof client);
  return client;
}

}  // namespace espy::http
