#include "base/uuid.h"

#include <gtest/gtest.h>

namespace espy {
namespace {

using std::chrono::microseconds;

TEST(Uuid, CarriesVersionVariantAndTime) {
  UuidGenerator generator;
  // RFC 9562 appendix A.6: 0x017F22E279B0 is 2022-02-22T19:22:22.000Z.
  const std::string text = to_string(generator.next(Timestamp(microseconds(0x017F22E279B0LL * 1000))));
  EXPECT_EQ(text.substr(0, 15), "017f22e2-79b0-7");
  EXPECT_NE(std::string_view("89ab").find(text[19]), std::string_view::npos) << text;
}

TEST(Uuid, GrowsWhileTheClockStandsStillOrStepsBack) {
  UuidGenerator generator;
  const Timestamp now(microseconds(1'795'318'860'000'000));
  Uuid last = generator.next(now);
  for (int i = 0; i < 10'000; ++i) {
    const Uuid next = generator.next(now - microseconds(i));
    ASSERT_LT(last, next);
    last = next;
  }
}

TEST(Uuid, StartsAfterTheNewestKnown) {
  UuidGenerator before;
  const Timestamp now(microseconds(1'795'318'860'000'000));
  const Uuid newest = before.next(now);
  UuidGenerator after(newest);
  EXPECT_LT(newest, after.next(now - std::chrono::hours(1)));
}

TEST(Uuid, ReadsWhatItWrites) {
  UuidGenerator generator;
  const Uuid uuid = generator.next(Timestamp(microseconds(1)));
  EXPECT_EQ(parse_uuid(to_string(uuid)), uuid);
  EXPECT_EQ(parse_uuid("017F22E2-79B0-7CC3-98C4-DC0C0C07398F"),
            parse_uuid("017f22e2-79b0-7cc3-98c4-dc0c0c07398f"));
}

TEST(Uuid, RefusesOtherTexts) {
  for (const char* text : {"", "017f22e2", "017f22e2-79b0-7cc3-98c4-dc0c0c07398",
                           "017f22e2-79b0-7cc3-98c4-dc0c0c07398g", "017f22e2x79b0-7cc3-98c4-dc0c0c07398f"}) {
    EXPECT_EQ(parse_uuid(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace espy
