#include <gtest/gtest.h>
#include <zlib.h>

#include "base/file.h"
#include "model/dataset.h"

namespace espy::model {
namespace {

// [2, 3]: six values.
std::string small_file() { return std::string("\0\0\x08\x02\0\0\0\x02\0\0\0\x03", 12) + "abcdef"; }

std::string gzip(const std::string& content) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string packed(deflateBound(&stream, content.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(content.data()));
  stream.avail_in = static_cast<uInt>(content.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

void expect_error(const std::string& file, ErrorCode code, std::string_view part) {
  const Result<Idx> idx = parse_idx(as_bytes(file));
  ASSERT_FALSE(idx);
  EXPECT_EQ(idx.error().code, code);
  EXPECT_NE(idx.error().message.find(part), std::string::npos) << idx.error().message;
}

TEST(Idx, IsReadPlainAndGzipped) {
  const std::string file = small_file();
  // A gzip file may have several members (RFC 1952, section 2.2).
  const std::string two_members = gzip(file.substr(0, 9)) + gzip(file.substr(9));
  for (const std::string& bytes : {file, gzip(file), two_members}) {
    const Result<Idx> idx = parse_idx(as_bytes(bytes));
    ASSERT_TRUE(idx) << idx.error().message;
    EXPECT_EQ(idx->sizes, (std::vector<std::uint32_t>{2, 3}));
    EXPECT_EQ(std::string(idx->values.begin(), idx->values.end()), "abcdef");
  }
}

TEST(Idx, MayBeEmptyInOneDimension) {
  const Result<Idx> idx = parse_idx(as_bytes(std::string("\0\0\x08\x02\0\0\0\0\xff\xff\xff\xff", 12)));
  ASSERT_TRUE(idx) << idx.error().message;
  EXPECT_TRUE(idx->values.empty());
}

TEST(Idx, MissingBytesAreRefusedWithBothNumbers) {
  std::string file = small_file();
  file.resize(file.size() - 2);
  for (const std::string& bytes : {file, gzip(file)}) {
    expect_error(bytes, ErrorCode::corrupt, "missing bytes: expected 6 values, found 4");
  }
  expect_error(small_file().substr(0, 10), ErrorCode::corrupt, "in its sizes: expected 4 bytes, found 2");
  expect_error(small_file().substr(0, 3), ErrorCode::corrupt,
               "in its magic number: expected 4 bytes, found 3");
  expect_error("", ErrorCode::corrupt, "in its magic number: expected 4 bytes, found 0");
}

TEST(Idx, ExtraBytesAreRefusedWithBothNumbers) {
  for (const std::string& bytes : {small_file() + "gh", gzip(small_file() + "gh")}) {
    expect_error(bytes, ErrorCode::corrupt, "extra bytes: expected 6 values, found 8");
  }
  expect_error(gzip(small_file() + std::string(5 << 20, 'x')), ErrorCode::corrupt, "found 1048582 or more");
}

TEST(Idx, OtherFormatsAreRefused) {
  expect_error("\x89PNG....", ErrorCode::corrupt, "expected it to begin with 00 00, found 89 50");
  expect_error(std::string("\0\0\x0d\x01\0\0\0\0", 8), ErrorCode::corrupt, "type 0d, expected 08");
  expect_error(std::string("\0\0\x08\0a", 5), ErrorCode::corrupt, "0 dimensions");
}

TEST(Idx, PromisesOfTooManyValuesAreRefused) {
  expect_error(std::string("\0\0\x08\x02\0\1\0\0\0\1\0\0", 12), ErrorCode::too_large,
               "more than 1073741824 values");
  expect_error(std::string("\0\0\x08\x03", 4) + std::string(12, '\xff'), ErrorCode::too_large, "more than");
  // 2^30 values are allowed, but take no memory before they come.
  expect_error(std::string("\0\0\x08\x01\x40\0\0\0ab", 10), ErrorCode::corrupt,
               "expected 1073741824 values, found 2");
}

TEST(Idx, EveryBrokenGzipStreamIsRefused) {
  const std::string packed = gzip(small_file());
  for (std::size_t size = 2; size < packed.size(); ++size) {
    expect_error(packed.substr(0, size), ErrorCode::corrupt, "cut off");
  }
  std::string changed = packed;
  changed[packed.size() - 6] = static_cast<char>(changed[packed.size() - 6] ^ 1);  // of the CRC-32
  expect_error(changed, ErrorCode::corrupt, "incorrect data check");
  expect_error(packed + "tail", ErrorCode::corrupt, "gzip stream is broken");
}

}  // namespace
}  // namespace espy::model
