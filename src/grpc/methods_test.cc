#include "grpc/methods.h"

#include <gtest/gtest.h>
#include <health.pb.h>
#include <open_inference.pb.h>

#include <algorithm>
#include <optional>

#include "service/testing.h"

namespace espy::grpc {
namespace {

using service::testing::bar_picture;
using service::testing::Service;

// A lane whose loop runs as long as something is waited for.
class MethodsTest : public ::testing::Test {
 protected:
  Outcome call(std::string_view name, const std::string& message = "", std::string_view why_not_ready = "") {
    const auto method = std::ranges::find_if(
        methods(), [&](const Method& each) { return each.path.substr(each.path.rfind('/') + 1) == name; });
    EXPECT_NE(method, methods().end()) << name;
    std::optional<Outcome> outcome;
    method->handle({.lane = lane_, .why_not_ready = why_not_ready, .id = id_, .subject = "ann"}, message,
                   [&](Outcome answer) {
                     EXPECT_FALSE(outcome.has_value());
                     outcome = std::move(answer);
                   });
    while (!outcome) queue_.run_one();
    return *outcome;
  }

  template <typename Response, typename Request>
  Response answer(std::string_view name, const Request& request, std::string_view why_not_ready = "") {
    const Outcome outcome = call(name, request.SerializeAsString(), why_not_ready);
    EXPECT_EQ(outcome.code, Code::ok) << outcome.message;
    Response response;
    EXPECT_TRUE(response.ParseFromString(outcome.body));
    return response;
  }

  static ::inference::ModelInferRequest picture_of(const std::string& model) {
    ::inference::ModelInferRequest request;
    request.set_model_name(model);
    auto* const input = request.add_inputs();
    input->set_name("input");
    input->set_datatype("BYTES");
    input->add_shape(1);
    input->mutable_contents()->add_bytes_contents(bar_picture());
    return request;
  }

  Service service_;
  std::string id_;
  service::testing::Queue queue_;
  service::Lane lane_{*service_.classifier, queue_.schedule()};
};

TEST_F(MethodsTest, SaysWhatThereIs) {
  EXPECT_TRUE(answer<::inference::ServerLiveResponse>("ServerLive", ::inference::ServerLiveRequest()).live());
  const ::inference::ServerReadyRequest ready;
  EXPECT_TRUE(answer<::inference::ServerReadyResponse>("ServerReady", ready).ready());
  EXPECT_FALSE(
      answer<::inference::ServerReadyResponse>("ServerReady", ready, "the server is stopping").ready());
  const auto server =
      answer<::inference::ServerMetadataResponse>("ServerMetadata", ::inference::ServerMetadataRequest());
  EXPECT_EQ(server.name(), "espy");
  EXPECT_EQ(server.extensions_size(), 3);

  ::inference::ModelMetadataRequest query;
  query.set_name("garments");
  const auto model = answer<::inference::ModelMetadataResponse>("ModelMetadata", query);
  EXPECT_EQ(model.versions(0), "1");
  EXPECT_EQ(model.inputs(0).name(), "input");
  EXPECT_EQ(model.outputs(0).shape(1), 2);
  ::inference::ModelReadyRequest version;
  version.set_name("garments");
  EXPECT_TRUE(answer<::inference::ModelReadyResponse>("ModelReady", version).ready());
  version.set_version("2");
  EXPECT_FALSE(answer<::inference::ModelReadyResponse>("ModelReady", version).ready());
  query.set_name("letters");
  const Outcome none = call("ModelMetadata", query.SerializeAsString());
  EXPECT_EQ(none.code, Code::not_found);
  EXPECT_NE(none.message.find("there is no model letters"), std::string::npos);
}

TEST_F(MethodsTest, AnInferenceIsARecord) {
  auto request = picture_of("garments");
  request.set_id("9");
  request.add_outputs()->set_name("record");
  request.add_outputs()->set_name("label");
  const Outcome outcome = call("ModelInfer", request.SerializeAsString());
  ASSERT_EQ(outcome.code, Code::ok) << outcome.message;
  ::inference::ModelInferResponse response;
  ASSERT_TRUE(response.ParseFromString(outcome.body));
  EXPECT_EQ(response.id(), "9");
  EXPECT_EQ(response.raw_output_contents(1), std::string("\1\0\0\0\0\0\0\0", 8));
  ASSERT_EQ(outcome.records.size(), 1u);
  EXPECT_EQ(outcome.model, "garments");
  EXPECT_EQ(response.raw_output_contents(0).substr(4), to_string(outcome.records[0]));
  EXPECT_EQ(service_.store.find(outcome.records[0])->subject, "ann");
  EXPECT_EQ(call("ModelInfer", request.SerializeAsString()).records, outcome.records);

  // The same in a stream, where what goes wrong does not end it.
  const auto streamed = answer<::inference::ModelStreamInferResponse>("ModelStreamInfer", request);
  EXPECT_EQ(streamed.infer_response().raw_output_contents(0), response.raw_output_contents(0));
  request.set_model_name("letters");
  const Outcome failed = call("ModelStreamInfer", request.SerializeAsString());
  EXPECT_EQ(failed.code, Code::not_found);
  ::inference::ModelStreamInferResponse stream;
  ASSERT_TRUE(stream.ParseFromString(failed.body));
  EXPECT_NE(stream.error_message().find("there is no model letters"), std::string::npos);

  const auto statistics =
      answer<::inference::ModelStatisticsResponse>("ModelStatistics", ::inference::ModelStatisticsRequest());
  ASSERT_EQ(statistics.model_stats_size(), 2);
  EXPECT_EQ(statistics.model_stats(1).name(), "garments");
  EXPECT_EQ(statistics.model_stats(1).inference_count(), 3u);
}

TEST_F(MethodsTest, AnIdOfTheMetadataIsKnownAgainAndNotRepeated) {
  id_ = "of the head";
  const auto request = picture_of("digits");
  const Outcome first = call("ModelInfer", request.SerializeAsString());
  EXPECT_EQ(call("ModelInfer", request.SerializeAsString()).records, first.records);
  ::inference::ModelInferResponse response;
  ASSERT_TRUE(response.ParseFromString(first.body));
  EXPECT_EQ(response.id(), "");
}

TEST_F(MethodsTest, SaysWhyThereIsNoAnswer) {
  EXPECT_EQ(call("ModelInfer", "\x0a\x05").code, Code::invalid_argument);
  EXPECT_EQ(call("ModelInfer", picture_of("letters").SerializeAsString()).code, Code::not_found);
  auto request = picture_of("digits");
  *request.mutable_inputs(0)->mutable_contents()->mutable_bytes_contents(0) = "no picture";
  EXPECT_EQ(call("ModelInfer", request.SerializeAsString()).code, Code::invalid_argument);
  service_.store.break_disk();
  const Outcome outcome = call("ModelInfer", picture_of("digits").SerializeAsString());
  EXPECT_EQ(outcome.code, Code::unavailable);
  EXPECT_NE(outcome.message.find("disk is full"), std::string::npos);
  EXPECT_EQ(failure({ErrorCode::corrupt, "secret"}).message, "internal error");
}

TEST_F(MethodsTest, ChangesTheRepository) {
  ::inference::RepositoryModelUnloadRequest request;
  request.set_model_name("garments");
  answer<::inference::RepositoryModelUnloadResponse>("RepositoryModelUnload", request);
  ::inference::RepositoryIndexRequest index;
  auto models = answer<::inference::RepositoryIndexResponse>("RepositoryIndex", index);
  ASSERT_EQ(models.models_size(), 2);
  EXPECT_EQ(models.models(1).state(), "UNAVAILABLE");
  EXPECT_EQ(models.models(1).reason(), "it was unloaded");
  index.set_ready(true);
  EXPECT_EQ(answer<::inference::RepositoryIndexResponse>("RepositoryIndex", index).models_size(), 1);
  answer<::inference::RepositoryModelLoadResponse>("RepositoryModelLoad", request);
  EXPECT_EQ(answer<::inference::RepositoryIndexResponse>("RepositoryIndex", index).models_size(), 2);
  request.set_model_name("letters");
  EXPECT_EQ(call("RepositoryModelLoad", request.SerializeAsString()).code, Code::not_found);
}

TEST_F(MethodsTest, HealthIsThatOfTheServer) {
  using Response = ::grpc::health::v1::HealthCheckResponse;
  ::grpc::health::v1::HealthCheckRequest request;
  for (const char* const service : {"", "inference.GRPCInferenceService", "grpc.health.v1.Health"}) {
    request.set_service(service);
    EXPECT_EQ(answer<Response>("Check", request).status(), Response::SERVING);
    EXPECT_EQ(answer<Response>("Check", request, "no model is served").status(), Response::NOT_SERVING);
  }
  request.set_service("inference.Other");
  EXPECT_EQ(call("Check", request.SerializeAsString()).code, Code::not_found);
  EXPECT_EQ(health_of("inference.Other", ""), Health::service_unknown);
}

TEST(Codes, GoToHttpAndBack) {
  for (const int status : {400, 401, 403, 404, 429, 500, 503}) {
    EXPECT_EQ(http_status(code_of_status(status)), status);
  }
}

}  // namespace
}  // namespace espy::grpc
