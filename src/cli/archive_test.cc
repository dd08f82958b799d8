#include "cli/archive.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "cli/csv.h"
#include "http/json_input.h"

namespace espy::cli {
namespace {

store::Entry whole_entry() {
  store::Entry entry;
  store::Record& record = entry.record;
  entry.upload = {"image/png", std::string("\x89PNG\0\xff", 6)};
  record.id = *parse_uuid("01936f2e-7a1b-7c3d-8e4f-0123456789ab");
  record.time = *parse_timestamp("2026-11-22T03:41:00.123456Z");
  record.model = "digits, \"big\"";
  record.model_version = "3fa2b1c09d11";
  record.file_name = "two\r\nlines,\xc3\xa9.png";
  record.subject = "ann";
  record.label = 7;
  record.class_name = "7";
  record.confidence = 0.1F;
  record.verdict = Verdict::unsure;
  record.reason = Reason::ambiguous;
  record.alternative = "1";
  record.upload_digest = sha256(as_bytes(entry.upload.bytes));
  record.upload_bytes = 6;
  record.latency = std::chrono::microseconds(120);
  for (std::size_t i = 0; i < record.input.size(); ++i) record.input[i] = static_cast<std::uint8_t>(i);
  return entry;
}

std::vector<store::Correction> two_corrections() {
  store::Correction first{.id = *parse_uuid("01936f2e-7a1b-7c3d-8e4f-0123456789ac"),
                          .record = whole_entry().record.id,
                          .time = *parse_timestamp("2026-11-23"),
                          .label = 1,
                          .class_name = "1",
                          .author = "bob",
                          .note = "\"see\""};
  store::Correction second = first;
  second.id.bytes[15] = 0xad;
  second.label = 2;
  second.author = "";
  second.note = "";
  return {first, second};
}

std::vector<std::vector<std::string>> whole_lines() {
  const store::Entry entry = whole_entry();
  return to_archive(entry.record, entry.upload, two_corrections());
}

TEST(Archive, GivesBackWhatWasPutIn) {
  const store::Entry entry = whole_entry();
  const std::vector<store::Correction> corrections = two_corrections();
  const auto lines = whole_lines();
  ASSERT_EQ(lines.size(), 2U);
  const auto first = from_archive(lines[0]);
  ASSERT_TRUE(first) << first.error().message;
  ASSERT_TRUE(first->entry);
  EXPECT_EQ(first->entry->record, entry.record);
  EXPECT_EQ(first->entry->upload, entry.upload);
  EXPECT_EQ(first->correction, corrections[0]);
  const auto second = from_archive(lines[1]);
  ASSERT_TRUE(second) << second.error().message;
  EXPECT_FALSE(second->entry);
  EXPECT_EQ(second->correction, corrections[1]);
}

TEST(Archive, GivesBackARecordAlone) {
  const store::Entry entry = whole_entry();
  const auto lines = to_archive(entry.record, {}, {});
  ASSERT_EQ(lines.size(), 1U);
  const auto read = from_archive(lines[0]);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->entry->record, entry.record);
  EXPECT_EQ(read->entry->upload, store::Upload());
  EXPECT_FALSE(read->correction);
}

TEST(Archive, GivesItBackThroughCsvAndJson) {
  for (const std::vector<std::string>& values : whole_lines()) {
    std::string csv = archive_text(values, ArchiveFormat::csv);
    ASSERT_TRUE(csv.ends_with("\r\n"));
    csv.resize(csv.size() - 2);
    EXPECT_EQ(*parse_csv_line(csv), values);
    const std::string json = archive_text(values, ArchiveFormat::ndjson);
    EXPECT_TRUE(json.ends_with("}\n"));
    EXPECT_EQ(*http::parse_texts(json, archive_fields()), values);
  }
}

TEST(Archive, NamesTheFieldThatIsWrong) {
  struct Change {
    std::size_t line, field;
    std::string value;
  };
  const Change changes[] = {
      {0, 0, "id"},  {0, 1, "yesterday"}, {0, 6, "7x"},   {0, 8, "nan"},    {0, 9, "sure"},  {0, 10, ""},
      {0, 12, "00"}, {0, 13, "-1"},       {0, 14, "1.5"}, {0, 15, "AAAA"},  {0, 17, "AAAA"}, {0, 17, "?"},
      {0, 18, "id"}, {0, 20, ""},         {1, 0, "id"},   {1, 2, "digits"}, {1, 17, "AAAA"}, {1, 18, ""}};
  for (const auto& [line, field, value] : changes) {
    std::vector<std::string> values = whole_lines()[line];
    values[field] = value;
    const auto read = from_archive(values);
    ASSERT_FALSE(read) << field;
    EXPECT_EQ(read.error().code, ErrorCode::invalid_input);
    EXPECT_TRUE(read.error().message.starts_with("field " + std::string(archive_fields()[field]) + " "))
        << read.error().message;
  }
}

}  // namespace
}  // namespace espy::cli
