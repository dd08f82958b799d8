// Tensors of foreign protocols become pictures to classify, and answers become tensors. What is common to the
// dialects: names, types, shapes and byte layouts, as the Open Inference Protocol has them.
//
// The one input, "input" (or "image"), is one of
//   FP32 [N, 1, 28, 28]   what the network sees, from 0 to 1, 1 = ink; kept as 8 bits
//   UINT8, likewise       from 0 to 255, 255 = ink
//   BYTES [N]             encoded pictures (PNG, JPEG, GIF, BMP, WebP), which are prepared as any upload
// where the last dimensions may also be [28, 28, 1], [28, 28] or [784].
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "service/classifier.h"

namespace espy::service {

inline constexpr std::size_t kPixels = 28 * 28;

enum class DataType { fp32, uint8, int64, bytes };

// Returns "FP32" and so on.
std::string_view to_string(DataType type);

// Errors: invalid_input (a type that no input has).
Result<DataType> parse_input_type(std::string_view text);

bool is_input_name(std::string_view name);

struct Picture {
  Content content;
  std::string bytes;  // of pixels: kPixels of them
};

// Returns how many pictures there are in an input of this type and shape.
// Errors: invalid_input (a shape that no input has; more than kMostTogether).
Result<std::size_t> picture_count(DataType type, std::span<const std::int64_t> shape);

// Cuts an input's bytes (little-endian, without padding; an element of BYTES is a length of four bytes and so
// many bytes) into pictures. Errors: invalid_input.
Result<std::vector<Picture>> read_pictures(DataType type, std::span<const std::int64_t> shape,
                                           std::string_view bytes);

// Returns the pixel of a number in an FP32 input. Errors: invalid_input (not from 0 to 1); `index` is for the
// message.
Result<char> to_pixel(double value, std::size_t index);

// Cuts pixels into pictures of kPixels each.
std::vector<Picture> split_pixels(std::string_view pixels);

// Decodes a picture in a text: base64, or a data URL ("data:image/png;base64,...").
// Errors: invalid_input.
Result<Picture> picture_from_text(std::string_view text);

bool is_data_url(std::string_view text);

struct Tensor {
  std::string name;
  DataType type;
  std::vector<std::int64_t> shape;
  std::string bytes;  // as read_pictures() reads them
};

// What every model answers with: name, type, and whether there is one number a class.
struct OutputKind {
  std::string_view name;
  DataType type;
  bool one_a_class;
  std::string_view meaning;
};
std::span<const OutputKind> output_kinds();
const OutputKind* find_output(std::string_view name);  // nullptr: there is none

// Returns one output for all answers.
Tensor make_output(const OutputKind& kind, std::span<const Answer> answers);

// Returns the `count` likeliest classes of each answer as texts "0.998700:7:seven" (classification
// extension).
Tensor make_classification(std::span<const Answer> answers, std::size_t count,
                           const std::vector<std::string>& class_names);

// Calls `take` with each element of a BYTES tensor.
template <typename Take>
void for_each_text(std::string_view bytes, Take take) {
  while (bytes.size() >= 4) {
    std::uint32_t size = 0;
    for (int i = 3; i >= 0; --i)
      size = size << 8 | static_cast<std::uint8_t>(bytes[static_cast<std::size_t>(i)]);
    take(bytes.substr(4, size));
    bytes.remove_prefix(std::min<std::size_t>(bytes.size(), 4 + std::size_t{size}));
  }
}

}  // namespace espy::service
