// Records in full as texts, so that an import gets back what was exported.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "store/record.h"

namespace espy::cli {

// The names of the fields, in order.
std::span<const std::string_view> archive_fields();

// Returns the fields' values; `upload` is without bytes when none was kept. Of corrections the newest goes
// along.
std::vector<std::string> to_archive(const store::Record& record, const store::Upload& upload);

// Reads what to_archive writes. Errors: invalid_input, naming the field.
Result<store::Entry> from_archive(std::span<const std::string> values);

}  // namespace espy::cli
