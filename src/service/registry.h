// The models that are being served, by name.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "model/model.h"

namespace espy::service {

// Threads: filled before serving starts, only read afterwards.
class Registry {
 public:
  // The first model that is added is the default one.
  // Errors: invalid_input (a name that is taken, empty, or has other characters than a-z A-Z 0-9 . _ -).
  Result<void> add(std::string name, std::shared_ptr<const model::Model> model);

  // Returns the index of a model, of the default one when name is empty.
  // Errors: not_found ("there is no model x; there are digits, garments").
  Result<std::size_t> find(std::string_view name) const;

  std::size_t size() const { return models_.size(); }
  const std::string& name(std::size_t index) const { return models_[index].first; }
  const std::shared_ptr<const model::Model>& model(std::size_t index) const { return models_[index].second; }

 private:
  std::vector<std::pair<std::string, std::shared_ptr<const model::Model>>> models_;
};

}  // namespace espy::service
