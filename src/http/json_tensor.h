// Tensors in JSON, for those who read it with Boost.JSON. Not part of the module's interface.
#pragma once

#include <boost/json/monotonic_resource.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "service/tensor.h"

namespace espy::http {

// A parsed text; its values lie one behind another in few pieces of memory, which is quick for thousands of
// numbers.
class JsonDocument {
 public:
  // Errors: invalid_input (not JSON, or not an object).
  static Result<std::unique_ptr<JsonDocument>> parse(std::string_view text);

  const boost::json::object& root() const { return value_->get_object(); }

 private:
  JsonDocument() = default;

  boost::json::monotonic_resource memory_;
  std::optional<boost::json::value> value_;
};

inline std::string_view view(const boost::json::string& text) { return {text.data(), text.size()}; }
inline std::string_view view(boost::json::string_view text) { return {text.data(), text.size()}; }

// Appends the pixels of a number, or of an array of arrays of numbers, in order.
// Errors: invalid_input (anything else; a number that is no pixel of the type).
Result<void> append_pixels(const boost::json::value& value, service::DataType type, std::string& pixels);

}  // namespace espy::http
