#include "service/inference.h"

#include <charconv>
#include <optional>
#include <utility>

#include "base/format.h"

namespace espy::service {
namespace {

constexpr std::size_t kShownBytes = 64;

Error invalid(std::string message) { return {ErrorCode::invalid_input, std::move(message)}; }

std::optional<std::int64_t> parse_number(std::string_view text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return {};
  return number;
}

}  // namespace

std::vector<std::int64_t> output_shape(const OutputKind& kind, const ServedModel& model) {
  std::vector<std::int64_t> shape = {-1};
  if (kind.one_a_class) shape.push_back(static_cast<std::int64_t>(model.model().class_names().size()));
  return shape;
}

std::vector<std::string> served_versions(const Registry& registry, std::string_view name) {
  std::vector<std::string> versions;
  const ModelEntry* const entry = registry.entry(name);
  if (entry == nullptr) return versions;
  for (const ModelVersion& version : entry->versions) {
    if (version.served) versions.push_back(std::to_string(version.number));
  }
  return versions;
}

Result<std::shared_ptr<const ServedModel>> find_version(const Registry& registry, std::string_view name,
                                                        std::string_view version) {
  if (version.empty()) return registry.find(name);
  const std::optional<std::int64_t> number = parse_number(version);
  if (!number) {
    return Error{ErrorCode::not_found,
                 format("the version is \"{}\", which is no number", version.substr(0, kShownBytes))};
  }
  return registry.find(name, *number);
}

Result<std::vector<std::shared_ptr<const ServedModel>>> find_versions(const Registry& registry,
                                                                      std::string_view name,
                                                                      std::string_view version) {
  std::vector<std::shared_ptr<const ServedModel>> found;
  const auto add_all = [&](const ModelEntry& entry) {
    for (const ModelVersion& each : entry.versions) {
      if (each.served) found.push_back(each.served);
    }
  };
  if (name.empty()) {
    for (const ModelEntry& entry : registry.entries()) add_all(entry);
    return found;
  }
  Result<std::shared_ptr<const ServedModel>> model = find_version(registry, name, version);
  if (!model) return std::move(model).error();
  if (version.empty()) {
    add_all(*registry.entry(name));
  } else {
    found.push_back(*std::move(model));
  }
  return found;
}

Result<void> Inference::want(std::string_view name, std::int64_t classification) {
  const OutputKind* const kind = find_output(name);
  if (kind == nullptr) {
    std::string known;
    for (const OutputKind& each : output_kinds()) {
      known += format("{}{}", known.empty() ? "" : ", ", each.name);
    }
    return invalid(format("there is no output {}; there are {}", name.substr(0, kShownBytes), known));
  }
  if (classification < 0) return invalid("classification must be a whole number from 0 on");
  if (classification > 0 && !kind->one_a_class) {
    return invalid(format("output {} has no classes to choose from", name));
  }
  if (outputs.size() == output_kinds().size()) return invalid("an output is named twice");
  outputs.push_back({.kind = kind, .classification = static_cast<std::size_t>(classification)});
  return {};
}

Result<std::vector<Request>> Inference::take_requests(std::shared_ptr<const ServedModel> model,
                                                      std::string_view otherwise_id,
                                                      std::string_view otherwise_subject) {
  const std::string_view kept_id = id.empty() ? otherwise_id : id;
  const std::string_view kept_subject = subject.empty() ? otherwise_subject : subject;
  if (const Result<void> said = check_said(kept_subject, kept_id); !said) return said.error();
  std::vector<Request> requests;
  for (Picture& picture : pictures) {
    requests.push_back({.upload = std::move(picture.bytes),
                        .file_name = file_name,
                        .model = {},
                        .subject = std::string(kept_subject),
                        .served = model,
                        .content = picture.content,
                        .id = std::string(kept_id)});
  }
  pictures.clear();
  return requests;
}

std::vector<Tensor> Inference::make_outputs(std::span<const Answer> answers,
                                            const std::vector<std::string>& class_names) const {
  std::vector<Tensor> tensors;
  if (outputs.empty()) {
    for (const OutputKind& kind : output_kinds()) tensors.push_back(make_output(kind, answers));
  }
  for (const WantedOutput& wanted : outputs) {
    tensors.push_back(wanted.classification > 0
                          ? make_classification(answers, wanted.classification, class_names)
                          : make_output(*wanted.kind, answers));
  }
  return tensors;
}

}  // namespace espy::service
