// What the tests of this module share, those with a real Cassandra among them.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "cassandra/forwarder.h"
#include "store/test_records.h"

namespace espy::cassandra {

// A journal in memory: what it is told is kept as if on disk.
class Journal : public Outbox {
 public:
  explicit Journal(int records) { add(records); }

  void add(int records) {
    const std::lock_guard lock(mutex_);
    for (int i = 0; i < records; ++i) {
      const auto sequence = static_cast<std::int64_t>(records_.size()) + 1;
      records_.push_back({sequence, store::make_record(static_cast<int>(sequence))});
    }
  }

  Result<std::int64_t> cursor() override {
    const std::lock_guard lock(mutex_);
    return cursor_;
  }
  Result<std::vector<Item>> read(std::int64_t after, std::size_t limit) override {
    const std::lock_guard lock(mutex_);
    if (broken_) return Error{ErrorCode::unavailable, "the disk is gone"};
    std::vector<Item> items;
    for (const Item& item : records_) {
      if (item.sequence > after && items.size() < limit) items.push_back(item);
    }
    return items;
  }
  Result<void> keep_cursor(std::int64_t sequence) override {
    const std::lock_guard lock(mutex_);
    cursor_ = sequence;
    return {};
  }
  Result<void> keep_dead_letter(std::int64_t sequence, const std::string& why) override {
    const std::lock_guard lock(mutex_);
    dead_.emplace_back(sequence, why);
    return {};
  }

  std::vector<std::pair<std::int64_t, std::string>> dead_letters() {
    const std::lock_guard lock(mutex_);
    return dead_;
  }
  void set_broken(bool broken) {
    const std::lock_guard lock(mutex_);
    broken_ = broken;
  }

 private:
  std::mutex mutex_;
  std::vector<Item> records_;
  std::int64_t cursor_ = 0;
  std::vector<std::pair<std::int64_t, std::string>> dead_;
  bool broken_ = false;
};

}  // namespace espy::cassandra
