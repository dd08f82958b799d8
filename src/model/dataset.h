// Data sets: labelled pictures, read from the files they are published in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "image/gray_image.h"
#include "image/prepare.h"

namespace espy::model {

// The content of an idx file of unsigned bytes (the format of the MNIST page, "THE IDX FILE FORMAT"):
//   magic: 0x00 0x00 0x08 dimension_count; sizes: big-endian uint32[dimension_count]; values: uint8[product]
struct Idx {
  std::vector<std::uint32_t> sizes;
  std::vector<std::uint8_t> values;
};

// Reads an idx file, plain or gzipped.
// Errors: corrupt, with what was expected and what was found: wrong magic, an element type other than
// unsigned byte, missing or extra bytes, a broken gzip stream; too_large (over 1 GiB of values).
Result<Idx> parse_idx(std::span<const std::byte> file);

enum class Split { train, test };

struct Dataset {
  std::string name;
  image::Preparation preparation;
  std::vector<std::string> class_names;
  std::vector<image::Input> inputs;  // through image::prepare
  std::vector<std::uint8_t> labels;  // below class_names.size(); as many as inputs
};

// Loads one split, through `preparation` where that is given instead of the data set's own: of "mnist",
// "fashion-mnist", or a folder of four idx files with MNIST's names. A folder is read itself; a name is
// looked for as NAME inside each of the `search` folders (data_folders()). Each of the four file names may
// end in ".gz". Errors: not_found (with every place that was looked in), corrupt (as parse_idx; images and
// labels that do not match; a label over 9).
Result<Dataset> load_dataset(std::string_view data, Split split,
                             std::span<const std::filesystem::path> search,
                             std::optional<image::Preparation> preparation = std::nullopt);

// Returns where named data sets are looked for, in order: $ESPY_DATA, the user's cache ($XDG_CACHE_HOME/espy
// or
// ~/.cache/espy), /usr/share/datasets. The arguments are the values of the environment
// variables, empty when unset.
std::vector<std::filesystem::path> data_folders(std::string_view espy_data, std::string_view xdg_cache_home,
                                                std::string_view home);

}  // namespace espy::model
