#include "base/result.h"

#include <gtest/gtest.h>

#include <memory>

namespace espy {
namespace {

Result<std::unique_ptr<int>> half(int value) {
  if (value % 2 != 0) return Error{ErrorCode::invalid_input, "odd"};
  return std::make_unique<int>(value / 2);
}

Result<void> check(int value) {
  Result<std::unique_ptr<int>> halved = half(value);
  if (!halved) return std::move(halved).error();
  return {};
}

TEST(Result, CarriesAMoveOnlyValueOrAnError) {
  EXPECT_EQ(**half(4), 2);
  ASSERT_FALSE(half(3));
  EXPECT_EQ(half(3).error().code, ErrorCode::invalid_input);
  EXPECT_EQ(half(3).error().message, "odd");
}

TEST(Result, OfNothingSaysOnlyWhetherItWorked) {
  EXPECT_TRUE(check(2));
  EXPECT_EQ(check(1).error().message, "odd");
}

TEST(Result, ErrorCodesAreTheirWireSpelling) {
  EXPECT_EQ(to_string(ErrorCode::too_large), "too_large");
  EXPECT_EQ(to_string(ErrorCode::unavailable), "unavailable");
}

}  // namespace
}  // namespace espy
