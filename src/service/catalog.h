// Which models are served, changed while they are: load, unload, switch. What changes is prepared on a thread
// of its own, and then takes the place of what was, at once and as a whole, as a new Registry; requests in
// hand keep what they began with.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/result.h"
#include "model/model.h"
#include "nn/precision.h"
#include "service/registry.h"

namespace espy::service {

struct CatalogOptions {
  // Holds NAME/VERSION.onnx and NAME/VERSION/ANYTHING.onnx, VERSION a number from 1 on; empty: there is none.
  std::filesystem::path folder = {};
  // How often it is looked through. A file counts once two looks have found it the same: until then it may
  // still be being written.
  std::chrono::milliseconds interval{1000};
};

// Threads: all functions may be called from any thread at once.
class Catalog {
 public:
  // Loads a model from where it came from.
  using Source = std::function<Result<std::shared_ptr<const model::Model>>()>;
  // Called once, on the catalog's thread: be quick.
  using Completion = std::function<void(Result<void>)>;

  explicit Catalog(CatalogOptions options = {});
  ~Catalog();
  Catalog(const Catalog&) = delete;
  Catalog& operator=(const Catalog&) = delete;

  // Adds version 1 of a model. load() reads it anew from its source.
  // Errors: invalid_input (a name that is taken, empty, or has other characters than a-z A-Z 0-9 . _ -);
  // those of the source.
  Result<void> add(std::string name, Source source);
  Result<void> add(std::string name, std::shared_ptr<const model::Model> model);

  // Loads what the folder holds, every version of every name, and watches it from now on: a file that comes
  // or changes is loaded, one that goes is unloaded, a broken one leaves what was there serving. Without a
  // choice (choose()) the greatest number answers. Errors: invalid_input (there is no such folder).
  Result<void> open_folder();

  // The newest state. The generation grows with each change.
  std::shared_ptr<const Registry> registry() const;
  std::uint64_t generation() const { return generation_.load(std::memory_order_acquire); }

  // Load, or load anew, every version of a name; what cannot be loaded leaves what was there serving.
  // Errors (by `done`): not_found (no such name), those of model::Model::load.
  void load(std::string name, Completion done);
  // Serves the name no more, until load(). Errors (by `done`): not_found.
  void unload(std::string name, Completion done);
  // Which version answers when none is named; it stays so until that version goes.
  // Errors (by `done`): not_found (no such version is served).
  void choose(std::string name, std::int64_t version, Completion done);
  // Gives a version a name, or takes the name away. Errors (by `done`): not_found; invalid_input (a label
  // with other characters than a name may have).
  void label(std::string name, std::string label, std::optional<std::int64_t> version, Completion done);

  // As long as it lives, each model that is loaded has a predictor prepared for it, and `changed` is called
  // behind each change, on any thread: be quick.
  class Subscription {
   public:
    ~Subscription();
    Subscription(const Subscription&) = delete;
    Subscription& operator=(const Subscription&) = delete;

   private:
    friend class Catalog;
    Subscription(Catalog& catalog, nn::Precision precision, std::function<void()> changed);

    Catalog& catalog_;
    const nn::Precision precision_;
    const std::function<void()> changed_;
  };
  std::unique_ptr<Subscription> subscribe(nn::Precision precision, std::function<void()> changed);

 private:
  // A file as the folder shows it; another content shows otherwise.
  struct Stamp {
    std::uintmax_t bytes = 0;
    std::filesystem::file_time_type time{};
    std::uint64_t inode = 0;
    bool operator==(const Stamp&) const = default;
  };
  struct File {
    std::filesystem::path path;
    Stamp stamp;
    std::string problem;  // why it cannot be the version's
  };
  using Files = std::map<std::pair<std::string, std::int64_t>, File>;

  struct Version {
    std::shared_ptr<const ServedModel> served;
    std::string reason;
    Stamp loaded{};               // of the file that was loaded, or tried, last
    std::optional<Stamp> seen{};  // of another one that the last look found
    bool missing = false;         // the last look did not find it
    std::filesystem::path path{};
  };
  struct Name {
    Source source;  // none: it is the folder's
    std::map<std::int64_t, Version> versions;
    std::optional<std::int64_t> choice;
    std::map<std::string, std::int64_t, std::less<>> labels;
    bool unloaded = false;
  };

  enum class Patience { none, until_settled };

  void run();
  void perform(std::function<void()> task);
  // The rest runs on the catalog's thread, or before there is one.
  Result<void> load_now(const std::string& name);
  Result<void> unload_now(const std::string& name);
  Result<void> choose_now(const std::string& name, std::int64_t number);
  Result<void> label_now(const std::string& name, const std::string& label,
                         std::optional<std::int64_t> number);
  Result<Files> list_folder() const;
  // Returns the first failure; `only` names one name.
  Result<void> take_files(const Files& files, Patience patience, const std::string* only);
  Result<void> load_file(const std::string& name, std::int64_t number, Version& version, const File& file);
  void look_through_folder();
  Result<void> replace(const std::string& name, std::int64_t number, Version& version,
                       Result<std::shared_ptr<const model::Model>> model);
  void publish();
  void release_memory();

  const CatalogOptions options_;

  std::mutex changing_;                              // guards the names; held while a model is loaded
  std::vector<std::pair<std::string, Name>> names_;  // in the order of their coming

  // The catalog's thread's own.
  bool folder_fails_ = false;
  std::vector<std::weak_ptr<const ServedModel>> retired_;

  mutable std::mutex mutex_;  // guards the rest
  std::shared_ptr<const Registry> registry_ = std::make_shared<const Registry>();
  std::atomic<std::uint64_t> generation_ = 0;
  std::vector<Subscription*> subscriptions_;
  std::deque<std::function<void()>> tasks_;
  std::condition_variable changed_;
  bool watching_ = false;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace espy::service
