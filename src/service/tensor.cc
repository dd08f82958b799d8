#include "service/tensor.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <iterator>
#include <numeric>
#include <utility>

#include "base/base64.h"
#include "base/format.h"

namespace espy::service {
namespace {

static_assert(std::endian::native == std::endian::little, "tensors are copied as they are");

constexpr std::size_t kMaxShapeDimensions = 8;
constexpr std::int64_t kSide = 28;

Error invalid(std::string message) { return {ErrorCode::invalid_input, std::move(message)}; }

std::string shape_text(std::span<const std::int64_t> shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < std::min(shape.size(), kMaxShapeDimensions); ++i) {
    text += format("{}{}", i == 0 ? "" : ", ", shape[i]);
  }
  return text + (shape.size() > kMaxShapeDimensions ? ", ...]" : "]");
}

bool is_one_picture(std::span<const std::int64_t> shape) {
  constexpr std::int64_t kFlat[] = {kSide * kSide};
  constexpr std::int64_t kSquare[] = {kSide, kSide};
  constexpr std::int64_t kChannelFirst[] = {1, kSide, kSide};
  constexpr std::int64_t kChannelLast[] = {kSide, kSide, 1};
  return std::ranges::equal(shape, kFlat) || std::ranges::equal(shape, kSquare) ||
         std::ranges::equal(shape, kChannelFirst) || std::ranges::equal(shape, kChannelLast);
}

template <typename Number>
void append_number(std::string& bytes, Number number) {
  const std::size_t end = bytes.size();
  bytes.resize(end + sizeof(Number));
  std::memcpy(bytes.data() + end, &number, sizeof(Number));
}

void append_text(std::string& bytes, std::string_view text) {
  append_number(bytes, static_cast<std::uint32_t>(text.size()));
  bytes += text;
}

Result<std::vector<Picture>> read_texts(std::size_t count, std::string_view bytes) {
  std::vector<Picture> pictures;
  for (std::size_t i = 0; i < count; ++i) {
    std::uint32_t size = 0;
    if (bytes.size() < sizeof(size)) return invalid(format("element {} of the input is cut off", i));
    std::memcpy(&size, bytes.data(), sizeof(size));
    bytes.remove_prefix(sizeof(size));
    if (bytes.size() < size) {
      return invalid(format("element {} of the input has {} bytes, {} are there", i, size, bytes.size()));
    }
    pictures.push_back({Content::picture, std::string(bytes.substr(0, size))});
    bytes.remove_prefix(size);
  }
  if (!bytes.empty()) return invalid(format("{} bytes follow the input's last element", bytes.size()));
  return pictures;
}

}  // namespace

std::string_view to_string(DataType type) {
  switch (type) {
    case DataType::fp32:
      return "FP32";
    case DataType::uint8:
      return "UINT8";
    case DataType::int64:
      return "INT64";
    case DataType::bytes:
      return "BYTES";
  }
  return "";
}

Result<DataType> parse_input_type(std::string_view text) {
  for (const DataType type : {DataType::fp32, DataType::uint8, DataType::bytes}) {
    if (text == to_string(type)) return type;
  }
  constexpr std::size_t kShownBytes = 16;
  return invalid(
      format("the input's datatype is {}, must be FP32, UINT8 or BYTES", text.substr(0, kShownBytes)));
}

bool is_input_name(std::string_view name) { return name == "input" || name == "image"; }

Result<std::size_t> picture_count(DataType type, std::span<const std::int64_t> shape) {
  const auto count_of = [&](std::int64_t count) -> Result<std::size_t> {
    if (count < 1 || count > static_cast<std::int64_t>(kMostTogether)) {
      return invalid(format("the input has {} pictures, must have 1 to {}", count, kMostTogether));
    }
    return static_cast<std::size_t>(count);
  };
  if (type == DataType::bytes) {
    if (shape.empty() || shape.size() > 2 || (shape.size() == 2 && shape[1] != 1)) {
      return invalid(format("the input's shape is {}, must be [N]", shape_text(shape)));
    }
    return count_of(shape[0]);
  }
  if (is_one_picture(shape)) return std::size_t{1};
  if (shape.size() > 1 && is_one_picture(shape.subspan(1))) return count_of(shape[0]);
  return invalid(
      format("the input's shape is {}, must be [N, 1, 28, 28], [N, 28, 28, 1], [N, 28, 28] or [N, 784]",
             shape_text(shape)));
}

Result<std::vector<Picture>> read_pictures(DataType type, std::span<const std::int64_t> shape,
                                           std::string_view bytes) {
  const Result<std::size_t> count = picture_count(type, shape);
  if (!count) return count.error();
  if (type == DataType::bytes) return read_texts(*count, bytes);
  const std::size_t wanted = *count * kPixels * (type == DataType::fp32 ? sizeof(float) : 1);
  if (bytes.size() != wanted) {
    return invalid(format("the input has {} bytes, must have {}", bytes.size(), wanted));
  }
  if (type == DataType::uint8) return split_pixels(bytes);
  std::string pixels;
  pixels.reserve(*count * kPixels);
  for (std::size_t i = 0; i < *count * kPixels; ++i) {
    float value = 0;
    std::memcpy(&value, bytes.data() + i * sizeof(float), sizeof(float));
    const Result<char> pixel = to_pixel(static_cast<double>(value), i);
    if (!pixel) return pixel.error();
    pixels += *pixel;
  }
  return split_pixels(pixels);
}

Result<char> to_pixel(double value, std::size_t index) {
  if (!(value >= 0 && value <= 1)) {
    return invalid(format("element {} of the input is {}, must be from 0 to 1 (1 = ink)", index, value));
  }
  constexpr double kInk = 255;
  return static_cast<char>(static_cast<std::uint8_t>(std::lround(value * kInk)));
}

std::vector<Picture> split_pixels(std::string_view pixels) {
  std::vector<Picture> pictures;
  for (; !pixels.empty(); pixels.remove_prefix(kPixels)) {
    pictures.push_back({Content::pixels, std::string(pixels.substr(0, kPixels))});
  }
  return pictures;
}

bool is_data_url(std::string_view text) { return text.starts_with("data:"); }

Result<Picture> picture_from_text(std::string_view text) {
  constexpr std::string_view kBase64 = ";base64";
  if (is_data_url(text)) {
    const std::size_t comma = text.find(',');
    if (comma == text.npos || !text.substr(0, comma).ends_with(kBase64)) {
      return invalid("the data URL is not data:TYPE;base64,CONTENT");
    }
    text.remove_prefix(comma + 1);
  }
  std::optional<std::string> bytes = from_base64(text);
  if (!bytes) return invalid("the picture is not base64");
  return Picture{Content::picture, *std::move(bytes)};
}

std::span<const OutputKind> output_kinds() {
  static constexpr OutputKind kKinds[] = {
      {"probabilities", DataType::fp32, true, "of each class"},
      {"label", DataType::int64, false, "the likeliest class"},
      {"class", DataType::bytes, false, "its name"},
      {"confidence", DataType::fp32, false, "its probability"},
      {"verdict", DataType::bytes, false, "recognized, unsure or not_recognized"},
      {"reason", DataType::bytes, false, "of the verdict; empty when it is recognized"},
      {"record", DataType::bytes, false, "the record's id"},
  };
  return kKinds;
}

const OutputKind* find_output(std::string_view name) {
  const auto kinds = output_kinds();
  const auto found = std::ranges::find(kinds, name, &OutputKind::name);
  return found != kinds.end() ? &*found : nullptr;
}

Tensor make_output(const OutputKind& kind, std::span<const Answer> answers) {
  Tensor tensor{.name = std::string(kind.name),
                .type = kind.type,
                .shape = {static_cast<std::int64_t>(answers.size())},
                .bytes = {}};
  if (kind.one_a_class) tensor.shape.push_back(static_cast<std::int64_t>(answers[0].probabilities.size()));
  for (const Answer& answer : answers) {
    const store::Record& record = answer.record;
    if (kind.name == "probabilities") {
      for (const float probability : answer.probabilities) append_number(tensor.bytes, probability);
    } else if (kind.name == "label") {
      append_number(tensor.bytes, std::int64_t{record.label});
    } else if (kind.name == "class") {
      append_text(tensor.bytes, record.class_name);
    } else if (kind.name == "confidence") {
      append_number(tensor.bytes, record.confidence);
    } else if (kind.name == "verdict") {
      append_text(tensor.bytes, espy::to_string(record.verdict));
    } else if (kind.name == "reason") {
      append_text(tensor.bytes, record.reason == Reason::none ? "" : espy::to_string(record.reason));
    } else {
      append_text(tensor.bytes, espy::to_string(record.id));
    }
  }
  return tensor;
}

Tensor make_classification(std::span<const Answer> answers, std::size_t count,
                           const std::vector<std::string>& class_names) {
  count = std::min(count, class_names.size());
  Tensor tensor{.name = "probabilities",
                .type = DataType::bytes,
                .shape = {static_cast<std::int64_t>(answers.size()), static_cast<std::int64_t>(count)},
                .bytes = {}};
  std::vector<std::size_t> order(class_names.size());
  for (const Answer& answer : answers) {
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::stable_sort(order, std::ranges::greater(),
                             [&](std::size_t label) { return answer.probabilities[label]; });
    for (std::size_t i = 0; i < count; ++i) {
      append_text(tensor.bytes,
                  format("{:f}:{}:{}", answer.probabilities[order[i]], order[i], class_names[order[i]]));
    }
  }
  return tensor;
}

}  // namespace espy::service
