// Requests of TensorFlow Serving's REST API: http::parse_predict and http::parse_classify.
#include "http/tensorflow_serving.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

namespace {

void check(const std::vector<espy::service::Picture>& pictures) {
  if (pictures.empty() || pictures.size() > espy::service::kMostTogether) std::abort();
  for (const espy::service::Picture& picture : pictures) {
    if (picture.content == espy::service::Content::pixels && picture.bytes.size() != espy::service::kPixels)
      std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  if (const auto request = espy::http::parse_predict(body)) check(request->pictures);
  if (const auto pictures = espy::http::parse_classify(body)) check(*pictures);
  return 0;
}
