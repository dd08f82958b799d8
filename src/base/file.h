// Whole files, read with a limit and written so that a crash leaves the old or the new one, never a part.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

#include "base/result.h"

namespace espy {

// Returns the file's bytes. "-" is standard input.
// Errors: not_found (no such file), too_large (more than max_bytes), invalid_input (a folder),
// unavailable (any other reason that the system gives).
Result<std::string> read_file(const std::filesystem::path& path, std::size_t max_bytes);

// Writes ".NAME.part" beside path, fsyncs it, renames it over path and fsyncs the folder. All that a death in
// the middle can leave is that one file, and the next write replaces it. Errors: unavailable, with the
// system's reason, also while another process or thread writes the same path; path then still holds what it
// held.
Result<void> write_file(const std::filesystem::path& path, std::span<const std::byte> bytes);

// The bytes of a text, for the functions that take bytes.
inline std::span<const std::byte> as_bytes(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace espy
