#include "model/onnx_fields.h"

#include <algorithm>

namespace espy::model {
namespace {

void append(std::string& text, Bytes bytes) {
  text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

void append_varint(std::string& text, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) text += static_cast<char>(value | 0x80);
  text += static_cast<char>(value);
}

// Returns the message with what `replace` makes of the content of its fields of this number.
template <typename Replace>
std::string replaced(Bytes message, std::uint64_t number, const Replace& replace) {
  std::string result;
  Fields fields(message);
  while (const auto field = fields.next()) {
    if (field->number != number || !field->has_content) {
      append(result, field->whole);
    } else if (const std::optional<std::string> content = replace(field->content)) {
      append_varint(result, number << 3 | 2);
      append_varint(result, content->size());
      result += *content;
    }
  }
  return result;
}

}  // namespace

std::optional<Field> Fields::next() {
  if (rest_.empty() || broken_) return std::nullopt;
  const Bytes start = rest_;
  const std::uint64_t key = varint();
  Field field{key >> 3, (key & 7) == 2, {}, {}};
  switch (key & 7) {
    case 0:
      varint();
      break;
    case 1:
      take(8);
      break;
    case 2:
      field.content = take(varint());
      break;
    case 5:
      take(4);
      break;
    default:
      broken_ = true;
  }
  if (field.number == 0) broken_ = true;
  if (broken_) return std::nullopt;
  field.whole = start.first(start.size() - rest_.size());
  return field;
}

std::uint64_t Fields::varint() {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    const Bytes byte = take(1);
    if (broken_) return 0;
    const auto bits = std::to_integer<std::uint64_t>(byte[0]);
    value |= (bits & 0x7f) << shift;
    if (bits < 0x80) return value;
  }
  broken_ = true;
  return 0;
}

Bytes Fields::take(std::uint64_t count) {
  if (broken_ || count > rest_.size()) {
    broken_ = true;
    return {};
  }
  const Bytes taken = rest_.first(static_cast<std::size_t>(count));
  rest_ = rest_.subspan(taken.size());
  return taken;
}

SplitFile split_tensors(Bytes file) {
  SplitFile split;
  const auto without_values = [&split](Bytes tensor) -> std::optional<std::string> {
    split.tensors.emplace_back();
    return replaced(tensor, kTensorRawData, [&split](Bytes values) -> std::optional<std::string> {
      split.tensors.back() = values;
      return std::nullopt;
    });
  };
  split.structure = replaced(file, kModelGraph, [&](Bytes graph) -> std::optional<std::string> {
    return replaced(graph, kGraphInitializer, without_values);
  });
  return split;
}

}  // namespace espy::model
