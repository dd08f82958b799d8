#include "model/onnx_fields.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/file.h"
#include "model/model.h"

namespace espy::model {
namespace {

Model make_model() {
  const nn::Architecture architecture{{1, 28, 28}, {nn::Flatten{}, nn::Dense{3}}};
  return *Model::create({.network = *nn::initialize(architecture, nn::GlorotUniform{}, 1),
                         .preparation = image::Preparation::digit,
                         .class_names = {"a", "b", "c"},
                         .recipe = "softmax",
                         .metrics = {}});
}

TEST(OnnxFields, SplitsTheTensorsFromTheRest) {
  const Model model = make_model();
  const SplitFile split = split_tensors(as_bytes(model.file()));
  ASSERT_EQ(split.tensors.size(), 2U);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_TRUE(
        std::ranges::equal(split.tensors[i], std::as_bytes(std::span(model.network().parameters[i].values))));
  }
  EXPECT_LT(split.structure.size(), model.file().size() - 3 * 784 * sizeof(float));
  EXPECT_NE(split.structure.find("espy.version"), std::string::npos);
  // What has no tensors stays as it is.
  EXPECT_EQ(split_tensors(as_bytes(split.structure)).structure, split.structure);
  EXPECT_TRUE(split_tensors(as_bytes(split.structure)).tensors[0].empty());
}

TEST(OnnxFields, EndsWhereTheFileBreaks) {
  const std::string file = make_model().file();
  for (std::size_t size = 0; size < file.size(); size += 7) {
    const SplitFile split = split_tensors(as_bytes(file).first(size));
    EXPECT_LE(split.structure.size(), size);
  }
}

}  // namespace
}  // namespace espy::model
