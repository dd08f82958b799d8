#include "http/json_input.h"

#include <boost/json/parse.hpp>
#include <limits>

#include "base/format.h"

namespace espy::http {
namespace {

constexpr std::size_t kMaxAuthorBytes = 255;
constexpr std::size_t kMaxNoteBytes = 4000;
// Room for both with every byte escaped.
constexpr std::size_t kMaxCorrectionBytes = std::size_t{64} << 10;

Error invalid(std::string message) { return {ErrorCode::invalid_input, std::move(message)}; }

}  // namespace

Result<CorrectionInput> parse_correction(std::string_view json) {
  if (json.size() > kMaxCorrectionBytes) {
    return invalid(format("the body has {} bytes, limit is {}", json.size(), kMaxCorrectionBytes));
  }
  boost::system::error_code error;
  const boost::json::value value = boost::json::parse(boost::json::string_view(json), error);
  if (error) return invalid(format("the body is not JSON: {}", error.message()));
  if (!value.is_object()) return invalid("the body must be a JSON object");
  CorrectionInput input;
  bool has_label = false;
  for (const auto& field : value.get_object()) {
    const std::string_view name(field.key().data(), field.key().size());
    if (name == "label") {
      const std::int64_t* const label = field.value().if_int64();
      if (label == nullptr || *label < 0 || *label > std::numeric_limits<int>::max()) {
        return invalid("label must be a whole number from 0 on");
      }
      input.label = static_cast<int>(*label);
      has_label = true;
    } else if (name == "author" || name == "note") {
      const boost::json::string* const text = field.value().if_string();
      if (text == nullptr) return invalid(format("{} must be a text", name));
      const std::size_t limit = name == "author" ? kMaxAuthorBytes : kMaxNoteBytes;
      if (text->size() > limit)
        return invalid(format("{} has {} bytes, limit is {}", name, text->size(), limit));
      (name == "author" ? input.author : input.note).assign(text->data(), text->size());
    } else {
      return invalid("the body may have label, author and note, nothing else");
    }
  }
  if (!has_label) return invalid("the body has no label");
  return input;
}

Result<std::vector<std::string>> parse_texts(std::string_view json, std::span<const std::string_view> names) {
  boost::system::error_code error;
  const boost::json::value value = boost::json::parse(boost::json::string_view(json), error);
  if (error) return invalid(format("this is not JSON: {}", error.message()));
  if (!value.is_object() || value.get_object().size() != names.size()) {
    return invalid(format("this must be an object with {} members", names.size()));
  }
  std::vector<std::string> texts;
  texts.reserve(names.size());
  for (const std::string_view name : names) {
    const boost::json::value* const member = value.get_object().if_contains(boost::json::string_view(name));
    const boost::json::string* const text = member == nullptr ? nullptr : member->if_string();
    if (text == nullptr) return invalid(format("the object has no text {}", name));
    texts.emplace_back(text->data(), text->size());
  }
  return texts;
}

}  // namespace espy::http
