// Lines of an export in full: as CSV when they do not begin with a brace.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "cli/archive.h"
#include "cli/csv.h"
#include "http/json_input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view line(reinterpret_cast<const char*>(data), size);
  const auto values = line.starts_with('{') ? espy::http::parse_texts(line, espy::cli::archive_fields())
                                            : espy::cli::parse_csv_line(line);
  if (!values || values->size() != espy::cli::archive_fields().size()) return 0;
  const auto read = espy::cli::from_archive(*values);
  if (!read || !read->entry) return 0;
  std::vector<espy::store::Correction> corrections;
  if (read->correction) corrections.push_back(*read->correction);
  const auto lines = espy::cli::to_archive(read->entry->record, read->entry->upload, corrections);
  const auto again = espy::cli::from_archive(lines.front());
  if (!again || again->entry->record != read->entry->record || again->correction != read->correction) {
    std::abort();
  }
  return 0;
}
