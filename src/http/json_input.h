// JSON that others write (RFC 8259).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace espy::http {

// The body of POST /api/history/{id}/correction.
struct CorrectionInput {
  int label = 0;
  std::string author;  // at most 255 bytes
  std::string note;    // at most 4,000 bytes
};

// Reads {"label": 3, "author": "...", "note": "..."}, at most 64 KiB; author and note may be left out,
// nothing else may be there. Errors: invalid_input.
Result<CorrectionInput> parse_correction(std::string_view json);

// The body of POST /api/models/{name}/default.
struct VersionInput {
  std::optional<std::int64_t> version;  // nothing only where a label is taken away
  std::optional<std::string> label;
};

// Reads {"version": 2}, or {"label": "canary", "version": 2 or null}. Errors: invalid_input.
Result<VersionInput> parse_version(std::string_view json);

// Reads an object whose members are texts with exactly these names, in any order; returns the texts in the
// order of the names. Errors: invalid_input.
Result<std::vector<std::string>> parse_texts(std::string_view json, std::span<const std::string_view> names);

}  // namespace espy::http
