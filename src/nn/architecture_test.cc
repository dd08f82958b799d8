#include "nn/architecture.h"

#include <gtest/gtest.h>

namespace espy::nn {
namespace {

const Architecture kDeep = {{1, 28, 28},
                            {Convolution{32, 5}, Relu{}, MaxPool{}, Convolution{64, 5}, Relu{}, MaxPool{},
                             Flatten{}, Dense{1024}, Relu{}, Dropout{0.5F}, Dense{10}}};

void expect_refused(const Architecture& architecture, const std::string& message) {
  const auto shapes = layer_shapes(architecture);
  ASSERT_FALSE(shapes) << to_string(architecture);
  EXPECT_EQ(shapes.error().code, ErrorCode::invalid_input);
  EXPECT_EQ(shapes.error().message, message);
  const auto parameters = parameter_shapes(architecture);
  ASSERT_FALSE(parameters);
  EXPECT_EQ(parameters.error().message, message);
}

TEST(Architecture, gives_the_shape_after_each_layer) {
  const auto shapes = layer_shapes(kDeep);
  ASSERT_TRUE(shapes);
  const std::vector<Shape> expected = {{32, 28, 28}, {32, 28, 28}, {32, 14, 14}, {64, 14, 14},
                                       {64, 14, 14}, {64, 7, 7},   {3136},       {1024},
                                       {1024},       {1024},       {10}};
  EXPECT_EQ(*shapes, expected);
}

TEST(Architecture, rounds_pools_of_odd_sizes_down) {
  const auto shapes = layer_shapes({{3, 7, 5}, {MaxPool{}}});
  ASSERT_TRUE(shapes);
  EXPECT_EQ(shapes->back(), (Shape{3, 3, 2}));
}

TEST(Architecture, gives_weights_and_bias_of_each_layer_that_has_them) {
  const auto shapes = parameter_shapes(kDeep);
  ASSERT_TRUE(shapes);
  const std::vector<Shape> expected = {{32, 1, 5, 5}, {32},   {64, 32, 5, 5}, {64},
                                       {1024, 3136},  {1024}, {10, 1024},     {10}};
  EXPECT_EQ(*shapes, expected);
}

TEST(Architecture, is_written_as_its_layers) {
  EXPECT_EQ(
      to_string(kDeep),
      "conv 5x5x32, relu, pool, conv 5x5x64, relu, pool, flatten, dense 1024, relu, dropout 0.5, dense 10");
}

const Architecture kResidual = {
    {1, 28, 28},
    {Convolution{32, 6, 2, Bias::none}, BatchNorm{}, Relu{}, Convolution{32, 3, 1, Bias::none}, BatchNorm{},
     Relu{}, Residual{3}, MaxPool{}, MeanMaxPool{}, Dense{10}}};

TEST(Architecture, knows_strides_batch_norms_residuals_and_pools_of_everything) {
  const auto shapes = layer_shapes(kResidual);
  ASSERT_TRUE(shapes) << shapes.error().message;
  EXPECT_EQ(shapes->front(), (Shape{32, 14, 14}));
  EXPECT_EQ((*shapes)[6], (Shape{32, 14, 14}));
  EXPECT_EQ((*shapes)[8], Shape{64});
  EXPECT_EQ(
      to_string(kResidual),
      "conv 6x6x32 stride 2 no bias, batch norm, relu, conv 3x3x32 no bias, batch norm, relu, residual 3, "
      "pool, mean max pool, dense 10");
  const auto forms = parameter_forms(kResidual);
  ASSERT_TRUE(forms);
  std::vector<Role> roles;
  for (const ParameterForm& form : *forms) roles.push_back(form.role);
  EXPECT_EQ(roles, (std::vector<Role>{Role::weights, Role::scale, Role::shift, Role::mean, Role::variance,
                                      Role::weights, Role::scale, Role::shift, Role::mean, Role::variance,
                                      Role::weights, Role::bias}));
  EXPECT_EQ((*forms)[4].shape, Shape{32});
}

TEST(Architecture, refuses_batch_norms_and_residuals_out_of_place) {
  expect_refused({{1, 4, 4}, {BatchNorm{}}}, "layer 1 (batch norm): must follow a convolution without bias");
  expect_refused({{1, 4, 4}, {Convolution{2, 3}, BatchNorm{}}},
                 "layer 2 (batch norm): must follow a convolution without bias");
  expect_refused({{1, 4, 4}, {Relu{}, Residual{2}}},
                 "layer 2 (residual 2): reaches over 2 layers, must be 1 to 1");
  expect_refused({{1, 4, 4}, {Residual{0}}}, "layer 1 (residual 0): reaches over 0 layers, must be 1 to 0");
  expect_refused({{1, 4, 4}, {Convolution{2, 3}, Residual{1}}},
                 "layer 2 (residual 1): adds shape 1x4x4 to shape 2x4x4");
  expect_refused({{1, 4, 4}, {Convolution{2, 3, 1, Bias::none}, BatchNorm{}, Residual{1}}},
                 "layer 3 (residual 1): parts a batch norm from its convolution");
}

TEST(Architecture, refuses_layers_that_do_not_fit_their_input) {
  expect_refused({{1, 28, 28}, {Dense{10}}},
                 "layer 1 (dense 10): input has shape 1x28x28, must have 1 sizes");
  expect_refused({{1, 4, 4}, {Flatten{}, Convolution{8, 3}}},
                 "layer 2 (conv 3x3x8): input has shape 16, must have 3 sizes");
  expect_refused({{1, 4, 4}, {Flatten{}, MaxPool{}}},
                 "layer 2 (pool): input has shape 16, must have 3 sizes");
  expect_refused({{1, 4, 4}, {Flatten{}, Flatten{}}},
                 "layer 2 (flatten): input has shape 16, must have 3 sizes");
  expect_refused({{1, 1, 4}, {MaxPool{}}}, "layer 1 (pool): input is 1x4, must be at least 2x2");
}

TEST(Architecture, refuses_sizes_out_of_range) {
  expect_refused({{1, 28}, {Relu{}}}, "input has shape 1x28, must have 3 sizes");
  expect_refused({{1, 0, 28}, {Relu{}}}, "size of the input is 0, must be 1 to 65536");
  expect_refused({{65536, 65536, 65536}, {Relu{}}},
                 "input of shape 65536x65536x65536 has 281474976710656 elements, limit is 268435456");
  expect_refused({{1, 28, 28}, {}}, "architecture has no layers");
  expect_refused({{1, 28, 28}, {Convolution{0, 5}}},
                 "layer 1 (conv 5x5x0): number of channels is 0, must be 1 to 65536");
  expect_refused({{1, 28, 28}, {Convolution{8, 4}}}, "layer 1 (conv 4x4x8): kernel is 4, must be odd");
  expect_refused({{1, 28, 28}, {Convolution{8, 3, 0}}},
                 "layer 1 (conv 3x3x8 stride 0): stride is 0, must be 1 to 255");
  expect_refused({{1, 1, 4}, {Convolution{8, 6, 2}}},
                 "layer 1 (conv 6x6x8 stride 2): input is 1x4, too small for a kernel of 6");
  expect_refused({{1, 28, 28}, {Convolution{8, -1}}},
                 "layer 1 (conv -1x-1x8): kernel is -1, must be 1 to 255");
  expect_refused(
      {{1, 1, 65536}, {Flatten{}, Dense{65536}}},
      "layer 2 (dense 65536): weights of shape 65536x65536 has 4294967296 elements, limit is 268435456");
  expect_refused(
      {{1, 512, 512}, {Convolution{2048, 1}}},
      "layer 1 (conv 1x1x2048): output of shape 2048x512x512 has 536870912 elements, limit is 268435456");
  expect_refused({{1, 28, 28}, {Flatten{}, Dense{-3}}},
                 "layer 2 (dense -3): number of units is -3, must be 1 to 65536");
  expect_refused({{1, 28, 28}, {Dropout{1.0F}}},
                 "layer 1 (dropout 1): probability is 1, must be at least 0 and below 1");
  expect_refused({{1, 28, 28}, {Dropout{std::numeric_limits<float>::quiet_NaN()}}},
                 "layer 1 (dropout nan): probability is nan, must be at least 0 and below 1");
}

}  // namespace
}  // namespace espy::nn
