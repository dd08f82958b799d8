#include "http/json_tensor.h"

#include <utility>

#include "base/format.h"

namespace espy::http {
namespace {

Error invalid(std::string message) { return {ErrorCode::invalid_input, std::move(message)}; }

}  // namespace

Result<std::unique_ptr<JsonDocument>> JsonDocument::parse(std::string_view text) {
  std::unique_ptr<JsonDocument> document(new JsonDocument);
  boost::system::error_code error;
  // Constructed, not assigned: so it stays in the memory that it was parsed into.
  document->value_.emplace(boost::json::parse(boost::json::string_view(text.data(), text.size()), error,
                                              boost::json::storage_ptr(&document->memory_)));
  if (error) return invalid(format("the body is not JSON: {}", error.message()));
  if (!document->value_->is_object()) return invalid("the body must be a JSON object");
  return document;
}

Result<void> append_pixels(const boost::json::value& value, service::DataType type, std::string& pixels) {
  if (const boost::json::array* const values = value.if_array()) {
    for (const boost::json::value& element : *values) {
      if (Result<void> appended = append_pixels(element, type, pixels); !appended) return appended;
    }
    return {};
  }
  if (!value.is_number()) return invalid(format("element {} of the input is not a number", pixels.size()));
  if (type == service::DataType::fp32) {
    const Result<char> pixel = service::to_pixel(value.to_number<double>(), pixels.size());
    if (!pixel) return pixel.error();
    pixels += *pixel;
    return {};
  }
  const std::int64_t* const number = value.if_int64();
  if (number == nullptr || *number < 0 || *number > 255) {
    return invalid(format("element {} of the input is not a whole number from 0 to 255", pixels.size()));
  }
  pixels += static_cast<char>(static_cast<std::uint8_t>(*number));
  return {};
}

}  // namespace espy::http
