#include "nn/trainer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>

#include "nn/kernels.h"
#include "nn/predictor.h"
#include "nn/random.h"

namespace espy::nn {
namespace {

const Architecture kSmall = {
    {1, 8, 8}, {Convolution{8, 3}, Relu{}, MaxPool{}, Flatten{}, Dense{16}, Relu{}, Dropout{0.5F}, Dense{4}}};

// Of channels and units that AMX has tiles for.
const Architecture kWide = {{1, 8, 8},
                            {Convolution{16, 3}, Relu{}, MaxPool{}, Convolution{16, 3}, Relu{}, Flatten{},
                             Dense{32}, Relu{}, Dropout{0.5F}, Dense{4}}};

// A picture of the toy problem: noise, and a bright quarter that is its label.
int draw_sample(std::uint64_t number, std::span<float> input) {
  RandomSequence random(number);
  const int label = static_cast<int>(random.next() % 4);
  for (std::size_t i = 0; i < input.size(); ++i) {
    const std::size_t quarter = 2 * (i / 32) + (i % 8) / 4;
    input[i] = static_cast<float>(random.next_uniform()) *
               (quarter == static_cast<std::size_t>(label) ? 1.0F : 0.5F);
  }
  return label;
}

std::unique_ptr<Trainer> make_trainer(const TrainerOptions& options) {
  auto trainer = Trainer::create(*initialize(kSmall, GlorotUniform{}, 1), options);
  EXPECT_TRUE(trainer) << trainer.error().message;
  return *std::move(trainer);
}

// Takes `steps` steps over samples that follow from the step and the index alone.
StepResult train(Trainer& trainer, int batch_size, int steps, int first_step = 0) {
  StepResult result = {};
  for (int step = first_step; step < first_step + steps; ++step) {
    result = trainer.step([&](int index, std::span<float> input) {
      return draw_sample(static_cast<std::uint64_t>(step * batch_size + index), input);
    });
  }
  return result;
}

void expect_equal(const Network& a, const Network& b, float tolerance) {
  ASSERT_EQ(a.parameters.size(), b.parameters.size());
  for (std::size_t p = 0; p < a.parameters.size(); ++p) {
    ASSERT_EQ(a.parameters[p].shape, b.parameters[p].shape);
    for (std::size_t i = 0; i < a.parameters[p].values.size(); ++i) {
      ASSERT_NEAR(a.parameters[p].values[i], b.parameters[p].values[i], tolerance) << p << " " << i;
    }
  }
}

TEST(Trainer, begins_with_the_parameters_that_it_was_given) {
  const Network start = *initialize(kSmall, TruncatedNormal{0.1F, 0.1F}, 1);
  const auto trainer = Trainer::create(start, {.optimizer = Adam{}});
  ASSERT_TRUE(trainer);
  expect_equal((*trainer)->network(), start, 0);
}

TEST(Trainer, loads_each_sample_of_a_batch_once) {
  for (int threads = 1; threads <= 4; ++threads) {
    const auto trainer = make_trainer({.optimizer = Adam{}, .batch_size = 7, .threads = threads});
    std::vector<std::atomic<int>> loads(7);
    trainer->step([&](int index, std::span<float> input) {
      EXPECT_EQ(input.size(), 64U);
      ++loads[static_cast<std::size_t>(index)];
      return draw_sample(1, input);
    });
    for (const auto& count : loads) EXPECT_EQ(count.load(), 1);
  }
}

TEST(Trainer, solves_a_toy_problem) {
  for (const Optimizer& optimizer :
       {Optimizer(Adam{.learning_rate = 0.01F}), Optimizer(GradientDescent{0.2F})}) {
    const auto trainer = make_trainer({.optimizer = optimizer, .batch_size = 32, .threads = 2});
    const StepResult first = train(*trainer, 32, 1);
    EXPECT_NEAR(first.loss, std::log(4.0), 0.5);
    const StepResult last = train(*trainer, 32, 200);
    EXPECT_LT(last.loss, 0.3 * first.loss);

    const auto predictor = Predictor::create(trainer->network());
    ASSERT_TRUE(predictor);
    int correct = 0;
    for (std::uint64_t number = 1'000'000; number < 1'000'100; ++number) {
      std::vector<float> input(64);
      const int label = draw_sample(number, input);
      const std::span<const float> logits = (*predictor)->logits(input, 1);
      correct += std::max_element(logits.begin(), logits.end()) - logits.begin() == label ? 1 : 0;
    }
    EXPECT_GE(correct, 99);
  }
}

TEST(Trainer, repeats_a_run_to_the_bit) {
  for (const int threads : {1, 2, 3}) {
    const TrainerOptions options = {.optimizer = Adam{}, .batch_size = 10, .threads = threads, .seed = 4};
    const auto first = make_trainer(options);
    const auto second = make_trainer(options);
    const StepResult first_result = train(*first, 10, 40);
    const StepResult second_result = train(*second, 10, 40);
    EXPECT_EQ(first_result.loss, second_result.loss);
    const Network a = first->network();
    const Network b = second->network();
    for (std::size_t p = 0; p < a.parameters.size(); ++p)
      EXPECT_EQ(a.parameters[p].values, b.parameters[p].values);
  }
}

// Every kind of state: averages of batch norms, moments of both kinds, and of weights whose layout oneDNN
// chooses.
const Architecture kResidual = {
    {1, 8, 8},
    {Convolution{16, 3, 1, Bias::none}, BatchNorm{}, Relu{}, Convolution{16, 3, 1, Bias::none}, BatchNorm{},
     Relu{}, Residual{3}, MeanMaxPool{}, Dense{4}}};

void expect_resumed_to_the_bit(const Architecture& architecture, const TrainerOptions& options) {
  constexpr int kSteps = 9;
  constexpr int kBefore = 4;
  const Network start = *initialize(architecture, HeNormal{}, 1);
  const auto whole = *Trainer::create(start, options);
  train(*whole, options.batch_size, kSteps);

  const auto first = *Trainer::create(start, options);
  train(*first, options.batch_size, kBefore);
  const TrainerState state = first->state();
  EXPECT_EQ(state.steps, std::uint64_t{kBefore});
  const auto second = Trainer::resume(architecture, state, options);
  ASSERT_TRUE(second) << second.error().message;
  EXPECT_EQ((*second)->state(), state);
  train(**second, options.batch_size, kSteps - kBefore, kBefore);
  EXPECT_EQ((*second)->state(), whole->state());
}

TEST(Trainer, goes_on_from_its_state_to_the_bit) {
  const Muon muon = {.learning_rate = 0.1F, .momentum = 0.6F, .newton_schulz_steps = 3, .others = {}};
  for (const int threads : {1, 2}) {
    const TrainerOptions plain = {.optimizer = GradientDescent{0.1F}, .batch_size = 12, .threads = threads};
    expect_resumed_to_the_bit(kSmall, plain);
    TrainerOptions adam = plain;
    adam.optimizer = Adam{.learning_rate = 0.01F, .weight_decay = 0.1F};
    expect_resumed_to_the_bit(kSmall, adam);
    TrainerOptions with_muon = plain;
    with_muon.optimizer = muon;
    with_muon.chunk_size = 4;
    expect_resumed_to_the_bit(kResidual, with_muon);
    if (!multiplies_bf16()) continue;
    with_muon.precision = Precision::bf16;
    expect_resumed_to_the_bit(kResidual, with_muon);
    adam.precision = Precision::bf16;
    expect_resumed_to_the_bit(kWide, adam);
  }
}

TEST(Trainer, keeps_averages_only_where_the_optimizer_has_them) {
  const auto plain = make_trainer({.optimizer = GradientDescent{0.1F}});
  for (const auto& moments : plain->state().first_moments) EXPECT_TRUE(moments.empty());
  const auto adam = make_trainer({.optimizer = Adam{}});
  train(*adam, 32, 1);
  const TrainerState state = adam->state();
  ASSERT_EQ(state.parameters.size(), 6U);
  for (std::size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(state.first_moments[i].size(), state.parameters[i].size());
    EXPECT_EQ(state.second_moments[i].size(), state.parameters[i].size());
  }
}

void expect_not_resumed(const TrainerState& state, const std::string& message) {
  const auto trainer = Trainer::resume(kSmall, state, {.optimizer = Adam{}});
  ASSERT_FALSE(trainer);
  EXPECT_EQ(trainer.error().code, ErrorCode::invalid_input);
  EXPECT_EQ(trainer.error().message, message);
}

TEST(Trainer, refuses_a_state_that_does_not_fit) {
  const TrainerState good = make_trainer({.optimizer = Adam{}})->state();
  TrainerState bad = good;
  bad.parameters.pop_back();
  expect_not_resumed(bad, "network has 5 parameters, its architecture has 6");
  bad = good;
  bad.parameters.emplace_back();
  expect_not_resumed(bad, "network has 7 parameters, its architecture has 6");
  bad = good;
  bad.parameters[1].push_back(0);
  expect_not_resumed(bad, "parameter 1 has 9 values, its shape has 8");
  bad = good;
  bad.first_moments[1].clear();
  expect_not_resumed(bad, "state has 0 first moments of parameter 1, must have 8");
  bad = good;
  bad.second_moments.pop_back();
  expect_not_resumed(bad, "state has second moments of 5 parameters, the network has 6");
  expect_not_resumed(make_trainer({.optimizer = GradientDescent{1}})->state(),
                     "state has 0 first moments of parameter 0, must have 72");
}

TEST(Trainer, draws_other_units_with_another_seed) {
  const auto first = make_trainer({.optimizer = Adam{}, .seed = 1});
  const auto second = make_trainer({.optimizer = Adam{}, .seed = 2});
  EXPECT_NE(train(*first, 32, 1).loss, train(*second, 32, 1).loss);
}

TEST(Trainer, computes_the_same_with_any_number_of_threads) {
  const auto one = make_trainer({.optimizer = GradientDescent{0.1F}, .batch_size = 7, .threads = 1});
  const StepResult expected = train(*one, 7, 5);
  for (const int threads : {2, 3, 4, 5, 7}) {
    const auto many = make_trainer({.optimizer = GradientDescent{0.1F}, .batch_size = 7, .threads = threads});
    const StepResult result = train(*many, 7, 5);
    EXPECT_NEAR(result.loss, expected.loss, 1e-5);
    EXPECT_EQ(result.correct, expected.correct);
    expect_equal(many->network(), one->network(), 1e-5F);
  }
}

// Chunks of a given size are computed alike by whichever thread.
TEST(Trainer, computes_chunks_in_half_precision_to_the_bit_with_any_number_of_threads) {
  if (!multiplies_bf16()) return;
  const auto train_with = [](int threads) {
    auto trainer = Trainer::create(*initialize(kWide, GlorotUniform{}, 1), {.optimizer = Adam{},
                                                                            .batch_size = 12,
                                                                            .threads = threads,
                                                                            .chunk_size = 3,
                                                                            .precision = Precision::bf16});
    EXPECT_TRUE(trainer) << trainer.error().message;
    train(**trainer, 12, 5);
    return (*trainer)->state();
  };
  const TrainerState expected = train_with(1);
  for (const int threads : {2, 3, 4}) EXPECT_EQ(train_with(threads), expected) << threads;
}

TEST(Trainer, solves_a_toy_problem_in_half_precision) {
  if (!multiplies_bf16()) return;
  auto trainer = Trainer::create(
      *initialize(kWide, GlorotUniform{}, 1),
      {.optimizer = Adam{0.01F}, .batch_size = 32, .threads = 2, .precision = Precision::bf16});
  ASSERT_TRUE(trainer) << trainer.error().message;
  train(**trainer, 32, 150);
  EXPECT_GE(train(**trainer, 32, 1, 150).correct, 30);
}

TEST(Trainer, takes_first_steps_of_adam_as_long_as_the_learning_rate) {
  // m_hat / sqrt(v_hat) is the sign of the gradient in step 1 (Kingma & Ba 2014, section 2.1).
  const auto trainer = make_trainer({.optimizer = Adam{.learning_rate = 0.01F}});
  const Network before = trainer->network();
  train(*trainer, 32, 1);
  const Network after = trainer->network();
  const std::vector<float>& bias = after.parameters.back().values;
  for (std::size_t i = 0; i < bias.size(); ++i) {
    EXPECT_NEAR(std::abs(bias[i] - before.parameters.back().values[i]), 0.01F, 1e-5F);
  }
}

void expect_refused(const Architecture& architecture, const TrainerOptions& options,
                    const std::string& message) {
  const auto trainer = Trainer::create(*initialize(architecture, Zeros{}, 0), options);
  ASSERT_FALSE(trainer);
  EXPECT_EQ(trainer.error().code, ErrorCode::invalid_input);
  EXPECT_EQ(trainer.error().message, message);
}

// Labels that say nothing: what a network learns beside them it can have from its teachers alone.
StepResult train_unlabelled(Trainer& trainer, int batch_size, int steps) {
  StepResult result = {};
  for (int step = 0; step < steps; ++step) {
    result = trainer.step([&](int index, std::span<float> input) {
      draw_sample(static_cast<std::uint64_t>(step * batch_size + index), input);
      return 0;
    });
  }
  return result;
}

TEST(Trainer, learns_what_its_teachers_say) {
  std::vector<Network> teachers;
  for (const std::uint64_t seed : {1, 2}) {
    const auto teacher = Trainer::create(*initialize(kSmall, GlorotUniform{}, seed),
                                         {.optimizer = Adam{.learning_rate = 0.01F}});
    ASSERT_TRUE(teacher);
    train(**teacher, 32, 200);
    teachers.push_back((*teacher)->network());
  }
  const auto answers = [](const Network& network, std::span<const float> input) {
    const auto predictor = Predictor::create(network);
    std::vector<float> probabilities(4);
    softmax((*predictor)->logits(input, 1), probabilities);
    return probabilities;
  };
  const TrainerOptions options{.optimizer = Adam{.learning_rate = 0.01F},
                               .threads = 2,
                               .chunk_size = 8,
                               .teachers = teachers,
                               .teachers_share = 1};
  const auto trainer = make_trainer(options);
  train_unlabelled(*trainer, 32, 400);
  const Network student = trainer->network();
  double difference = 0;
  for (std::uint64_t number = 1'000'000; number < 1'000'100; ++number) {
    std::vector<float> input(64);
    draw_sample(number, input);
    const std::vector<float> first = answers(teachers[0], input);
    const std::vector<float> second = answers(teachers[1], input);
    const std::vector<float> own = answers(student, input);
    for (std::size_t i = 0; i < 4; ++i) {
      difference += static_cast<double>(std::abs(own[i] - (first[i] + second[i]) / 2)) / 400;
    }
  }
  EXPECT_LT(difference, 0.05);

  const auto again = make_trainer({.optimizer = Adam{.learning_rate = 0.01F},
                                   .threads = 1,
                                   .chunk_size = 8,
                                   .teachers = teachers,
                                   .teachers_share = 1});
  train_unlabelled(*again, 32, 400);
  expect_equal(again->network(), student, 0);
}

TEST(Trainer, refuses_teachers_that_do_not_fit) {
  const Network other = *initialize({{1, 8, 8}, {Flatten{}, Dense{3}}}, GlorotUniform{}, 1);
  expect_refused(
      kSmall, {.optimizer = Adam{}, .teachers = {other}, .teachers_share = 0.5F},
      "teacher \"flatten, dense 3\" has another input or other classes than \"" + to_string(kSmall) + "\"");
  const Network same = *initialize(kSmall, GlorotUniform{}, 1);
  expect_refused(kSmall, {.optimizer = Adam{}, .teachers = {same}},
                 "share of 1 teachers is 0, must be 0 without any and else above 0 and at most 1");
  expect_refused(kSmall, {.optimizer = Adam{}, .teachers_share = 0.5F},
                 "share of 0 teachers is 0.5, must be 0 without any and else above 0 and at most 1");
}

TEST(Trainer, refuses_options_out_of_range) {
  expect_refused(kSmall, {.optimizer = Adam{}, .batch_size = 0}, "batch size is 0, must be 1 to 65536");
  expect_refused(kSmall, {.optimizer = Adam{}, .batch_size = 70'000},
                 "batch size is 70000, must be 1 to 65536");
  expect_refused(kSmall, {.optimizer = Adam{}, .batch_size = 4, .threads = 0},
                 "number of threads is 0, must be 1 to 4, the batch size");
  expect_refused(kSmall, {.optimizer = Adam{}, .batch_size = 4, .threads = 5},
                 "number of threads is 5, must be 1 to 4, the batch size");
  expect_refused({{1, 2, 2}, {Flatten{}, Dense{2}, Relu{}}}, {.optimizer = Adam{}},
                 "last layer of \"flatten, dense 2, relu\" is not dense");
}

TEST(Trainer, refuses_parameters_that_do_not_fit) {
  Network network = *initialize(kSmall, Zeros{}, 0);
  network.parameters.pop_back();
  const auto trainer = Trainer::create(network, {.optimizer = Adam{}});
  ASSERT_FALSE(trainer);
  EXPECT_EQ(trainer.error().code, ErrorCode::invalid_input);
  EXPECT_EQ(trainer.error().message, "network has 5 parameters, its architecture has 6");
}

}  // namespace
}  // namespace espy::nn
