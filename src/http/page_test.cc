#include "http/page.h"

#include <gtest/gtest.h>

#include "service/testing.h"

namespace espy::http {
namespace {

using service::testing::Service;

bool contains(std::string_view text, std::string_view piece) { return text.find(piece) != text.npos; }

store::Record make_record() {
  store::Record record;
  record.id = *parse_uuid("01936f2e-7a1b-7c3d-8e4f-0123456789ab");
  record.time = Timestamp(std::chrono::microseconds(1'700'000'000'123'456));
  record.model = "digits";
  record.model_version = "3fa2b1c09d11";
  record.file_name = "<script>.png";
  record.class_name = "7";
  record.confidence = 0.9731f;
  return record;
}

TEST(Fill, ReplacesEachName) {
  const std::pair<std::string_view, Html> values[] = {{"a", {"1"}}, {"b", {"{{a}}"}}};
  EXPECT_EQ(fill("{{a}}-{{b}}-{{a}}", values), "1-{{a}}-1");
  EXPECT_EQ(fill("nothing", values), "nothing");
}

TEST(UploadUrl, IsMadeOfTheIdAlone) {
  EXPECT_EQ(upload_url(make_record().id, "image/jpeg"), "/uploads/01936f2e-7a1b-7c3d-8e4f-0123456789ab.jpeg");
  EXPECT_EQ(upload_url(make_record().id, ""), "");
}

TEST(IndexPage, HasTheFormAndNoScript) {
  const Service service;
  const std::string page = index_page(*service.catalog.registry(), {.model = {}, .notice = {}, .answer = {}});
  EXPECT_TRUE(contains(
      page, ">Upload An Image (Only permitted with ['png', 'jpg', 'jpeg', 'gif', 'bmp'] format)</label>"));
  EXPECT_TRUE(contains(page, "enctype=\"multipart/form-data\""));
  EXPECT_TRUE(contains(page, "value=\"digits\" checked"));
  EXPECT_TRUE(contains(page, "value=\"garments\">"));
  EXPECT_FALSE(contains(page, "<script"));
  EXPECT_FALSE(contains(page, "{{"));
}

TEST(IndexPage, KeepsTheChosenModelAndShowsTheNotice) {
  const Service service;
  const std::string page =
      index_page(*service.catalog.registry(), {.model = "garments", .notice = "a < b", .answer = {}});
  EXPECT_TRUE(contains(page, "value=\"garments\" checked"));
  EXPECT_FALSE(contains(page, "value=\"digits\" checked"));
  EXPECT_TRUE(contains(page, "role=\"alert\">a &lt; b</p>"));
}

TEST(IndexPage, ShowsTheResultWithItsPicture) {
  const Service service;
  const std::string page =
      index_page(*service.catalog.registry(),
                 {.model = "digits", .notice = {}, .answer = service::Answer{make_record(), "image/png"}});
  EXPECT_TRUE(contains(page, "The result is: <strong>7</strong>"));
  EXPECT_TRUE(contains(page, "<img src=\"/uploads/01936f2e-7a1b-7c3d-8e4f-0123456789ab.png\""));
  EXPECT_TRUE(contains(page, "97.3 %"));
  EXPECT_TRUE(contains(page, "3fa2b1c09d11"));
  EXPECT_TRUE(contains(page, "href=\"/api/history/01936f2e-7a1b-7c3d-8e4f-0123456789ab\""));
  EXPECT_TRUE(contains(page, "&lt;script&gt;.png"));
  EXPECT_FALSE(contains(page, "<script"));
  EXPECT_FALSE(contains(page, "{{"));
}

TEST(IndexPage, ShowsWhatTheModelSawWhenTheUploadWasNotKept) {
  const Service service;
  const std::string page =
      index_page(*service.catalog.registry(),
                 {.model = "digits", .notice = {}, .answer = service::Answer{make_record(), ""}});
  EXPECT_TRUE(contains(page, "src=\"data:image/bmp;base64,Qk1GBwAA"));  // "BM", 1862 bytes
  EXPECT_TRUE(contains(page, "too large to be kept"));
}

TEST(ConfidenceWords, LeaveACertaintyToTheCertain) {
  EXPECT_EQ(confidence_words(1.0f), "100.0 %");
  EXPECT_EQ(confidence_words(0.99997f), "99.9 %");
  EXPECT_EQ(confidence_words(0.5f), "50.0 %");
  EXPECT_EQ(confidence_words(0.0f), "0.0 %");
}

TEST(IndexPage, SaysSoWhenNothingWasRecognized) {
  const Service service;
  store::Record record = make_record();
  record.verdict = Verdict::not_recognized;
  const std::string page =
      index_page(*service.catalog.registry(),
                 {.model = "digits", .notice = {}, .answer = service::Answer{record, "image/png"}});
  EXPECT_TRUE(contains(page, "The result is: <strong>not recognized</strong>"));
}

TEST(AnswerLine, IsTheExactSentenceForWhatIsRecognizedAlone) {
  store::Record record = make_record();
  EXPECT_EQ(answer_line(record), "The result is: 7");
  record.verdict = Verdict::unsure;
  record.reason = Reason::ambiguous;
  record.alternative = "1";
  EXPECT_EQ(answer_line(record), "The result is: unsure: 7 or 1");
  record.verdict = Verdict::not_recognized;
  record.reason = Reason::foreign;
  EXPECT_EQ(answer_line(record),
            "The result is: not recognized: it looks like nothing the model was trained on");
  record.reason = Reason::blank;
  EXPECT_EQ(answer_line(record), "The result is: not recognized: there is nothing to see in the picture");
  record.reason = Reason::none;  // of a record that is older than reasons
  EXPECT_EQ(answer_line(record), "The result is: not recognized");
}

TEST(IndexPage, SaysWhatItCouldBe) {
  const Service service;
  store::Record record = make_record();
  record.verdict = Verdict::unsure;
  record.reason = Reason::ambiguous;
  record.alternative = "Ankle <boot>";
  const std::string page =
      index_page(*service.catalog.registry(),
                 {.model = "digits", .notice = {}, .answer = service::Answer{record, "image/png"}});
  EXPECT_TRUE(contains(page, "The result is: <strong>unsure: 7 or Ankle &lt;boot&gt;</strong>"));
  EXPECT_TRUE(contains(page, "it could be either"));
}

TEST(HistoryPage, ShowsRecordsAndKeepsTheFilters) {
  const Service service;
  constexpr std::string_view kKnown[] = {"model", "label", "file_name", "from", "until", "before"};
  const Query query = *Query::parse("model=garments&label=1&file_name=%22%3E&from=2026-11-22", kKnown);
  HistoryContent content{.query = query, .notice = {}, .page = {}, .upload_media_types = {"image/png", ""}};
  content.page.records = {make_record(), make_record()};
  content.page.next = make_record().id;
  const std::string page = history_page(*service.catalog.registry(), content);
  EXPECT_TRUE(contains(page, "<option value=\"garments\" selected>garments</option>"));
  EXPECT_TRUE(contains(page, "<option value=\"1\" selected>1, Ankle &lt;boot&gt;</option>"));
  EXPECT_TRUE(contains(page, "name=\"file_name\" value=\"&quot;&gt;\""));
  EXPECT_TRUE(contains(page, "name=\"from\" value=\"2026-11-22\""));
  EXPECT_TRUE(
      contains(page,
               "href=\"/history?model=garments&amp;label=1&amp;file_name=%22%3E&amp;from=2026-11-22&amp;"
               "before=01936f2e-7a1b-7c3d-8e4f-0123456789ab\" rel=\"next\""));
  EXPECT_TRUE(contains(page, "<img src=\"/uploads/"));
  EXPECT_TRUE(contains(page, "<img class=\"pixels\" src=\"data:"));
  EXPECT_TRUE(contains(page, "2023-11-14 22:13:20 UTC"));
  EXPECT_FALSE(contains(page, "<script"));
  EXPECT_FALSE(contains(page, "{{"));
}

TEST(HistoryPage, SaysWhenThereIsNothing) {
  const Service service;
  const Query query;
  const std::string page = history_page(*service.catalog.registry(),
                                        {.query = query, .notice = {}, .page = {}, .upload_media_types = {}});
  EXPECT_TRUE(contains(page, "There is no such record."));
  EXPECT_FALSE(contains(page, "rel=\"next\""));
}

}  // namespace
}  // namespace espy::http
