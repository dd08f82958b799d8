#include "model/dataset.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "image/prepare.h"

namespace espy::model {
namespace {

namespace fs = std::filesystem;

std::string big_endian(std::uint32_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16), static_cast<char>(value >> 8),
          static_cast<char>(value)};
}

// `count` images of 28x28; image i has a block whose place and size change with i.
std::string images_file(std::uint32_t count) {
  std::string file = std::string("\0\0\x08\x03", 4) + big_endian(count) + big_endian(28) + big_endian(28);
  for (std::uint32_t i = 0; i < count; ++i) {
    std::string pixels(784, '\0');
    for (std::size_t row = 6; row < 20; ++row) {
      for (std::size_t column = 8; column < 12 + i % 8; ++column) pixels[row * 28 + column] = '\xf0';
    }
    file += pixels;
  }
  return file;
}

std::string labels_file(std::uint32_t count) {
  std::string file = std::string("\0\0\x08\x01", 4) + big_endian(count);
  for (std::uint32_t i = 0; i < count; ++i) file += static_cast<char>(i % 10);
  return file;
}

class DatasetTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::path(testing::TempDir()) / (std::string("espy_dataset_test_") +
                                            testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(root_);
  }
  void TearDown() override { fs::remove_all(root_); }

  // Both files of the training split.
  void write(const fs::path& folder, const std::string& images, const std::string& labels) {
    fs::create_directories(folder);
    ASSERT_TRUE(write_file(folder / "train-images-idx3-ubyte", as_bytes(images)));
    ASSERT_TRUE(write_file(folder / "train-labels-idx1-ubyte", as_bytes(labels)));
  }

  static void expect_error(const Result<Dataset>& data, ErrorCode code, const std::string& part) {
    ASSERT_FALSE(data);
    EXPECT_EQ(data.error().code, code);
    EXPECT_NE(data.error().message.find(part), std::string::npos) << data.error().message;
  }

  fs::path root_;
};

TEST_F(DatasetTest, FolderIsDigitsUnderItsOwnName) {
  write(root_ / "mine", images_file(12), labels_file(12));
  const Result<Dataset> data = load_dataset((root_ / "mine/").string(), Split::train, {});
  ASSERT_TRUE(data) << data.error().message;
  EXPECT_EQ(data->name, "mine");
  EXPECT_EQ(data->preparation, image::Preparation::digit);
  EXPECT_EQ(data->class_names.size(), 10U);
  EXPECT_EQ(data->class_names[3], "3");
  EXPECT_EQ(data->inputs.size(), 12U);
  EXPECT_EQ(data->labels[11], 1);
}

TEST_F(DatasetTest, InputsComeThroughPrepare) {
  const std::string images = images_file(1200);
  write(root_ / "mnist", images, labels_file(1200));
  const fs::path search[] = {root_};
  const Result<Dataset> data = load_dataset("mnist", Split::train, search);
  ASSERT_TRUE(data) << data.error().message;
  for (const std::size_t i : {std::size_t{0}, std::size_t{777}, std::size_t{1199}}) {
    const auto begin = images.begin() + 16 + static_cast<std::ptrdiff_t>(i * 784);
    const image::GrayImage picture{28, 28, {begin, begin + 784}};
    EXPECT_EQ(data->inputs[i], image::prepare(picture, image::Preparation::digit)) << i;
  }
}

TEST_F(DatasetTest, GarmentsHaveTheirNamesAndPreparation) {
  write(root_ / "fashion-mnist", images_file(10), labels_file(10));
  const fs::path search[] = {root_};
  for (const std::string& name : {std::string("fashion-mnist"), (root_ / "fashion-mnist").string()}) {
    const Result<Dataset> data = load_dataset(name, Split::train, search);
    ASSERT_TRUE(data) << data.error().message;
    EXPECT_EQ(data->name, "fashion-mnist");
    EXPECT_EQ(data->preparation, image::Preparation::garment);
    EXPECT_EQ(data->class_names.front(), "T-shirt/top");
    EXPECT_EQ(data->class_names.back(), "Ankle boot");
  }
}

TEST_F(DatasetTest, FirstFolderThatHasItIsTaken) {
  write(root_ / "b" / "mnist", images_file(2), labels_file(2));
  write(root_ / "c" / "mnist", images_file(3), labels_file(3));
  const fs::path search[] = {root_ / "a", root_ / "b", root_ / "c"};
  const Result<Dataset> data = load_dataset("mnist", Split::train, search);
  ASSERT_TRUE(data) << data.error().message;
  EXPECT_EQ(data->inputs.size(), 2U);
}

TEST_F(DatasetTest, FolderWithHalfOfTheFilesIsPassedOver) {
  write(root_ / "b" / "mnist", images_file(2), labels_file(2));
  fs::remove(root_ / "b" / "mnist" / "train-labels-idx1-ubyte");
  write(root_ / "c" / "mnist", images_file(3), labels_file(3));
  const fs::path search[] = {root_ / "b", root_ / "c"};
  const Result<Dataset> data = load_dataset("mnist", Split::train, search);
  ASSERT_TRUE(data) << data.error().message;
  EXPECT_EQ(data->inputs.size(), 3U);
}

TEST_F(DatasetTest, EveryPlaceThatWasLookedInIsNamed) {
  const fs::path search[] = {root_ / "a", root_ / "b"};
  const Result<Dataset> data = load_dataset("mnist", Split::test, search);
  expect_error(data, ErrorCode::not_found, (root_ / "a" / "mnist").string());
  expect_error(data, ErrorCode::not_found, (root_ / "b" / "mnist").string());
  expect_error(data, ErrorCode::not_found, "t10k-images-idx3-ubyte");
  expect_error(load_dataset((root_ / "none").string(), Split::train, search), ErrorCode::not_found,
               (root_ / "none").string());
}

TEST_F(DatasetTest, ImagesAndLabelsMustMatch) {
  write(root_, images_file(3), labels_file(4));
  expect_error(load_dataset(root_.string(), Split::train, {}), ErrorCode::corrupt, "expected 3 labels");
  expect_error(load_dataset(root_.string(), Split::train, {}), ErrorCode::corrupt, "found 4");
}

TEST_F(DatasetTest, LabelOverNineIsRefused) {
  std::string labels = labels_file(3);
  labels.back() = 10;
  write(root_, images_file(3), labels);
  expect_error(load_dataset(root_.string(), Split::train, {}), ErrorCode::corrupt,
               "label 10 of sample 2 is over 9");
}

TEST_F(DatasetTest, BrokenFileIsNamed) {
  write(root_, images_file(3) + "x", labels_file(3));
  expect_error(load_dataset(root_.string(), Split::train, {}), ErrorCode::corrupt,
               "train-images-idx3-ubyte: idx file has extra bytes: expected 2352 values, found 2353");
  write(root_, labels_file(3), labels_file(3));
  expect_error(load_dataset(root_.string(), Split::train, {}), ErrorCode::corrupt,
               "expected 3 dimensions, found 1");
  write(root_, images_file(0), labels_file(0));
  expect_error(load_dataset(root_.string(), Split::train, {}), ErrorCode::corrupt, "0 images of 28x28");
}

TEST(DataFolders, FollowTheEnvironmentInOrder) {
  EXPECT_EQ(data_folders("/data", "/cache", "/home/me"),
            (std::vector<fs::path>{"/data", "/cache/espy", "/usr/share/datasets"}));
  EXPECT_EQ(data_folders("", "", "/home/me"),
            (std::vector<fs::path>{"/home/me/.cache/espy", "/usr/share/datasets"}));
  EXPECT_EQ(data_folders("", "", ""), (std::vector<fs::path>{"/usr/share/datasets"}));
}

}  // namespace
}  // namespace espy::model
