// Requests of the Open Inference Protocol over gRPC: grpc::parse_infer, and what else has a message to read.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "grpc/messages.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view message(reinterpret_cast<const char*>(data), size);
  static_cast<void>(espy::grpc::parse_model_query(message));
  static_cast<void>(espy::grpc::parse_repository_index(message));
  static_cast<void>(espy::grpc::parse_repository_change(message));
  static_cast<void>(espy::grpc::parse_health(message));
  const auto request = espy::grpc::parse_infer(message);
  if (!request) {
    if (request.error().message.empty()) std::abort();
    return 0;
  }
  const espy::service::Inference& inference = request->inference;
  if (inference.pictures.empty() || inference.pictures.size() > espy::service::kMostTogether) std::abort();
  if (inference.id.size() > espy::service::kMaxIdBytes) std::abort();
  for (const espy::service::Picture& picture : inference.pictures) {
    if (picture.content == espy::service::Content::pixels && picture.bytes.size() != espy::service::kPixels)
      std::abort();
  }
  for (const espy::service::WantedOutput& output : inference.outputs) {
    if (output.kind == nullptr) std::abort();
  }
  return 0;
}
