// Records in full as texts, so that an import gets back what was exported.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "store/record.h"

namespace espy::cli {

// The names of the fields, in order.
std::span<const std::string_view> archive_fields();

// What a line of an archive says: a record, with the first of its corrections if there is one, or a further
// correction of a record on a line before.
struct ArchiveLine {
  std::optional<store::Entry> entry = {};
  std::optional<store::Correction> correction = {};
};

// Returns the lines of a record as their fields' values: its own with the first correction, and one for each
// further correction, of which the record's other fields but its id are empty. `upload` is without bytes when
// none was kept; `corrections` are oldest first.
std::vector<std::vector<std::string>> to_archive(const store::Record& record, const store::Upload& upload,
                                                 std::span<const store::Correction> corrections);

enum class ArchiveFormat { csv, ndjson };

// Returns the values as a line of text, with its line break.
std::string archive_text(std::span<const std::string> values, ArchiveFormat archive_format);

// Reads a line that to_archive wrote. Errors: invalid_input, naming the field.
Result<ArchiveLine> from_archive(std::span<const std::string> values);

}  // namespace espy::cli
