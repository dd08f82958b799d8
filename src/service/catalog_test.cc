#include "service/catalog.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <future>
#include <string>
#include <thread>

#include "base/file.h"
#include "base/format.h"
#include "service/testing.h"

namespace espy::service {
namespace {

namespace fs = std::filesystem;
using testing::bar_picture;
using testing::BreakableStore;
using testing::constant_model;

const std::vector<std::string> kClasses = {"a", "b", "c"};

// Runs a change and waits for its outcome.
template <typename Change>
Result<void> done(Change change) {
  std::promise<Result<void>> outcome;
  change([&](Result<void> result) { outcome.set_value(std::move(result)); });
  return outcome.get_future().get();
}

Result<void> load(Catalog& catalog, const std::string& name) {
  return done([&](Catalog::Completion told) { catalog.load(name, std::move(told)); });
}
Result<void> unload(Catalog& catalog, const std::string& name) {
  return done([&](Catalog::Completion told) { catalog.unload(name, std::move(told)); });
}
Result<void> choose(Catalog& catalog, const std::string& name, std::int64_t version) {
  return done([&](Catalog::Completion told) { catalog.choose(name, version, std::move(told)); });
}
Result<void> label(Catalog& catalog, const std::string& name, const std::string& word,
                   std::optional<std::int64_t> version) {
  return done([&](Catalog::Completion told) { catalog.label(name, word, version, std::move(told)); });
}

TEST(Catalog, FindsModelsByNameAndTheFirstWithoutOne) {
  Catalog catalog;
  ASSERT_TRUE(catalog.add("digits", constant_model(1, kClasses)));
  ASSERT_TRUE(catalog.add("garments-2.1_x", constant_model(0, kClasses)));
  const auto registry = catalog.registry();
  EXPECT_EQ(registry->size(), 2u);
  EXPECT_EQ((*registry->find("garments-2.1_x"))->name(), "garments-2.1_x");
  EXPECT_EQ((*registry->find("digits", 1))->number(), 1);
  EXPECT_EQ((*registry->find(""))->name(), "digits");
  EXPECT_EQ(registry->name(1), "garments-2.1_x");
}

TEST(Catalog, SaysWhatThereIs) {
  Catalog catalog;
  EXPECT_EQ(catalog.registry()->find("").error().message, "no model is served");
  ASSERT_TRUE(catalog.add("digits", constant_model(1, kClasses)));
  ASSERT_TRUE(catalog.add("garments", constant_model(0, kClasses)));
  const auto found = catalog.registry()->find("letters");
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, ErrorCode::not_found);
  EXPECT_EQ(found.error().message, "there is no model letters; there are digits, garments");
  const auto version = catalog.registry()->find("digits", 7);
  ASSERT_FALSE(version);
  EXPECT_EQ(version.error().code, ErrorCode::not_found);
  EXPECT_EQ(version.error().message, "model digits has no version 7; there are 1");
}

TEST(Catalog, ShowsOnlyTheBeginningOfALongName) {
  Catalog catalog;
  ASSERT_TRUE(catalog.add("digits", constant_model(1, kClasses)));
  const auto found = catalog.registry()->find(std::string(100'000, 'x'));
  ASSERT_FALSE(found);
  EXPECT_LT(found.error().message.size(), 200u);
  EXPECT_NE(found.error().message.find("xxx..."), std::string::npos);
}

TEST(Catalog, RefusesANameThatIsTakenOrNotPlain) {
  Catalog catalog;
  ASSERT_TRUE(catalog.add("digits", constant_model(1, kClasses)));
  const auto taken = catalog.add("digits", constant_model(1, kClasses));
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, ErrorCode::invalid_input);
  EXPECT_NE(taken.error().message.find("two models named digits"), std::string::npos);
  for (const std::string name : {"", "a b", "a/b", "<b>", "\xc3\xa4"}) {
    const auto added = catalog.add(name, constant_model(1, kClasses));
    ASSERT_FALSE(added) << name;
    EXPECT_EQ(added.error().code, ErrorCode::invalid_input);
    EXPECT_NE(added.error().message.find("model name"), std::string::npos);
  }
}

TEST(Catalog, LoadsAModelAnewFromItsSource) {
  Catalog catalog;
  std::atomic<std::size_t> answer = 0;
  std::atomic<bool> broken = false;
  ASSERT_TRUE(catalog.add("letters", [&]() -> Result<std::shared_ptr<const model::Model>> {
    if (broken) return Error{ErrorCode::invalid_input, "file letters.onnx is not ONNX"};
    return constant_model(answer, kClasses);
  }));
  const std::weak_ptr<const ServedModel> first = *catalog.registry()->find("letters");
  answer = 1;
  ASSERT_TRUE(load(catalog, "letters"));
  EXPECT_TRUE(first.expired());
  const auto second = *catalog.registry()->find("letters");

  broken = true;
  const auto failed = load(catalog, "letters");
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().message, "file letters.onnx is not ONNX");
  EXPECT_EQ(*catalog.registry()->find("letters"), second);
  EXPECT_EQ(catalog.registry()->entry("letters")->versions[0].reason, "file letters.onnx is not ONNX");
  EXPECT_EQ(load(catalog, "words").error().code, ErrorCode::not_found);
}

TEST(Catalog, UnloadsAModelUntilItIsLoadedAgain) {
  Catalog catalog;
  ASSERT_TRUE(catalog.add("letters", constant_model(0, kClasses)));
  ASSERT_TRUE(catalog.add("words", constant_model(0, kClasses)));
  const std::weak_ptr<const ServedModel> letters = *catalog.registry()->find("letters");
  ASSERT_TRUE(unload(catalog, "letters"));
  EXPECT_TRUE(letters.expired());
  EXPECT_EQ(catalog.registry()->find("letters").error().message,
            "model letters is not served: it was unloaded");
  EXPECT_EQ((*catalog.registry()->find(""))->name(), "words");
  ASSERT_TRUE(load(catalog, "letters"));
  EXPECT_TRUE(catalog.registry()->find("letters"));
}

class Folder : public ::testing::Test {
 protected:
  Folder() : root_(fs::temp_directory_path() / format("espy-catalog-{}", ::getpid())) {
    fs::remove_all(root_);
    fs::create_directories(root_);
  }
  ~Folder() override { fs::remove_all(root_); }

  void put(const fs::path& path, std::size_t answer) {
    fs::create_directories((root_ / path).parent_path());
    ASSERT_TRUE(constant_model(answer, kClasses)->save(root_ / path));
  }
  void put_broken(const fs::path& path) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << "this is no model";
  }

  template <typename Condition>
  void wait_for(Condition condition) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!condition()) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline);
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }

  std::int64_t answering(std::string_view name) {
    const auto found = catalog_.registry()->find(name);
    return found ? (*found)->number() : 0;
  }
  std::string reason(std::string_view name, std::size_t index) {
    const auto registry = catalog_.registry();
    const ModelEntry* const entry = registry->entry(name);
    return entry != nullptr && index < entry->versions.size() ? entry->versions[index].reason : "none";
  }

  const fs::path root_;
  Catalog catalog_{{.folder = root_, .interval = std::chrono::milliseconds(10)}};
};

TEST_F(Folder, IsServedWithTheGreatestNumberInFront) {
  put("letters/2.onnx", 0);
  put("letters/10/model.onnx", 1);
  put("words/1.onnx", 2);
  put("words/one.onnx", 2);
  ASSERT_TRUE(catalog_.open_folder());
  EXPECT_EQ(answering("letters"), 10);
  EXPECT_EQ(catalog_.registry()->entry("letters")->versions.size(), 2u);
  EXPECT_EQ(catalog_.registry()->entry("words")->versions.size(), 1u);
}

TEST_F(Folder, IsWatched) {
  put("letters/1.onnx", 0);
  ASSERT_TRUE(catalog_.open_folder());
  put("letters/2.onnx", 1);
  wait_for([&] { return answering("letters") == 2; });
  put("words/7/w.onnx", 1);
  wait_for([&] { return answering("words") == 7; });
  fs::remove(root_ / "letters/2.onnx");
  wait_for([&] { return answering("letters") == 1; });
  fs::remove_all(root_ / "words");
  wait_for([&] { return catalog_.registry()->entry("words") == nullptr; });
}

TEST_F(Folder, ABrokenFileLeavesTheOldOneServingAndSaysWhy) {
  put("letters/1.onnx", 0);
  ASSERT_TRUE(catalog_.open_folder());
  const auto first = *catalog_.registry()->find("letters");
  put_broken("letters/1.onnx");
  wait_for([&] { return !reason("letters", 0).empty(); });
  EXPECT_NE(reason("letters", 0).find("not an ONNX file"), std::string::npos) << reason("letters", 0);
  EXPECT_EQ(*catalog_.registry()->find("letters"), first);
  put_broken("letters/2.onnx");
  wait_for([&] { return !reason("letters", 1).empty() && reason("letters", 1) != "none"; });
  EXPECT_EQ(answering("letters"), 1);
  EXPECT_FALSE(load(catalog_, "letters"));
  put("letters/2.onnx", 2);
  wait_for([&] { return answering("letters") == 2; });
  EXPECT_EQ(reason("letters", 1), "");
}

TEST_F(Folder, ChoosesAndLabelsVersions) {
  put("letters/1.onnx", 0);
  put("letters/2.onnx", 1);
  ASSERT_TRUE(catalog_.open_folder());
  ASSERT_TRUE(choose(catalog_, "letters", 1));
  EXPECT_EQ(answering("letters"), 1);
  put("letters/3.onnx", 2);
  wait_for([&] { return catalog_.registry()->entry("letters")->versions.size() == 3; });
  EXPECT_EQ(answering("letters"), 1);
  EXPECT_EQ(choose(catalog_, "letters", 4).error().message,
            "model letters has no version 4; there are 1, 2, 3");
  ASSERT_TRUE(label(catalog_, "letters", "canary", 3));
  EXPECT_EQ(catalog_.registry()->entry("letters")->labels.at("canary"), 3);
  EXPECT_EQ(label(catalog_, "letters", "a b", 3).error().code, ErrorCode::invalid_input);
  fs::remove(root_ / "letters/3.onnx");
  wait_for([&] { return catalog_.registry()->entry("letters")->labels.empty(); });
  fs::remove(root_ / "letters/1.onnx");
  wait_for([&] { return answering("letters") == 2; });
}

// A loop of its own with a lane, that always has a request in hand.
class BusyLane {
 public:
  explicit BusyLane(Classifier& classifier) : thread_([this, &classifier] { run(classifier); }) {}
  ~BusyLane() {
    ending_ = true;
    thread_.join();
  }

  std::atomic<int> answers = 0;
  std::atomic<int> failures = 0;

 private:
  void run(Classifier& classifier) {
    std::mutex mutex;
    std::condition_variable wake;
    std::deque<std::function<void()>> tasks;
    Lane lane(classifier, [&](std::function<void()> task) {
      const std::lock_guard lock(mutex);
      tasks.push_back(std::move(task));
      wake.notify_one();
    });
    int waiting = 0;
    while (!ending_ || waiting > 0) {
      while (!ending_ && waiting < 4) {
        ++waiting;
        lane.classify({.upload = bar_picture(), .file_name = "", .model = "letters"},
                      [&](Result<Answer> answer) {
                        --waiting;
                        ++(answer ? answers : failures);
                      });
      }
      std::unique_lock lock(mutex);
      wake.wait(lock, [&] { return !tasks.empty(); });
      const std::function<void()> task = std::move(tasks.front());
      tasks.pop_front();
      lock.unlock();
      task();
    }
  }

  std::atomic<bool> ending_ = false;
  std::thread thread_;
};

TEST_F(Folder, SwitchesUnderLoadWithoutAFailureAndLetsGoOfTheOld) {
  put("letters/1.onnx", 0);
  ASSERT_TRUE(catalog_.open_folder());
  const auto store = store::Store::open("sqlite::memory:");
  const auto classifier = *Classifier::create(catalog_, **store);
  BusyLane busy(*classifier);
  BusyLane other(*classifier);
  std::vector<std::weak_ptr<const ServedModel>> old;
  for (std::size_t turn = 1; turn <= 20; ++turn) {
    const auto served = *catalog_.registry()->find("letters");
    old.push_back(served);
    wait_for([&, before = busy.answers.load()] { return busy.answers > before; });
    put("letters/1.onnx", turn % 3);
    ASSERT_TRUE(load(catalog_, "letters"));
    EXPECT_NE(*catalog_.registry()->find("letters"), served);
  }
  for (const auto& version : old) wait_for([&] { return version.expired(); });
  EXPECT_EQ(busy.failures + other.failures, 0);
}

}  // namespace
}  // namespace espy::service
