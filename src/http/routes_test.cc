#include "http/routes.h"

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include "base/format.h"
#include "http/page.h"
#include "service/testing.h"

namespace espy::http {
namespace {

using service::testing::bar_picture;
using service::testing::blank_picture;
using service::testing::Service;

constexpr std::string_view kBrowser = "text/html,application/xhtml+xml,*/*;q=0.8";

bool contains(std::string_view text, std::string_view piece) { return text.find(piece) != text.npos; }

std::string file_part(std::string_view name, std::string_view file_name, std::string_view content) {
  return format("--b\r\nContent-Disposition: form-data; name=\"{}\"; filename=\"{}\"\r\n\r\n{}\r\n", name,
                file_name, content);
}

std::string field_part(std::string_view name, std::string_view content) {
  return format("--b\r\nContent-Disposition: form-data; name=\"{}\"\r\n\r\n{}\r\n", name, content);
}

class RoutesTest : public ::testing::Test {
 protected:
  explicit RoutesTest(service::ClassifierOptions options = {})
      : service_({.max_kept_upload_bytes = 4096}, std::move(options)) {}

  // Answers a request, running the loop until it is answered.
  Response answer(Method method, std::string target, std::string content_type = "", std::string body = "",
                  std::string_view accept = "*/*") {
    Request request{.method = method,
                    .target = std::move(target),
                    .content_type = std::move(content_type),
                    .accept = std::string(accept),
                    .body = std::move(body),
                    .afterwards = Afterwards::keep_open};
    std::optional<Response> response;
    routes_.answer(request, lane_, [&](Response given) {
      EXPECT_FALSE(response);
      response = std::move(given);
    });
    while (!response) queue_.run_one();
    return *std::move(response);
  }

  Response get(std::string target, std::string_view accept = "*/*") {
    return answer(Method::get, std::move(target), "", "", accept);
  }

  Response post_form(std::string target, std::string parts, std::string_view accept = "*/*") {
    return answer(Method::post, std::move(target), "multipart/form-data; boundary=b",
                  std::move(parts) + "--b--\r\n", accept);
  }

  boost::json::value get_json(std::string target) {
    const Response response = get(std::move(target));
    EXPECT_EQ(response.status, 200) << response.body;
    EXPECT_EQ(response.content_type, "application/json");
    return boost::json::parse(response.body);
  }

  // Makes a record and returns its id.
  std::string predict(std::string target = "/api/predict", std::string picture = bar_picture()) {
    const Response response = answer(Method::post, std::move(target), "image/bmp", std::move(picture));
    EXPECT_EQ(response.status, 200) << response.body;
    return std::string(boost::json::parse(response.body).at("id").as_string());
  }

  void expect_json_error(const Response& response, int status, std::string_view code,
                         std::string_view piece) {
    EXPECT_EQ(response.status, status);
    EXPECT_EQ(response.content_type, "application/json");
    const boost::json::value error = boost::json::parse(response.body).at("error");
    EXPECT_EQ(error.at("code").as_string(), code);
    EXPECT_TRUE(contains(error.at("message").as_string(), piece)) << response.body;
  }

  void expect_plain(const Response& response, int status, std::string_view text) {
    EXPECT_EQ(response.status, status);
    EXPECT_EQ(response.content_type, "text/plain; charset=utf-8");
    EXPECT_EQ(response.body, text);
  }

  void expect_page(const Response& response, int status, std::string_view piece) {
    EXPECT_EQ(response.status, status);
    EXPECT_EQ(response.content_type, kPageType);
    EXPECT_TRUE(contains(response.fields, "Content-Security-Policy: default-src 'none'"));
    EXPECT_TRUE(contains(response.body, piece)) << response.body;
  }

  std::size_t record_count() { return service_.store.list({})->records.size(); }

  Service service_;
  service::testing::Queue queue_;
  service::Lane lane_{*service_.classifier, queue_.schedule()};
  std::unique_ptr<Gate> gate_ = *Gate::open({});
  Routes routes_{*service_.classifier, *gate_};
};

// A history that lies elsewhere, too: of one record, and not all of it.
class FarHistory : public store::History {
 public:
  FarHistory() {
    record_.id.bytes.fill(0x77);
    record_.file_name = "far.png";
  }
  Result<store::Listing> list(const store::Query&) override {
    return store::Listing{{{record_}, std::nullopt}, "the rest is <away>"};
  }
  Result<store::Record> find(const Uuid& id) override {
    thread = std::this_thread::get_id();
    if (id == record_.id) return record_;
    return Error{ErrorCode::unavailable, "it is away"};
  }

  std::thread::id thread;

 private:
  store::Record record_;
};

class FarRoutesTest : private FarHistory, public RoutesTest {
 protected:
  FarRoutesTest() : RoutesTest({.decode_limits = {}, .history = this}) {}
  std::thread::id looked_on() const { return thread; }
};

TEST_F(FarRoutesTest, RecordsOfAFarHistoryAreShownAndWhatIsMissingIsSaid) {
  const boost::json::value listed = get_json("/api/history");
  EXPECT_EQ(listed.at("records").at(0).at("file_name"), "far.png");
  EXPECT_EQ(listed.at("missing"), "the rest is <away>");
  expect_page(get("/history", kBrowser), 200, "This is not all of the history: the rest is &lt;away&gt;");
  EXPECT_EQ(get_json("/api/history/77777777-7777-7777-7777-777777777777").at("file_name"), "far.png");
  expect_json_error(get("/api/history/77777777-7777-7777-7777-777777777778"), 503, "unavailable",
                    "it is away");
  EXPECT_NE(looked_on(), std::this_thread::get_id());  // the loop goes on meanwhile
}

// The form.

TEST_F(RoutesTest, AnUploadIsAnsweredInOneLine) {
  expect_plain(post_form("/", file_part("file", "seven.bmp", bar_picture())), 200, "The result is: 7\n");
}

TEST_F(RoutesTest, TheModelIsChosenInTheFormOrInTheQuery) {
  const std::string file = file_part("file", "boot.BMP", bar_picture());
  expect_plain(post_form("/?model=garments", file), 200, "The result is: Ankle <boot>\n");
  expect_plain(post_form("/", field_part("model", "garments") + file), 200, "The result is: Ankle <boot>\n");
  expect_plain(post_form("/?model=garments", file + field_part("model", "digits")), 200,
               "The result is: 7\n");
}

TEST_F(RoutesTest, ABlankPictureIsNotRecognized) {
  expect_plain(post_form("/", file_part("file", "a.bmp", blank_picture())), 200,
               "The result is: not recognized: there is nothing to see in the picture\n");
}

TEST_F(RoutesTest, ABrowserGetsAPageWithThePictureAndItsFileNameEscaped) {
  const Response response =
      post_form("/?model=garments", file_part("file", "<b>.png", bar_picture()), kBrowser);
  expect_page(response, 200, "The result is: <strong>Ankle &lt;boot&gt;</strong>");
  EXPECT_TRUE(contains(response.body, "&lt;b&gt;.png"));
  EXPECT_TRUE(contains(response.body, "<img src=\"/uploads/"));
  EXPECT_TRUE(contains(response.body, "value=\"garments\" checked"));
}

TEST_F(RoutesTest, WithoutAFileThereIsNoFilePart) {
  for (const std::string& parts : {std::string(), field_part("model", "digits"), field_part("file", "text"),
                                   file_part("picture", "a.png", "x")}) {
    expect_plain(post_form("/", parts), 400, "No file part");
  }
  expect_plain(answer(Method::post, "/", "application/x-www-form-urlencoded", "file=a"), 400, "No file part");
  expect_plain(answer(Method::post, "/"), 400, "No file part");
  expect_page(post_form("/", "", kBrowser), 400, "role=\"alert\">No file part</p>");
}

TEST_F(RoutesTest, AnEmptyFileNameGoesBackToThePageWhichSaysSo) {
  const Response response = post_form("/?model=garments", file_part("file", "", ""), kBrowser);
  EXPECT_EQ(response.status, 303);
  EXPECT_EQ(response.fields, "Location: /?notice=no-selected-file&model=garments\r\n");
  const Response page = get("/?notice=no-selected-file&model=garments", kBrowser);
  expect_page(page, 200, "role=\"alert\">No selected file</p>");
  EXPECT_TRUE(contains(page.body, "value=\"garments\" checked"));
  EXPECT_FALSE(contains(get("/").body, "No selected file"));
}

TEST_F(RoutesTest, AForeignModelNameCannotEnterTheRedirect) {
  const Response response =
      post_form("/", field_part("model", "x\r\nSet-Cookie: a=b") + file_part("file", "", ""), kBrowser);
  EXPECT_EQ(response.fields, "Location: /?notice=no-selected-file&model=x%0D%0ASet-Cookie%3A%20a%3Db\r\n");
}

TEST_F(RoutesTest, WhatIsNoPictureIsRefusedInTheKindThatWasAskedFor) {
  expect_plain(post_form("/", file_part("file", "notes.txt", bar_picture())), 400,
               "file name \"notes.txt\" does not end in .png, .jpg, .jpeg, .gif, .bmp or .webp");
  const Response text = post_form("/", file_part("file", "notes.png", "just text"));
  EXPECT_EQ(text.status, 400);
  EXPECT_EQ(text.content_type, "text/plain; charset=utf-8");
  expect_page(post_form("/", file_part("file", "notes.png", "just text"), kBrowser), 400, "role=\"alert\"");
  expect_page(post_form("/", file_part("file", "<notes>", ""), kBrowser), 400, "&lt;notes&gt;");
  expect_plain(post_form("/", file_part("file", "a.bmp", bar_picture()) + file_part("file", "b.bmp", "")),
               400, "there are two parts named file");
  expect_plain(post_form("/?model=letters", file_part("file", "a.bmp", bar_picture())), 404,
               "there is no model letters; there are digits, garments");
  EXPECT_EQ(record_count(), 0u);
}

TEST_F(RoutesTest, AMissingBoundaryIsSaid) {
  expect_plain(answer(Method::post, "/", "multipart/form-data", "--b--"), 400,
               "Content-Type multipart/form-data has no boundary");
  expect_json_error(answer(Method::post, "/api/predict", "multipart/form-data", "--b--"), 400,
                    "invalid_input", "no boundary");
}

TEST_F(RoutesTest, AStoreThatFailsIs503ByEveryRoad) {
  service_.store.break_disk();
  expect_plain(post_form("/", file_part("file", "a.bmp", bar_picture())), 503,
               "cannot commit: the disk is full");
  expect_page(post_form("/", file_part("file", "a.bmp", bar_picture()), kBrowser), 503, "the disk is full");
  expect_json_error(answer(Method::post, "/api/predict", "", bar_picture()), 503, "unavailable",
                    "the disk is full");
}

// The API.

TEST_F(RoutesTest, PredictAnswersWithADurableRecord) {
  const Response response =
      answer(Method::post, "/api/predict?file_name=..%2Fseven.bmp", "image/bmp", bar_picture());
  ASSERT_EQ(response.status, 200) << response.body;
  EXPECT_EQ(response.content_type, "application/json");
  const boost::json::value record = boost::json::parse(response.body);
  EXPECT_EQ(record.at("label"), 7);
  EXPECT_EQ(record.at("class"), "7");
  EXPECT_EQ(record.at("file_name"), "seven.bmp");
  EXPECT_EQ(record.at("durable"), true);
  EXPECT_EQ(record.at("upload").at("url").as_string(),
            "/uploads/" + std::string(record.at("id").as_string()) + ".bmp");
  const auto id = parse_uuid(record.at("id").as_string());
  ASSERT_TRUE(id);
  EXPECT_TRUE(service_.store.find(*id));
}

TEST_F(RoutesTest, PredictTakesAForm) {
  const Response response = post_form(
      "/api/predict", field_part("model", "garments") + file_part("file", "notes.txt", bar_picture()));
  ASSERT_EQ(response.status, 200) << response.body;
  const boost::json::value record = boost::json::parse(response.body);
  EXPECT_EQ(record.at("model"), "garments");
  EXPECT_EQ(record.at("file_name"), "notes.txt");
  expect_json_error(post_form("/api/predict", file_part("picture", "a.png", "x")), 400, "invalid_input",
                    "no part named file");
}

TEST_F(RoutesTest, PredictSaysWhatIsWrong) {
  expect_json_error(answer(Method::post, "/api/predict", "image/png", ""), 400, "invalid_input", "empty");
  expect_json_error(answer(Method::post, "/api/predict", "image/png", "just text"), 400, "invalid_input", "");
  expect_json_error(answer(Method::post, "/api/predict?model=letters", "", bar_picture()), 404, "not_found",
                    "there is no model letters");
  expect_json_error(answer(Method::post, "/api/predict?modell=digits", "", bar_picture()), 400,
                    "invalid_input", "unknown parameter modell");
  expect_json_error(post_form("/api/predict?model=digits&model=digits", ""), 400, "invalid_input",
                    "model is given twice");
  EXPECT_EQ(record_count(), 0u);
}

TEST_F(RoutesTest, HistoryGoesPageByPageFromTheNewest) {
  std::vector<std::string> ids;
  for (int i = 0; i < 5; ++i) ids.insert(ids.begin(), predict());
  std::vector<std::string> seen;
  std::string next;
  do {
    const boost::json::value page =
        get_json("/api/history?limit=2" + (next.empty() ? "" : "&before=" + next));
    for (const auto& record : page.at("records").as_array()) seen.emplace_back(record.at("id").as_string());
    next = page.at("next").is_null() ? "" : std::string(page.at("next").as_string());
  } while (!next.empty());
  EXPECT_EQ(seen, ids);
}

TEST_F(RoutesTest, HistoryHasFilters) {
  const std::string digit = predict("/api/predict?file_name=a%20b.png");
  const std::string garment = predict("/api/predict?model=garments");
  const std::pair<std::string, std::set<std::string>> cases[] = {
      {"", {digit, garment}},
      {"model=garments", {garment}},
      {"label=7", {digit}},
      {"file_name=a+b.png", {digit}},
      {"min_confidence=0.5", {garment}},
      {"max_confidence=0.5", {digit}},
      {"from=2020-01-01&until=2999-01-01T00:00:00Z", {digit, garment}},
      {"until=2020-01-01", {}},
      {"model=letters", {}},
  };
  for (const auto& [query, expected] : cases) {
    std::set<std::string> found;
    const boost::json::value page = get_json("/api/history?" + query);
    for (const auto& record : page.at("records").as_array()) {
      found.emplace(record.at("id").as_string());
    }
    EXPECT_EQ(found, expected) << query;
  }
}

TEST_F(RoutesTest, HistorySaysWhichFilterIsWrong) {
  const std::pair<std::string, std::string_view> cases[] = {
      {"from=yesterday", "parameter from is \"yesterday\", must be a time"},
      {"until=", "parameter until is \"\""},
      {"label=seven", "parameter label is \"seven\", must be a whole number"},
      {"min_confidence=1.5", "min_confidence"},
      {"max_confidence=nan", "max_confidence"},
      {"limit=0", "limit is \"0\", must be a number from 1 to 1000"},
      {"limit=1001", "limit"},
      {"limit=1e2", "limit"},
      {"before=x", "before"},
      {"page=2", "unknown parameter page"},
  };
  for (const auto& [query, piece] : cases) {
    expect_json_error(get("/api/history?" + query), 400, "invalid_input", piece);
  }
}

TEST_F(RoutesTest, ARecordIsFoundByItsId) {
  const std::string id = predict("/api/predict?file_name=a.png");
  const boost::json::value record = get_json("/api/history/" + id);
  EXPECT_EQ(record.at("id").as_string(), id);
  EXPECT_EQ(record.at("file_name"), "a.png");
  EXPECT_EQ(record.at("upload").at("url").as_string(), "/uploads/" + id + ".bmp");
  EXPECT_FALSE(record.as_object().contains("durable"));
  expect_json_error(get("/api/history/01936f2e-7a1b-7c3d-8e4f-0123456789ab"), 404, "not_found", "01936f2e");
  expect_json_error(get("/api/history/7"), 404, "not_found", "not a UUID");
  expect_json_error(get("/api/history/"), 404, "not_found", "no such path");
}

TEST_F(RoutesTest, ModelsAreDescribed) {
  const boost::json::value models = get_json("/api/models").at("models");
  ASSERT_EQ(models.as_array().size(), 2u);
  EXPECT_EQ(models.at(1), boost::json::parse(R"({"name": "garments", "version": ")" +
                                             service_.catalog.registry()->model(1)->version() +
                                             R"(", "number": 1, "recipe": "softmax", "preparation": "digit",
                                             "classes": ["Shirt", "Ankle <boot>"],
                                             "metrics": {"test_accuracy": "0.5"}, "calibrated": false, "default": false, "labels": {},
                                             "versions": [{"number": 1, "version": ")" +
                                             service_.catalog.registry()->model(1)->version() +
                                             R"(", "state": "ready", "reason": null}]})"));
  EXPECT_EQ(models.at(0).at("default"), true);
}

// Uploads.

TEST_F(RoutesTest, AnUploadComesBackAsItWasAndHarmless) {
  const std::string id = predict();
  const Response response = get("/uploads/" + id + ".bmp");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.content_type, "image/bmp");
  EXPECT_EQ(response.body, bar_picture());
  EXPECT_TRUE(contains(response.fields, "Content-Security-Policy: default-src 'none'; sandbox\r\n"));
  EXPECT_TRUE(contains(response.fields, "Content-Disposition: inline; filename=\"" + id + ".bmp\"\r\n"));
  EXPECT_TRUE(contains(response.fields, "Cache-Control: private, max-age=31536000, immutable\r\n"));
}

TEST_F(RoutesTest, NoOtherNameLeadsToAnUpload) {
  const std::string id = predict();
  const std::string large = predict("/api/predict", bar_picture() + std::string(4096, '\0'));
  for (const std::string& name :
       {id, id + ".png", id + ".bmp/", "../" + id + ".bmp", std::string("seven.png"), std::string(""),
        std::string("%2e%2e%2fespy.db"), large + ".bmp"}) {
    const Response response = get("/uploads/" + name);
    EXPECT_EQ(response.status, 404) << name;
    EXPECT_EQ(response.content_type, "application/json");
  }
  EXPECT_TRUE(get_json("/api/history/" + large).at("upload").at("url").is_null());
}

// The pages.

TEST_F(RoutesTest, TheHistoryPageShowsWhatWasUploaded) {
  predict("/api/predict?file_name=%3Ci%3E.png");
  const Response response = get("/history?model=&label=7&file_name=&from=&until=");
  expect_page(response, 200, "&lt;i&gt;.png");
  EXPECT_FALSE(contains(get("/history?model=garments").body, "&lt;i&gt;.png"));
  expect_page(get("/history?from=yesterday"), 400, "role=\"alert\">parameter from");
}

TEST_F(RoutesTest, TheStyleSheetIsThere) {
  const Response response = get("/style.css");
  EXPECT_EQ(response.content_type, "text/css; charset=utf-8");
  EXPECT_TRUE(contains(response.body, "prefers-color-scheme: dark"));
}

TEST_F(RoutesTest, AnUnknownModelOnThePageIs404) {
  expect_page(get("/?model=letters", kBrowser), 404, "there is no model letters");
}

// Paths and methods.

TEST_F(RoutesTest, OtherPathsAre404InTheKindThatWasAskedFor) {
  expect_json_error(get("/nowhere"), 404, "not_found", "no such path");
  expect_json_error(get("/api/nowhere", kBrowser), 404, "not_found", "no such path");
  expect_page(get("/nowhere", kBrowser), 404, "no such path");
}

TEST_F(RoutesTest, OtherMethodsAre405WithThoseThatThereAre) {
  const Response index = answer(Method::other, "/");
  expect_json_error(index, 405, "method_not_allowed", "GET, HEAD, POST");
  EXPECT_EQ(index.fields, "Allow: GET, HEAD, POST\r\n");
  EXPECT_EQ(answer(Method::get, "/api/predict").fields, "Allow: POST\r\n");
  EXPECT_EQ(answer(Method::post, "/livez").fields, "Allow: GET, HEAD\r\n");
  EXPECT_EQ(answer(Method::get, "/v1/models/digits:predict").fields, "Allow: POST\r\n");
}

TEST_F(RoutesTest, EveryRouteIsReachedAndTakesHeadForGet) {
  routes_.begin_serving();
  for (const Routes::Route& route : Routes::table()) {
    EXPECT_FALSE(route.summary.empty());
    if (route.method != Method::get || contains(route.path, "{")) continue;
    EXPECT_EQ(answer(Method::head, std::string(route.path)).status, 200) << route.path;
  }
}

TEST_F(RoutesTest, ACorrectionIsShownByEveryRead) {
  const boost::json::value made =
      boost::json::parse(answer(Method::post, "/api/predict", "", bar_picture()).body);
  const std::string id(made.at("id").as_string());
  EXPECT_TRUE(made.at("correction").is_null());
  const std::string path = "/api/history/" + id + "/correction";
  for (const int label : {3, 8}) {
    const Response response =
        answer(Method::post, path, "application/json", format(R"({{"label": {}, "author": "ann"}})", label));
    ASSERT_EQ(response.status, 200) << response.body;
    const boost::json::value corrected = boost::json::parse(response.body);
    EXPECT_EQ(corrected.at("label"), 7);
    EXPECT_EQ(corrected.at("correction").at("label"), label);
    EXPECT_EQ(corrected.at("correction").at("author"), "ann");
  }
  EXPECT_EQ(get_json("/api/history/" + id).at("correction").at("class"), "8");
  EXPECT_EQ(get_json("/api/history").at("records").at(0).at("correction").at("label"), 8);
  EXPECT_TRUE(contains(get("/history").body, "corrected: <strong>8</strong>"));

  expect_json_error(answer(Method::post, path, "application/json", R"({"label": 10})"), 400, "invalid_input",
                    "label is 10, model digits has 0 to 9");
  expect_json_error(answer(Method::post, path, "text/plain", R"({"label": 1})"), 400, "invalid_input",
                    "must be application/json");
  expect_json_error(answer(Method::post, path, "application/json", "label=1"), 400, "invalid_input",
                    "not JSON");
  expect_json_error(answer(Method::post, "/api/history/x/correction", "application/json", "{}"), 404,
                    "not_found", "not a UUID");
  expect_json_error(answer(Method::post, "/api/history/00000000-0000-7000-8000-000000000000/correction",
                           "application/json", R"({"label": 1})"),
                    404, "not_found", "no record");
  service_.store.break_disk();
  expect_json_error(answer(Method::post, path, "application/json", R"({"label": 1})"), 503, "unavailable",
                    "full");
}

TEST_F(RoutesTest, TheSubjectIsKeptAndFound) {
  const std::string form =
      file_part("file", "seven.bmp", bar_picture()) + field_part("subject", "ann") + "--b--\r\n";
  ASSERT_EQ(answer(Method::post, "/api/predict", "multipart/form-data; boundary=b", form).status, 200);
  ASSERT_EQ(answer(Method::post, "/api/predict", "", bar_picture()).status, 200);
  const boost::json::value found = get_json("/api/history?subject=ann");
  ASSERT_EQ(found.at("records").as_array().size(), 1U);
  EXPECT_EQ(found.at("records").at(0).at("subject"), "ann");
  const std::string long_one = file_part("file", "seven.bmp", bar_picture()) +
                               field_part("subject", std::string(256, 'x')) + "--b--\r\n";
  expect_json_error(answer(Method::post, "/api/predict", "multipart/form-data; boundary=b", long_one), 400,
                    "invalid_input", "subject has 256 bytes, limit is 255");
}

TEST_F(RoutesTest, MetricsCountTheRecords) {
  ASSERT_EQ(answer(Method::post, "/api/predict", "", bar_picture()).status, 200);
  const Response metrics = get("/metrics");
  EXPECT_EQ(metrics.status, 200);
  EXPECT_TRUE(contains(metrics.body, "espy_records_accepted_total 1\n"));
  EXPECT_TRUE(contains(metrics.body, "espy_records_durable_total 1\n"));
  EXPECT_TRUE(contains(metrics.body, "espy_history_records 1\n"));
}

TEST_F(RoutesTest, TellsWhyNoRequestsShouldCome) {
  const auto expect_not_ready = [this](std::string_view status, std::string_view message) {
    const Response response = get("/readyz");
    expect_json_error(response, 503, "unavailable", message);
    EXPECT_EQ(boost::json::parse(response.body).at("status").as_string(), status);
    EXPECT_TRUE(contains(get("/metrics").body, "espy_ready 0\n"));
    EXPECT_EQ(get_json("/livez").at("status"), "ok");
  };
  expect_not_ready("starting", "not ready yet");
  routes_.begin_serving();
  EXPECT_EQ(get_json("/readyz").at("status"), "ok");
  EXPECT_TRUE(contains(get("/metrics").body, "espy_ready 1\n"));

  service_.store.break_disk();
  EXPECT_EQ(get_json("/readyz").at("status"), "ok") << "nobody knows yet";
  EXPECT_EQ(answer(Method::post, "/api/predict", "", bar_picture()).status, 503);
  expect_not_ready("store failing", "cannot be recorded");
  service_.store.mend_disk();
  EXPECT_EQ(answer(Method::post, "/api/predict", "", bar_picture()).status, 200);
  EXPECT_EQ(get_json("/readyz").at("status"), "ok");

  routes_.begin_stopping();
  expect_not_ready("draining", "stopping");
}

TEST_F(RoutesTest, CountsPredictionsByVerdict) {
  EXPECT_EQ(answer(Method::post, "/api/predict", "", bar_picture()).status, 200);
  EXPECT_EQ(answer(Method::post, "/api/predict", "", blank_picture()).status, 200);
  EXPECT_EQ(answer(Method::post, "/api/predict", "", "no picture").status, 400);
  const Response metrics = get("/metrics");
  const std::string version = service_.catalog.registry()->model(0)->version();
  const std::string labels = format("{{model=\"digits\",version=\"{}\"", version);
  for (const std::string& line : {
           format("espy_predictions_total{},verdict=\"recognized\"}} 1\n", labels),
           format("espy_predictions_total{},verdict=\"not_recognized\"}} 1\n", labels),
           format("espy_pictures_refused_total{}}} 1\n", labels),
           format("espy_decode_seconds_count{}}} 2\n", labels),
           format("espy_recording_seconds_count{}}} 2\n", labels),
       }) {
    EXPECT_TRUE(contains(metrics.body, line)) << line << metrics.body;
  }
}

TEST_F(RoutesTest, EveryRouteSaysWhatItAsksOfAKey) {
  for (const Routes::Route& route : Routes::table()) {
    const bool is_open = route.path == "/livez" || route.path == "/readyz" || route.path == "/style.css" ||
                         route.path == "/docs" || route.path == "/openapi.json" || route.path == "/login" ||
                         route.path == "/logout" || route.path.starts_with("/v2/health/");
    EXPECT_EQ(route.scope == Scope::none, is_open) << route.path;
  }
}

TEST_F(RoutesTest, WithoutKeysThereIsNothingToLogInTo) {
  expect_page(get("/login", kBrowser), 200, "asks for no keys");
  const Response response = answer(Method::post, "/login", "application/x-www-form-urlencoded", "key=x");
  EXPECT_EQ(response.status, 303);
  EXPECT_EQ(response.fields, "Location: /\r\nCache-Control: no-store\r\n");
}

}  // namespace
}  // namespace espy::http
