#include "store/packed_input.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace espy::store {

PackedInput::PackedInput(const Input& input) {
  static_assert(sizeof(Input) % 8 == 0);
  std::size_t end = kInkedBytes;
  for (std::size_t byte = 0; byte < kInkedBytes; ++byte) {
    std::uint64_t pixels = 0;
    std::memcpy(&pixels, &input[8 * byte], sizeof pixels);
    bytes_[byte] = 0;
    if (pixels == 0) continue;  // as most eights of a digit are
    unsigned inked = 0;
    // Each pixel is written, and stays if it has ink: without a branch, which ink would make a guess of.
    for (unsigned bit = 0; bit < 8; ++bit) {
      const std::uint8_t pixel = input[8 * byte + bit];
      const unsigned has_ink = pixel != 0 ? 1 : 0;
      inked |= has_ink << bit;
      bytes_[end] = pixel;
      end += has_ink;
    }
    bytes_[byte] = static_cast<std::uint8_t>(inked);
  }
  if (end >= input.size()) {
    std::ranges::copy(input, bytes_.begin());
    end = input.size();
  }
  size_ = end;
}

bool unpack(std::span<const std::uint8_t> packed, Input& input) {
  constexpr std::size_t kInkedBytes = PackedInput::kInkedBytes;
  if (packed.size() == input.size()) {
    std::ranges::copy(packed, input.begin());
    return true;
  }
  if (packed.size() < kInkedBytes || packed.size() > input.size()) return false;
  std::size_t count = 0;
  for (const std::uint8_t inked : packed.first(kInkedBytes)) {
    count += static_cast<std::size_t>(std::popcount(inked));
  }
  const std::span<const std::uint8_t> ink = packed.subspan(kInkedBytes);
  if (ink.size() != count) return false;
  auto next = ink.begin();
  for (std::size_t i = 0; i < input.size(); ++i) {
    input[i] = (packed[i / 8] >> (i % 8) & 1U) != 0 ? *next++ : std::uint8_t{0};
  }
  return true;
}

}  // namespace espy::store
