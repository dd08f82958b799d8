#include "base/deflate.h"

#include <gtest/gtest.h>

#include <array>

namespace espy {
namespace {

TEST(Deflate, ComesBackAsItWas) {
  std::string text;
  for (int i = 0; i < 20000; ++i) text += static_cast<char>(i * i >> 3);
  for (const Deflated form : {Deflated::gzip, Deflated::zlib}) {
    for (const std::string& content : {std::string(), std::string("7"), std::string(100'000, 'x'), text}) {
      const Result<std::string> inflated = inflate(deflate(content, form), form, 1 << 20);
      ASSERT_TRUE(inflated);
      EXPECT_EQ(*inflated, content);
    }
  }
}

TEST(Deflate, RefusesABomb) {
  const std::string bomb = deflate(std::string(50 << 20, '\0'), Deflated::gzip);
  const Result<std::string> inflated = inflate(bomb, Deflated::gzip, 1 << 20);
  ASSERT_FALSE(inflated);
  EXPECT_EQ(inflated.error().code, ErrorCode::too_large);
  EXPECT_EQ(inflated.error().message, "the content has more than 1048576 bytes when it is inflated");
  EXPECT_TRUE(inflate(deflate(std::string(1 << 20, 'x'), Deflated::zlib), Deflated::zlib, 1 << 20));
}

TEST(Deflate, RefusesWhatIsBrokenOrGoesOn) {
  const std::string good = deflate("seven", Deflated::gzip);
  std::string changed = good;
  changed[changed.size() - 6] ^= 1;  // in the checksum
  for (const std::string& bad :
       {std::string(), good.substr(0, 9), good + "x", changed, std::string("seven")}) {
    const Result<std::string> inflated = inflate(bad, Deflated::gzip, 1 << 20);
    ASSERT_FALSE(inflated);
    EXPECT_EQ(inflated.error().code, ErrorCode::invalid_input);
    EXPECT_EQ(inflated.error().message, "the content is not a gzip stream");
  }
  EXPECT_FALSE(inflate(good, Deflated::zlib, 1 << 20));
}

TEST(Deflate, ChecksumIsThatOfTheStandard) {
  // The check value of CRC-32 (ISO-HDLC).
  constexpr std::array<std::uint8_t, 9> kDigits = {'1', '2', '3', '4', '5', '6', '7', '8', '9'};
  EXPECT_EQ(crc32(kDigits), 0xcbf43926u);
}

}  // namespace
}  // namespace espy
