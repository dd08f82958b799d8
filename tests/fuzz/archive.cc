// Lines of an export in full: as CSV when they do not begin with a brace.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "cli/archive.h"
#include "cli/csv.h"
#include "http/json_input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view line(reinterpret_cast<const char*>(data), size);
  const auto values = line.starts_with('{') ? espy::http::parse_texts(line, espy::cli::archive_fields())
                                            : espy::cli::parse_csv_line(line);
  if (!values || values->size() != espy::cli::archive_fields().size()) return 0;
  const auto entry = espy::cli::from_archive(*values);
  if (!entry) return 0;
  const auto again = espy::cli::from_archive(espy::cli::to_archive(entry->record, entry->upload));
  if (!again || again->record != entry->record) std::abort();
  return 0;
}
