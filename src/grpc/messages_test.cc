#include "grpc/messages.h"

#include <gtest/gtest.h>
#include <health.pb.h>
#include <open_inference.pb.h>

#include <optional>

#include "service/testing.h"

namespace espy::grpc {
namespace {

::inference::ModelInferRequest request_of(const std::string& datatype,
                                          const std::vector<std::int64_t>& shape) {
  ::inference::ModelInferRequest request;
  request.set_model_name("letters");
  request.set_id("42");
  auto* const input = request.add_inputs();
  input->set_name("input");
  input->set_datatype(datatype);
  for (const std::int64_t size : shape) input->add_shape(size);
  return request;
}

Result<InferRequest> read(const ::inference::ModelInferRequest& request) {
  return parse_infer(request.SerializeAsString());
}

void expect_invalid(const ::inference::ModelInferRequest& request, std::string_view piece) {
  const Result<InferRequest> read = parse_infer(request.SerializeAsString());
  ASSERT_FALSE(read) << piece;
  EXPECT_EQ(read.error().code, ErrorCode::invalid_input);
  EXPECT_NE(read.error().message.find(piece), std::string::npos) << read.error().message;
}

TEST(ParseInfer, ReadsRawContents) {
  auto request = request_of("FP32", {2, 1, 28, 28});
  std::string bytes;
  const float ink = 1;
  for (int i = 0; i < 2 * 784; ++i) bytes.append(reinterpret_cast<const char*>(&ink), sizeof ink);
  request.add_raw_input_contents(bytes);
  request.set_model_version("3");
  (*request.mutable_parameters())["file_name"].set_string_param("folder/seven.png");
  (*request.mutable_parameters())["subject"].set_string_param("ann");
  (*request.mutable_parameters())["priority"].set_uint64_param(1);
  auto* const output = request.add_outputs();
  output->set_name("probabilities");
  (*output->mutable_parameters())["classification"].set_int64_param(3);
  request.add_outputs()->set_name("label");

  const Result<InferRequest> read = grpc::read(request);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->model_name, "letters");
  EXPECT_EQ(read->model_version, "3");
  EXPECT_EQ(read->inference.id, "42");
  EXPECT_EQ(read->inference.file_name, "seven.png");
  EXPECT_EQ(read->inference.subject, "ann");
  ASSERT_EQ(read->inference.pictures.size(), 2u);
  EXPECT_EQ(read->inference.pictures[1].bytes, std::string(784, '\xff'));
  ASSERT_EQ(read->inference.outputs.size(), 2u);
  EXPECT_EQ(read->inference.outputs[0].classification, 3u);
  EXPECT_EQ(read->inference.outputs[1].kind->name, "label");

  request.set_raw_input_contents(0, bytes.substr(4));
  expect_invalid(request, "has 6268 bytes, must have 6272");
}

TEST(ParseInfer, ReadsTypedContents) {
  auto floats = request_of("FP32", {784});
  for (int i = 0; i < 784; ++i) floats.mutable_inputs(0)->mutable_contents()->add_fp32_contents(0.5f);
  const Result<InferRequest> half = read(floats);
  ASSERT_TRUE(half) << half.error().message;
  EXPECT_EQ(half->inference.pictures[0].bytes, std::string(784, '\x80'));
  floats.mutable_inputs(0)->mutable_contents()->set_fp32_contents(3, 255);
  expect_invalid(floats, "element 3 of the input is 255, must be from 0 to 1");
  floats.mutable_inputs(0)->mutable_contents()->mutable_fp32_contents()->RemoveLast();
  expect_invalid(floats, "has 783 elements, must have 784");

  auto bytes = request_of("UINT8", {1, 28, 28});
  for (int i = 0; i < 784; ++i) bytes.mutable_inputs(0)->mutable_contents()->add_uint_contents(255);
  EXPECT_EQ(read(bytes)->inference.pictures[0].bytes, std::string(784, '\xff'));
  bytes.mutable_inputs(0)->mutable_contents()->set_uint_contents(1, 256);
  expect_invalid(bytes, "element 1 of the input is 256, must be from 0 to 255");

  auto pictures = request_of("BYTES", {2});
  for (const char* const picture : {"GIF89a", "BM"}) {
    pictures.mutable_inputs(0)->mutable_contents()->add_bytes_contents(picture);
  }
  const Result<InferRequest> encoded = read(pictures);
  ASSERT_TRUE(encoded) << encoded.error().message;
  EXPECT_EQ(encoded->inference.pictures[0].bytes, "GIF89a");
  EXPECT_EQ(encoded->inference.pictures[1].content, service::Content::picture);
  pictures.mutable_inputs(0)->set_shape(0, 3);
  expect_invalid(pictures, "has 2 elements, must have 3");
  // Elements in another datatype's field are none of this one.
  pictures.mutable_inputs(0)->set_datatype("FP32");
  pictures.mutable_inputs(0)->set_shape(0, 784);
  expect_invalid(pictures, "has 0 elements, must have 784");
}

TEST(ParseInfer, SaysWhatIsWrong) {
  EXPECT_FALSE(parse_infer("\x0a\x05"));
  EXPECT_FALSE(parse_infer("no message at all"));
  expect_invalid({}, "0 inputs, must have 1");
  auto request = request_of("FP32", {784});
  expect_invalid(request, "has no data");
  request.add_raw_input_contents("");
  expect_invalid(request, "has 0 bytes, must have 3136");
  request.add_raw_input_contents("");
  expect_invalid(request, "2 raw_input_contents and 1 input");
  request.mutable_raw_input_contents()->RemoveLast();
  request.mutable_inputs(0)->mutable_contents()->add_fp32_contents(1);
  expect_invalid(request, "both contents and raw_input_contents");
  request.mutable_inputs(0)->set_name("x");
  expect_invalid(request, "named \"x\", must be \"input\"");
  request = request_of("FP64", {784});
  expect_invalid(request, "datatype is FP64");
  request = request_of("UINT8", {-1, 784});
  request.add_raw_input_contents("");
  expect_invalid(request, "has -1 pictures, must have 1 to 256");
  request.add_outputs()->set_name("logits");
  expect_invalid(request, "no output logits");
  request.set_id(std::string(256, 'x'));
  expect_invalid(request, "id has 256 bytes, limit is 255");
  (*request.mutable_parameters())["file_name"].set_bool_param(true);
  request.set_id("");
  expect_invalid(request, "file_name must be a text");
}

TEST(WriteInfer, HasEachOutputWithItsBytes) {
  const service::ServedModel model("letters", 3, service::testing::constant_model(1, {"a", "b"}));
  service::Answer answer;
  answer.record.label = 1;
  answer.record.class_name = "b";
  answer.probabilities = {0.25f, 0.75f};
  service::Inference inference{.id = "x", .pictures = {}};
  for (const auto& [name, classification] : {std::pair{"label", 0}, {"class", 0}, {"probabilities", 1}}) {
    ASSERT_TRUE(inference.want(name, classification));
  }
  const auto outputs = inference.make_outputs({&answer, 1}, {"a", "b"});
  const std::string bytes = write_infer(inference, model, outputs);
  ::inference::ModelInferResponse response;
  ASSERT_TRUE(response.ParseFromString(bytes));
  EXPECT_EQ(response.model_name(), "letters");
  EXPECT_EQ(response.model_version(), "3");
  EXPECT_EQ(response.id(), "x");
  ASSERT_EQ(response.outputs_size(), 3);
  EXPECT_EQ(response.outputs(0).datatype(), "INT64");
  EXPECT_EQ(response.raw_output_contents(0), std::string("\1\0\0\0\0\0\0\0", 8));
  EXPECT_EQ(response.raw_output_contents(1), std::string("\1\0\0\0b", 5));
  EXPECT_EQ(response.outputs(2).datatype(), "BYTES");
  EXPECT_EQ(response.raw_output_contents(2), std::string("\x0c\0\0\0"
                                                         "0.750000:1:b",
                                                         16));

  ::inference::ModelStreamInferResponse stream;
  for (const std::size_t padding : {0u, 200u, 20'000u}) {
    response.set_id(std::string(padding, 'x'));
    ASSERT_TRUE(stream.ParseFromString(write_stream_infer(response.SerializeAsString())));
    EXPECT_EQ(stream.infer_response().SerializeAsString(), response.SerializeAsString());
  }
  ASSERT_TRUE(stream.ParseFromString(write_stream_error("no \xff", "")));
  EXPECT_EQ(stream.error_message(), "no \xef\xbf\xbd");
  EXPECT_FALSE(stream.has_infer_response());
}

TEST(Messages, AModelsQueriesAreAlike) {
  ::inference::ModelStatisticsRequest statistics;
  statistics.set_name("letters");
  statistics.set_version("7");
  EXPECT_EQ(parse_model_query(statistics.SerializeAsString())->version, "7");
  ::inference::ModelMetadataRequest metadata;
  metadata.set_name("letters");
  EXPECT_EQ(parse_model_query(metadata.SerializeAsString())->name, "letters");
  ::inference::RepositoryModelUnloadRequest unload;
  unload.set_model_name("letters");
  (*unload.mutable_parameters())["unload_dependents"].set_bool_param(false);
  EXPECT_EQ(*parse_repository_change(unload.SerializeAsString()), "letters");
  (*unload.mutable_parameters())["file:1/model.onnx"].set_bytes_param("...");
  EXPECT_NE(parse_repository_change(unload.SerializeAsString()).error().message.find("server's own files"),
            std::string::npos);
}

TEST(Messages, HealthHasItsNumbers) {
  using Response = ::grpc::health::v1::HealthCheckResponse;
  for (const auto& [health, status] : {std::pair{Health::serving, Response::SERVING},
                                       {Health::not_serving, Response::NOT_SERVING},
                                       {Health::service_unknown, Response::SERVICE_UNKNOWN}}) {
    Response response;
    ASSERT_TRUE(response.ParseFromString(write_health(health)));
    EXPECT_EQ(response.status(), status);
  }
  ::grpc::health::v1::HealthCheckRequest request;
  request.set_service("inference.GRPCInferenceService");
  EXPECT_EQ(*parse_health(request.SerializeAsString()), "inference.GRPCInferenceService");
}

}  // namespace
}  // namespace espy::grpc
