#include "http/open_inference.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "base/base64.h"
#include "base/format.h"

namespace espy::http {
namespace {

std::string numbers(std::size_t count, std::string_view number) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i) text += (i == 0 ? "" : ",") + std::string(number);
  return text;
}

std::string infer(std::string_view datatype, std::string_view shape, std::string_view rest) {
  return format(R"({{"inputs":[{{"name":"input","datatype":"{}","shape":{},{}}}]}})", datatype, shape, rest);
}

void expect_invalid(std::string_view body, std::string_view piece,
                    std::optional<std::size_t> json_bytes = std::nullopt) {
  const Result<InferRequest> request = parse_infer(body, json_bytes);
  ASSERT_FALSE(request) << body.substr(0, 200);
  EXPECT_EQ(request.error().code, ErrorCode::invalid_input);
  EXPECT_NE(request.error().message.find(piece), std::string::npos) << request.error().message;
}

TEST(OpenInference, ReadsNumbersFlatAndNested) {
  const std::string row = "[" + numbers(28, "255") + "]";
  std::string nested = "[" + row;
  for (int i = 1; i < 28; ++i) nested += "," + row;
  nested += "]";
  const auto flat = parse_infer(infer("UINT8", "[1,784]", "\"data\":[" + numbers(784, "255") + "]"), {});
  ASSERT_TRUE(flat) << flat.error().message;
  const auto deep =
      parse_infer(infer("UINT8", "[2,1,28,28]", "\"data\":[[" + nested + "],[" + nested + "]]"), {});
  ASSERT_TRUE(deep) << deep.error().message;
  ASSERT_EQ(deep->inference.pictures.size(), 2u);
  EXPECT_EQ(deep->inference.pictures[1].bytes, std::string(784, '\xff'));
  EXPECT_EQ(flat->inference.pictures[0].bytes, deep->inference.pictures[0].bytes);
  EXPECT_EQ(flat->inference.pictures[0].content, service::Content::pixels);
}

TEST(OpenInference, RoundsNumbersToPixels) {
  const auto request = parse_infer(infer("FP32", "[784]", "\"data\":[" + numbers(783, "0.5") + ",1]"), {});
  ASSERT_TRUE(request);
  EXPECT_EQ(request->inference.pictures[0].bytes.front(), '\x80');
  EXPECT_EQ(request->inference.pictures[0].bytes.back(), '\xff');
  expect_invalid(infer("FP32", "[784]", "\"data\":[" + numbers(784, "255") + "]"),
                 "element 0 of the input is 255, must be from 0 to 1");
  expect_invalid(infer("UINT8", "[784]", "\"data\":[" + numbers(784, "256") + "]"), "from 0 to 255");
  expect_invalid(infer("UINT8", "[784]", "\"data\":[" + numbers(784, "\"7\"") + "]"), "is not a number");
}

TEST(OpenInference, ReadsWhatTritonsClientSends) {
  // Its bytes, with a picture in the place of its four numbers.
  std::string body =
      R"({"id":"42","inputs":[{"name":"image","shape":[1,784],"datatype":"FP32","parameters":{"binary_data_size":3136}}],"parameters":{"binary_data_output":true}})";
  const std::size_t json_bytes = body.size();
  const float ink = 1;
  for (int i = 0; i < 784; ++i) body.append(reinterpret_cast<const char*>(&ink), 4);
  const auto binary = parse_infer(body, json_bytes);
  ASSERT_TRUE(binary) << binary.error().message;
  EXPECT_EQ(binary->inference.id, "42");
  EXPECT_EQ(binary->encoding, Encoding::binary);
  EXPECT_EQ(binary->inference.pictures[0].bytes, std::string(784, '\xff'));
  expect_invalid(body.substr(0, body.size() - 1), "3136 binary bytes, 3135 follow", json_bytes);
  expect_invalid(body, "cannot be JSON", body.size() + 1);

  const auto classes = parse_infer(
      R"({"inputs":[{"name":"image","shape":[1,784],"datatype":"UINT8","data":[)" + numbers(784, "0") +
          R"(]}],"outputs":[{"name":"probabilities","parameters":{"classification":3,"binary_data":true}}],"parameters":{"priority":1,"timeout":500000,"file_name":"a.png"}})",
      {});
  ASSERT_TRUE(classes) << classes.error().message;
  EXPECT_EQ(classes->inference.file_name, "a.png");
  EXPECT_EQ(classes->inference.outputs[0].classification, 3u);
  EXPECT_EQ(classes->encodings[0], Encoding::binary);
}

TEST(OpenInference, ReadsEncodedPictures) {
  const std::string picture = "\x89PNG and so on";
  const auto text = parse_infer(
      infer("BYTES", "[2]", format("\"data\":[\"{0}\",\"data:image/png;base64,{0}\"]", to_base64(picture))),
      {});
  ASSERT_TRUE(text) << text.error().message;
  EXPECT_EQ(text->inference.pictures[1].bytes, picture);
  EXPECT_EQ(text->inference.pictures[1].content, service::Content::picture);

  std::string body = infer("BYTES", "[1]", R"("parameters":{"binary_data_size":18})");
  const std::size_t json_bytes = body.size();
  body += std::string("\x0e\0\0\0", 4) + picture;
  const auto binary = parse_infer(body, json_bytes);
  ASSERT_TRUE(binary) << binary.error().message;
  EXPECT_EQ(binary->inference.pictures[0].bytes, picture);
  body[json_bytes] = 0x0f;
  expect_invalid(body, "element 0 of the input has 15 bytes, 14 are there", json_bytes);
  body[json_bytes] = 0x0d;
  expect_invalid(body, "1 bytes follow", json_bytes);
}

TEST(OpenInference, ReadsARawBody) {
  for (const std::size_t bytes : {784u, 3136u}) {
    const auto request = parse_infer(std::string(bytes, '\0'), 0);
    ASSERT_TRUE(request);
    EXPECT_EQ(request->inference.pictures[0].bytes, std::string(784, '\0'));
    EXPECT_EQ(request->encoding, Encoding::binary);
  }
  EXPECT_EQ(parse_infer("GIF89a", 0)->inference.pictures[0].content, service::Content::picture);
}

TEST(OpenInference, SaysWhatIsWrong) {
  expect_invalid("", "not JSON");
  expect_invalid("[]", "must be a JSON object");
  expect_invalid("{}", "0 inputs, must have 1");
  expect_invalid(R"({"inputs":[{},{}]})", "2 inputs, must have 1");
  expect_invalid(R"({"inputs":[{"name":"x"}]})", "named \"x\", must be \"input\"");
  expect_invalid(infer("FP64", "[784]", "\"data\":[]"), "datatype is FP64, must be FP32, UINT8 or BYTES");
  expect_invalid(infer("UINT8", "[4]", "\"data\":[1,2,3,4]"), "shape is [4], must be [N, 1, 28, 28]");
  expect_invalid(infer("UINT8", "[1,784]", "\"data\":[1]"), "has 1 elements, must have 784");
  expect_invalid(infer("UINT8", "[0,784]", "\"data\":[]"), "has 0 pictures");
  expect_invalid(infer("UINT8", "[999999999999,784]", "\"data\":[]"), "must have 1 to 256");
  expect_invalid(infer("UINT8", "[-1,784]", "\"data\":[]"), "whole numbers");
  expect_invalid(infer("UINT8", "[1,784]", "\"name\":\"input\""), "has no data");
  expect_invalid(R"({"id":7})", "id must be a text");
  expect_invalid(R"({"id":")" + std::string(256, 'x') + R"("})", "id has 256 bytes, limit is 255");
  expect_invalid(R"({"outputs":[{"name":"logits"}]})", "no output logits; there are probabilities, label");
  expect_invalid(R"({"outputs":[{"name":"label","parameters":{"classification":3}}]})", "no classes");
}

service::Answer make_answer() {
  service::Answer answer;
  answer.record.label = 1;
  answer.record.class_name = "b";
  answer.record.confidence = 0.75f;
  answer.probabilities = {0.25f, 0.75f};
  return answer;
}

TEST(OpenInference, WritesNumbersAndBytes) {
  InferRequest request;
  request.inference.id = "x";
  for (const char* const name : {"probabilities", "class", "label"}) {
    ASSERT_TRUE(request.inference.want(name, 0));
  }
  ASSERT_TRUE(request.inference.want("probabilities", 5));
  request.encodings = {{}, Encoding::binary, {}, {}};
  const service::Answer answers[] = {make_answer()};
  const auto outputs = request.inference.make_outputs(answers, {"a", "b"});
  const InferResponse response = write_infer_response(request, "letters", 3, outputs);
  const std::string json =
      R"({"model_name":"letters","model_version":"3","id":"x","outputs":[)"
      R"({"name":"probabilities","datatype":"FP32","shape":[1,2],"data":[0.25,0.75]},)"
      R"({"name":"class","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":5}},)"
      R"({"name":"label","datatype":"INT64","shape":[1],"data":[1]},)"
      R"({"name":"probabilities","datatype":"BYTES","shape":[1,2],"data":["0.750000:1:b","0.250000:0:a"]}]})";
  EXPECT_EQ(response.json_bytes, json.size());
  EXPECT_EQ(response.body, json + std::string("\1\0\0\0b", 5));
}

TEST(OpenInference, TakesNoModelFromARequest) {
  EXPECT_TRUE(parse_repository_request(""));
  EXPECT_TRUE(parse_repository_request(R"({"ready":true})")->ready);
  EXPECT_TRUE(parse_repository_request(R"({"parameters":{"unload_dependents":false}})"));
  const auto given = parse_repository_request(R"({"parameters":{"config":"{}","file:1/model.onnx":"AAAA"}})");
  ASSERT_FALSE(given);
  EXPECT_NE(given.error().message.find("the server's own files"), std::string::npos);
}

}  // namespace
}  // namespace espy::http
