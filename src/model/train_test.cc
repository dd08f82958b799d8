#include "model/train.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <limits>
#include <memory>
#include <utility>

#include "base/file.h"
#include "model/evaluate.h"
#include "model/float16.h"
#include "model/synthetic.h"

namespace espy::model {
namespace {

Recipe small_recipe() {
  return {.name = "small",
          .description = "for tests",
          .architecture = {.input = {1, 28, 28},
                           .layers = {nn::Convolution{.channels = 4, .kernel = 5}, nn::Relu{}, nn::MaxPool{},
                                      nn::Flatten{}, nn::Dropout{0.2f}, nn::Dense{10}}},
          .initializer = nn::GlorotUniform{},
          .optimizer = nn::Adam{.learning_rate = 3e-3f},
          .batch_size = 20,
          .steps = 0,
          .epochs = 6};
}

double accuracy(ModelContent content, const Dataset& data) {
  const auto model = std::make_shared<const Model>(*Model::create(std::move(content)));
  return evaluate(model, data, 2)->accuracy;
}

TEST(Train, LearnsWhatIsEasy) {
  const Dataset data = bars(300);
  Result<ModelContent> content = train(data, small_recipe(), {.seed = 1, .threads = 2});
  ASSERT_TRUE(content) << content.error().message;
  EXPECT_EQ(content->recipe, "small");
  EXPECT_EQ(content->class_names, data.class_names);
  // Its convolution makes it one for half precision.
  EXPECT_EQ(content->metrics,
            (std::map<std::string, std::string>{{"precision", nn::multiplies_bf16() ? "bf16" : "f32"},
                                                {"seed", "1"},
                                                {"steps", "90"},
                                                {"threads", "2"}}));
  EXPECT_GT(accuracy(*content, data), 0.99);
}

Recipe small_residual_recipe() {
  Recipe recipe = small_recipe();
  recipe.architecture.layers = {nn::Convolution{16, 6, 2, nn::Bias::none},
                                nn::BatchNorm{},
                                nn::Relu{},
                                nn::Convolution{16, 3, 1, nn::Bias::none},
                                nn::BatchNorm{},
                                nn::Relu{},
                                nn::Residual{3},
                                nn::MaxPool{},
                                nn::Flatten{},  // where a bar lies is what tells them apart
                                nn::Dense{10}};
  recipe.initializer = nn::HeNormal{};
  recipe.optimizer = nn::Muon{
      .learning_rate = 0.1f, .momentum = 0.6f, .newton_schulz_steps = 3, .others = {.learning_rate = 1e-2f}};
  recipe.chunk_size = 5;
  recipe.label_smoothing = 0.05f;
  recipe.schedule = {{0, 0}, {0.2, 1}, {1, 0}};
  recipe.epochs = 12;
  return recipe;
}

TEST(Train, LearnsWithBatchNormsResidualsAndMuonInEveryPrecision) {
  const Dataset data = bars(300);
  for (const nn::Precision precision : {nn::Precision::f32, nn::Precision::bf16}) {
    if (precision == nn::Precision::bf16 && !nn::multiplies_bf16()) continue;
    Result<ModelContent> content =
        train(data, small_residual_recipe(), {.seed = 1, .threads = 2, .precision = precision});
    ASSERT_TRUE(content) << content.error().message;
    EXPECT_GT(accuracy(*content, data), 0.98);
  }
}

TEST(Train, IsTheSameWithAnyNumberOfThreadsWhereChunksHaveASize) {
  const Dataset data = bars(300);
  const auto parameters = [&](int threads) {
    return train(data, small_residual_recipe(), {.seed = 1, .threads = threads, .max_steps = 10})
        ->network.parameters.back()
        .values;
  };
  EXPECT_EQ(parameters(1), parameters(2));
  EXPECT_EQ(parameters(1), parameters(3));
}

TEST(Train, IsReproducedByItsSeedBitForBit) {
  const Dataset data = bars(300);
  const auto version = [&](std::uint64_t seed) {
    return Model::create(*train(data, small_recipe(), {.seed = seed, .threads = 2, .max_steps = 6}))
        ->full_version();
  };
  EXPECT_EQ(version(7), version(7));

  const auto parameters = [&](std::uint64_t seed) {
    return train(data, small_recipe(), {.seed = seed, .threads = 2, .max_steps = 6})
        ->network.parameters[0]
        .values;
  };
  EXPECT_NE(parameters(7), parameters(8));
}

TEST(Train, ReportsEveryStepAndTheEndsOfEpochs) {
  const Dataset data = bars(50);  // two and a half batches
  std::vector<Progress> all;
  Recipe recipe = small_recipe();
  recipe.epochs = 3;
  const auto keep = [&](const Progress& progress) {
    all.push_back(progress);
    return true;
  };
  ASSERT_TRUE(train(data, recipe, {.on_progress = keep}));
  ASSERT_EQ(all.size(), 8U);  // 150 samples fill 7.5 batches
  std::vector<int> epochs;
  std::vector<int> ends;
  for (const Progress& progress : all) {
    epochs.push_back(progress.epoch);
    if (progress.epoch_ends) ends.push_back(progress.step);
    EXPECT_EQ(progress.steps, 8);
    EXPECT_EQ(progress.epochs, 3);
    EXPECT_GT(progress.loss, 0);
    EXPECT_LE(progress.accuracy, 1);
    EXPECT_GT(progress.images_a_second, 0);
  }
  EXPECT_EQ(epochs, (std::vector<int>{1, 1, 1, 2, 2, 3, 3, 3}));
  EXPECT_EQ(ends, (std::vector<int>{3, 5, 8}));
}

TEST(Train, SeesEverySampleOnceAnEpoch) {
  // A network whose only job is to count: with zero weights and a learning rate of zero its answer stays the
  // first class, so that the accuracy of an epoch is the exact share of that class in the samples it saw.
  Recipe recipe = small_recipe();
  recipe.architecture = softmax_architecture();
  recipe.initializer = nn::Zeros{};
  recipe.optimizer = nn::GradientDescent{.learning_rate = 0};
  recipe.epochs = 3;
  Dataset data = bars(100);
  for (std::size_t i = 0; i < 100; ++i) data.labels[i] = i < 37 ? 0 : 1;
  std::vector<double> accuracies;
  const auto keep = [&](const Progress& progress) {
    if (progress.epoch_ends) accuracies.push_back(progress.accuracy);
    return true;
  };
  ASSERT_TRUE(train(data, recipe, {.on_progress = keep}));
  EXPECT_EQ(accuracies, (std::vector<double>{0.37, 0.37, 0.37}));
}

TEST(Train, StopsWhenItIsTold) {
  const auto stop = [](const Progress& progress) { return progress.step < 3; };
  const Result<ModelContent> content = train(bars(100), small_recipe(), {.on_progress = stop});
  ASSERT_FALSE(content);
  EXPECT_EQ(content.error().code, ErrorCode::unavailable);
  EXPECT_EQ(content.error().message, "interrupted after step 3 of 30");
}

// Keeps every checkpoint of a training, one behind each step.
CheckpointPlan keep_in(std::vector<Checkpoint>& all) {
  return {.save =
              [&all](const Checkpoint& checkpoint) {
                all.push_back(checkpoint);
                return Result<void>();
              },
          .interval = {}};
}

std::string file_of(Result<ModelContent> content) {
  EXPECT_TRUE(content) << content.error().message;
  return Model::create(*std::move(content))->file();
}

void expect_same_from_any_step(const Recipe& recipe, nn::Precision precision, int threads) {
  const Dataset data = bars(110);  // 5.5 batches: steps that lie in two epochs
  TrainOptions options{.seed = 3, .threads = threads, .max_steps = 8, .precision = precision};
  const std::string uninterrupted = file_of(train(data, recipe, options));
  std::vector<Checkpoint> checkpoints;
  options.checkpoints = keep_in(checkpoints);
  EXPECT_EQ(file_of(train(data, recipe, options)), uninterrupted);
  ASSERT_EQ(checkpoints.size(), 9U);  // before the first step and behind each
  options.checkpoints.reset();
  for (const std::size_t step : {1, 6, 8}) {
    // By way of its file, as another process would.
    options.resume_from = *parse_checkpoint(as_bytes(serialize(checkpoints[step])));
    EXPECT_EQ(options.resume_from->state.steps, step);
    EXPECT_EQ(file_of(train(data, recipe, options)), uninterrupted) << "from step " << step;
  }
}

TEST(Train, GoesOnFromACheckpointToTheSameModelBitForBit) {
  Recipe descent = small_recipe();
  descent.optimizer = nn::GradientDescent{.learning_rate = 0.1f};
  expect_same_from_any_step(descent, nn::Precision::f32, 2);
  for (const int threads : {1, 2}) {
    expect_same_from_any_step(small_recipe(), nn::Precision::f32, threads);
    expect_same_from_any_step(small_residual_recipe(), nn::Precision::f32, threads);
    if (!nn::multiplies_bf16()) continue;
    expect_same_from_any_step(small_residual_recipe(), nn::Precision::bf16, threads);
  }
}

TEST(Train, GoesOnWithAnyNumberOfThreadsWhereChunksHaveASize) {
  const Dataset data = bars(100);
  std::vector<Checkpoint> checkpoints;
  TrainOptions options{.threads = 2, .max_steps = 6, .checkpoints = keep_in(checkpoints)};
  const auto uninterrupted = train(data, small_residual_recipe(), options);
  ASSERT_TRUE(uninterrupted);
  const auto resumed =
      train(data, small_residual_recipe(), {.threads = 1, .max_steps = 6, .resume_from = checkpoints[2]});
  ASSERT_TRUE(resumed) << resumed.error().message;
  for (std::size_t i = 0; i < resumed->network.parameters.size(); ++i) {
    EXPECT_EQ(resumed->network.parameters[i].values, uninterrupted->network.parameters[i].values);
  }
}

Recipe taught_recipe() {
  Recipe recipe = small_recipe();
  recipe.teachers = {
      .count = 2, .architecture = small_residual_recipe().architecture, .epochs = 1, .share = 0.5f};
  recipe.chunk_size = 10;
  return recipe;
}

TEST(Train, TrainsTeachersBeforeTheNetworkThatIsKept) {
  const Dataset data = bars(110);
  std::vector<Progress> all;
  TrainOptions options{.threads = 2};
  options.on_progress = [&](const Progress& progress) {
    all.push_back(progress);
    return true;
  };
  const Result<ModelContent> content = train(data, taught_recipe(), options);
  ASSERT_TRUE(content) << content.error().message;
  EXPECT_EQ(nn::to_string(content->network.architecture), "conv 5x5x4, relu, pool, flatten, dense 10");
  // Twice 5.5 batches and 6 times 5.5.
  ASSERT_EQ(all.size(), 6U + 6U + 33U);
  EXPECT_EQ(content->metrics.at("steps"), "45");
  EXPECT_EQ(all.back().step, 45);
  EXPECT_EQ(all[5].epoch, 1);
  EXPECT_EQ(all[6].epoch, 2);
  EXPECT_EQ(all[12].epoch, 3);
  EXPECT_EQ(all.back().epoch, all.back().epochs);

  Recipe alone = taught_recipe();
  alone.teachers = {};
  EXPECT_NE(train(data, alone, {.threads = 2})->network.parameters[0].values,
            content->network.parameters[0].values);
}

TEST(Train, RoundsParametersToWhatTheFileHolds) {
  const Dataset data = bars(100);
  Recipe recipe = small_recipe();
  recipe.parameter_type = ParameterType::f16;
  const Result<ModelContent> content = train(data, recipe, {.max_steps = 3});
  ASSERT_TRUE(content) << content.error().message;
  const Result<ModelContent> exact = train(data, small_recipe(), {.max_steps = 3});
  for (std::size_t i = 0; i < content->network.parameters.size(); ++i) {
    const std::vector<float>& values = content->network.parameters[i].values;
    const std::vector<float>& expected = exact->network.parameters[i].values;
    for (std::size_t k = 0; k < values.size(); ++k) {
      ASSERT_EQ(values[k], from_float16(to_float16(expected[k])));
    }
  }
  EXPECT_LT(file_of(content).size(), 0.6 * static_cast<double>(file_of(exact).size()));
}

TEST(Train, GoesOnFromACheckpointOfAnyOfItsNetworks) {
  const Dataset data = bars(110);
  TrainOptions options{.threads = 2, .max_steps = 3};
  const std::string uninterrupted = file_of(train(data, taught_recipe(), options));
  std::vector<Checkpoint> checkpoints;
  options.checkpoints = keep_in(checkpoints);
  EXPECT_EQ(file_of(train(data, taught_recipe(), options)), uninterrupted);
  ASSERT_EQ(checkpoints.size(), 3 * 4U);
  options.checkpoints.reset();
  for (const std::size_t i : {0, 3, 5, 7, 8, 10, 11}) {
    options.resume_from = *parse_checkpoint(as_bytes(serialize(checkpoints[i])));
    EXPECT_EQ(options.resume_from->teachers.size(), i / 4);
    EXPECT_EQ(file_of(train(data, taught_recipe(), options)), uninterrupted) << "from checkpoint " << i;
  }
  const auto expect_refused = [&](const std::string& piece) {
    const Result<ModelContent> content = train(data, taught_recipe(), options);
    ASSERT_FALSE(content) << piece;
    EXPECT_NE(content.error().message.find(piece), std::string::npos) << content.error().message;
  };
  options.resume_from = checkpoints[8];
  options.resume_from->teachers[0].pop_back();
  expect_refused("parameters, its architecture has");
  options.resume_from->teachers.resize(3);
  expect_refused("checkpoint has 3 teachers, the recipe has 2");
}

TEST(Train, ReportsAfterACheckpointAsIfNothingHadHappened) {
  const Dataset data = bars(110);
  std::vector<Progress> all;
  std::vector<Checkpoint> checkpoints;
  TrainOptions options{.checkpoints = keep_in(checkpoints)};
  const auto keep = [&](const Progress& progress) {
    all.push_back(progress);
    return true;
  };
  options.on_progress = keep;
  ASSERT_TRUE(train(data, small_recipe(), options));
  const std::vector<Progress> uninterrupted = std::exchange(all, {});
  options.checkpoints.reset();
  options.resume_from = checkpoints[8];
  ASSERT_TRUE(train(data, small_recipe(), options));
  ASSERT_EQ(all.size(), uninterrupted.size() - 8);
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(all[i].step, uninterrupted[i + 8].step);
    EXPECT_EQ(all[i].epoch, uninterrupted[i + 8].epoch);
    EXPECT_EQ(all[i].epoch_ends, uninterrupted[i + 8].epoch_ends);
    EXPECT_EQ(all[i].loss, uninterrupted[i + 8].loss);
    EXPECT_EQ(all[i].accuracy, uninterrupted[i + 8].accuracy);
    EXPECT_GT(all[i].elapsed, checkpoints[8].sums.elapsed);
  }
}

TEST(Train, MakesACheckpointWhenItIsStopped) {
  std::vector<Checkpoint> checkpoints;
  TrainOptions options{.checkpoints = keep_in(checkpoints)};
  options.checkpoints->interval = std::chrono::hours(1);
  options.on_progress = [](const Progress& progress) { return progress.step < 3; };
  EXPECT_FALSE(train(bars(100), small_recipe(), options));
  ASSERT_EQ(checkpoints.size(), 2U);
  EXPECT_EQ(checkpoints[0].state.steps, 0U);
  EXPECT_EQ(checkpoints[1].state.steps, 3U);
}

TEST(Train, EndsWithTheErrorOfACheckpointThatCannotBeSaved) {
  TrainOptions options;
  options.checkpoints = {.save = [](const Checkpoint&) -> Result<void> {
                           return Error{ErrorCode::unavailable, "disk is full"};
                         },
                         .interval = {}};
  const Result<ModelContent> content = train(bars(100), small_recipe(), options);
  ASSERT_FALSE(content);
  EXPECT_EQ(content.error().message, "disk is full");
}

TEST(Train, RefusesTheCheckpointOfAnotherTraining) {
  std::vector<Checkpoint> checkpoints;
  ASSERT_TRUE(train(bars(100), small_recipe(), {.max_steps = 2, .checkpoints = keep_in(checkpoints)}));
  const auto expect_refused = [&](const Dataset& data, const Recipe& recipe, TrainOptions options,
                                  const std::string& piece) {
    options.resume_from = checkpoints.back();
    const Result<ModelContent> content = train(data, recipe, options);
    ASSERT_FALSE(content) << piece;
    EXPECT_EQ(content.error().code, ErrorCode::invalid_input);
    EXPECT_NE(content.error().message.find(piece), std::string::npos) << content.error().message;
  };
  expect_refused(bars(100), small_residual_recipe(), {.max_steps = 2}, "content of the recipe");
  expect_refused(bars(101), small_recipe(), {.max_steps = 2}, "data set");
  expect_refused(bars(100), small_recipe(), {.seed = 2, .max_steps = 2}, "seed is 1, not 2");
  expect_refused(bars(100), small_recipe(), {.threads = 2, .max_steps = 2}, "threads is 1, not 2");
  expect_refused(bars(100), small_recipe(), {.max_steps = 3}, "steps is 2, not 3");
  checkpoints.back().state.steps = 3;
  expect_refused(bars(100), small_recipe(), {.max_steps = 2}, "checkpoint is of step 3, the training has 2");
}

TEST(Train, StopsWhenTheLossIsNoNumberAndKeepsWhatWasFinite) {
  Recipe recipe = small_recipe();
  recipe.optimizer = nn::GradientDescent{.learning_rate = 1e30f};
  std::vector<Checkpoint> checkpoints;
  const Result<ModelContent> content = train(bars(100), recipe, {.checkpoints = keep_in(checkpoints)});
  ASSERT_FALSE(content);
  EXPECT_EQ(content.error().code, ErrorCode::unavailable);
  EXPECT_NE(content.error().message.find("training diverged: "), std::string::npos)
      << content.error().message;
  EXPECT_NE(content.error().message.find("at step "), std::string::npos) << content.error().message;
  ASSERT_FALSE(checkpoints.empty());
  for (const std::vector<float>& values : checkpoints.back().state.parameters) {
    for (const float value : values) EXPECT_TRUE(std::isfinite(value));
  }
}

TEST(Train, SeesParametersThatAreNoNumbersBehindALossThatIsOne) {
  // The loss of the only step is that of the start; what the step makes of the parameters is not in it.
  Recipe recipe = small_recipe();
  recipe.optimizer = nn::GradientDescent{.learning_rate = std::numeric_limits<float>::infinity()};
  const Result<ModelContent> content = train(bars(100), recipe, {.max_steps = 1});
  ASSERT_FALSE(content);
  EXPECT_EQ(content.error().message, "training diverged: a parameter is not finite at step 1 of 1");

  std::vector<Checkpoint> checkpoints;
  EXPECT_FALSE(train(bars(100), recipe, {.max_steps = 9, .checkpoints = keep_in(checkpoints)}));
  EXPECT_EQ(checkpoints.size(), 1U);  // of the start
}

TEST(Train, RefusesWhatCannotWork) {
  const Result<ModelContent> few = train(bars(19), small_recipe(), {});
  ASSERT_FALSE(few);
  EXPECT_EQ(few.error().code, ErrorCode::invalid_input);
  EXPECT_NE(few.error().message.find("19 samples, fewer than a batch of 20"), std::string::npos);

  const Result<ModelContent> threads = train(bars(100), small_recipe(), {.threads = 0});
  ASSERT_FALSE(threads);
  EXPECT_EQ(threads.error().code, ErrorCode::invalid_input);
  EXPECT_NE(threads.error().message.find("threads"), std::string::npos) << threads.error().message;
}

}  // namespace
}  // namespace espy::model
