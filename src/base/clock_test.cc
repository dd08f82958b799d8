#include "base/clock.h"

#include <gtest/gtest.h>

namespace espy {
namespace {

using std::chrono::microseconds;

TEST(Clock, WritesRfc3339InUtc) {
  EXPECT_EQ(to_string(Timestamp(microseconds(0))), "1970-01-01T00:00:00.000000Z");
  EXPECT_EQ(to_string(Timestamp(microseconds(1'795'318'860'123'456))), "2026-11-22T03:41:00.123456Z");
  EXPECT_EQ(to_string(Timestamp(microseconds(-1))), "1969-12-31T23:59:59.999999Z");
}

// A clock that is set wrong may say any year.
TEST(Clock, WritesEveryYear) {
  const auto on_new_years_day = [](int year) {
    return to_string(Timestamp(std::chrono::sys_days(std::chrono::year(year) / 1 / 1)));
  };
  EXPECT_EQ(on_new_years_day(31), "0031-01-01T00:00:00.000000Z");
  EXPECT_EQ(on_new_years_day(-31), "-0031-01-01T00:00:00.000000Z");
  EXPECT_EQ(on_new_years_day(12026), "12026-01-01T00:00:00.000000Z");
}

TEST(Clock, ReadsWhatItWrites) {
  const Timestamp time(microseconds(1'795'318'860'123'456));
  EXPECT_EQ(parse_timestamp(to_string(time)), time);
}

TEST(Clock, ReadsShortenedForms) {
  const Timestamp day(std::chrono::sys_days(std::chrono::year(2026) / 11 / 22));
  EXPECT_EQ(parse_timestamp("2026-11-22"), day);
  EXPECT_EQ(parse_timestamp("2026-11-22T03:41Z"), day + microseconds(13'260'000'000));
  EXPECT_EQ(parse_timestamp("2026-11-22T03:41:01.5Z"), day + microseconds(13'261'500'000));
}

TEST(Clock, RefusesOtherTexts) {
  for (const char* text :
       {"", "yesterday", "2026-13-01", "2026-02-30", "2026-11-22T", "2026-11-22T24:00Z", "2026-11-22T03:41",
        "2026-11-22T03:41:00.Z", "2026-11-22T03:41:00.1234567Z", "2026-11-22T03:41:00Z "}) {
    EXPECT_EQ(parse_timestamp(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace espy
