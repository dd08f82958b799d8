#include "http/json_input.h"

#include <boost/json/parse.hpp>
#include <limits>

#include "base/format.h"
#include "store/record.h"

namespace espy::http {
namespace {

// Of any body read here: room for author and note with every byte escaped.
constexpr std::size_t kMaxBodyBytes = std::size_t{64} << 10;

Error invalid(std::string message) { return {ErrorCode::invalid_input, std::move(message)}; }

Result<boost::json::object> parse_body(std::string_view json) {
  if (json.size() > kMaxBodyBytes) {
    return invalid(format("the body has {} bytes, limit is {}", json.size(), kMaxBodyBytes));
  }
  boost::system::error_code error;
  boost::json::value value = boost::json::parse(boost::json::string_view(json), error);
  if (error) return invalid(format("the body is not JSON: {}", error.message()));
  if (!value.is_object()) return invalid("the body must be a JSON object");
  return std::move(value.get_object());
}

}  // namespace

Result<CorrectionInput> parse_correction(std::string_view json) {
  const Result<boost::json::object> body = parse_body(json);
  if (!body) return body.error();
  CorrectionInput input;
  bool has_label = false;
  for (const auto& field : *body) {
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
      const std::size_t limit = name == "author" ? store::kMaxAuthorBytes : store::kMaxNoteBytes;
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

Result<VersionInput> parse_version(std::string_view json) {
  const Result<boost::json::object> body = parse_body(json);
  if (!body) return body.error();
  VersionInput input;
  bool is_null = false;
  for (const auto& field : *body) {
    const std::string_view name(field.key().data(), field.key().size());
    if (name == "version") {
      const std::int64_t* const number = field.value().if_int64();
      is_null = field.value().is_null();
      if (!is_null && (number == nullptr || *number < 1))
        return invalid("version must be a whole number from 1 on");
      if (number != nullptr) input.version = *number;
    } else if (name == "label") {
      const boost::json::string* const text = field.value().if_string();
      if (text == nullptr) return invalid("label must be a text");
      input.label.emplace(text->data(), text->size());
    } else {
      return invalid("the body may have version and label, nothing else");
    }
  }
  if (!input.version && !(input.label && is_null)) return invalid("the body has no version");
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
