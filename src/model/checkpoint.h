// Checkpoints: a training at rest, from which another process goes on to the same model, bit for bit.
//
// The file, with numbers in little-endian order:
//   file     := magic fields sums teachers state digest
//   magic    := "espy checkpoint 2\n"                    the digit counts the changes of this format
//   fields   := count:u32 (name:text value:text)[count]  which training it is
//   sums     := loss:f64 correct:u64 seconds:f64         of the epoch, of the epoch, of the training
//   teachers := count:u32 arrays[count]                  parameters of those that are trained
//   state    := steps:u64 arrays arrays arrays           nn::TrainerState: parameters, first, second moments
//   arrays   := count:u32 (size:u64 values:f32[size])[count]
//   text     := size:u32 bytes[size]
//   digest   := SHA-256 of all before it
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "model/dataset.h"
#include "model/recipe.h"
#include "nn/trainer.h"

namespace espy::model {

// What decides which model a training ends in: names and values.
using TrainingIdentity = std::vector<std::pair<std::string, std::string>>;

// What a training tells of itself beside its model.
struct TrainingSums {
  double epoch_loss = 0;            // over the steps of the epoch at hand
  std::uint64_t epoch_correct = 0;  // samples of these steps that were answered right
  std::chrono::duration<double> elapsed{};

  bool operator==(const TrainingSums&) const = default;
};

struct Checkpoint {
  TrainingIdentity training;
  TrainingSums sums;
  // Of each teacher that is trained, its parameters; `state` is that of the network after them.
  std::vector<std::vector<std::vector<float>>> teachers;
  nn::TrainerState state;

  bool operator==(const Checkpoint&) const = default;
};

// Returns what tells a recipe's content from any other: 16 hexadecimal digits, of all that it does to
// pictures of this preparation, without its name and description.
std::string content_digest(const Recipe& recipe, image::Preparation preparation);

// Returns the identity of a training on this machine: the recipe's name and everything in it, the data set's
// labels and pixels (as a digest: a second a gigabyte), seed, precision, steps, the threads where the recipe
// cuts its batches into one chunk for each, and the instructions that the processor multiplies with. Which
// build of espy it is belongs to it too, but is not in it: an update may go on with a training.
TrainingIdentity identify(const Dataset& data, const Recipe& recipe, std::uint64_t seed, int threads,
                          nn::Precision precision, std::int64_t steps);

// Returns success when both are the same training.
// Errors: invalid_input (with the first field that differs and both values).
Result<void> check_same_training(const TrainingIdentity& checkpoint, const TrainingIdentity& training);

// Returns the content of the file.
std::string serialize(const Checkpoint& checkpoint);

// serialize() of the result gives the same bytes.
// Errors: invalid_input (not a checkpoint; one of another format), corrupt (a content that its digest does
// not fit: cut off, changed; sizes that do not fit the bytes).
Result<Checkpoint> parse_checkpoint(std::span<const std::byte> file);

// Errors: as write_file; path then still holds what it held.
Result<void> save_checkpoint(const Checkpoint& checkpoint, const std::filesystem::path& path);

// Errors: as read_file, with 1 GiB as the most bytes, and as parse_checkpoint; every message names the path.
Result<Checkpoint> load_checkpoint(const std::filesystem::path& path);

}  // namespace espy::model
