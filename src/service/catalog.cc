#include "service/catalog.h"

#include <malloc.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <exception>
#include <set>
#include <system_error>
#include <utility>

#include "base/format.h"
#include "base/log.h"

namespace espy::service {
namespace {

constexpr std::string_view kUnloaded = "it was unloaded";
constexpr std::string_view kModelExtension = ".onnx";

// What can stand in a path, a query string, a file name and a table without quoting.
bool is_name(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  });
}

std::optional<std::int64_t> parse_number(std::string_view text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < 1) return {};
  return number;
}

Error no_such_model(std::string_view name) {
  constexpr std::size_t kShownBytes = 64;
  return {ErrorCode::not_found, format("there is no model {}", name.substr(0, kShownBytes))};
}

// Requests come first: a processor that has any to answer leaves the loading for later.
void yield_to_requests() {
  constexpr int kNicest = 19;
  // For this thread alone: Linux keeps a niceness for each.
  if (::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), kNicest) != 0) {
    log::debug("models are loaded with the priority of requests");
  }
}

}  // namespace

Catalog::Catalog(CatalogOptions options) : options_(std::move(options)) {
  thread_ = std::thread([this] { run(); });
}

Catalog::~Catalog() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Catalog::run() {
  yield_to_requests();
  while (true) {
    std::function<void()> task;
    {
      std::unique_lock lock(mutex_);
      const auto has_work = [&] { return ending_ || !tasks_.empty(); };
      if (watching_ || !retired_.empty()) {
        changed_.wait_for(lock, options_.interval, has_work);
      } else {
        changed_.wait(lock, [&] { return has_work() || watching_; });
      }
      if (ending_) return;
      if (!tasks_.empty()) {
        task = std::move(tasks_.front());
        tasks_.pop_front();
      }
    }
    if (task) {
      task();
    } else if (watching_) {
      look_through_folder();
    }
    release_memory();
  }
}

void Catalog::perform(std::function<void()> task) {
  {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
  }
  changed_.notify_all();
}

std::shared_ptr<const Registry> Catalog::registry() const {
  const std::lock_guard lock(mutex_);
  return registry_;
}

Result<void> Catalog::add(std::string name, Source source) {
  const std::lock_guard lock(changing_);
  if (!is_name(name)) {
    return Error{ErrorCode::invalid_input,
                 format("model name \"{}\" is not made of a-z A-Z 0-9 . _ -", name)};
  }
  if (std::ranges::find(names_, name, &decltype(names_)::value_type::first) != names_.end()) {
    return Error{ErrorCode::invalid_input, format("there are two models named {}", name)};
  }
  Name added;
  added.source = std::move(source);
  constexpr std::int64_t kOnly = 1;
  if (auto loaded = replace(name, kOnly, added.versions[kOnly], added.source()); !loaded) return loaded;
  names_.emplace_back(std::move(name), std::move(added));
  publish();
  return {};
}

Result<void> Catalog::add(std::string name, std::shared_ptr<const model::Model> model) {
  return add(
      std::move(name),
      Source([model = std::move(model)]() -> Result<std::shared_ptr<const model::Model>> { return model; }));
}

Result<void> Catalog::open_folder() {
  const std::lock_guard lock(changing_);
  const Result<Files> files = list_folder();
  if (!files) return files.error();
  // What fails is in the log and in the index; the rest is served.
  [[maybe_unused]] const Result<void> told = take_files(*files, Patience::none, nullptr);
  {
    const std::lock_guard state(mutex_);
    watching_ = true;
  }
  changed_.notify_all();
  return {};
}

void Catalog::load(std::string name, Completion done) {
  perform([this, name = std::move(name), done = std::move(done)] { done(load_now(name)); });
}

void Catalog::unload(std::string name, Completion done) {
  perform([this, name = std::move(name), done = std::move(done)] { done(unload_now(name)); });
}

void Catalog::choose(std::string name, std::int64_t version, Completion done) {
  perform(
      [this, name = std::move(name), version, done = std::move(done)] { done(choose_now(name, version)); });
}

void Catalog::label(std::string name, std::string label, std::optional<std::int64_t> version,
                    Completion done) {
  perform([this, name = std::move(name), label = std::move(label), version, done = std::move(done)] {
    done(label_now(name, label, version));
  });
}

Result<void> Catalog::load_now(const std::string& name) {
  const std::lock_guard lock(changing_);
  auto found = std::ranges::find(names_, name, &decltype(names_)::value_type::first);
  if (found != names_.end() && found->second.source) {
    found->second.unloaded = false;
    auto& [number, version] = *found->second.versions.begin();
    Result<void> replaced = replace(name, number, version, found->second.source());
    if (replaced) log::info(format("model {} is loaded ({})", name, version.served->model().version()));
    publish();
    return replaced;
  }
  if (options_.folder.empty()) return no_such_model(name);
  const Result<Files> files = list_folder();
  if (!files) return files.error();
  const bool is_there =
      std::ranges::any_of(*files, [&](const auto& file) { return file.first.first == name; });
  if (!is_there && found == names_.end()) return no_such_model(name);
  if (found != names_.end()) {
    found->second.unloaded = false;
    for (auto& [number, version] : found->second.versions) {
      if (!version.reason.empty()) version.loaded = {};  // tried again
    }
  }
  Result<void> taken = take_files(*files, Patience::none, &name);
  if (taken && !is_there) return no_such_model(name);
  return taken;
}

Result<void> Catalog::unload_now(const std::string& name) {
  const std::lock_guard lock(changing_);
  const auto found = std::ranges::find(names_, name, &decltype(names_)::value_type::first);
  if (found == names_.end()) return no_such_model(name);
  found->second.unloaded = true;
  for (auto& [number, version] : found->second.versions) {
    if (version.served) retired_.push_back(version.served);
    version.served.reset();
    version.reason = kUnloaded;
    version.loaded = {};
  }
  log::info(format("model {} is unloaded", name));
  publish();
  return {};
}

Result<void> Catalog::choose_now(const std::string& name, std::int64_t number) {
  const std::lock_guard lock(changing_);
  if (const auto served = registry()->find(name, number); !served) return served.error();
  const auto found = std::ranges::find(names_, name, &decltype(names_)::value_type::first);
  found->second.choice = number;
  log::info(format("version {} of model {} answers from now on", number, name));
  publish();
  return {};
}

Result<void> Catalog::label_now(const std::string& name, const std::string& label,
                                std::optional<std::int64_t> number) {
  const std::lock_guard lock(changing_);
  const auto found = std::ranges::find(names_, name, &decltype(names_)::value_type::first);
  if (found == names_.end()) return no_such_model(name);
  if (!is_name(label)) {
    return Error{ErrorCode::invalid_input, format("label \"{}\" is not made of a-z A-Z 0-9 . _ -", label)};
  }
  if (number) {
    if (const auto served = registry()->find(name, *number); !served) return served.error();
    found->second.labels[label] = *number;
  } else if (found->second.labels.erase(label) == 0) {
    return Error{ErrorCode::not_found, format("model {} has no label {}", name, label)};
  }
  publish();
  return {};
}

Result<Catalog::Files> Catalog::list_folder() const {
  namespace fs = std::filesystem;
  const auto fails = [&](const std::error_code& error) {
    return Error{ErrorCode::invalid_input,
                 format("cannot read model folder {}: {}", options_.folder.string(), error.message())};
  };
  Files files;
  std::error_code error;
  fs::directory_iterator names(options_.folder, error);
  if (error) return fails(error);
  const auto add = [&](const std::string& name, std::int64_t number, const fs::path& path) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) return;  // it has just gone
    File& file = files[{name, number}];
    if (!file.path.empty()) {
      file.problem = format("{} and {} are both version {}", file.path.string(), path.string(), number);
      return;
    }
    const auto time =
        std::chrono::seconds(status.st_mtim.tv_sec) + std::chrono::nanoseconds(status.st_mtim.tv_nsec);
    file = {
        .path = path,
        .stamp = {.bytes = static_cast<std::uintmax_t>(status.st_size),
                  .time = fs::file_time_type(std::chrono::duration_cast<fs::file_time_type::duration>(time)),
                  .inode = status.st_ino},
        .problem = {}};
  };
  for (; names != fs::directory_iterator(); names.increment(error)) {
    const std::string name = names->path().filename().string();
    std::error_code ignored;
    if (!is_name(name) || name.starts_with('.') || !names->is_directory(ignored)) continue;
    fs::directory_iterator versions(names->path(), ignored);
    for (; !ignored && versions != fs::directory_iterator(); versions.increment(ignored)) {
      const fs::path& path = versions->path();
      std::error_code unknown;
      if (path.extension() == kModelExtension) {
        if (const auto number = parse_number(path.stem().string())) add(name, *number, path);
      } else if (const auto number = parse_number(path.filename().string());
                 number && versions->is_directory(unknown)) {
        fs::directory_iterator inside(path, unknown);
        for (; !unknown && inside != fs::directory_iterator(); inside.increment(unknown)) {
          if (inside->path().extension() == kModelExtension) add(name, *number, inside->path());
        }
      }
    }
    if (error) break;
  }
  if (error) return fails(error);
  return files;
}

void Catalog::look_through_folder() {
  const std::lock_guard lock(changing_);
  const Result<Files> files = list_folder();
  // Once when it begins to fail: there is a look each second. What is served stays.
  if (!files && !folder_fails_) log::error(files.error().message);
  folder_fails_ = !files;
  if (!files) return;
  [[maybe_unused]] const Result<void> told = take_files(*files, Patience::until_settled, nullptr);
}

Result<void> Catalog::take_files(const Files& files, Patience patience, const std::string* only) {
  Result<void> outcome;
  bool changed = false;
  for (const auto& [key, file] : files) {
    const auto& [name, number] = key;
    if (only != nullptr && name != *only) continue;
    auto found = std::ranges::find(names_, name, &decltype(names_)::value_type::first);
    if (found == names_.end()) found = names_.insert(names_.end(), {name, Name{}});
    Name& entry = found->second;
    if (entry.source || entry.unloaded) continue;
    Version& version = entry.versions[number];
    version.missing = false;
    if (version.loaded == file.stamp && version.path == file.path) continue;
    if (patience == Patience::until_settled && version.seen != file.stamp) {
      version.seen = file.stamp;
      continue;
    }
    Result<void> loaded = load_file(name, number, version, file);
    changed = true;
    if (loaded && patience == Patience::until_settled) {
      log::info(
          format("version {} of model {} is loaded ({})", number, name, version.served->model().version()));
    }
    if (!loaded && outcome) outcome = std::move(loaded);
  }
  for (auto& [name, entry] : names_) {
    if (entry.source || (only != nullptr && name != *only)) continue;
    for (auto version = entry.versions.begin(); version != entry.versions.end();) {
      // Gone twice: a file that is being replaced may be missing for a moment.
      if (files.contains({name, version->first}) ||
          (!std::exchange(version->second.missing, true) && patience == Patience::until_settled)) {
        ++version;
        continue;
      }
      log::info(format("version {} of model {} is gone from the folder", version->first, name));
      if (version->second.served) retired_.push_back(version->second.served);
      std::erase_if(entry.labels, [&](const auto& label) { return label.second == version->first; });
      version = entry.versions.erase(version);
      changed = true;
    }
  }
  std::erase_if(names_, [](const auto& named) {
    return !named.second.source && named.second.versions.empty() && !named.second.unloaded;
  });
  if (changed) publish();
  return outcome;
}

Result<void> Catalog::load_file(const std::string& name, std::int64_t number, Version& version,
                                const File& file) {
  version.loaded = file.stamp;
  version.path = file.path;
  version.seen.reset();
  if (!file.problem.empty()) {
    return replace(name, number, version, Error{ErrorCode::invalid_input, file.problem});
  }
  Result<model::Model> model = model::Model::load(file.path);
  if (!model) return replace(name, number, version, std::move(model).error());
  return replace(name, number, version,
                 std::shared_ptr<const model::Model>(std::make_shared<model::Model>(*std::move(model))));
}

// Puts a model in a version's place, or says why that stays as it is.
Result<void> Catalog::replace(const std::string& name, std::int64_t number, Version& version,
                              Result<std::shared_ptr<const model::Model>> model) {
  if (!model) {
    version.reason = model.error().message;
    log::error(format("version {} of model {} {}: {}", number, name,
                      version.served ? "stays as it was" : "is not served", version.reason));
    return std::move(model).error();
  }
  version.reason.clear();
  if (version.served && version.served->model().full_version() == (*model)->full_version()) return {};
  auto served = std::make_shared<const ServedModel>(name, number, *std::move(model));
  std::vector<nn::Precision> precisions;
  {
    const std::lock_guard lock(mutex_);
    for (const Subscription* subscription : subscriptions_) precisions.push_back(subscription->precision_);
  }
  for (const nn::Precision precision : precisions) served->prepare(1, precision);
  if (version.served) retired_.push_back(version.served);
  version.served = std::move(served);
  log::debug(
      format("version {} of model {} is loaded ({})", number, name, version.served->model().version()));
  return {};
}

// Makes the newest state known.
void Catalog::publish() {
  std::vector<ModelEntry> entries;
  for (auto& [name, named] : names_) {
    ModelEntry entry{.name = name, .versions = {}, .chosen = {}, .labels = named.labels};
    if (named.choice && !(named.versions.contains(*named.choice) && named.versions[*named.choice].served)) {
      named.choice.reset();
    }
    for (const auto& [number, version] : named.versions) {
      entry.versions.push_back({.number = number, .served = version.served, .reason = version.reason});
      // In order of their numbers, so that the greatest comes last.
      if (version.served && (!named.choice || *named.choice == number)) entry.chosen = version.served;
    }
    entries.push_back(std::move(entry));
  }
  auto registry = std::make_shared<const Registry>(std::move(entries));
  const std::lock_guard lock(mutex_);
  registry_.swap(registry);
  generation_.fetch_add(1, std::memory_order_release);
  for (const Subscription* subscription : subscriptions_) subscription->changed_();
}

// What an old version took is given back to the system, once its last request is done. The allocator keeps it
// otherwise, for a next one.
void Catalog::release_memory() {
  const std::lock_guard lock(changing_);
  if (std::erase_if(retired_, [](const auto& model) { return model.expired(); }) > 0) ::malloc_trim(0);
}

std::unique_ptr<Catalog::Subscription> Catalog::subscribe(nn::Precision precision,
                                                          std::function<void()> changed) {
  std::unique_ptr<Subscription> subscription(new Subscription(*this, precision, std::move(changed)));
  const std::lock_guard lock(mutex_);
  subscriptions_.push_back(subscription.get());
  return subscription;
}

Catalog::Subscription::Subscription(Catalog& catalog, nn::Precision precision, std::function<void()> changed)
    : catalog_(catalog), precision_(precision), changed_(std::move(changed)) {}

Catalog::Subscription::~Subscription() {
  const std::lock_guard lock(catalog_.mutex_);
  std::erase(catalog_.subscriptions_, this);
}

}  // namespace espy::service
