// Records as comma-separated values (RFC 4180): a heading, CRLF after each line.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "store/record.h"

namespace espy::cli {

// Returns a field, in quotes where it needs them. Nothing else is changed: a spreadsheet may take a text that
// begins with =, +, - or @ for a formula.
std::string csv_field(std::string_view text);

// Returns the names of the columns.
std::string csv_heading();

std::string csv_line(const store::Record& record);

// Whether the text, the beginning of a line, ends inside quotes: then the line break behind it belongs to a
// field.
bool ends_inside_quotes(std::string_view text);

// Reads one line without its line break. Errors: invalid_input (quotes that do not fit).
Result<std::vector<std::string>> parse_csv_line(std::string_view line);

}  // namespace espy::cli
