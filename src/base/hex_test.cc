#include "base/hex.h"

#include <gtest/gtest.h>

#include <array>

namespace espy {
namespace {

TEST(Hex, EveryByteComesBack) {
  std::array<std::uint8_t, 256> bytes;
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i);
  const std::string text = to_hex(bytes);
  EXPECT_EQ(text.substr(0, 6), "000102");
  EXPECT_EQ(text.substr(text.size() - 6), "fdfeff");
  std::array<std::uint8_t, 256> read;
  EXPECT_TRUE(parse_hex(text, read));
  EXPECT_EQ(read, bytes);
}

TEST(Hex, TakesBothCases) {
  std::array<std::uint8_t, 2> bytes;
  EXPECT_TRUE(parse_hex("aBcD", bytes));
  EXPECT_EQ(to_hex(bytes), "abcd");
  EXPECT_EQ(parse_hex_byte('F', '0'), 0xf0);
}

TEST(Hex, RefusesWhatIsNoDigitAndTheWrongLength) {
  std::array<std::uint8_t, 2> bytes;
  for (const std::string_view text :
       {"", "123", "12345", "12g4", "/234", ":234", "@234", "G234", "`234", "123\xff", "0x12"}) {
    EXPECT_FALSE(parse_hex(text, bytes)) << text;
  }
  EXPECT_FALSE(parse_hex_byte('1', 'g'));
  EXPECT_FALSE(parse_hex_byte(' ', '1'));
}

}  // namespace
}  // namespace espy
