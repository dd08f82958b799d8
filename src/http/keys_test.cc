#include "http/keys.h"

#include <gtest/gtest.h>

#include "base/format.h"

namespace espy::http {
namespace {

const std::string kDigest(64, '0');

void expect_refused(const std::string& text, std::string_view piece) {
  const Result<Keys> keys = Keys::parse(text);
  ASSERT_FALSE(keys) << text;
  EXPECT_EQ(keys.error().code, ErrorCode::invalid_input);
  EXPECT_NE(keys.error().message.find(piece), std::string::npos) << keys.error().message;
}

TEST(Keys, FindsWhatWasMadeAndNothingElse) {
  const Result<NewKey> ann = make_key("ann", {"predict"});
  const Result<NewKey> bob = make_key("bob", {"history", "admin"});
  ASSERT_TRUE(ann && bob);
  EXPECT_EQ(ann->secret.size(), 5u + 64);
  EXPECT_NE(ann->secret, bob->secret);
  EXPECT_EQ(ann->line.find(ann->secret.substr(5)), std::string::npos) << "the key stands nowhere";

  const Result<Keys> keys = Keys::parse("# who may\n\n" + ann->line + "\r\n" + bob->line);
  ASSERT_TRUE(keys) << keys.error().message;
  ASSERT_TRUE(keys->find(ann->secret));
  EXPECT_EQ(keys->find(ann->secret)->name, "ann");
  EXPECT_TRUE(keys->find(ann->secret)->may(Scope::predict));
  EXPECT_FALSE(keys->find(ann->secret)->may(Scope::history));
  EXPECT_TRUE(keys->find(ann->secret)->may(Scope::none));
  EXPECT_TRUE(keys->find(bob->secret)->may(Scope::admin));
  EXPECT_FALSE(keys->find(bob->secret)->may(Scope::predict));
  EXPECT_EQ(to_string(keys->find(bob->secret)->scopes), "history,admin");
  for (const std::string& other :
       {std::string(), ann->secret + "0", ann->secret.substr(1), ann->line.substr(12)}) {
    EXPECT_EQ(keys->find(other), nullptr) << other;
  }
}

TEST(Keys, SaysWhichLineIsNone) {
  EXPECT_TRUE(Keys::parse(""));
  expect_refused("ann", "line 1: there is no scope \"\"");
  expect_refused("# x\nann predict", "line 2: the last word");
  expect_refused("ann predict " + kDigest + "0", "64 digits");
  expect_refused("ann predict " + std::string(64, 'g'), "64 digits");
  expect_refused("ann everything " + kDigest, "no scope \"everything\"");
  expect_refused("ann predict, " + kDigest, "no scope \"\"");
  expect_refused("an<n predict " + kDigest, "the name");
  expect_refused(" predict " + kDigest, "the name");
  expect_refused(std::string(65, 'a') + " predict " + kDigest, "the name");
  expect_refused("ann predict " + kDigest + "\nann admin " + std::string(64, '1'), "line 2: it has the name");
  expect_refused("ann predict " + kDigest + "\nbob admin " + kDigest, "the key of ann");
  std::string many;
  for (int i = 0; i <= 1000; ++i) many += format("k{} predict {:064x}\n", i, i);
  expect_refused(many, "more than 1000");
}

TEST(Keys, ComeBehindBearer) {
  EXPECT_EQ(key_in("Bearer espy_1"), "espy_1");
  EXPECT_EQ(key_in("bEARER espy_1"), "espy_1");
  EXPECT_EQ(key_in("Basic espy_1"), "");
  EXPECT_EQ(key_in("Bearer"), "");
  EXPECT_EQ(key_in(""), "");
}

TEST(Keys, AreMadeForKnownScopesAlone) {
  EXPECT_FALSE(make_key("ann", {}));
  EXPECT_FALSE(make_key("ann", {"everything"}));
  EXPECT_FALSE(make_key("ann\nbob", {"predict"}));
  EXPECT_FALSE(make_key("ann bob", {"predict"}));
}

}  // namespace
}  // namespace espy::http
