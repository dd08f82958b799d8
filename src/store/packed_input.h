// How a record's input lies in its row: most of a picture has no ink, so only what has some takes a byte.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "store/record.h"

namespace espy::store {

using Input = decltype(Record::input);

// An input in as few bytes as it needs:
//   packed := inked(98 bytes) ink
// where bit i % 8, from the least, of byte i / 8 of `inked` says that pixel i is not 0, and `ink` has those
// pixels in their order. What would not be shorter than the pixels lies there as its pixels, as all inputs
// did before schema 9: the size tells the two apart. NOTE: histories hold it; never change the format.
class PackedInput {
 public:
  // `input` is read here only.
  explicit PackedInput(const Input& input);

  // At most as many as the input has pixels.
  std::span<const std::uint8_t> bytes() const { return {bytes_.data(), size_}; }

 private:
  static constexpr std::size_t kInkedBytes = (sizeof(Input) + 7) / 8;

  friend bool unpack(std::span<const std::uint8_t> packed, Input& input);

  std::size_t size_;
  std::array<std::uint8_t, kInkedBytes + sizeof(Input)> bytes_;
};

// Writes what was packed into `input` and returns true; false when nothing is packed to these bytes, and then
// `input` is as it was.
bool unpack(std::span<const std::uint8_t> packed, Input& input);

}  // namespace espy::store
