#include "model/dataset.h"

#include <algorithm>
#include <array>
#include <optional>
#include <system_error>
#include <utility>

#include "base/file.h"
#include "base/format.h"
#include "base/processors.h"
#include "model/parallel.h"

namespace espy::model {
namespace {

constexpr int kClasses = 10;

// Of a file, and of the inputs that come from it; twenty times MNIST.
constexpr std::size_t kMaxBytes = std::size_t{1} << 30;

// What is known of a data set besides its files.
struct Description {
  std::string_view name;
  image::Preparation preparation;
  std::array<std::string_view, kClasses> class_names;
};

constexpr Description kDigits = {
    "mnist", image::Preparation::digit, {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}};

// Class names: Xiao, Rasul, Vollgraf, "Fashion-MNIST", 2017, table 2, as the project's README spells them.
constexpr Description kGarments = {"fashion-mnist",
                                   image::Preparation::garment,
                                   {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt",
                                    "Sneaker", "Bag", "Ankle boot"}};

bool is_known(std::string_view name) { return name == kDigits.name || name == kGarments.name; }

// A folder that nothing is known of holds digits.
const Description& describe(std::string_view name) { return name == kGarments.name ? kGarments : kDigits; }

std::string_view images_name(Split split) {
  return split == Split::train ? "train-images-idx3-ubyte" : "t10k-images-idx3-ubyte";
}

std::string_view labels_name(Split split) {
  return split == Split::train ? "train-labels-idx1-ubyte" : "t10k-labels-idx1-ubyte";
}

// Returns the file, plain or gzipped.
std::optional<std::filesystem::path> find_file(const std::filesystem::path& folder, std::string_view name) {
  for (const std::string_view ending : {"", ".gz"}) {
    std::filesystem::path path = folder / format("{}{}", name, ending);
    std::error_code ignored;  // what cannot be looked at is not there
    if (std::filesystem::is_regular_file(path, ignored)) return path;
  }
  return std::nullopt;
}

struct Files {
  std::filesystem::path images;
  std::filesystem::path labels;
};

// Returns the files of the first folder that has both.
Result<Files> find_files(std::string_view data, Split split, std::span<const std::filesystem::path> folders) {
  std::string places;
  for (const std::filesystem::path& folder : folders) {
    const auto images = find_file(folder, images_name(split));
    const auto labels = find_file(folder, labels_name(split));
    if (images && labels) return Files{*images, *labels};
    places += format("{}{}", places.empty() ? "" : ", ", folder.string());
  }
  return Error{ErrorCode::not_found,
               format("there is no data set {}: no {} and {} (or with .gz) in {}", data, images_name(split),
                      labels_name(split), places.empty() ? "any folder, as none was named" : places)};
}

Result<Idx> load_idx(const std::filesystem::path& path, std::size_t dimensions) {
  const Result<std::string> file = read_file(path, kMaxBytes);
  if (!file) return file.error();
  Result<Idx> idx = parse_idx(as_bytes(*file));
  if (!idx) return Error{idx.error().code, format("{}: {}", path.string(), idx.error().message)};
  if (idx->sizes.size() != dimensions) {
    return Error{ErrorCode::corrupt, format("{}: expected {} dimensions, found {}", path.string(), dimensions,
                                            idx->sizes.size())};
  }
  return idx;
}

// `images` is [count, rows, columns] with light ink on black, as MNIST has it.
std::vector<image::Input> prepare(const Idx& images, image::Preparation preparation) {
  const std::size_t pixels = std::size_t{images.sizes[1]} * images.sizes[2];
  std::vector<image::Input> inputs(images.sizes[0]);
  image::GrayImage picture{static_cast<int>(images.sizes[2]), static_cast<int>(images.sizes[1]), {}};
  constexpr std::size_t kPart = 500;
  const int threads = usable_processors();
  for_each_part(inputs.size(), kPart, threads, [&, picture](std::size_t first, std::size_t last) mutable {
    for (std::size_t i = first; i < last; ++i) {
      const auto begin = images.values.begin() + static_cast<std::ptrdiff_t>(i * pixels);
      picture.pixels.assign(begin, begin + static_cast<std::ptrdiff_t>(pixels));
      inputs[i] = image::prepare(picture, preparation);
    }
  });
  return inputs;
}

}  // namespace

Result<Dataset> load_dataset(std::string_view data, Split split,
                             std::span<const std::filesystem::path> search,
                             std::optional<image::Preparation> preparation) {
  std::vector<std::filesystem::path> folders;
  std::string name(data);
  if (is_known(data)) {
    for (const std::filesystem::path& folder : search) folders.push_back(folder / data);
  } else {
    folders.emplace_back(data);
    // "a/mnist/" and "." have names too.
    std::error_code ignored;
    const auto whole = std::filesystem::weakly_canonical(data, ignored);
    if (!whole.filename().empty()) name = whole.filename();
  }
  const Result<Files> files = find_files(data, split, folders);
  if (!files) return files.error();

  const Result<Idx> images = load_idx(files->images, 3);
  if (!images) return images.error();
  Result<Idx> labels = load_idx(files->labels, 1);
  if (!labels) return std::move(labels).error();

  const auto [count, rows, columns] = std::array{images->sizes[0], images->sizes[1], images->sizes[2]};
  if (count == 0 || rows == 0 || columns == 0) {
    return Error{ErrorCode::corrupt, format("{}: {} images of {}x{}, expected at least one of 1x1",
                                            files->images.string(), count, columns, rows)};
  }
  if (count > kMaxBytes / sizeof(image::Input)) {
    return Error{ErrorCode::too_large, format("{}: {} images, limit is {}", files->images.string(), count,
                                              kMaxBytes / sizeof(image::Input))};
  }
  if (count != labels->sizes[0]) {
    return Error{ErrorCode::corrupt, format("{}: expected {} labels, one for each image, found {}",
                                            files->labels.string(), count, labels->sizes[0])};
  }
  const auto highest = std::ranges::max_element(labels->values);
  if (*highest >= kClasses) {
    return Error{ErrorCode::corrupt, format("{}: label {} of sample {} is over {}", files->labels.string(),
                                            *highest, highest - labels->values.begin(), kClasses - 1)};
  }
  const Description& description = describe(name);
  const image::Preparation chosen = preparation.value_or(description.preparation);
  return Dataset{.name = std::move(name),
                 .preparation = chosen,
                 .class_names = {description.class_names.begin(), description.class_names.end()},
                 .inputs = prepare(*images, chosen),
                 .labels = std::move(labels->values)};
}

std::vector<std::filesystem::path> data_folders(std::string_view espy_data, std::string_view xdg_cache_home,
                                                std::string_view home) {
  std::vector<std::filesystem::path> folders;
  if (!espy_data.empty()) folders.emplace_back(espy_data);
  if (!xdg_cache_home.empty()) {
    folders.push_back(std::filesystem::path(xdg_cache_home) / "espy");
  } else if (!home.empty()) {
    folders.push_back(std::filesystem::path(home) / ".cache" / "espy");
  }
  folders.emplace_back("/usr/share/datasets");
  return folders;
}

}  // namespace espy::model
