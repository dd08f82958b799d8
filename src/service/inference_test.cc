#include "service/inference.h"

#include <gtest/gtest.h>

#include "service/testing.h"

namespace espy::service {
namespace {

Registry make_registry() {
  const auto served = [](std::string name, std::int64_t number) {
    return std::make_shared<const ServedModel>(std::move(name), number,
                                               testing::constant_model(1, {"a", "b"}));
  };
  const auto first = served("letters", 1);
  const auto second = served("letters", 2);
  const auto other = served("signs", 1);
  std::vector<ModelEntry> entries(2);
  entries[0] = {.name = "letters",
                .versions = {{1, first, ""}, {2, second, ""}, {3, nullptr, "broken"}},
                .chosen = second,
                .labels = {}};
  entries[1] = {.name = "signs", .versions = {{1, other, ""}}, .chosen = other, .labels = {}};
  return Registry(std::move(entries));
}

TEST(Inference, FindsVersionsByText) {
  const Registry registry = make_registry();
  EXPECT_EQ((*find_version(registry, "letters", ""))->number(), 2);
  EXPECT_EQ((*find_version(registry, "letters", "1"))->number(), 1);
  for (const char* const version : {"3", "x", "1x", "99999999999999999999"}) {
    EXPECT_EQ(find_version(registry, "letters", version).error().code, ErrorCode::not_found) << version;
  }
  EXPECT_EQ(served_versions(registry, "letters"), (std::vector<std::string>{"1", "2"}));
  EXPECT_EQ(find_versions(registry, "", "")->size(), 3u);
  EXPECT_EQ(find_versions(registry, "letters", "")->size(), 2u);
  EXPECT_EQ(find_versions(registry, "letters", "1")->size(), 1u);
  EXPECT_FALSE(find_versions(registry, "words", ""));
  EXPECT_EQ(output_shape(*find_output("probabilities"), **find_version(registry, "signs", "")),
            (std::vector<std::int64_t>{-1, 2}));
  EXPECT_EQ(output_shape(*find_output("label"), **find_version(registry, "signs", "")),
            (std::vector<std::int64_t>{-1}));
}

TEST(Inference, WantsOutputsThatThereAre) {
  Inference inference;
  EXPECT_TRUE(inference.want("probabilities", 3));
  EXPECT_TRUE(inference.want("label", 0));
  EXPECT_EQ(inference.outputs[0].classification, 3u);
  EXPECT_NE(inference.want("logits", 0).error().message.find("there are probabilities, label"),
            std::string::npos);
  EXPECT_FALSE(inference.want("label", 1));
  EXPECT_FALSE(inference.want("probabilities", -1));
  while (inference.outputs.size() < output_kinds().size()) EXPECT_TRUE(inference.want("class", 0));
  EXPECT_FALSE(inference.want("class", 0));
}

TEST(Inference, MakesARequestOfEachPicture) {
  const Registry registry = make_registry();
  const auto model = *find_version(registry, "signs", "");
  Inference inference{.id = "7", .pictures = {{Content::picture, "GIF89a"}, {Content::pixels, "..."}}};
  inference.file_name = "a.gif";
  const auto requests = inference.take_requests(model, "8", "ann");
  ASSERT_TRUE(requests);
  ASSERT_EQ(requests->size(), 2u);
  EXPECT_EQ((*requests)[0].upload, "GIF89a");
  EXPECT_EQ((*requests)[1].content, Content::pixels);
  EXPECT_EQ((*requests)[1].id, "7");
  EXPECT_EQ((*requests)[1].subject, "ann");
  EXPECT_EQ((*requests)[1].file_name, "a.gif");
  EXPECT_EQ((*requests)[1].served, model);

  Inference other{.id = "", .pictures = {{Content::picture, ""}}};
  EXPECT_EQ((*other.take_requests(model, "8", ""))[0].id, "8");
  EXPECT_FALSE(other.take_requests(model, std::string(256, 'x'), ""));
  EXPECT_FALSE(other.take_requests(model, "", "\xff"));
}

}  // namespace
}  // namespace espy::service
