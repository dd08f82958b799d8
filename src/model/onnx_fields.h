// The outermost structure of an ONNX file, without taking its tensors apart.
//
// Of the protobuf wire format (protobuf.dev, "Encoding") it needs only that a message is a row of fields:
//   message: field*
//   field:   key varint | key byte[8] | key length byte[length] | key byte[4]     (wire types 0, 1, 2, 5)
//   key:     varint, field number << 3 | wire type
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace espy::model {

using Bytes = std::span<const std::byte>;

// Field numbers of onnx.proto.
inline constexpr std::uint64_t kModelIrVersion = 1;
inline constexpr std::uint64_t kModelProducerName = 2;
inline constexpr std::uint64_t kModelGraph = 7;
inline constexpr std::uint64_t kModelMetadataProps = 14;
inline constexpr std::uint64_t kGraphInitializer = 5;
inline constexpr std::uint64_t kTensorRawData = 9;
inline constexpr std::uint64_t kEntryKey = 1;
inline constexpr std::uint64_t kEntryValue = 2;

struct Field {
  std::uint64_t number;
  bool has_content;  // wire type 2
  Bytes content;     // of wire type 2; empty for a number
  Bytes whole;       // with key and length
};

// Walks over the fields of one message.
class Fields {
 public:
  explicit Fields(Bytes message) : rest_(message) {}

  // Returns nothing at the end, and where the message is broken.
  std::optional<Field> next();

  bool broken() const { return broken_; }

 private:
  std::uint64_t varint();
  Bytes take(std::uint64_t count);

  Bytes rest_;
  bool broken_ = false;
};

// A file whose tensors' values lie beside it, for a parser that would copy them.
struct SplitFile {
  std::string structure;       // the file without them
  std::vector<Bytes> tensors;  // of each initializer in its order, inside the file; empty where it has none
};

// Returns the parts of a file; of one that is broken, those before the break.
SplitFile split_tensors(Bytes file);

}  // namespace espy::model
