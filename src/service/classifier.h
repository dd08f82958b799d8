// The road from an upload to a recorded answer: the only place that knows the whole of it.
//   upload -> image::decode -> image::prepare -> model::Predictor -> store::Store::append -> answer
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/uuid.h"
#include "image/decode.h"
#include "nn/precision.h"
#include "service/catalog.h"
#include "service/figures.h"
#include "service/registry.h"
#include "store/history.h"
#include "store/store.h"

namespace espy::service {

// What an upload is.
enum class Content {
  picture,  // an encoded picture
  pixels,   // 28 rows of 28 bytes, 255 = ink: an input as a network sees it, which no preparation changes
};

// One picture to classify.
struct Request {
  std::string upload;
  std::string file_name;  // as the client said it; may be empty
  std::string model;      // a name in the registry; empty for the default
  std::string subject{};  // whom the picture is about, as the client said it; may be empty
  // From 0 to 1: the answer also has the set of classes that holds the right one so often.
  std::optional<double> coverage = std::nullopt;
  std::shared_ptr<const ServedModel> served{};  // as Lane::registry() has it; nullptr: `model` names it
  Content content = Content::picture;
  // As the caller names its request; empty: it does not. The same content for the same version under the same
  // id is the same record, however often it is sent.
  std::string id{};
};

// Checks what is kept, or compared, as the client said it: two that differ must stay two, so what is too long
// is refused, not cut. Errors: invalid_input.
Result<void> check_said(std::string_view subject, std::string_view id);

// A prediction that is on disk.
struct Answer {
  store::Record record;
  std::string upload_media_type;  // "image/png"; empty when the upload was too large to be kept, or pixels
  // Likeliest first; when a coverage was asked for. Not part of the record.
  std::vector<std::string> set = {};
  std::vector<float> probabilities = {};  // one a class. Not part of the record.
};

// Pictures of one request; more would hold up the loop for everybody else on it.
inline constexpr std::size_t kMostTogether = 256;

// What a person says of an answer.
struct Opinion {
  Uuid record;
  int label = 0;  // of the model that answered
  std::string author;
  std::string note;
};

struct ClassifierOptions {
  image::DecodeLimits decode_limits;
  Clock clock = system_clock();
  nn::Precision precision = nn::Precision::f32;  // one that the processor has
  // Where is looked back; nullptr: in the store.
  store::History* history = nullptr;
  // A request that would wait longer is refused at once (admission.h).
  std::chrono::steady_clock::duration longest_wait = std::chrono::hours(1);
  // A batch that has gathered for longer is predicted before the turn ends, so that its records are written
  // while large pictures are decoded for others. Of small ones more than a hundred are decoded in this time.
  std::chrono::steady_clock::duration longest_gathering = std::chrono::milliseconds(2);
};

// Does work beside the loops, in order. Threads: do_soon() may be called from any thread.
class Aside {
 public:
  Aside();
  ~Aside();  // leaves out what has not begun
  Aside(const Aside&) = delete;
  Aside& operator=(const Aside&) = delete;

  // Returns false, and does nothing, when too much waits already.
  bool do_soon(std::function<void()> work);

 private:
  void run();

  std::mutex mutex_;  // guards these
  std::condition_variable changed_;
  std::deque<std::function<void()>> waiting_;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

// The parts that all lanes share.
// Threads: shared by every lane.
class Classifier {
 public:
  // Errors: as Store::newest_id.
  static Result<std::unique_ptr<Classifier>> create(Catalog& catalog, store::Store& store,
                                                    ClassifierOptions options = {});

  Catalog& catalog() const { return catalog_; }
  store::Store& store() const { return store_; }
  nn::Precision precision() const { return options_.precision; }
  Timestamp now() const { return options_.clock(); }
  const Figures& figures() const { return figures_; }

  // Returns whether the store refused a record within the last kFailureTime, and has taken none since.
  // Whoever asks may send requests elsewhere then; after that time some are needed to find out whether it has
  // recovered.
  bool store_fails() const;
  static constexpr std::chrono::seconds kFailureTime{10};

 private:
  friend class Lane;
  Classifier(Catalog& catalog, store::Store& store, ClassifierOptions options, const Uuid& newest);

  Catalog& catalog_;
  store::Store& store_;
  ClassifierOptions options_;
  UuidGenerator ids_;
  Figures figures_;
  // When the store last refused a record, in ticks of the steady clock; 0: it has taken one since.
  std::atomic<std::chrono::steady_clock::rep> store_failed_at_ = 0;
  std::optional<Aside> aside_;  // where looking back may wait
};

// One event loop's way through the classifier, with natural batching: inputs that became ready in one turn of
// the loop form one batch, and answers whose records were committed together are handed over together.
// Threads: everything on the loop's thread. Must outlive what it scheduled.
class Lane {
 public:
  // Runs a task on the loop's thread, soon, after what is ready there now. May be called from any thread.
  using Schedule = std::function<void(std::function<void()>)>;

  // Gets the answer, or why there is none:
  // decode's errors; not_found (no such model); invalid_input (a coverage asked of a model that has no
  // calibration); unavailable (the record could not be committed; too much waits already).
  using Completion = std::function<void(Result<Answer>)>;
  using TogetherCompletion = std::function<void(Result<std::vector<Answer>>)>;

  Lane(Classifier& classifier, Schedule schedule);
  ~Lane();

  // Decodes and prepares at once, predicts with the batch of this turn, and calls `done` on the loop's thread
  // once the record is durable (or at once when the upload is refused). After the lane's end nobody is
  // called.
  void classify(Request request, Completion done);

  // As classify(), of 1 to kMostTogether pictures: one refused picture refuses all, and their records are
  // committed together or not at all. The answers are in order.
  void classify_together(std::vector<Request> requests, TogetherCompletion done);

  // The models as they are now. Threads: the loop's; good until the next call of any of the lane's functions.
  const Registry& registry();

  // Has the catalog change something, and calls `done` on the loop's thread once that is so for every request
  // that comes from then on.
  using Change = std::function<void(Catalog&, Catalog::Completion)>;
  void change(const Change& change, std::function<void(Result<void>)> done);

  // Look back, at once in the store, or beside the loop in a history that may wait; then `done` is called on
  // the loop's thread. Errors: as store::History; unavailable (too many look back already).
  void list(store::Query query, std::function<void(Result<store::Listing>)> done);
  void find(const Uuid& id, std::function<void(Result<store::Record>)> done);

  // Appends a correction and calls `done` on the loop's thread with the record as it is shown now, once that
  // is durable. Errors: not_found (no such record), invalid_input (a label that the record's model does not
  // have), unavailable.
  void correct(Opinion opinion, std::function<void(Result<store::Record>)> done);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace espy::service
