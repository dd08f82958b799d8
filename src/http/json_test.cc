#include "http/json.h"

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>

namespace espy::http {
namespace {

TEST(JsonWriter, PutsCommasAndColonsWhereTheyBelong) {
  JsonWriter json;
  json.begin_object()
      .field("a", 1)
      .key("b")
      .begin_array()
      .value("x")
      .value(true)
      .null()
      .begin_object()
      .end_object();
  json.end_array().field("c", 0.5f).field("d", std::uint64_t{18446744073709551615u}).end_object();
  EXPECT_EQ(std::move(json).text(), R"({"a":1,"b":["x",true,null,{}],"c":0.5,"d":18446744073709551615})");
}

TEST(JsonWriter, TextComesBackAsItWas) {
  for (const std::string text :
       {"", "plain", "\"quoted\" \\ /", "line\nbreak\ttab\x01", "\xe4\xb8\x83", "\x7f"}) {
    JsonWriter json;
    json.value(text);
    EXPECT_EQ(boost::json::parse(std::move(json).text()).as_string(), text);
  }
}

TEST(JsonWriter, TextThatIsNotUtf8IsMadeSo) {
  JsonWriter json;
  json.value("a\xff");
  EXPECT_EQ(boost::json::parse(std::move(json).text()).as_string(), "a\xef\xbf\xbd");
}

TEST(AppendRecord, TellsEverythingThatIsKept) {
  store::Record record;
  record.id = *parse_uuid("01936f2e-7a1b-7c3d-8e4f-0123456789ab");
  record.time = Timestamp(std::chrono::microseconds(1'700'000'000'123'456));
  record.model = "digits";
  record.model_version = "3fa2b1c09d11";
  record.file_name = "my \"7\".png";
  record.label = 7;
  record.class_name = "seven";
  record.confidence = 0.9731f;
  record.upload_bytes = 300;
  record.latency = std::chrono::microseconds(42);
  JsonWriter json;
  append_record(json, record, "/uploads/x.png", Shown::as_answer);
  const boost::json::value read = boost::json::parse(std::move(json).text());
  const boost::json::value expected = boost::json::parse(R"({
    "id": "01936f2e-7a1b-7c3d-8e4f-0123456789ab", "time": "2023-11-14T22:13:20.123456Z",
    "model": "digits", "version": "3fa2b1c09d11", "file_name": "my \"7\".png", "label": 7, "class": "seven",
    "confidence": 0.9731, "verdict": "recognized", "reason": null, "subject": null, "correction": null,
    "alternative": null, "latency_us": 42,
    "upload": {"sha256": "0000000000000000000000000000000000000000000000000000000000000000",
               "bytes": 300, "url": "/uploads/x.png"},
    "durable": true})");
  EXPECT_EQ(read, expected);
}

TEST(AppendRecord, TellsWhyItIsNotSimplyRecognized) {
  store::Record record;
  record.verdict = Verdict::unsure;
  record.reason = Reason::ambiguous;
  record.alternative = "5";
  JsonWriter json;
  append_record(json, record, "", Shown::as_answer, std::vector<std::string>{"3", "5"});
  const boost::json::value read = boost::json::parse(std::move(json).text());
  EXPECT_EQ(read.at("verdict").as_string(), "unsure");
  EXPECT_EQ(read.at("reason").as_string(), "ambiguous");
  EXPECT_EQ(read.at("alternative").as_string(), "5");
  EXPECT_EQ(read.at("set"), (boost::json::array{"3", "5"}));
}

TEST(AppendRecord, SaysWhoHasItWhereThereIsACluster) {
  store::Record record;
  const auto written = [&](Shown shown) {
    JsonWriter json;
    append_record(json, record, "", shown);
    return boost::json::parse(std::move(json).text());
  };
  EXPECT_FALSE(written(Shown::as_answer).as_object().contains("held_by"));
  record.held_by = store::Holder::disk;
  EXPECT_EQ(written(Shown::as_answer).at("held_by").as_string(), "disk");
  record.held_by = store::Holder::quorum;
  EXPECT_EQ(written(Shown::as_answer).at("durable"), true);
  EXPECT_EQ(written(Shown::as_answer).at("held_by").as_string(), "quorum");
  EXPECT_EQ(written(Shown::as_history).at("held_by").as_string(), "quorum");
}

TEST(AppendRecord, HasNoUrlWithoutAnUploadAndNoPromiseInAHistory) {
  JsonWriter json;
  append_record(json, {}, "", Shown::as_history);
  const boost::json::value read = boost::json::parse(std::move(json).text());
  EXPECT_TRUE(read.at("upload").at("url").is_null());
  EXPECT_FALSE(read.as_object().contains("durable"));
}

}  // namespace
}  // namespace espy::http
