// Records as comma-separated values (RFC 4180): a heading, CRLF after each line.
#pragma once

#include <string>
#include <string_view>

#include "store/record.h"

namespace espy::cli {

// Returns a field, in quotes where it needs them. Nothing else is changed: a spreadsheet may take a text that
// begins with =, +, - or @ for a formula.
std::string csv_field(std::string_view text);

// Returns the names of the columns.
std::string csv_heading();

std::string csv_line(const store::Record& record);

}  // namespace espy::cli
