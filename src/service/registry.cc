#include "service/registry.h"

#include <algorithm>

#include "base/format.h"

namespace espy::service {
namespace {

// What can stand in a query string, a file name and a table without quoting.
bool is_name(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  });
}

}  // namespace

Result<void> Registry::add(std::string name, std::shared_ptr<const model::Model> model) {
  if (!is_name(name)) {
    return Error{ErrorCode::invalid_input,
                 format("model name \"{}\" is not made of a-z A-Z 0-9 . _ -", name)};
  }
  if (std::ranges::find(models_, name, &decltype(models_)::value_type::first) != models_.end()) {
    return Error{ErrorCode::invalid_input, format("there are two models named {}", name)};
  }
  models_.emplace_back(std::move(name), std::move(model));
  return {};
}

Result<std::size_t> Registry::find(std::string_view name) const {
  if (name.empty() && !models_.empty()) return std::size_t{0};
  for (std::size_t i = 0; i < models_.size(); ++i) {
    if (models_[i].first == name) return i;
  }
  std::string known;
  for (const auto& [known_name, model] : models_) {
    if (!known.empty()) known += ", ";
    known += known_name;
  }
  // A name comes from outside and may be of any length.
  constexpr std::size_t kShownBytes = 64;
  const std::string_view shown = name.substr(0, kShownBytes);
  return Error{ErrorCode::not_found,
               format("there is no model {}{}; there are {}", shown, shown == name ? "" : "...", known)};
}

}  // namespace espy::service
