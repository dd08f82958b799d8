#include "service/registry.h"

#include <gtest/gtest.h>

#include "service/testing.h"

namespace espy::service {
namespace {

using testing::constant_model;

TEST(Registry, FindsModelsByNameAndTheFirstWithoutOne) {
  Registry registry;
  ASSERT_TRUE(registry.add("digits", constant_model(1, {"a", "b"})));
  ASSERT_TRUE(registry.add("garments-2.1_x", constant_model(0, {"a", "b"})));
  EXPECT_EQ(registry.size(), 2u);
  EXPECT_EQ(*registry.find("garments-2.1_x"), 1u);
  EXPECT_EQ(*registry.find("digits"), 0u);
  EXPECT_EQ(*registry.find(""), 0u);
  EXPECT_EQ(registry.name(1), "garments-2.1_x");
}

TEST(Registry, SaysWhichModelsThereAre) {
  Registry registry;
  ASSERT_TRUE(registry.add("digits", constant_model(1, {"a", "b"})));
  ASSERT_TRUE(registry.add("garments", constant_model(0, {"a", "b"})));
  const auto found = registry.find("letters");
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, ErrorCode::not_found);
  EXPECT_EQ(found.error().message, "there is no model letters; there are digits, garments");
}

TEST(Registry, ShowsOnlyTheBeginningOfALongName) {
  Registry registry;
  ASSERT_TRUE(registry.add("digits", constant_model(1, {"a", "b"})));
  const auto found = registry.find(std::string(100'000, 'x'));
  ASSERT_FALSE(found);
  EXPECT_LT(found.error().message.size(), 200u);
  EXPECT_NE(found.error().message.find("xxx..."), std::string::npos);
}

TEST(Registry, RefusesANameThatIsTakenOrNotPlain) {
  Registry registry;
  ASSERT_TRUE(registry.add("digits", constant_model(1, {"a", "b"})));
  const auto taken = registry.add("digits", constant_model(1, {"a", "b"}));
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, ErrorCode::invalid_input);
  EXPECT_NE(taken.error().message.find("two models named digits"), std::string::npos);
  for (const std::string name : {"", "a b", "a/b", "<b>", "\xc3\xa4"}) {
    const auto added = registry.add(name, constant_model(1, {"a", "b"}));
    ASSERT_FALSE(added) << name;
    EXPECT_EQ(added.error().code, ErrorCode::invalid_input);
    EXPECT_NE(added.error().message.find("model name"), std::string::npos);
  }
}

}  // namespace
}  // namespace espy::service
