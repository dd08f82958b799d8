// What verify() finds: nothing in a sound history, and every way of changing one.
#include "store/chain.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/hex.h"
#include "store/row.h"
#include "store/schema.h"
#include "store/store.h"
#include "store/test_records.h"

namespace espy::store {
namespace {

TEST(ChainPoint, IsReadAsItIsWritten) {
  const ChainPoint point = next_point({}, Kind::record, digest(make_record(1)));
  EXPECT_EQ(point.seq, 1);
  EXPECT_EQ(parse_chain_point(to_string(point)), point);
  const std::string digits(64, 'a');
  for (const std::string& text : {std::string(), digits, ":" + digits, "-1:" + digits, "1:" + digits + "a",
                                  "1x:" + digits, "1:" + std::string(63, 'a') + "g"}) {
    EXPECT_EQ(parse_chain_point(text), std::nullopt) << text;
  }
}

// The links of histories that exist must never change: computed by another program from the definition.
TEST(ChainPoint, LinksAreWhatTheyWere) {
  EXPECT_EQ(to_hex(next_point({}, Kind::record, {}).link),
            "85285ebfe9d0ba1091c2aa1a07c9e36612ed7109f2eb5996c3272ca2fd32faec");
}

class Chain : public ::testing::Test {
 protected:
  void SetUp() override {
    auto store = open();
    for (int number = 0; number < kRecords; ++number) {
      ASSERT_TRUE(store->append(make_record(number), make_upload(number)));
    }
  }

  std::unique_ptr<Store> open() { return *Store::open("sqlite:" + path_); }

  Verification verify(const std::optional<ChainPoint>& known = {}) {
    const Result<Verification> verified = open()->verify(known);
    EXPECT_TRUE(verified) << verified.error().message;
    return verified ? *verified : Verification{};
  }

  void change(const std::string& sql) {
    const Result<void> changed = (*open_for_writing(path_))->execute(sql, "change");
    ASSERT_TRUE(changed) << changed.error().message;
  }

  static constexpr int kRecords = 20;
  Folder folder_;
  std::string path_ = folder_.file("history");
};

TEST_F(Chain, ASoundHistoryHasNoDamage) {
  const Verification found = verify();
  EXPECT_EQ(found.damages, 0);
  EXPECT_EQ(found.records, kRecords);
  EXPECT_EQ(found.uploads, kRecords);
  EXPECT_EQ(found.start, ChainPoint{});
  EXPECT_EQ(found.head.seq, kRecords);
  EXPECT_EQ(verify(found.head).damages, 0);
}

TEST_F(Chain, GoesOnAfterARestartAndSparesARefusedGroup) {
  const ChainPoint before = verify().head;
  {
    auto store = open();
    ASSERT_TRUE(store->append(make_record(kRecords), {}));
    ASSERT_TRUE(store->append(make_record(3), {}));  // is there already
  }
  const Verification found = verify(before);
  EXPECT_EQ(found.shown_damages, std::vector<std::string>());
  EXPECT_EQ(found.head.seq, kRecords + 1);
}

TEST_F(Chain, AHistoryInMemoryIsVerifiedToo) {
  auto store = *Store::open("sqlite::memory:");
  ASSERT_TRUE(store->append(make_record(1), {}));
  EXPECT_EQ(store->verify({})->head.seq, 1);
  EXPECT_EQ(store->verify({})->damages, 0);
}

TEST_F(Chain, FindsEveryChange) {
  // Each with what must be said of it.
  const std::pair<const char*, const char*> changes[] = {
      {"UPDATE record SET label = 9 WHERE seq = 7", "place 7: record"},
      {"UPDATE record SET upload = x'00' WHERE seq = 7", "place 7: the upload of record"},
      {"DELETE FROM record WHERE seq BETWEEN 7 AND 9", "places 7 to 9: nothing is there"},
      {"UPDATE record SET link = zeroblob(32) WHERE seq = 7", "place 7: its link does not follow"},
      {"UPDATE record SET seq = 100 WHERE seq = 7;"
       "UPDATE record SET seq = 7 WHERE seq = 8; UPDATE record SET seq = 8 WHERE seq = 100",
       "place 7: its link does not follow"},
      {"INSERT INTO removed SELECT seq, 1, link, link FROM record WHERE seq = 7; DELETE FROM record WHERE "
       "seq = 7",
       "place 7: its link does not follow"},
      {"INSERT INTO removed SELECT seq, 1, link, link FROM record WHERE seq = 7",
       "place 7: two entries have it"},
      {"INSERT INTO correction VALUES (21, zeroblob(16), zeroblob(16), 0, 0, '', '', '', 0, zeroblob(32))",
       "place 21: correction 00000000-0000-0000-0000-000000000000 of record"},
  };
  const std::string sound = *read_file(path_, 1 << 24);
  for (const auto& [sql, told] : changes) {
    change(sql);
    const Verification found = verify();
    EXPECT_GT(found.damages, 0) << sql;
    ASSERT_FALSE(found.shown_damages.empty()) << sql;
    EXPECT_TRUE(found.shown_damages.front().starts_with(told)) << sql << ": " << found.shown_damages.front();
    ASSERT_TRUE(write_file(path_, as_bytes(sound)));
  }
  EXPECT_EQ(verify().damages, 0);
}

// Whoever changes a record and makes every checksum and link behind it anew leaves a sound history, but not
// the one whose head was noted.
TEST_F(Chain, ANotedHeadFindsAHistoryThatWasMadeAnew) {
  const ChainPoint noted = verify().head;
  std::filesystem::remove(path_);
  {
    auto store = open();
    for (int number = 0; number < kRecords + 5; ++number) {
      Record record = make_record(number);
      if (number == 4) record.label = 8;
      ASSERT_TRUE(store->append(record, make_upload(number)));
    }
  }
  EXPECT_EQ(verify().damages, 0);
  const Verification found = verify(noted);
  ASSERT_EQ(found.damages, 1);
  EXPECT_TRUE(found.shown_damages.front().starts_with("place 20: its link is not the noted one"));
}

TEST_F(Chain, ANotedHeadFindsAHistoryWhoseEndIsCutOff) {
  const ChainPoint noted = verify().head;
  change("DELETE FROM record WHERE seq > 17");
  EXPECT_EQ(verify().damages, 0);
  const Verification found = verify(noted);
  ASSERT_EQ(found.damages, 1);
  EXPECT_EQ(found.shown_damages.front(),
            "the history ends at place 17, before the noted place 20: its end was cut off");
}

}  // namespace
}  // namespace espy::store
