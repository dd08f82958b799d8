#include "model/checkpoint.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string_view>
#include <type_traits>

#include "base/digest.h"
#include "base/file.h"
#include "base/format.h"
#include "base/hex.h"
#include "nn/overloaded.h"
#include "nn/precision.h"

namespace espy::model {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers go into the file as they lie in memory");

constexpr std::string_view kMagicOfEveryFormat = "espy checkpoint ";
constexpr std::string_view kFormat = "2";
constexpr std::string_view kMagic = "espy checkpoint 2\n";
constexpr std::size_t kMaxBytes = std::size_t{1} << 30;

// The first digits of a digest, enough to tell two apart that nobody made to collide.
constexpr std::size_t kShownDigits = 16;

std::string digest_text(std::span<const std::byte> bytes) {
  return to_hex(sha256(bytes)).substr(0, kShownDigits);
}

class Writer {
 public:
  explicit Writer(std::size_t bytes) { bytes_.reserve(bytes); }

  template <typename Number>
  void number(Number value) {
    static_assert(std::is_arithmetic_v<Number>);
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void raw(std::string_view text) { bytes_ += text; }
  void text(std::string_view text) {
    number(static_cast<std::uint32_t>(text.size()));
    raw(text);
  }
  void arrays(const std::vector<std::vector<float>>& arrays) {
    number(static_cast<std::uint32_t>(arrays.size()));
    for (const std::vector<float>& values : arrays) {
      number(std::uint64_t{values.size()});
      bytes_.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
    }
  }
  std::string take() && {
    const Sha256 digest = sha256(as_bytes(bytes_));
    bytes_.append(reinterpret_cast<const char*>(digest.data()), digest.size());
    return std::move(bytes_);
  }

 private:
  std::string bytes_;
};

// Reads one part after the other. A part that is not there makes it fail, and everything after it is then
// empty; memory is taken only for what is there.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : rest_(bytes) {}

  template <typename Number>
  Number number() {
    Number value{};
    const std::span<const std::byte> bytes = take(sizeof value);
    if (!bytes.empty()) std::memcpy(&value, bytes.data(), sizeof value);
    return value;
  }
  std::string text() {
    const std::span<const std::byte> bytes = take(number<std::uint32_t>());
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  std::vector<std::vector<float>> arrays() {
    std::vector<std::vector<float>> arrays;
    for (auto count = number<std::uint32_t>(); count > 0 && !failed_; --count) {
      const auto size = number<std::uint64_t>();
      if (size > rest_.size() / sizeof(float)) failed_ = true;
      const std::span<const std::byte> bytes = take(size * sizeof(float));
      std::vector<float>& values = arrays.emplace_back(bytes.size() / sizeof(float));
      if (!bytes.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
    }
    return arrays;
  }
  bool failed() const { return failed_; }
  std::size_t rest() const { return rest_.size(); }

 private:
  std::span<const std::byte> take(std::size_t count) {
    if (failed_ || count > rest_.size()) {
      failed_ = true;
      return {};
    }
    const std::span<const std::byte> taken = rest_.first(count);
    rest_ = rest_.subspan(count);
    return taken;
  }

  std::span<const std::byte> rest_;
  bool failed_ = false;
};

std::string describe(const nn::Initializer& initializer) {
  return std::visit(nn::Overloaded{
                        [](const nn::Zeros&) -> std::string { return "zeros"; },
                        [](const nn::TruncatedNormal& normal) {
                          const auto& [deviation, bias] = normal;
                          return format("truncated normal {} {}", deviation, bias);
                        },
                        [](const nn::GlorotUniform&) -> std::string { return "glorot uniform"; },
                        [](const nn::HeNormal&) -> std::string { return "he normal"; },
                    },
                    initializer);
}

std::string describe(const nn::Adam& adam) {
  const auto& [learning_rate, beta1, beta2, epsilon, weight_decay] = adam;
  return format("adam {} {} {} {} {}", learning_rate, beta1, beta2, epsilon, weight_decay);
}

std::string describe(const nn::Optimizer& optimizer) {
  return std::visit(nn::Overloaded{
                        [](const nn::GradientDescent& descent) {
                          const auto& [learning_rate] = descent;
                          return format("descent {}", learning_rate);
                        },
                        [](const nn::Adam& adam) { return describe(adam); },
                        [](const nn::Muon& muon) {
                          const auto& [learning_rate, momentum, newton_schulz_steps, others] = muon;
                          return format("muon {} {} {}, {}", learning_rate, momentum, newton_schulz_steps,
                                        describe(others));
                        },
                    },
                    optimizer);
}

std::string describe(const Augmentation& augmentation) {
  const auto& [rotation, scale, shear, translation, shift, mirror, elastic, thickness, blur, erasing] =
      augmentation;
  return format("{} {} {} {} {} {} {} {} {} {}", rotation, scale, shear, translation, shift,
                static_cast<int>(mirror), elastic, thickness, blur, erasing);
}

// Names every member, so that one that is added to a recipe does not compile until it has a place here.
std::string describe(const Recipe& recipe, image::Preparation preparation) {
  const auto& [name, description, architecture, initializer, any_optimizer, batch_size, steps, epochs,
               chunk_size, label_smoothing, held_out, schedule, digits, garments, teachers, parameter_type,
               digits_optimizer] = recipe;
  std::string text =
      format("{}; {}; {}; {} {} {} {} {} {}; {};", nn::to_string(architecture), describe(initializer),
             describe(optimizer(recipe, preparation)), batch_size, steps, epochs, chunk_size, held_out,
             label_smoothing, describe(augmentation(recipe, preparation)));
  for (const auto& [done, factor] : schedule) text += format(" {} {}", done, factor);
  if (const auto& [count, teacher, epochs_of_each, share] = teachers; count > 0) {
    text += format("; taught by {} of {} {} {}", count, nn::to_string(teacher), epochs_of_each, share);
  }
  if (parameter_type == ParameterType::f16) text += "; stored in float16";
  return text;
}

std::string digest_text(const Dataset& data) {
  std::string bytes = format("{}\n", image::to_string(data.preparation));
  for (const std::string& name : data.class_names) bytes += name + "\n";
  bytes.reserve(bytes.size() + data.inputs.size() * (sizeof(image::Input) + 1));
  bytes.append(data.labels.begin(), data.labels.end());
  for (const image::Input& input : data.inputs) bytes.append(input.begin(), input.end());
  return digest_text(as_bytes(bytes));
}

}  // namespace

std::string content_digest(const Recipe& recipe, image::Preparation preparation) {
  return digest_text(as_bytes(describe(recipe, preparation)));
}

TrainingIdentity identify(const Dataset& data, const Recipe& recipe, std::uint64_t seed, int threads,
                          nn::Precision precision, std::int64_t steps) {
  return {
      {"recipe", std::string(recipe.name)},
      {"content of the recipe", content_digest(recipe, data.preparation)},
      {"data set", format("{} samples with digest {}", data.inputs.size(), digest_text(data))},
      {"seed", format("{}", seed)},
      {"precision", precision == nn::Precision::bf16 ? "bf16" : "f32"},
      {"number of steps", format("{}", steps)},
      {"number of threads", recipe.chunk_size > 0 ? "any" : format("{}", threads)},
      {"processor", std::string(nn::instructions())},
  };
}

Result<void> check_same_training(const TrainingIdentity& checkpoint, const TrainingIdentity& training) {
  if (checkpoint.size() != training.size()) {
    return Error{ErrorCode::invalid_input,
                 format("checkpoint is of another training: it has {} fields, must have {}",
                        checkpoint.size(), training.size())};
  }
  const auto [theirs, ours] = std::ranges::mismatch(checkpoint, training);
  if (theirs == checkpoint.end()) return {};
  if (theirs->first != ours->first) {
    return Error{ErrorCode::invalid_input,
                 format("checkpoint is of another training: it has a field \"{}\", must have \"{}\"",
                        theirs->first, ours->first)};
  }
  return Error{ErrorCode::invalid_input, format("checkpoint is of another training: its {} is {}, not {}",
                                                theirs->first, theirs->second, ours->second)};
}

std::string serialize(const Checkpoint& checkpoint) {
  const nn::TrainerState& state = checkpoint.state;
  std::size_t values = 0;
  for (const auto* arrays : {&state.parameters, &state.first_moments, &state.second_moments}) {
    for (const std::vector<float>& array : *arrays) values += array.size();
  }
  for (const auto& teacher : checkpoint.teachers) {
    for (const std::vector<float>& array : teacher) values += array.size();
  }
  constexpr std::size_t kRoomForTheRest = 4096;
  Writer writer(values * sizeof(float) + kRoomForTheRest);
  writer.raw(kMagic);
  writer.number(static_cast<std::uint32_t>(checkpoint.training.size()));
  for (const auto& [name, value] : checkpoint.training) {
    writer.text(name);
    writer.text(value);
  }
  writer.number(checkpoint.sums.epoch_loss);
  writer.number(checkpoint.sums.epoch_correct);
  writer.number(checkpoint.sums.elapsed.count());
  writer.number(static_cast<std::uint32_t>(checkpoint.teachers.size()));
  for (const auto& teacher : checkpoint.teachers) writer.arrays(teacher);
  writer.number(state.steps);
  writer.arrays(state.parameters);
  writer.arrays(state.first_moments);
  writer.arrays(state.second_moments);
  return std::move(writer).take();
}

Result<Checkpoint> parse_checkpoint(std::span<const std::byte> file) {
  const std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
  if (!text.starts_with(kMagicOfEveryFormat)) {
    return Error{ErrorCode::invalid_input, "not a checkpoint of espy"};
  }
  if (!text.starts_with(kMagic)) {
    const std::string_view format_name = text.substr(kMagicOfEveryFormat.size());
    return Error{ErrorCode::invalid_input,
                 format("checkpoint has format {}, this espy reads {}",
                        format_name.substr(0, std::min<std::size_t>(format_name.find('\n'), 8)), kFormat)};
  }
  constexpr std::size_t kDigestBytes = std::tuple_size_v<Sha256>;
  if (file.size() < kMagic.size() + kDigestBytes) {
    return Error{ErrorCode::corrupt, format("checkpoint is cut off after {} bytes", file.size())};
  }
  const std::span<const std::byte> content = file.first(file.size() - kDigestBytes);
  if (std::memcmp(sha256(content).data(), file.last(kDigestBytes).data(), kDigestBytes) != 0) {
    return Error{
        ErrorCode::corrupt,
        format("checkpoint of {} bytes was cut off or changed: its digest does not fit", file.size())};
  }
  Reader reader(content.subspan(kMagic.size()));
  Checkpoint checkpoint;
  for (auto count = reader.number<std::uint32_t>(); count > 0 && !reader.failed(); --count) {
    std::string name = reader.text();
    std::string value = reader.text();
    checkpoint.training.emplace_back(std::move(name), std::move(value));
  }
  checkpoint.sums.epoch_loss = reader.number<double>();
  checkpoint.sums.epoch_correct = reader.number<std::uint64_t>();
  checkpoint.sums.elapsed = std::chrono::duration<double>(reader.number<double>());
  for (auto count = reader.number<std::uint32_t>(); count > 0 && !reader.failed(); --count) {
    checkpoint.teachers.push_back(reader.arrays());
  }
  checkpoint.state.steps = reader.number<std::uint64_t>();
  checkpoint.state.parameters = reader.arrays();
  checkpoint.state.first_moments = reader.arrays();
  checkpoint.state.second_moments = reader.arrays();
  if (reader.failed() || reader.rest() > 0) {
    return Error{ErrorCode::corrupt, format("checkpoint's sizes do not fit its {} bytes", file.size())};
  }
  return checkpoint;
}

Result<void> save_checkpoint(const Checkpoint& checkpoint, const std::filesystem::path& path) {
  return write_file(path, as_bytes(serialize(checkpoint)));
}

Result<Checkpoint> load_checkpoint(const std::filesystem::path& path) {
  const Result<std::string> file = read_file(path, kMaxBytes);
  if (!file) return file.error();
  Result<Checkpoint> checkpoint = parse_checkpoint(as_bytes(*file));
  if (!checkpoint) {
    return Error{checkpoint.error().code, format("{}: {}", path.string(), checkpoint.error().message)};
  }
  return checkpoint;
}

}  // namespace espy::model
