// A trained network with what is needed to use it and to tell it from others: labels, preparation, version.
//
// The file is ONNX (opset 13, one float input "input" [batch, 1, 28, 28] in [0, 1], one output "logits"
// [batch, classes]) with metadata_props:
//   espy.version      64 hex digits: SHA-256 of the file in which these 64 digits are all '0'
//   espy.preparation  digit | garment | plain
//   espy.labels       class names, one a line
//   espy.recipe       name of the recipe
//   espy.metrics      lines of name=value
//   espy.calibration  lines of name=value (calibration.h), of a model that was calibrated
// Its tensors are float, or float16 that it casts to float.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "image/prepare.h"
#include "model/calibration.h"
#include "nn/network.h"

namespace espy::model {

// What the file stores a network's parameters in; everything computes with floats.
enum class ParameterType { f32, f16 };

// Returns the network with each parameter as a file of this type gives it back.
nn::Network as_stored(nn::Network network, ParameterType type);

// Everything that a model is, except its version, which follows from it.
struct ModelContent {
  nn::Network network;
  image::Preparation preparation;
  std::vector<std::string> class_names;
  std::string recipe;
  std::map<std::string, std::string> metrics;  // such as {"test_accuracy", "0.9921"}
  ParameterType parameter_type = ParameterType::f32;
  // Without one the model cannot tell the foreign and the ambiguous from the rest.
  std::optional<Calibration> calibration = std::nullopt;
};

// Threads: immutable; share it.
class Model {
 public:
  // Errors: invalid_input (a network whose input is not [1, 28, 28] or whose output does not match the class
  // names; an empty or doubled class name, or one with a line break; a calibration of another network; a
  // parameter that its type cannot hold).
  static Result<Model> create(ModelContent content);

  // Reads an ONNX file that espy wrote.
  // Errors: invalid_input (not ONNX; ONNX that espy did not write; a wrong input shape; a layer that espy
  // does not know), corrupt (content that its version does not fit: cut off, changed), too_large (over 1
  // GiB).
  static Result<Model> parse(std::span<const std::byte> file);

  // As parse and read_file; every message names the path.
  static Result<Model> load(const std::filesystem::path& path);

  // Returns the bytes of the ONNX file; parse() of them gives an equal model.
  const std::string& file() const { return file_; }

  // Errors: as write_file.
  Result<void> save(const std::filesystem::path& path) const;

  // Returns the first 12 of the 64 hex digits of the content hash, for people; the whole is full_version().
  std::string version() const { return version_.substr(0, 12); }
  const std::string& full_version() const { return version_; }

  const nn::Network& network() const { return content_.network; }
  image::Preparation preparation() const { return content_.preparation; }
  const std::vector<std::string>& class_names() const { return content_.class_names; }
  const std::string& recipe() const { return content_.recipe; }
  const std::map<std::string, std::string>& metrics() const { return content_.metrics; }
  ParameterType parameter_type() const { return content_.parameter_type; }
  const std::optional<Calibration>& calibration() const { return content_.calibration; }

 private:
  static Result<Model> from_file(std::string file);

  Model(ModelContent content, std::string version, std::string file);

  ModelContent content_;
  std::string version_;
  std::string file_;
};

}  // namespace espy::model
