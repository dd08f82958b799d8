// What the commands of `espy history` (history_*.cc) share.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "cli/flags.h"
#include "store/store.h"

namespace espy::cli {

inline constexpr const char* kDefaultStore = "sqlite:espy.db";

// The most records that a page of the store holds.
inline constexpr int kLongestPage = 1000;

// Which records of which store.
struct Filters {
  std::string store = kDefaultStore;
  store::Query query;
};

void declare_store(Flags& flags, std::string& store);
void declare_filters(Flags& flags, Filters& filters);

// Opens a history to read it, also beside a running server. Errors: as Store::open.
Result<std::unique_ptr<store::Store>> open_history(const std::string& url);

// Opens a history that is there to correct or erase records of it; a running server does it for us. Errors:
// as Store::open; not_found (there is none).
Result<std::unique_ptr<store::Store>> open_history_to_change(const std::string& url);

struct Imported {
  std::uint64_t records = 0;
  std::uint64_t corrections = 0;
};

// Appends what a complete export wrote to the store at `url`; `path` may be "-", standard input. Records that
// the store has are passed over. Errors: as Store::open; not_found, unavailable, invalid_input, too_large
// (name the line).
Result<Imported> import_archive(const std::string& path, const std::string& url);

// Returns each record in the API's shape; the url of an upload is its place on a server of this store.
// Errors: unavailable.
Result<std::vector<std::string>> to_json(store::Store& store, std::span<const store::Record> records);

// Returns "2026-11-22T03:41:00Z".
std::string to_seconds(Timestamp time);

}  // namespace espy::cli
