#include "model/file_version.h"

#include <algorithm>

#include "base/digest.h"
#include "base/file.h"
#include "base/format.h"
#include "base/hex.h"
#include "model/onnx_fields.h"

namespace espy::model {
namespace {

bool equal(Bytes bytes, std::string_view text) {
  return std::ranges::equal(bytes, std::as_bytes(std::span(text)));
}

// What a file looks like from outside.
struct Outline {
  bool broken = false;  // somewhere, which ends the walk
  bool has_ir_version = false;
  bool has_graph = false;
  bool is_ours = false;
  int versions = 0;
  Bytes version;
  std::size_t tensor_bytes = 0;
};

Outline outline_of(Bytes file) {
  Outline outline;
  const auto walk = [&outline](Bytes message, auto visit) {
    Fields fields(message);
    while (const auto field = fields.next()) visit(*field);
    if (fields.broken()) outline.broken = true;
  };
  const auto visit_tensor = [&](const Field& field) {
    if (field.number == kTensorRawData) outline.tensor_bytes += field.content.size();
  };
  const auto visit_graph = [&](const Field& field) {
    if (field.number == kGraphInitializer) walk(field.content, visit_tensor);
  };
  const auto visit_entry = [&](Bytes entry) {
    Bytes key;
    Bytes value;
    walk(entry, [&](const Field& field) {
      if (field.number == kEntryKey) key = field.content;
      if (field.number == kEntryValue) value = field.content;
    });
    if (!equal(key, kVersionKey)) return;
    ++outline.versions;
    outline.version = value;
  };
  walk(file, [&](const Field& field) {
    switch (field.number) {
      case kModelIrVersion:
        outline.has_ir_version = true;
        break;
      case kModelProducerName:
        outline.is_ours = equal(field.content, kProducer);
        break;
      case kModelGraph:
        outline.has_graph = true;
        walk(field.content, visit_graph);
        break;
      case kModelMetadataProps:
        visit_entry(field.content);
        break;
      default:
        break;
    }
  });
  return outline;
}

// `version` lies in `file`.
std::string content_hash(Bytes file, Bytes version) {
  const auto place = static_cast<std::size_t>(version.data() - file.data());
  const std::string zeros(version.size(), '0');
  return to_hex(sha256({file.first(place), as_bytes(zeros), file.subspan(place + version.size())}));
}

}  // namespace

std::string with_version(std::string file) {
  const Outline outline = outline_of(as_bytes(file));
  if (outline.versions != 1 || outline.version.size() != kVersionDigits) return file;
  const auto place = outline.version.data() - as_bytes(file).data();
  const std::string version = content_hash(as_bytes(file), outline.version);
  std::ranges::copy(version, file.begin() + place);
  return file;
}

Result<std::string> verify_version(Bytes file) {
  if (file.size() > kMaxModelBytes) {
    return Error{ErrorCode::too_large,
                 format("model file has {} bytes, limit is {}", file.size(), kMaxModelBytes)};
  }
  const Outline outline = outline_of(file);
  const bool has_version = outline.versions == 1 && outline.version.size() == kVersionDigits;
  if (outline.is_ours && outline.broken) {
    return Error{ErrorCode::corrupt,
                 format("model file was cut off or changed: its structure breaks before its end at {} bytes",
                        file.size())};
  }
  if (outline.is_ours && !has_version) {
    return Error{ErrorCode::corrupt,
                 format("model file of {} bytes was cut off or changed: it has no single {} of {} digits",
                        file.size(), kVersionKey, kVersionDigits)};
  }
  if (outline.broken || !outline.has_ir_version || !outline.has_graph) {
    return Error{ErrorCode::invalid_input, format("not an ONNX file ({} bytes)", file.size())};
  }
  if (!has_version) {
    return Error{ErrorCode::invalid_input,
                 format("an ONNX file that espy did not write: it has no {}", kVersionKey)};
  }
  if (const std::size_t structure = file.size() - outline.tensor_bytes; structure > kMaxStructureBytes) {
    return Error{ErrorCode::invalid_input, format("model file has {} bytes besides its tensors, limit is {}",
                                                  structure, kMaxStructureBytes)};
  }
  std::string version(reinterpret_cast<const char*>(outline.version.data()), outline.version.size());
  if (const std::string hash = content_hash(file, outline.version); version != hash) {
    return Error{
        ErrorCode::corrupt,
        format("model file of {} bytes was changed: its content's version is {}, not the one it names",
               file.size(), hash)};
  }
  return version;
}

}  // namespace espy::model
