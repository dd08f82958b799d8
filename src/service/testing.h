// What the tests of service and http stand on: a small model, pictures, and a service in memory.
#pragma once

#include <atomic>
#include <cassert>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/model.h"
#include "service/catalog.h"
#include "service/classifier.h"
#include "service/registry.h"
#include "store/store.h"

namespace espy::service::testing {

// An event loop of the simplest kind.
class Queue {
 public:
  // Returns what a Lane is given to have its tasks run here; any thread may call it.
  Lane::Schedule schedule() {
    return [this](std::function<void()> task) {
      {
        const std::lock_guard lock(mutex_);
        tasks_.push_back(std::move(task));
      }
      wake_.notify_one();
    };
  }

  // Waits for a task and runs it.
  void run_one() {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [this] { return !tasks_.empty(); });
    const std::function<void()> task = std::move(tasks_.front());
    tasks_.pop_front();
    lock.unlock();
    task();
  }

  std::size_t size() {
    const std::lock_guard lock(mutex_);
    return tasks_.size();
  }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> tasks_;
};

// Returns a BMP of 8-bit grey, 28x28: a dark bar on light ground at the given columns; none is a blank page.
inline std::string bar_picture(int first_column = 12, int last_column = 15) {
  constexpr std::uint32_t kSide = 28;
  std::string bmp = "BM";
  const auto number = [&bmp](std::uint32_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) bmp += static_cast<char>(value >> (8 * i));
  };
  constexpr std::uint32_t kHeaderBytes = 14 + 40 + 256 * 4;
  for (const std::uint32_t value : {kHeaderBytes + kSide * kSide, 0u, kHeaderBytes, 40u, kSide, kSide}) {
    number(value, 4);
  }
  number(1, 2);
  number(8, 2);
  for (int i = 0; i < 6; ++i) number(0, 4);
  for (std::uint32_t i = 0; i < 256; ++i) number(i * 0x010101, 4);
  for (int row = 0; row < static_cast<int>(kSide); ++row) {
    for (int column = 0; column < static_cast<int>(kSide); ++column) {
      const bool ink = row >= 4 && row < 24 && column >= first_column && column <= last_column;
      bmp += static_cast<char>(ink ? 0 : 255);
    }
  }
  return bmp;
}

inline std::string blank_picture() { return bar_picture(1, 0); }

// Returns a model that answers `answer` to every picture, with confidence near 0.73.
inline std::shared_ptr<const model::Model> constant_model(std::size_t answer,
                                                          std::vector<std::string> class_names) {
  nn::Network network{
      {.input = {1, 28, 28}, .layers = {nn::Flatten{}, nn::Dense{static_cast<int>(class_names.size())}}}, {}};
  const std::vector<nn::Shape> shapes = *nn::parameter_shapes(network.architecture);
  for (const nn::Shape& shape : shapes) {
    network.parameters.push_back({shape, std::vector<float>(nn::element_count(shape))});
  }
  network.parameters.back().values[answer] = 1;
  Result<model::Model> model = model::Model::create({.network = std::move(network),
                                                     .preparation = image::Preparation::digit,
                                                     .class_names = std::move(class_names),
                                                     .recipe = "softmax",
                                                     .metrics = {{"test_accuracy", "0.5"}}});
  return std::make_shared<const model::Model>(*std::move(model));
}

// A store whose disk can be full: then it refuses, as a real one does. Or it can hang, until it is let go.
class BreakableStore : public store::Store {
 public:
  explicit BreakableStore(std::unique_ptr<store::Store> store) : store_(std::move(store)) {}

  void break_disk() { broken_ = true; }
  void mend_disk() { broken_ = false; }
  void hold_disk() { held_ = true; }
  void let_go() {
    held_ = false;
    const std::lock_guard lock(mutex_);
    for (auto& [entries, done] : std::exchange(waiting_, {})) {
      store_->append_together(std::move(entries), std::move(done));
    }
  }

  std::size_t held() {
    const std::lock_guard lock(mutex_);
    return waiting_.size();
  }
  void set_holder(store::Holder holder) { holder_ = holder; }
  std::optional<store::Holder> holder() const override { return holder_; }

  using Store::append;
  void append(std::shared_ptr<const store::Entry> entry, Completion done) override {
    append_together({std::move(entry)}, std::move(done));
  }
  void append_together(std::vector<std::shared_ptr<const store::Entry>> entries, Completion done) override {
    if (broken_) return done(Error{ErrorCode::unavailable, "cannot commit: the disk is full"});
    if (held_) {
      const std::lock_guard lock(mutex_);
      waiting_.emplace_back(std::move(entries), std::move(done));
      return;
    }
    store_->append_together(std::move(entries), std::move(done));
  }
  Result<store::Record> find(const Uuid& id) override { return store_->find(id); }
  Result<std::vector<store::Correction>> corrections(const Uuid& id) override {
    return store_->corrections(id);
  }
  Result<store::Upload> find_upload(const Uuid& id) override { return store_->find_upload(id); }
  bool keeps_upload(std::uint64_t bytes) const override { return store_->keeps_upload(bytes); }
  Result<std::vector<std::string>> upload_media_types(std::span<const Uuid> ids) override {
    return store_->upload_media_types(ids);
  }
  Result<store::Page> list(const store::Query& query) override { return store_->list(query); }
  using Store::correct;
  void correct(store::Correction correction, Completion done) override {
    if (broken_) return done(Error{ErrorCode::unavailable, "cannot commit: the disk is full"});
    store_->correct(std::move(correction), std::move(done));
  }
  Result<store::Erased> erase(const store::Choice& choice, const std::string& reason) override {
    return store_->erase(choice, reason);
  }
  Result<store::Verification> backup(const std::filesystem::path& path) override {
    return store_->backup(path);
  }
  Result<std::unique_ptr<store::Outbox>> open_outbox(const std::string& destination,
                                                     std::int64_t max_pending) override {
    return store_->open_outbox(destination, max_pending);
  }
  Result<std::vector<store::Carried>> carried(const std::string& destination, const Uuid& after,
                                              std::size_t limit) override {
    return store_->carried(destination, after, limit);
  }
  Result<store::HistoryStatus> status() override { return store_->status(); }
  Result<store::Verification> verify(const std::optional<store::ChainPoint>& known) override {
    return store_->verify(known);
  }
  Result<std::optional<Uuid>> newest_id() override { return store_->newest_id(); }

 private:
  std::unique_ptr<store::Store> store_;
  std::atomic<bool> broken_ = false;
  std::atomic<bool> held_ = false;
  std::optional<store::Holder> holder_;
  std::mutex mutex_;  // guards what is held
  std::vector<std::pair<std::vector<std::shared_ptr<const store::Entry>>, Completion>> waiting_;
};

// A service in memory with two models: "digits" says 7 to everything, "garments" Ankle <boot>.
struct Service {
  explicit Service(const store::StoreOptions& options = {}, ClassifierOptions classifier_options = {})
      : store(*store::Store::open("sqlite::memory:", options)) {
    add("digits", constant_model(7, {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}));
    add("garments", constant_model(1, {"Shirt", "Ankle <boot>"}));
    classifier = *Classifier::create(catalog, store, std::move(classifier_options));
  }

  void add(std::string name, std::shared_ptr<const model::Model> model) {
    const Result<void> added = catalog.add(std::move(name), std::move(model));
    assert(added);
    static_cast<void>(added);
  }

  Catalog catalog;
  BreakableStore store;
  std::unique_ptr<Classifier> classifier;
};

}  // namespace espy::service::testing
