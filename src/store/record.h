// What is kept of a prediction.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/digest.h"
#include "base/uuid.h"
#include "base/verdict.h"

namespace espy::store {

// What a correction may say; the writer refuses more.
inline constexpr std::size_t kMaxAuthorBytes = 255;
inline constexpr std::size_t kMaxNoteBytes = 4000;

// A person's right answer for a record. It is appended, never written over: the newest one counts.
struct Correction {
  Uuid id;      // version 7
  Uuid record;  // the record that it corrects
  Timestamp time;
  int label = 0;
  std::string class_name;
  std::string author;  // as they named themselves; may be empty
  std::string note;

  bool operator==(const Correction&) const = default;
};

// Who has a record for certain.
enum class Holder {
  disk,    // the disk of the server that answered
  one,     // also a node of the cluster that the history is carried to
  quorum,  // also most of the nodes that are to have it
};

// Returns "disk", "one" or "quorum".
std::string_view to_string(Holder holder);

struct Record {
  Uuid id;         // version 7: sorts by time
  Timestamp time;  // when the upload had arrived
  std::string model;
  std::string model_version;
  std::string file_name;  // as the client said it; never a path of ours
  std::string subject;    // whom the picture is about or comes from, as the client said it; may be empty
  int label = 0;
  std::string class_name;
  float confidence = 0;
  Verdict verdict = Verdict::recognized;
  Reason reason = Reason::none;           // of the verdict
  std::string alternative;                // when unsure: the class that is next likely
  std::array<std::uint8_t, 784> input{};  // what the network saw: 28 rows of 28, 255 = ink
  Sha256 upload_digest{};                 // of the upload's bytes; what is read back is checked against it
  std::uint64_t upload_bytes = 0;
  std::chrono::microseconds latency{};        // from the upload's arrival to the prediction
  std::optional<Correction> correction = {};  // the newest; not what was predicted, so in no checksum of it
  // Who had it when it was answered or read, where there is a cluster; not kept: who has it says so.
  std::optional<Holder> held_by = {};

  bool operator==(const Record&) const = default;
};

// That something was erased on request; never what it was.
struct Erasure {
  Timestamp time;
  std::string chosen_by;  // "id", "file_name" or "subject"
  std::int64_t records = 0;
  std::int64_t corrections = 0;
  std::string reason;  // as the operator gave it

  bool operator==(const Erasure&) const = default;
};

// The picture itself.
struct Upload {
  std::string media_type;
  std::string bytes;

  bool operator==(const Upload&) const = default;
};

// By what a request that is sent again is known.
struct Retry {
  Sha256 key;  // of all that makes it the same: what the caller calls it, what answers it, and its content
  // The record that has the key already. The store writes it, before it says that the append has succeeded.
  std::optional<Record> earlier = {};
  std::int64_t earlier_place = 0;  // in the chain
};

// What is appended to a history: it stays together until it is on disk.
struct Entry {
  Record record;
  Upload upload;  // without bytes: none is to be kept
  // Where the history has a record with this key, that one stands for this one, which is not appended.
  std::unique_ptr<Retry> retry = {};
};

}  // namespace espy::store
