// Runs a fuzz target over files that already exist: replay FILE_OR_FOLDER...
// libFuzzer's main does the same and more, but only clang has it; this one makes every corpus an ordinary
// test.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "base/file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

constexpr std::size_t kMaxFileBytes = std::size_t{64} << 20;

bool replay(const std::filesystem::path& file) {
  const espy::Result<std::string> content = espy::read_file(file, kMaxFileBytes);
  if (!content) {
    std::fprintf(stderr, "%s\n", content.error().message.c_str());
    return false;
  }
  // Of exactly the input's size, so that the address sanitizer sees a read of the byte after it.
  const std::vector<std::uint8_t> input(content->begin(), content->end());
  LLVMFuzzerTestOneInput(input.data(), input.size());
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  int files = 0;
  for (int i = 1; i < argc; ++i) {
    if (!std::filesystem::is_directory(argv[i])) {
      if (!replay(argv[i])) return 1;
      ++files;
      continue;
    }
    for (const auto& entry : std::filesystem::recursive_directory_iterator(argv[i])) {
      if (!entry.is_regular_file()) continue;
      if (!replay(entry.path())) return 1;
      ++files;
    }
  }
  std::printf("replayed %d files\n", files);
  return files > 0 ? 0 : 1;  // an empty corpus tests nothing
}
