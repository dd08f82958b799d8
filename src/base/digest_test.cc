#include "base/digest.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/hex.h"

namespace espy {
namespace {

// FIPS 180-4 example vectors.
TEST(Digest, MatchesTheStandardsExamples) {
  EXPECT_EQ(to_hex(sha256({})), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(to_hex(sha256(as_bytes("abc"))),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256({as_bytes("a"), {}, as_bytes("bc")}), sha256(as_bytes("abc")));
}

TEST(Digest, IsReadAsItIsWritten) {
  const Sha256 digest = sha256(as_bytes("abc"));
  EXPECT_EQ(parse_sha256(to_hex(digest)), digest);
  EXPECT_FALSE(parse_sha256(to_hex(digest).substr(1)));
  EXPECT_FALSE(parse_sha256("z" + to_hex(digest).substr(1)));
}

}  // namespace
}  // namespace espy
