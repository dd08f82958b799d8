// Whole files, read with a limit and written so that a crash leaves the old or the new one, never a part.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

#include "base/descriptor.h"
#include "base/result.h"

namespace espy {

// Returns the file's bytes. "-" is standard input.
// Errors: not_found (no such file), too_large (more than max_bytes), invalid_input (a folder),
// unavailable (any other reason that the system gives).
Result<std::string> read_file(const std::filesystem::path& path, std::size_t max_bytes);

// A file that appears under its name when it is complete: until then it is ".NAME.part" beside it, locked
// against other writers, and what stood under the name stays there. All that a death in the middle can leave
// is that one file, and the next write replaces it. Threads: one at a time.
class NewFile {
 public:
  // Errors, here and below: unavailable, with the system's reason, also while another process or thread
  // writes the same path.
  static Result<NewFile> create(const std::filesystem::path& path);

  NewFile(NewFile&&) = default;
  NewFile& operator=(NewFile&&) = delete;
  ~NewFile();  // without finish() before it, nothing was written

  // Writes the bytes behind those before them.
  Result<void> append(std::span<const std::byte> bytes);

  // Fsyncs the file, renames it over path and fsyncs the folder. Nothing may be called after it.
  Result<void> finish();

 private:
  NewFile(std::filesystem::path path, std::filesystem::path part, Descriptor file);

  std::filesystem::path path_;
  std::filesystem::path part_;
  Descriptor file_;  // of nothing, once the part is the file or is gone
};

// Writes a new file with these bytes. Errors: as NewFile; path then still holds what it held.
Result<void> write_file(const std::filesystem::path& path, std::span<const std::byte> bytes);

// The bytes of a text, for the functions that take bytes.
inline std::span<const std::byte> as_bytes(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace espy
