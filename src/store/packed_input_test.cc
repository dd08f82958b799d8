#include "store/packed_input.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace espy::store {
namespace {

// Each pixel has ink with this probability.
Input draw(double inked, unsigned seed) {
  std::mt19937 random(seed);
  Input input{};
  for (std::uint8_t& pixel : input) {
    if (std::generate_canonical<double, 32>(random) < inked) {
      pixel = static_cast<std::uint8_t>(1 + random() % 255);
    }
  }
  return input;
}

Input unpacked(std::span<const std::uint8_t> packed) {
  Input input;
  input.fill(0xa5);
  EXPECT_TRUE(unpack(packed, input));
  return input;
}

TEST(PackedInput, ComesBackAsItWas) {
  for (unsigned seed = 0; seed < 200; ++seed) {
    const Input input = draw(seed / 199.0, seed);
    EXPECT_EQ(unpacked(PackedInput(input).bytes()), input) << seed;
  }
}

// What histories hold; never to change.
TEST(PackedInput, IsABitForEachPixelAndAByteForEachThatHasInk) {
  Input input{};
  input[0] = 7;
  input[9] = 255;
  input[783] = 1;
  std::vector<std::uint8_t> expected(98);
  expected[0] = 0x01;
  expected[1] = 0x02;
  expected[97] = 0x80;
  expected.insert(expected.end(), {7, 255, 1});
  const PackedInput packed(input);
  EXPECT_EQ(std::vector(packed.bytes().begin(), packed.bytes().end()), expected);
}

TEST(PackedInput, NeverHasMoreBytesThanPixels) {
  Input input = draw(1, 1);
  for (std::size_t blank = 0; blank <= 100; ++blank) {
    const PackedInput packed(input);
    EXPECT_EQ(packed.bytes().size(), blank <= 98 ? 784 : 98 + 784 - blank);
    EXPECT_EQ(unpacked(packed.bytes()), input);
    input[blank * 7] = 0;
  }
}

TEST(PackedInput, ReadsPixelsThatWereNeverPacked) {
  const Input input = draw(0.2, 3);
  EXPECT_EQ(unpacked(input), input);
}

TEST(PackedInput, RefusesWhatNothingIsPackedTo) {
  const PackedInput packed(draw(0.2, 4));
  std::vector<std::uint8_t> bytes(packed.bytes().begin(), packed.bytes().end());
  Input input{};
  input.fill(0xa5);
  const Input before = input;
  const auto refuses = [&](std::span<const std::uint8_t> damaged) {
    EXPECT_FALSE(unpack(damaged, input)) << damaged.size();
    EXPECT_EQ(input, before);
  };
  for (std::size_t size = 0; size < bytes.size(); ++size) refuses(std::span(bytes).first(size));
  bytes.push_back(1);
  refuses(bytes);
  bytes.pop_back();
  bytes[40] ^= 0x10;
  refuses(bytes);
  refuses(std::vector<std::uint8_t>(785));
}

}  // namespace
}  // namespace espy::store
