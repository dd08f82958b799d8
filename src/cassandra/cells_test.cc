#include "cassandra/cells.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>

namespace espy::cassandra {
namespace {

using namespace std::chrono_literals;

TEST(CellsTest, ValuesComeBackAsTheyWere) {
  Uuid id;
  for (std::size_t i = 0; i < id.bytes.size(); ++i) id.bytes[i] = static_cast<std::uint8_t>(i * 17);
  const Day day{std::chrono::year{2026} / 11 / 22};
  CellWriter writer;
  writer.text("häh").text("").uuid(id).real(-0.25f).date(day).date(Day{std::chrono::days{-400}});
  writer.timestamp(std::chrono::sys_time<std::chrono::milliseconds>{1'790'000'000'123ms});
  writer.integer(std::int8_t{-128}).integer(std::int16_t{-2}).integer(std::int32_t{1 << 30});
  writer.integer(std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(writer.count(), 11u);

  CellReader reader(writer.bytes());
  EXPECT_EQ(reader.text(), "häh");
  EXPECT_EQ(reader.text(), "");
  EXPECT_EQ(reader.uuid(), id);
  EXPECT_EQ(reader.real(), -0.25f);
  EXPECT_EQ(reader.date(), day);
  EXPECT_EQ(reader.date(), Day{std::chrono::days{-400}});
  EXPECT_EQ(reader.timestamp().time_since_epoch(), 1'790'000'000'123ms);
  EXPECT_EQ(reader.integer<std::int8_t>(), -128);
  EXPECT_EQ(reader.integer<std::int16_t>(), -2);
  EXPECT_EQ(reader.integer<std::int32_t>(), 1 << 30);
  EXPECT_EQ(reader.integer<std::int64_t>(), std::numeric_limits<std::int64_t>::min());
  EXPECT_TRUE(reader.at_end());
  EXPECT_FALSE(reader.broken());
}

// The bytes are the protocol's, not ours: native_protocol_v4.spec, section 6.
TEST(CellsTest, BytesAreThoseOfTheProtocol) {
  CellWriter writer;
  writer.integer(std::int16_t{-2}).text("ab").unset();
  EXPECT_EQ(writer.bytes(), std::string("\0\0\0\x02\xff\xfe\0\0\0\x02"
                                        "ab\xff\xff\xff\xfe",
                                        16));
  CellWriter epoch;
  epoch.date(Day{});
  EXPECT_EQ(epoch.bytes(), std::string("\0\0\0\x04\x80\0\0\0", 8));
}

TEST(CellsTest, NullsReadAsNothing) {
  const std::string nulls("\xff\xff\xff\xff\xff\xff\xff\xff", 8);
  CellReader reader(nulls);
  EXPECT_EQ(reader.integer<std::int64_t>(), 0);
  EXPECT_EQ(reader.text(), "");
  EXPECT_FALSE(reader.broken());
}

TEST(CellsTest, CellsThatAreCutOffOrOfAnotherSizeBreakTheReader) {
  for (const std::string& bytes : {std::string(), std::string("\0\0", 2),
                                   std::string("\0\0\0\x04"
                                               "abc",
                                               7),
                                   std::string("\x7f\xff\xff\xff", 4), std::string("\xff\xff\xff\xfe", 4),
                                   std::string("\0\0\0\x02"
                                               "ab",
                                               6)}) {
    CellReader reader(bytes);
    reader.integer<std::int32_t>();
    EXPECT_TRUE(reader.broken()) << bytes.size();
    EXPECT_EQ(reader.text(), "");
    EXPECT_TRUE(reader.broken());
  }
}

}  // namespace
}  // namespace espy::cassandra
