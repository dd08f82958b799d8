#include "http/tensorflow_serving.h"

#include <gtest/gtest.h>

#include <string>

#include "base/base64.h"
#include "base/format.h"

namespace espy::http {
namespace {

const std::string kPicture = "\x89PNG and so on";

std::string image(std::size_t columns = 28) {
  std::string row = "[0.5";
  for (std::size_t i = 1; i < columns; ++i) row += ",0";
  row += "]";
  std::string rows = "[" + row;
  for (int i = 1; i < 28; ++i) rows += "," + row;
  return rows + "]";
}

std::string base64() { return format(R"({{"b64":"{}"}})", to_base64(kPicture)); }

void expect_invalid(std::string_view body, std::string_view piece) {
  const Result<PredictRequest> request = parse_predict(body);
  ASSERT_FALSE(request) << body.substr(0, 200);
  EXPECT_EQ(request.error().code, ErrorCode::invalid_input);
  EXPECT_NE(request.error().message.find(piece), std::string::npos) << request.error().message;
}

TEST(TensorFlowServing, ReadsRowsAndColumns) {
  for (const std::string& body :
       {format(R"({{"instances":[{0},{0}]}})", image()),
        format(R"({{"instances":[{{"input":{0}}},{0}]}})", image()),
        format(R"({{"signature_name":"serving_default","inputs":[{0},{0}]}})", image()),
        format(R"({{"inputs":{{"input":[{0},{0}]}}}})", image())}) {
    const auto request = parse_predict(body);
    ASSERT_TRUE(request) << request.error().message;
    ASSERT_EQ(request->pictures.size(), 2u);
    EXPECT_EQ(request->pictures[1].bytes.substr(0, 3), std::string("\x80\0\0", 3));
    EXPECT_EQ(request->form, body.find("instances") != body.npos ? Form::rows : Form::columns);
  }
}

TEST(TensorFlowServing, ReadsPicturesInBase64) {
  for (const std::string& body :
       {format(R"({{"instances":[{}]}})", base64()), format(R"({{"instances":[{{"image":{}}}]}})", base64()),
        format(R"({{"inputs":{{"image":[{}]}}}})", base64()), format(R"({{"inputs":{}}})", base64())}) {
    const auto request = parse_predict(body);
    ASSERT_TRUE(request) << body << request.error().message;
    EXPECT_EQ(request->pictures[0].bytes, kPicture);
  }
  const auto examples = parse_classify(
      format(R"({{"signature_name":"","context":{{"locale":"de"}},"examples":[{{"image":{}}}]}})", base64()));
  ASSERT_TRUE(examples) << examples.error().message;
  EXPECT_EQ((*examples)[0].bytes, kPicture);
}

TEST(TensorFlowServing, SaysWhatIsWrong) {
  expect_invalid("{", "not JSON");
  expect_invalid("{}", "either \"instances\" or \"inputs\"");
  expect_invalid(R"({"instances":[],"inputs":[]})", "either \"instances\" or \"inputs\"");
  expect_invalid(R"({"instances":[]})", "not empty");
  expect_invalid(R"({"instances":[7]})", "picture 0 is neither an array nor");
  expect_invalid(R"({"instances":[[1,0]]})", "picture 0 has 2 numbers, must have 784");
  expect_invalid(format(R"({{"instances":[{}]}})", image(27)), "756 numbers");
  expect_invalid(R"({"instances":[[253]]})", "picture 0: element 0 of the input is 253, must be from 0 to 1");
  expect_invalid(R"({"instances":[{"pixels":[1]}]})", "must have \"input\"");
  expect_invalid(R"({"instances":[{"b64":"*"}]})", "not base64");
  expect_invalid(R"({"signature_name":"other","instances":[[0]]})", "signature_name");
  EXPECT_FALSE(parse_classify(R"({"examples":[{"x":1}]})"));
}

TEST(TensorFlowServing, WritesBareAndNamedOutputs) {
  service::Answer answer;
  answer.record.label = 1;
  answer.record.class_name = "b";
  answer.record.confidence = 0.75f;
  answer.record.verdict = Verdict::recognized;
  answer.probabilities = {0.25f, 0.75f};
  const service::Answer answers[] = {answer, answer};
  PredictRequest request;
  EXPECT_EQ(write_predictions(request, answers), R"({"predictions":[[0.25,0.75],[0.25,0.75]]})");
  request.form = Form::columns;
  EXPECT_EQ(write_predictions(request, answers), R"({"outputs":[[0.25,0.75],[0.25,0.75]]})");
  request.signature = Signature::details;
  const std::string id = to_string(answer.record.id);
  EXPECT_EQ(
      write_predictions(request, answers),
      format(R"({{"outputs":{{"probabilities":[[0.25,0.75],[0.25,0.75]],"label":[1,1],"class":["b","b"],)"
             R"("confidence":[0.75,0.75],"verdict":["recognized","recognized"],"reason":["",""],)"
             R"("record":["{0}","{0}"]}}}})",
             id));
  request.form = Form::rows;
  EXPECT_EQ(
      write_predictions(request, {answers, 1}),
      format(R"({{"predictions":[{{"probabilities":[0.25,0.75],"label":1,"class":"b","confidence":0.75,)"
             R"("verdict":"recognized","reason":"","record":"{}"}}]}})",
             id));
  EXPECT_EQ(write_classes({answers, 1}, {"a", "b"}), R"({"results":[[["a",0.25],["b",0.75]]]})");
}

TEST(TensorFlowServing, WritesTheStateOfVersions) {
  const service::ModelEntry entry{
      .name = "letters",
      .versions = {{.number = 123, .served = nullptr, .reason = "it was unloaded"}},
      .chosen = nullptr,
      .labels = {}};
  EXPECT_EQ(write_status(entry.name, entry.versions),
            R"({"model_version_status":[{"version":"123","state":"END","status":{"error_code":"UNKNOWN",)"
            R"("error_message":"it was unloaded"}}],"name":"letters","ready":false})");
}

}  // namespace
}  // namespace espy::http
