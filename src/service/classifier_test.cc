#include "service/classifier.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/format.h"
#include "service/testing.h"

namespace espy::service {
namespace {

using testing::bar_picture;
using testing::blank_picture;
using testing::Queue;
using testing::Service;

class LaneTest : public ::testing::Test {
 protected:
  // Starts a classification whose answer will be answers_[i] for the i-th.
  void classify(Request request) {
    const std::size_t index = answers_.size();
    answers_.emplace_back();
    lane_.classify(std::move(request), [this, index](Result<Answer> answer) {
      EXPECT_FALSE(answers_[index].has_value());
      answers_[index] = std::move(answer);
    });
  }

  Result<Answer> answer_to(Request request) {
    const std::size_t index = answers_.size();
    classify(std::move(request));
    while (!answers_[index]) queue_.run_one();
    return *answers_[index];
  }

  void expect_error(Request request, ErrorCode code, std::string_view piece) {
    const Result<Answer> answer = answer_to(std::move(request));
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, code);
    EXPECT_NE(answer.error().message.find(piece), std::string::npos) << answer.error().message;
    EXPECT_TRUE(service_.store.list({})->records.empty());
  }

  static constexpr Timestamp kTime{std::chrono::microseconds(1'700'000'000'123'456)};
  Service service_{
      {.max_kept_upload_bytes = 4096},
      {.decode_limits = {}, .clock = [] { return kTime; }, .longest_gathering = std::chrono::hours(1)}};
  Queue queue_;
  Lane lane_{*service_.classifier, queue_.schedule()};
  std::deque<std::optional<Result<Answer>>> answers_;
};

TEST_F(LaneTest, AnswersWithTheRecordThatTheStoreHas) {
  const std::string picture = bar_picture();
  const Result<Answer> answer = answer_to({.upload = picture, .file_name = "seven.bmp", .model = ""});
  ASSERT_TRUE(answer);
  const store::Record& record = answer->record;
  EXPECT_EQ(record.time, kTime);
  EXPECT_EQ(record.model, "digits");
  EXPECT_EQ(record.model_version, service_.catalog.registry()->model(0)->version());
  EXPECT_EQ(record.file_name, "seven.bmp");
  EXPECT_EQ(record.label, 7);
  EXPECT_EQ(record.class_name, "7");
  EXPECT_NEAR(record.confidence, 2.718 / (2.718 + 9), 1e-3);
  EXPECT_EQ(record.verdict, Verdict::recognized);
  EXPECT_EQ(record.upload_bytes, picture.size());
  EXPECT_EQ(record.upload_digest, sha256(as_bytes(picture)));
  EXPECT_EQ(record.id.bytes[6] >> 4, 7);
  EXPECT_FALSE(image::is_blank(record.input));
  EXPECT_EQ(answer->upload_media_type, "image/bmp");
  EXPECT_EQ(*service_.store.find(record.id), record);
  EXPECT_EQ(*service_.store.find_upload(record.id), (store::Upload{"image/bmp", picture}));
}

TEST_F(LaneTest, TheNameChoosesTheModel) {
  const Result<Answer> answer = answer_to({.upload = bar_picture(), .file_name = "", .model = "garments"});
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->record.model, "garments");
  EXPECT_EQ(answer->record.class_name, "Ankle <boot>");
}

TEST_F(LaneTest, ABlankPictureIsNotRecognizedAndStillRecorded) {
  const Result<Answer> answer = answer_to({.upload = blank_picture(), .file_name = "", .model = ""});
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->record.verdict, Verdict::not_recognized);
  EXPECT_EQ(answer->record.reason, Reason::blank);
  EXPECT_TRUE(service_.store.find(answer->record.id));
}

TEST_F(LaneTest, WhatIsRefusedLeavesNoRecord) {
  expect_error({.upload = bar_picture(), .file_name = "", .model = "letters"}, ErrorCode::not_found,
               "letters");
  expect_error({.upload = "", .file_name = "", .model = ""}, ErrorCode::invalid_input, "empty");
  expect_error({.upload = "no picture at all", .file_name = "a.png", .model = ""}, ErrorCode::invalid_input,
               "");
  expect_error({.upload = bar_picture().substr(0, 1200), .file_name = "", .model = ""},
               ErrorCode::invalid_input, "");
}

TEST_F(LaneTest, ACoverageNeedsACalibration) {
  expect_error({.upload = bar_picture(), .file_name = "", .model = "", .coverage = 0.9},
               ErrorCode::invalid_input, "model digits has no calibration");
}

// A calibration under which the constant model's answer is ambiguous, and no picture foreign.
std::shared_ptr<const model::Model> unsure_model() {
  const auto constant = testing::constant_model(2, {"a", "b", "c"});
  model::Calibration calibration;
  calibration.held_out = 100;
  calibration.temperature = 5;
  calibration.least_confidence = 0.9F;
  calibration.most_foreignness = 1e30F;
  const std::vector<double> means(3 * model::kInkFigures);
  std::vector<double> factor(model::kInkFigures * (model::kInkFigures + 1) / 2);
  for (std::size_t i = 0; i < model::kInkFigures; ++i) factor[i * (i + 1) / 2 + i] = 1;
  calibration.ink = {model::kInkFigures, means, factor};
  calibration.conformal = {{100, 0.65F}};
  return std::make_shared<const model::Model>(*model::Model::create({.network = constant->network(),
                                                                     .preparation = constant->preparation(),
                                                                     .class_names = constant->class_names(),
                                                                     .recipe = constant->recipe(),
                                                                     .metrics = {},
                                                                     .calibration = calibration}));
}

TEST(CalibratedLane, AnUnsureAnswerNamesItsAlternativeAndTheSet) {
  Service service;
  service.add("unsure", unsure_model());
  const auto classifier = Classifier::create(service.catalog, service.store);
  ASSERT_TRUE(classifier);
  Queue queue;
  std::optional<Result<Answer>> answer;
  Lane lane(**classifier, queue.schedule());
  lane.classify({.upload = bar_picture(), .file_name = "", .model = "unsure", .coverage = 0.9},
                [&](Result<Answer> given) { answer = std::move(given); });
  while (!answer) queue.run_one();
  ASSERT_TRUE(*answer) << answer->error().message;
  const store::Record& record = (*answer)->record;
  EXPECT_EQ(record.verdict, Verdict::unsure);
  EXPECT_EQ(record.reason, Reason::ambiguous);
  EXPECT_EQ(record.class_name, "c");
  EXPECT_EQ(record.alternative, "a");
  EXPECT_EQ((*answer)->set, (std::vector<std::string>{"c"}));
  EXPECT_EQ(*service.store.find(record.id), record);
}

TEST_F(LaneTest, AStoreThatFailsMakesTheAnswerUnavailable) {
  service_.store.break_disk();
  expect_error({.upload = bar_picture(), .file_name = "", .model = ""}, ErrorCode::unavailable,
               "disk is full");
}

TEST_F(LaneTest, AnUploadTooLargeToKeepHasNoMediaType) {
  std::string large = bar_picture();
  large.append(4096, '\0');  // behind the pixels, where no decoder looks
  const Result<Answer> answer = answer_to({.upload = large, .file_name = "", .model = ""});
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->upload_media_type, "");
  EXPECT_EQ(answer->record.upload_bytes, large.size());
  EXPECT_FALSE(service_.store.find_upload(answer->record.id));
}

TEST_F(LaneTest, WhatArrivesInOneTurnIsPredictedInOneTask) {
  for (int i = 0; i < 300; ++i) {
    classify({.upload = bar_picture(), .file_name = format("{}", i), .model = i % 3 == 0 ? "garments" : ""});
  }
  for (const auto& answer : answers_) EXPECT_FALSE(answer);
  EXPECT_EQ(queue_.size(), 1u);
  for (const auto& answer : answers_) {
    while (!answer) queue_.run_one();
    ASSERT_TRUE(*answer);
  }
  for (std::size_t i = 0; i < answers_.size(); ++i) {
    EXPECT_EQ((*answers_[i])->record.file_name, format("{}", i));
    EXPECT_EQ((*answers_[i])->record.model, i % 3 == 0 ? "garments" : "digits");
  }
}

TEST(Lane, PicturesOfOneRequestAreStillPredictedTogether) {
  Service service({}, {.decode_limits = {}, .longest_gathering = std::chrono::hours(1)});
  Queue queue;
  Lane lane(*service.classifier, queue.schedule());
  std::vector<Request> requests;
  for (int i = 0; i < 20; ++i) requests.push_back({.upload = bar_picture(), .file_name = "", .model = ""});
  std::optional<std::size_t> answers;
  lane.classify_together(std::move(requests), [&](const Result<std::vector<Answer>>& given) {
    ASSERT_TRUE(given);
    answers = given->size();
  });
  while (!answers) queue.run_one();
  EXPECT_EQ(answers, 20u);
  EXPECT_EQ(service.classifier->figures().totals().front().batches.count(), 1u);
}

TEST(Lane, EachRequestHasItsOwnOutcomeWhereAClusterMustHaveTheRecords) {
  for (const auto& [holder, calls] : {std::pair{store::Holder::disk, 1u}, {store::Holder::quorum, 2u}}) {
    Service service({}, {.decode_limits = {}, .longest_gathering = std::chrono::hours(1)});
    service.store.hold_disk();
    service.store.set_holder(holder);
    Queue queue;
    Lane lane(*service.classifier, queue.schedule());
    int answered = 0;
    for (int i = 0; i < 2; ++i) {
      lane.classify({.upload = bar_picture(), .file_name = "", .model = ""},
                    [&](const Result<Answer>& answer) { answered += answer ? 1 : 0; });
    }
    queue.run_one();  // the batch
    EXPECT_EQ(service.store.held(), calls);
    service.store.let_go();
    while (answered < 2) queue.run_one();
  }
}

TEST(Lane, WhoCameFirstDoesNotWaitForTheTurnToEnd) {
  Service service({}, {.decode_limits = {}, .longest_gathering = {}});
  Queue queue;
  Lane lane(*service.classifier, queue.schedule());
  std::vector<Uuid> answered;
  for (int i = 0; i < 3; ++i) {
    lane.classify({.upload = bar_picture(), .file_name = "", .model = ""}, [&](const Result<Answer>& answer) {
      ASSERT_TRUE(answer);
      answered.push_back(answer->record.id);
    });
  }
  // Commits are in order, so this comes behind the lane's.
  EXPECT_TRUE(service.store.append(store::Record(), store::Upload()));
  EXPECT_EQ(service.store.list({})->records.size(), 4u) << "before the loop has another turn";
  while (answered.size() < 3) queue.run_one();
  EXPECT_TRUE(std::ranges::is_sorted(answered));
}

TEST_F(LaneTest, IdsGrowAlthoughTheClockStands) {
  const Result<Answer> first = answer_to({.upload = bar_picture(), .file_name = "", .model = ""});
  const Result<Answer> second = answer_to({.upload = bar_picture(), .file_name = "", .model = ""});
  EXPECT_LT(first->record.id, second->record.id);
}

TEST(Lane, NobodyIsCalledAfterItsEnd) {
  Service service;
  Queue queue;
  bool called = false;
  {
    Lane lane(*service.classifier, queue.schedule());
    lane.classify({.upload = bar_picture(), .file_name = "", .model = ""},
                  [&](const Result<Answer>&) { called = true; });
  }
  queue.run_one();  // the batch
  EXPECT_TRUE(service.store.append(store::Record(),
                                   store::Upload()));  // commits are in order, so the lane's is done as well
  EXPECT_EQ(queue.size(), 0u);
  EXPECT_FALSE(called);
}

TEST_F(LaneTest, PixelsAreTheInputAndTheirDigestTheUploads) {
  const std::string pixels(784, '\x80');
  const Result<Answer> answer =
      answer_to({.upload = pixels, .file_name = "", .model = "", .content = Content::pixels});
  ASSERT_TRUE(answer);
  const store::Record& record = answer->record;
  EXPECT_EQ(record.input[783], 0x80);
  EXPECT_EQ(record.upload_digest, sha256(std::as_bytes(std::span(record.input))));
  EXPECT_EQ(record.upload_bytes, 784u);
  EXPECT_EQ(answer->upload_media_type, "");
  EXPECT_EQ(service_.store.find_upload(record.id).error().code, ErrorCode::not_found);
  EXPECT_EQ(answer->probabilities.size(), 10u);
  EXPECT_EQ(service_.store.verify({})->damages, 0);
}

TEST_F(LaneTest, ARepeatedIdIsTheSameRecordWhereAllElseIsTheSame) {
  const Request request{.upload = bar_picture(), .file_name = "", .model = "digits", .id = "1"};
  const Uuid first = answer_to(request)->record.id;
  EXPECT_EQ(answer_to(request)->record.id, first);
  Request other = request;
  other.upload = bar_picture(3, 6);
  EXPECT_NE(answer_to(other)->record.id, first);
  other = request;
  other.model = "garments";
  EXPECT_NE(answer_to(other)->record.id, first);
  other = request;
  other.id = "2";
  EXPECT_NE(answer_to(other)->record.id, first);
  other.id = "";
  EXPECT_NE(answer_to(other)->record.id, first);
  other = request;
  other.subject = "ann";
  const Uuid of_ann = answer_to(other)->record.id;
  EXPECT_NE(of_ann, first);
  EXPECT_EQ(answer_to(other)->record.id, of_ann);
  other.subject = "ben";
  EXPECT_NE(answer_to(other)->record.id, of_ann);
  EXPECT_EQ(service_.store.list({})->records.size(), 7u);
}

TEST_F(LaneTest, SeveralPicturesAreAnsweredInOrderOrNotAtAll) {
  const auto together = [&](std::vector<Request> requests) {
    std::optional<Result<std::vector<Answer>>> answers;
    lane_.classify_together(std::move(requests),
                            [&](Result<std::vector<Answer>> given) { answers = std::move(given); });
    while (!answers) queue_.run_one();
    return *std::move(answers);
  };
  const auto answers = together({{.upload = bar_picture(), .file_name = "a", .model = "digits"},
                                 {.upload = blank_picture(), .file_name = "b", .model = "garments"},
                                 {.upload = bar_picture(), .file_name = "c", .model = "digits"}});
  ASSERT_TRUE(answers);
  EXPECT_EQ((*answers)[0].record.file_name, "a");
  EXPECT_EQ((*answers)[1].record.reason, Reason::blank);
  EXPECT_EQ((*answers)[2].record.class_name, "7");
  EXPECT_EQ(service_.store.list({})->records.size(), 3u);
  const auto refused = together({{.upload = bar_picture(), .file_name = "", .model = ""},
                                 {.upload = "text", .file_name = "", .model = ""}});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message.substr(0, 11), "picture 1: ");
  service_.store.break_disk();
  const auto full = together({{.upload = bar_picture(), .file_name = "", .model = ""},
                              {.upload = bar_picture(), .file_name = "", .model = ""}});
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, ErrorCode::unavailable);
  EXPECT_EQ(service_.store.list({})->records.size(), 3u);
  const Statistics statistics = (*lane_.registry().find("digits"))->statistics();
  EXPECT_EQ(statistics.success.count, 1u);
  EXPECT_EQ(statistics.failure.count, 2u);
  EXPECT_EQ(statistics.inferences, 2u);
}

TEST(Classifier, TheLimitOfPixelsIsThatOfAllPicturesOfARequest) {
  const Service service({}, {.decode_limits = {.max_pixels = 2 * 28 * 28}});
  Queue queue;
  Lane lane(*service.classifier, queue.schedule());
  const auto together = [&](std::size_t count) {
    std::optional<Result<std::vector<Answer>>> answers;
    lane.classify_together(
        std::vector<Request>(count, {.upload = bar_picture(), .file_name = "", .model = "digits"}),
        [&](Result<std::vector<Answer>> given) { answers = std::move(given); });
    while (!answers) queue.run_one();
    return *std::move(answers);
  };
  EXPECT_TRUE(together(2));
  const auto refused = together(3);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::too_large);
  EXPECT_EQ(
      refused.error().message,
      "picture 2: image is 28x28, limit is 0 pixels, what is left of 1568 for all pictures of a request");
  EXPECT_TRUE(together(2));
}

TEST(Classifier, SaysThatNoModelIsServed) {
  Catalog catalog;
  const auto store = store::Store::open("sqlite::memory:");
  const auto classifier = Classifier::create(catalog, **store);
  ASSERT_TRUE(classifier);
  Queue queue;
  Lane lane(**classifier, queue.schedule());
  std::optional<Result<Answer>> answer;
  lane.classify({.upload = bar_picture(), .file_name = "", .model = ""},
                [&](Result<Answer> given) { answer = std::move(given); });
  ASSERT_TRUE(answer && !*answer);
  EXPECT_EQ(answer->error().code, ErrorCode::not_found);
  EXPECT_EQ(answer->error().message, "no model is served");
}

TEST(Classifier, IdsContinueAfterThoseOfTheStore) {
  Service service({}, {.decode_limits = {}, .clock = [] { return Timestamp(std::chrono::seconds(1)); }});
  store::Record newest;
  newest.id.bytes.fill(0x77);
  ASSERT_TRUE(service.store.append(newest, {}));
  const auto classifier = Classifier::create(service.catalog, service.store);
  ASSERT_TRUE(classifier);
  Queue queue;
  std::optional<Result<Answer>> answer;
  Lane lane(**classifier, queue.schedule());
  lane.classify({.upload = bar_picture(), .file_name = "", .model = ""},
                [&](Result<Answer> given) { answer = std::move(given); });
  while (!answer) queue.run_one();
  ASSERT_TRUE(*answer);
  EXPECT_GT((*answer)->record.id, newest.id);
}

}  // namespace
}  // namespace espy::service
