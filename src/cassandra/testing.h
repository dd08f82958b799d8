// What the tests of this module share, those with a real Cassandra among them.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "cassandra/forwarder.h"
#include "store/outbox.h"
#include "store/test_records.h"

namespace espy::cassandra {

// A cluster that the fake driver is.
inline ClusterOptions cluster_options() {
  ClusterOptions options = *parse_cluster("cassandra-1/espy");
  options.replication = 1;
  return options;
}

inline void wait_for(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!condition()) {
    ASSERT_LT(std::chrono::steady_clock::now(), end) << "does not happen";
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

// A history in memory: what it is told is kept as if on disk.
class Journal : public store::Outbox {
 public:
  explicit Journal(int records) { add(records); }

  void add(int records) {
    const std::lock_guard lock(mutex_);
    for (int i = 0; i < records; ++i) push(store::make_record(static_cast<int>(entries_.size()) + 1));
  }
  void add(store::Correction correction, std::string model) {
    const std::lock_guard lock(mutex_);
    push(store::OutgoingCorrection{std::move(correction), std::move(model)});
  }
  void damage(std::int64_t place) {
    const std::lock_guard lock(mutex_);
    entries_[static_cast<std::size_t>(place) - 1].entry = Error{ErrorCode::corrupt, "it is damaged"};
  }
  void erase(std::int64_t place) {
    const std::lock_guard lock(mutex_);
    const auto record = std::get<store::Record>(entries_[static_cast<std::size_t>(place) - 1].entry);
    erased_.push_back(place);
    withdrawals_.push_back({record.id, record.model, record.time, record.file_name});
  }

  Result<std::int64_t> settled() override {
    const std::lock_guard lock(mutex_);
    return settled_;
  }
  Result<void> keep_settled(std::int64_t place) override {
    const std::lock_guard lock(mutex_);
    settled_ = place;
    return {};
  }
  Result<std::vector<store::Outgoing>> read(std::int64_t place, std::size_t limit) override {
    const std::lock_guard lock(mutex_);
    ++reads_;
    if (broken_) return Error{ErrorCode::unavailable, "the disk is gone"};
    std::vector<store::Outgoing> entries;
    for (const store::Outgoing& one : entries_) {
      if (one.place <= place || entries.size() >= limit) continue;
      if (std::find(erased_.begin(), erased_.end(), one.place) == erased_.end()) entries.push_back(one);
    }
    return entries;
  }
  Result<store::Pending> pending(std::int64_t place) override {
    const std::lock_guard lock(mutex_);
    return store::Pending{.entries = static_cast<std::int64_t>(entries_.size()) - place};
  }
  Result<void> keep_dead_letter(std::int64_t place, const std::string& why) override {
    const std::lock_guard lock(mutex_);
    dead_.emplace_back(place, why);
    return {};
  }
  Result<std::vector<store::Withdrawal>> withdrawals(std::size_t) override {
    const std::lock_guard lock(mutex_);
    return withdrawals_;
  }
  Result<void> keep_withdrawn(std::span<const Uuid> ids) override {
    const std::lock_guard lock(mutex_);
    for (const Uuid& id : ids) std::erase_if(withdrawals_, [&](const auto& one) { return one.id == id; });
    return {};
  }

  Result<void> keep_comparison(const store::Comparison&) override { return {}; }

  std::vector<std::pair<std::int64_t, std::string>> dead_letters() {
    const std::lock_guard lock(mutex_);
    return dead_;
  }
  int reads() {
    const std::lock_guard lock(mutex_);
    return reads_;
  }
  void set_broken(bool broken) {
    const std::lock_guard lock(mutex_);
    broken_ = broken;
  }

 private:
  void push(auto entry) {
    entries_.push_back({static_cast<std::int64_t>(entries_.size()) + 1, std::move(entry)});
  }

  std::mutex mutex_;
  std::vector<store::Outgoing> entries_;
  std::vector<std::int64_t> erased_;
  std::int64_t settled_ = 0;
  std::vector<std::pair<std::int64_t, std::string>> dead_;
  std::vector<store::Withdrawal> withdrawals_;
  bool broken_ = false;
  int reads_ = 0;
};

}  // namespace espy::cassandra
