#include "model/model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <limits>
#include <memory>

#include "base/digest.h"
#include "base/file.h"
#include "base/hex.h"
#include "model/file_version.h"
#include "model/recipe.h"
#include "model/synthetic.h"
#include "nn/predictor.h"

namespace espy::model {
namespace {

Model softmax_model() { return *Model::create(make_content(softmax_architecture())); }

std::vector<float> logits(const Model& model) {
  const auto predictor = *nn::Predictor::create(model.network());
  std::vector<float> input(2 * image::kInputSide * image::kInputSide);
  for (std::size_t i = 0; i < input.size(); ++i) input[i] = static_cast<float>(i * 37 % 256) / 255.0f;
  const std::span<const float> result = predictor->logits(input, 2);
  return {result.begin(), result.end()};
}

// Replaces the last `from` by an equally long `to` and gives the file its right version again: what a
// stranger who knows the format could write.
std::string forged(std::string file, std::string_view from, std::string_view to) {
  const std::size_t place = file.rfind(from);
  EXPECT_NE(place, std::string::npos);
  EXPECT_EQ(from.size(), to.size());
  file.replace(place, from.size(), to);
  return with_version(std::move(file));
}

void expect_error(const Result<Model>& model, ErrorCode code, std::string_view part) {
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().code, code) << model.error().message;
  EXPECT_NE(model.error().message.find(part), std::string::npos) << model.error().message;
}

TEST(Model, ComesBackFromItsFileWithEqualLogitsBitForBit) {
  for (const std::string_view recipe : {"softmax", "mlp", "deep"}) {
    const Result<Model> made = Model::create(make_content(find_recipe(recipe)->architecture));
    ASSERT_TRUE(made) << made.error().message;
    const Result<Model> read = Model::parse(as_bytes(made->file()));
    ASSERT_TRUE(read) << read.error().message;
    const std::vector<float> expected = logits(*made);
    const std::vector<float> found = logits(*read);
    ASSERT_EQ(expected.size(), found.size());
    EXPECT_EQ(std::memcmp(expected.data(), found.data(), expected.size() * sizeof(float)), 0) << recipe;
    EXPECT_EQ(nn::to_string(read->network().architecture), nn::to_string(made->network().architecture));
  }
}

TEST(Model, ComesBackFromItsFileWithEverythingElse) {
  const Model made = softmax_model();
  const Result<Model> read = Model::parse(as_bytes(made.file()));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->file(), made.file());
  EXPECT_EQ(read->full_version(), made.full_version());
  EXPECT_EQ(read->preparation(), image::Preparation::digit);
  EXPECT_EQ(read->class_names(), digit_names());
  EXPECT_EQ(read->recipe(), "softmax");
  EXPECT_EQ(read->metrics(), made.metrics());
}

nn::Architecture residual_architecture() {
  return {.input = {1, image::kInputSide, image::kInputSide},
          .layers = {nn::Convolution{16, 6, 2, nn::Bias::none}, nn::BatchNorm{}, nn::Relu{},
                     nn::Convolution{16, 3, 1, nn::Bias::none}, nn::BatchNorm{}, nn::Relu{}, nn::Residual{3},
                     nn::MaxPool{}, nn::MeanMaxPool{}, nn::Dense{10}}};
}

TEST(Model, FoldsBatchNormsAndComesBackWithEqualLogits) {
  const ModelContent content{.network = *nn::initialize(residual_architecture(), nn::HeNormal{}, 3),
                             .preparation = image::Preparation::digit,
                             .class_names = digit_names(),
                             .recipe = "small",
                             .metrics = {}};
  const Result<Model> made = Model::create(content);
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(nn::to_string(made->network().architecture),
            "conv 6x6x16 stride 2, relu, conv 3x3x16, relu, residual 2, pool, mean max pool, dense 10");
  EXPECT_EQ(made->file().find("BatchNorm"), std::string::npos);
  const Result<Model> read = Model::parse(as_bytes(made->file()));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(nn::to_string(read->network().architecture), nn::to_string(made->network().architecture));
  EXPECT_EQ(logits(*made), logits(*read));
  EXPECT_EQ(
      Model::create({read->network(), read->preparation(), read->class_names(), read->recipe(), {}})->file(),
      made->file());
}

TEST(Model, HoldsItsParametersInHalfTheBytesWhereItIsTold) {
  ModelContent content = make_content(softmax_architecture());
  content.network = *nn::initialize(residual_architecture(), nn::HeNormal{}, 3);
  const Model single = *Model::create(content);
  content.parameter_type = ParameterType::f16;
  const Result<Model> made = Model::create(content);
  ASSERT_TRUE(made) << made.error().message;
  std::size_t parameters = 0;
  for (const nn::Tensor& parameter : made->network().parameters) parameters += parameter.values.size();
  EXPECT_LT(made->file().size(), 2 * parameters + 4000);
  const Result<Model> read = Model::parse(as_bytes(made->file()));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->file(), made->file());
  EXPECT_EQ(read->parameter_type(), ParameterType::f16);
  EXPECT_EQ(logits(*made), logits(*read));
  const std::vector<float> exact = logits(single);
  const std::vector<float> rounded = logits(*read);
  for (std::size_t i = 0; i < exact.size(); ++i) {
    EXPECT_NE(rounded[i], exact[i]);
    EXPECT_NEAR(rounded[i], exact[i], 0.01F * std::abs(exact[i]));
  }
  // One tensor of another type than the others; a cast to something else; a cast that leads nowhere.
  const std::string& file = made->file();
  EXPECT_FALSE(Model::parse(as_bytes(forged(file, {"\x10\x0a", 2}, {"\x10\x01", 2}))));
  expect_error(Model::parse(as_bytes(forged(file, {"\x02to\x18\x01", 5}, {"\x02to\x18\x0a", 5}))),
               ErrorCode::invalid_input, "is not one that espy writes");
  expect_error(Model::parse(as_bytes(forged(file, "weights_float16", "weights_float15"))),
               ErrorCode::invalid_input, "has no tensor Gemm_7_weights_float16");
}

TEST(Model, RefusesParametersThatTheirTypeCannotHold) {
  ModelContent content = make_content(softmax_architecture());
  content.network.parameters[0].values[3] = 70000;
  ASSERT_TRUE(Model::create(content));
  content.parameter_type = ParameterType::f16;
  expect_error(Model::create(content), ErrorCode::invalid_input, "tensor 0 has values that are not finite");
}

TEST(Model, RefusesForgedResidualsAndPools) {
  const nn::Network folded = *nn::for_inference(*nn::initialize(residual_architecture(), nn::HeNormal{}, 3));
  const std::string file = Model::create(make_content(folded.architecture))->file();
  // The second input of the Add becomes an unknown one.
  const std::size_t add = file.find("Add_4");
  ASSERT_NE(add, std::string::npos);
  std::string changed = file;
  const std::size_t place = changed.rfind("Relu_1", add);
  ASSERT_NE(place, std::string::npos);
  changed.replace(place, 6, "Relu_9");
  EXPECT_FALSE(Model::parse(as_bytes(with_version(changed))));
  changed = file;
  changed.replace(changed.find("GlobalMaxPool"), 13, "GlobalMinPool");
  expect_error(Model::parse(as_bytes(with_version(changed))), ErrorCode::invalid_input,
               "is not one that espy writes");
}

TEST(Model, LeavesDropoutOutOfTheFile) {
  const Result<Model> made = Model::create(make_content(find_recipe("deep")->architecture));
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(made->file().find("Dropout"), std::string::npos);
  EXPECT_EQ(nn::to_string(made->network().architecture).find("dropout"), std::string::npos);
}

TEST(Model, VersionIsTheHashOfTheFileWithItsDigitsZeroed) {
  const Model model = softmax_model();
  std::string file = model.file();
  const std::size_t place = file.find(model.full_version());
  ASSERT_NE(place, std::string::npos);
  file.replace(place, 64, 64, '0');
  EXPECT_EQ(to_hex(sha256(as_bytes(file))), model.full_version());
  EXPECT_EQ(model.version(), model.full_version().substr(0, 12));
}

TEST(Model, VersionFollowsFromTheContent) {
  ModelContent content = make_content(softmax_architecture());
  EXPECT_EQ(Model::create(content)->version(), softmax_model().version());
  content.network.parameters[1].values[3] += 1.0f;
  EXPECT_NE(Model::create(content)->version(), softmax_model().version());
}

TEST(Model, RefusesEveryTruncation) {
  const std::string file = softmax_model().file();
  for (std::size_t size = 0; size < file.size(); ++size) {
    const Result<Model> model = Model::parse(as_bytes(file).first(size));
    ASSERT_FALSE(model) << size;
    // The first bytes do not yet say that espy wrote them.
    const ErrorCode expected = size < 8 ? ErrorCode::invalid_input : ErrorCode::corrupt;
    ASSERT_EQ(model.error().code, expected) << size << ": " << model.error().message;
  }
}

TEST(Model, RefusesEveryChangedBit) {
  std::string file = softmax_model().file();
  // Every bit of the start and of the metadata at the end, and samples of the weights between.
  for (std::size_t i = 0; i < file.size(); i += i < 200 || i + 700 > file.size() ? 1 : 211) {
    for (int bit = 0; bit < 8; ++bit) {
      file[i] = static_cast<char>(file[i] ^ (1 << bit));
      const Result<Model> model = Model::parse(as_bytes(file));
      ASSERT_FALSE(model) << "byte " << i << " bit " << bit;
      ASSERT_TRUE(model.error().code == ErrorCode::corrupt || model.error().code == ErrorCode::invalid_input);
      file[i] = static_cast<char>(file[i] ^ (1 << bit));
    }
  }
  EXPECT_TRUE(Model::parse(as_bytes(file)));
}

TEST(Model, SaysThatAChangedWeightIsDamage) {
  std::string file = softmax_model().file();
  file[file.size() / 2] = static_cast<char>(file[file.size() / 2] ^ 1);
  expect_error(Model::parse(as_bytes(file)), ErrorCode::corrupt, "was changed");
}

TEST(Model, SaysThatBytesAfterTheEndAreDamage) {
  expect_error(Model::parse(as_bytes(softmax_model().file() + '\0')), ErrorCode::corrupt,
               "cut off or changed");
  expect_error(Model::parse(as_bytes(softmax_model().file() + softmax_model().file())), ErrorCode::corrupt,
               "no single espy.version");
}

TEST(Model, TellsForeignOnnxFromWhatIsNotOnnx) {
  // ir_version 7, producer_name "pytorch", an empty graph.
  expect_error(Model::parse(as_bytes("\x08\x07\x12\x07pytorch\x3a" + std::string(1, '\0'))),
               ErrorCode::invalid_input, "espy did not write");
  expect_error(Model::parse({}), ErrorCode::invalid_input, "not an ONNX file (0 bytes)");
  expect_error(Model::parse(as_bytes("\x89PNG\r\n\x1a\n")), ErrorCode::invalid_input, "not an ONNX file");
  expect_error(Model::parse(as_bytes("not a model at all\n")), ErrorCode::invalid_input, "not an ONNX file");
}

TEST(Model, RefusesAForgedFileWithAnotherInputShape) {
  // The last dimension { dim_value: 28 } becomes 29.
  expect_error(Model::parse(as_bytes(
                   forged(softmax_model().file(), {"\x0a\x02\x08\x1c", 4}, {"\x0a\x02\x08\x1d", 4}))),
               ErrorCode::invalid_input, "model's input is [batch, 1, 28, 29]");
}

TEST(Model, RefusesAForgedFileWithALayerThatItDoesNotKnow) {
  const std::string file = Model::create(make_content(find_recipe("mlp")->architecture))->file();
  expect_error(Model::parse(as_bytes(forged(file, {"\x22\x04Relu", 6}, {"\x22\x04Tanh", 6}))),
               ErrorCode::invalid_input, "does not know the operator Tanh");
  // transA instead of transB.
  expect_error(Model::parse(as_bytes(forged(file, "transB", "transA"))), ErrorCode::invalid_input,
               "is not one that espy writes");
}

TEST(Model, RefusesAForgedFileWhoseTensorsDoNotFit) {
  const std::string file = softmax_model().file();
  // dims [10, 784] become [10, 785].
  expect_error(Model::parse(as_bytes(forged(file, {"\x08\x0a\x08\x90\x06", 5}, {"\x08\x0a\x08\x91\x06", 5}))),
               ErrorCode::invalid_input, "has not the shape");
  // dims [10] become [9]: of the bias, which is the last tensor.
  expect_error(Model::parse(as_bytes(forged(file, {"\x08\x0a\x10\x01", 4}, {"\x08\x09\x10\x01", 4}))),
               ErrorCode::invalid_input, "has not the shape");
}

TEST(Model, RefusesForgedMetadata) {
  const std::string file = softmax_model().file();
  expect_error(Model::parse(as_bytes(forged(file,
                                            "\x05"
                                            "digit",
                                            "\x05"
                                            "pixel"))),
               ErrorCode::invalid_input, "does not know the preparation pixel");
  expect_error(Model::parse(as_bytes(forged(file, "espy.labels", "espy.labelz"))), ErrorCode::invalid_input,
               "has no espy.labels");
  expect_error(Model::parse(as_bytes(forged(file, "8\n9", "8\n8"))), ErrorCode::invalid_input,
               "8 is there twice");
  expect_error(Model::parse(as_bytes(forged(file, "8\n9", "809"))), ErrorCode::invalid_input,
               "output is [10], but it has 9 class names");
  expect_error(Model::parse(as_bytes(forged(file, "seed=1", "seed:1"))), ErrorCode::invalid_input,
               "without '='");
}

TEST(Model, RefusesAFileThatIsTooLargeBeforeReadingIt) {
  const std::size_t size = kMaxModelBytes + 1;
  const std::unique_ptr<std::byte[]> untouched(new std::byte[size]);
  expect_error(Model::parse({untouched.get(), size}), ErrorCode::too_large, "limit is 1073741824");
}

TEST(Model, RefusesMoreStructureThanItsMemoryIsWorth) {
  ModelContent content = make_content(softmax_architecture());
  content.recipe = std::string(kMaxStructureBytes, 'x');
  expect_error(Model::create(content), ErrorCode::invalid_input, "besides its tensors");
}

TEST(Model, RefusesContentThatDoesNotFitTogether) {
  ModelContent content = make_content(softmax_architecture());
  content.class_names.pop_back();
  expect_error(Model::create(content), ErrorCode::invalid_input, "output is [10], but it has 9 class names");

  content = make_content({.input = {3, 28, 28}, .layers = {nn::Flatten{}, nn::Dense{10}}});
  expect_error(Model::create(content), ErrorCode::invalid_input,
               "input is [3, 28, 28], espy's is [1, 28, 28]");

  content = make_content(softmax_architecture());
  content.network.parameters.pop_back();
  expect_error(Model::create(content), ErrorCode::invalid_input, "1 tensors, its layers need 2");

  content = make_content(softmax_architecture());
  content.network.parameters[1].values[0] = std::numeric_limits<float>::quiet_NaN();
  expect_error(Model::create(content), ErrorCode::invalid_input, "tensor 1 has values that are not finite");
}

TEST(Model, RefusesClassNamesThatTheFileCannotHold) {
  ModelContent content = make_content(softmax_architecture());
  content.class_names[4] = "";
  expect_error(Model::create(content), ErrorCode::invalid_input, "class name 4 is empty");
  content.class_names[4] = "3";
  expect_error(Model::create(content), ErrorCode::invalid_input, "class name 3 is there twice");
  content.class_names[4] = "4\n5";
  expect_error(Model::create(content), ErrorCode::invalid_input, "class name 4 has a line break");
}

TEST(Model, IsSavedAndLoaded) {
  const std::filesystem::path path = std::filesystem::path(testing::TempDir()) / "espy_model_test.onnx";
  const Model model = softmax_model();
  ASSERT_TRUE(model.save(path));
  const Result<Model> loaded = Model::load(path);
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_EQ(loaded->file(), model.file());

  ASSERT_TRUE(write_file(path, as_bytes(model.file()).first(1000)));
  expect_error(Model::load(path), ErrorCode::corrupt, path.string() + ": model file was cut off");
  std::filesystem::remove(path);
  expect_error(Model::load(path), ErrorCode::not_found, path.string());
}

}  // namespace
}  // namespace espy::model
