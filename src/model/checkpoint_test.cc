#include "model/checkpoint.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/digest.h"
#include "base/file.h"
#include "base/format.h"
#include "model/synthetic.h"

namespace espy::model {
namespace {

Checkpoint make_checkpoint() {
  return {.training = {{"recipe", "mlp"}, {"seed", "1"}},
          .sums = {.epoch_loss = 2.5, .epoch_correct = 37, .elapsed = std::chrono::duration<double>(1.25)},
          .teachers = {{{1.5f}, {}}, {}},
          .state = {.steps = 12,
                    .parameters = {{1, -2.5f, 3e-42f}, {4}},
                    .first_moments = {{5, 6, 7}, {8}},
                    .second_moments = {{9, 10, 11}, {}}}};
}

// Puts the digest that fits at the end, in the place of the one that is there.
std::string with_digest(std::string file) {
  file.resize(file.size() - 32);
  const Sha256 digest = sha256(as_bytes(file));
  return file.append(digest.begin(), digest.end());
}

void expect_refused(const std::string& file, ErrorCode code, const std::string& piece) {
  const Result<Checkpoint> checkpoint = parse_checkpoint(as_bytes(file));
  ASSERT_FALSE(checkpoint) << piece;
  EXPECT_EQ(checkpoint.error().code, code);
  EXPECT_NE(checkpoint.error().message.find(piece), std::string::npos) << checkpoint.error().message;
}

TEST(Checkpoint, IsReadAsItWasWritten) {
  const Checkpoint checkpoint = make_checkpoint();
  const Result<Checkpoint> same = parse_checkpoint(as_bytes(serialize(checkpoint)));
  ASSERT_TRUE(same) << same.error().message;
  EXPECT_EQ(*same, checkpoint);
  EXPECT_EQ(*parse_checkpoint(as_bytes(serialize({}))), Checkpoint{});
}

TEST(Checkpoint, IsBelievedOnlyWholeAndUnchanged) {
  const std::string good = serialize(make_checkpoint());
  for (std::size_t length = 18; length < good.size(); ++length) {
    expect_refused(good.substr(0, length), ErrorCode::corrupt, "cut off");
  }
  for (std::size_t place = 18; place < good.size(); ++place) {
    std::string changed = good;
    changed[place] = static_cast<char>(changed[place] ^ 1);
    expect_refused(changed, ErrorCode::corrupt, "digest does not fit");
  }
  expect_refused(good + "x", ErrorCode::corrupt, "digest does not fit");
}

TEST(Checkpoint, HasSizesThatFitItsBytes) {
  const std::string good = serialize(make_checkpoint());
  for (std::size_t length = 18 + 32; length < good.size(); ++length) {
    expect_refused(with_digest(good.substr(0, length)), ErrorCode::corrupt, "sizes do not fit");
  }
  expect_refused(with_digest(good + "x"), ErrorCode::corrupt, "sizes do not fit");
  // Every byte of every size, made greater.
  for (std::size_t place = 18; place < good.size() - 32; ++place) {
    std::string changed = good;
    changed[place] = static_cast<char>(changed[place] + 100);
    const Result<Checkpoint> checkpoint = parse_checkpoint(as_bytes(with_digest(changed)));
    if (!checkpoint) continue;
    EXPECT_EQ(serialize(*checkpoint), with_digest(changed)) << place;
  }
}

TEST(Checkpoint, IsToldFromOtherFilesAndFormats) {
  expect_refused("", ErrorCode::invalid_input, "not a checkpoint");
  expect_refused("a letter, not a checkpoint", ErrorCode::invalid_input, "not a checkpoint");
  std::string newer = serialize(make_checkpoint());
  newer[16] = '3';
  expect_refused(newer, ErrorCode::invalid_input, "has format 3, this espy reads 2");
}

TEST(Checkpoint, IsSavedAndLoadedWithItsPathInEveryMessage) {
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / format("espy-checkpoint-test-{}", ::getpid());
  std::filesystem::create_directories(folder);
  ASSERT_TRUE(save_checkpoint(make_checkpoint(), folder / "good"));
  EXPECT_EQ(*load_checkpoint(folder / "good"), make_checkpoint());
  ASSERT_TRUE(write_file(folder / "letter", as_bytes("a letter")));
  for (const char* name : {"none", "letter"}) {
    const Result<Checkpoint> checkpoint = load_checkpoint(folder / name);
    ASSERT_FALSE(checkpoint);
    EXPECT_NE(checkpoint.error().message.find((folder / name).string()), std::string::npos);
  }
  std::filesystem::remove_all(folder);
}

TEST(TrainingIdentity, DiffersWhereTheModelWould) {
  const Dataset data = bars(40);
  const Recipe recipe = *find_recipe("mlp");
  const auto identity = [&](const Dataset& of_data, const Recipe& of_recipe) {
    return identify(of_data, of_recipe, 1, 2, nn::Precision::f32, 100);
  };
  const TrainingIdentity original = identity(data, recipe);
  EXPECT_TRUE(check_same_training(original, identity(data, recipe)));
  const auto expect_other = [&](const TrainingIdentity& other, const std::string& piece) {
    const Result<void> same = check_same_training(other, original);
    ASSERT_FALSE(same) << piece;
    EXPECT_EQ(same.error().code, ErrorCode::invalid_input);
    EXPECT_NE(same.error().message.find(piece), std::string::npos) << same.error().message;
  };
  expect_other(identity(data, *find_recipe("deep")), "its recipe is deep, not mlp");
  expect_other(identify(data, recipe, 7, 2, nn::Precision::f32, 100), "its seed is 7, not 1");
  expect_other(identify(data, recipe, 1, 1, nn::Precision::f32, 100), "its number of threads is 1, not 2");
  expect_other(identify(data, recipe, 1, 2, nn::Precision::bf16, 100), "its precision is bf16, not f32");
  expect_other(identify(data, recipe, 1, 2, nn::Precision::f32, 99), "its number of steps is 99, not 100");

  Recipe slower = recipe;
  std::get<nn::Adam>(slower.optimizer).learning_rate = 5e-4f;
  expect_other(identity(data, slower), "content of the recipe");
  Recipe scheduled = recipe;
  scheduled.schedule = {{0, 1}, {1, 0}};
  expect_other(identity(data, scheduled), "content of the recipe");
  Recipe changing = recipe;
  changing.digits.shift = 1;
  expect_other(identity(data, changing), "content of the recipe");

  Recipe other_digits = recipe;
  other_digits.digits_optimizer = slower.optimizer;
  expect_other(identity(data, other_digits), "content of the recipe");
  // What only other pictures would go through makes no other training of these.
  Recipe other_garments = recipe;
  other_garments.garments.shift = 1;
  EXPECT_TRUE(check_same_training(original, identity(data, other_garments)));

  Recipe taught = recipe;
  taught.teachers = {.count = 2, .architecture = recipe.architecture, .epochs = 1, .share = 0.5f};
  expect_other(identity(data, taught), "content of the recipe");

  Dataset other_label = data;
  other_label.labels[3] = 4;
  expect_other(identity(other_label, recipe), "data set is 40 samples with digest");
  Dataset other_pixel = data;
  other_pixel.inputs[39][783] ^= 1;
  expect_other(identity(other_pixel, recipe), "data set is 40 samples with digest");
  expect_other(identity(bars(41), recipe), "data set is 41 samples");
  expect_other({}, "it has 0 fields, must have 8");
}

TEST(TrainingIdentity, LeavesTheThreadsOpenWhereChunksHaveASize) {
  const Dataset data = bars(40);
  const Recipe& recipe = *find_recipe("5s");
  EXPECT_EQ(identify(data, recipe, 1, 1, nn::Precision::f32, 100),
            identify(data, recipe, 1, 2, nn::Precision::f32, 100));
}

}  // namespace
}  // namespace espy::model
