#include "cli/archive.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "cli/csv.h"
#include "http/json.h"
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
  record.correction = store::Correction{.id = *parse_uuid("01936f2e-7a1b-7c3d-8e4f-0123456789ac"),
                                        .record = record.id,
                                        .time = *parse_timestamp("2026-11-23"),
                                        .label = 1,
                                        .class_name = "1",
                                        .author = "bob",
                                        .note = "\"see\""};
  return entry;
}

TEST(Archive, GivesBackWhatWasPutIn) {
  store::Entry entry = whole_entry();
  for (int round = 0; round < 2; ++round) {
    const auto read = from_archive(to_archive(entry.record, entry.upload));
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(read->record, entry.record);
    EXPECT_EQ(read->upload, entry.upload);
    entry.record.correction.reset();
    entry.upload = {};
  }
}

TEST(Archive, GivesItBackThroughCsvAndJson) {
  const store::Entry entry = whole_entry();
  const std::vector<std::string> values = to_archive(entry.record, entry.upload);
  std::string line;
  for (const std::string& value : values) line += (line.empty() ? "" : ",") + csv_field(value);
  EXPECT_EQ(*parse_csv_line(line), values);
  http::JsonWriter json;
  json.begin_object();
  for (std::size_t i = 0; i < values.size(); ++i)
    json.field(archive_fields()[i], std::string_view(values[i]));
  json.end_object();
  EXPECT_EQ(*http::parse_texts(std::move(json).text(), archive_fields()), values);
}

TEST(Archive, NamesTheFieldThatIsWrong) {
  const store::Entry entry = whole_entry();
  const std::pair<std::size_t, std::string> changes[] = {
      {0, "id"},  {1, "yesterday"}, {6, "7x"},    {8, "nan"},   {9, "sure"}, {10, ""},   {12, "00"},
      {13, "-1"}, {14, "1.5"},      {15, "AAAA"}, {17, "AAAA"}, {17, "?"},   {18, "id"}, {20, ""}};
  for (const auto& [field, value] : changes) {
    std::vector<std::string> values = to_archive(entry.record, entry.upload);
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
