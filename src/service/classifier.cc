#include "service/classifier.h"

#include <algorithm>
#include <cassert>
#include <chrono>
#include <mutex>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/foreign_text.h"
#include "base/format.h"
#include "model/predictor.h"
#include "service/admission.h"

namespace espy::service {
namespace {

// A longer batch is cut, so that a predictor's memory and one model's hold on the loop stay small.
constexpr std::size_t kMaxBatch = 256;

// Who look back wait for a cluster most of the time, each at most for some seconds.
constexpr int kAsideThreads = 2;
constexpr std::size_t kMaxAside = 100;

struct Together;

// One classification between its arrival and its answer. The store shares it until the entry is on disk.
struct Work {
  Lane::Completion done;
  // Of a request with several pictures, until this one is predicted; nullptr: it stands alone.
  std::shared_ptr<Together> together;
  std::shared_ptr<Tally> tally;  // of the version that answers
  std::chrono::steady_clock::time_point arrival;
  std::chrono::steady_clock::time_point prepared;
  std::chrono::steady_clock::time_point predicted;
  ModelFigures* figures = nullptr;  // the lane's, of the version that answers
  std::optional<double> coverage;
  std::string id;
  std::size_t index = 0;  // in its request
  std::vector<std::string> set;
  std::vector<float> probabilities;
  store::Entry entry;
};

// The pictures of one request. It has those that are predicted; the others have it.
struct Together {
  Lane::TogetherCompletion done;
  std::vector<std::shared_ptr<Work>> works;  // in the request's order
  std::size_t predicted = 0;
  std::chrono::nanoseconds cost{};  // of those, to the loop
};

// A request that is predicted.
struct Predicted {
  std::shared_ptr<Work> work;          // or
  std::shared_ptr<Together> together;  // of a request with several
};

// What one commit, or its failure, says to the requests of one batch.
struct Outcome {
  std::vector<Predicted> requests;
  Result<void> result;
};

// Returns what a repetition of the request is known by: the SHA-256 of
//   encoding := id model model_version index upload_digest(32 bytes) subject?
//   text     := length bytes
// where every number has eight bytes, as in memory, and the lengths come first. A subject stands there when
// there is one. NOTE: histories hold these values; never change the encoding.
Sha256 retry_key(const Work& work) {
  const store::Record& record = work.entry.record;
  const std::uint64_t numbers[] = {work.id.size(), record.model.size(), record.model_version.size(),
                                   work.index};
  return sha256({std::as_bytes(std::span(numbers)), std::as_bytes(std::span(work.id)),
                 std::as_bytes(std::span(record.model)), std::as_bytes(std::span(record.model_version)),
                 std::as_bytes(std::span(record.upload_digest)), std::as_bytes(std::span(record.subject))});
}

}  // namespace

Result<void> check_said(std::string_view subject, std::string_view id) {
  constexpr std::size_t kMaxSaidBytes = 255;
  for (const auto& [name, text] : {std::pair{"subject", subject}, {"id", id}}) {
    if (text.size() > kMaxSaidBytes) {
      return Error{ErrorCode::invalid_input,
                   espy::format("{} has {} bytes, limit is {}", name, text.size(), kMaxSaidBytes)};
    }
    if (valid_utf8(text) != text) {
      return Error{ErrorCode::invalid_input, espy::format("{} is not UTF-8", name)};
    }
  }
  return {};
}

Result<std::unique_ptr<Classifier>> Classifier::create(Catalog& catalog, store::Store& store,
                                                       ClassifierOptions options) {
  Result<std::optional<Uuid>> newest = store.newest_id();
  if (!newest) return std::move(newest).error();
  return std::unique_ptr<Classifier>(
      new Classifier(catalog, store, std::move(options), newest->value_or(Uuid{})));
}

Classifier::Classifier(Catalog& catalog, store::Store& store, ClassifierOptions options, const Uuid& newest)
    : catalog_(catalog), store_(store), options_(std::move(options)), ids_(newest) {
  if (options_.history) aside_.emplace();
}

bool Classifier::store_fails() const {
  using Steady = std::chrono::steady_clock;
  const Steady::rep failed_at = store_failed_at_.load(std::memory_order_relaxed);
  return failed_at != 0 && Steady::now() - Steady::time_point(Steady::duration(failed_at)) < kFailureTime;
}

Aside::Aside() {
  for (int i = 0; i < kAsideThreads; ++i) threads_.emplace_back([this] { run(); });
}

Aside::~Aside() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

bool Aside::do_soon(std::function<void()> work) {
  {
    const std::lock_guard lock(mutex_);
    if (waiting_.size() >= kMaxAside) return false;
    waiting_.push_back(std::move(work));
  }
  changed_.notify_one();
  return true;
}

void Aside::run() {
  while (true) {
    std::function<void()> work;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return ending_ || !waiting_.empty(); });
      if (ending_) return;
      work = std::move(waiting_.front());
      waiting_.pop_front();
    }
    work();
  }
}

// Shared with the store's writer, which may finish an append after the lane is gone.
struct Lane::State : std::enable_shared_from_this<Lane::State> {
  // The inputs of one version that wait for this turn's batch, and who waits for them.
  struct Batch {
    std::shared_ptr<const ServedModel> served;
    std::unique_ptr<model::Predictor> predictor;
    std::shared_ptr<Tally> tally;
    ModelFigures* figures = nullptr;
    std::vector<image::Input> inputs;
    std::vector<std::shared_ptr<Work>> works;
  };

  State(Classifier& owner, Schedule loop)
      : classifier(owner), schedule(std::move(loop)), admission(owner.options_.longest_wait) {}

  // Once there is a shared pointer to it.
  void begin() {
    subscription = classifier.catalog().subscribe(classifier.precision(), [weak = weak_from_this()] {
      // So that an old version goes also where no request comes.
      const auto self = weak.lock();
      if (!self) return;
      const std::lock_guard lock(self->mutex);
      if (!self->closed) self->schedule([self] { self->refresh(); });
    });
    refresh();
    for (std::size_t i = 0; i < registry->size(); ++i) batch_of(*registry->find(registry->name(i)));
  }

  const Registry& refresh();
  ModelFigures& figures_of(const ServedModel& served);
  Batch& batch_of(const std::shared_ptr<const ServedModel>& served);
  void drop_old_versions();
  Result<void> admit();
  Result<std::shared_ptr<Work>> prepare(Request request, image::DecodeLimits& limits,
                                        std::shared_ptr<const ServedModel>& served);
  void count_failure(const std::shared_ptr<const ServedModel>& served,
                     std::chrono::steady_clock::time_point arrival);
  void put_into_batch(const std::shared_ptr<const ServedModel>& served, std::shared_ptr<Work> work);
  void append_all(std::vector<Predicted> requests);
  void append(std::vector<Predicted> requests);
  void classify(Request request, Completion done);
  void classify_together(std::vector<Request> requests, TogetherCompletion done);
  void correct(Opinion opinion, std::function<void(Result<store::Record>)> done);
  template <typename Found>
  void look_back(std::function<Result<Found>(store::History&)> look, std::function<void(Result<Found>)> done);
  void predict_all();
  void predict(Batch& batch);
  std::optional<Predicted> record(std::shared_ptr<Work> work, model::Prediction prediction,
                                  const model::Model& model);
  void hand_over_change(Result<void> outcome, std::function<void(Result<void>)> done);
  Answer answer_from(Work&& work) const;
  void hand_over(Outcome outcome);
  void note(const Result<void>& result, const Work& work, std::chrono::steady_clock::time_point now);
  void deliver();
  void answer(const Predicted& request, const Result<void>& result,
              std::chrono::steady_clock::time_point now);

  Classifier& classifier;
  Schedule schedule;
  std::uint64_t generation = 0;  // of the registry
  std::shared_ptr<const Registry> registry;
  std::vector<std::unique_ptr<Batch>> batches;  // one for each version that was asked for
  bool predict_is_scheduled = false;
  Admission admission;
  bool has_old_versions = false;

  // What the writer's thread leaves for the loop's.
  std::mutex mutex;
  std::vector<Outcome> outcomes;
  bool closed = false;

  std::unique_ptr<Catalog::Subscription> subscription;
};

const Registry& Lane::State::refresh() {
  const std::uint64_t newest = classifier.catalog().generation();
  if (!registry || newest != generation) {
    generation = newest;  // read first: what is newer than it says is only looked at once more
    registry = classifier.catalog().registry();
    has_old_versions = true;
    if (!predict_is_scheduled) drop_old_versions();
  }
  return *registry;
}

ModelFigures& Lane::State::figures_of(const ServedModel& served) {
  return classifier.figures_.open(this, served.name(), served.model().version());
}

Lane::State::Batch& Lane::State::batch_of(const std::shared_ptr<const ServedModel>& served) {
  for (const auto& batch : batches) {
    if (batch->served == served) return *batch;
  }
  if (!registry->has(*served)) has_old_versions = true;
  auto batch = std::make_unique<Batch>();
  batch->served = served;
  batch->predictor = served->take_predictor(classifier.precision());
  batch->tally = served->open_tally();
  batch->figures = &figures_of(*served);
  return *batches.emplace_back(std::move(batch));
}

// Lets go of what is served no more; nobody may be waiting for it.
void Lane::State::drop_old_versions() {
  if (!std::exchange(has_old_versions, false)) return;
  std::erase_if(batches, [this](const auto& batch) { return !registry->has(*batch->served); });
}

// Returns why a request that is read now is refused unseen.
Result<void> Lane::State::admit() {
  const auto now = std::chrono::steady_clock::now();
  if (!admission.in_turn()) admission.begin_turn(now);
  if (!predict_is_scheduled) {
    predict_is_scheduled = true;
    schedule([self = shared_from_this()] { self->predict_all(); });
  }
  if (admission.admits(now)) return {};
  const auto milliseconds = [](auto time) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(time).count();
  };
  return Error{ErrorCode::unavailable,
               espy::format("requests wait for {} ms, limit is {} ms", milliseconds(admission.wait(now)),
                            milliseconds(admission.bound()))};
}

// A request for this version has failed before it was in a batch.
void Lane::State::count_failure(const std::shared_ptr<const ServedModel>& served,
                                std::chrono::steady_clock::time_point arrival) {
  batch_of(served).tally->add(Tally::failure, 1, std::chrono::steady_clock::now() - arrival);
}

// Decodes and prepares, and takes the picture's pixels from `limits`. `served` becomes the version that is to
// answer.
Result<std::shared_ptr<Work>> Lane::State::prepare(Request request, image::DecodeLimits& limits,
                                                   std::shared_ptr<const ServedModel>& served) {
  const auto work = std::make_shared<Work>();
  work->arrival = std::chrono::steady_clock::now();
  work->entry.record.time = classifier.options_.clock();

  served = std::move(request.served);
  if (!served) {
    Result<std::shared_ptr<const ServedModel>> found = refresh().find(request.model);
    if (!found) return std::move(found).error();
    served = *std::move(found);
  }
  const model::Model& model = served->model();
  if (request.coverage && !model.calibration()) {
    return Error{
        ErrorCode::invalid_input,
        espy::format("model {} has no calibration, so it has no sets of a coverage", served->name())};
  }
  work->coverage = request.coverage;
  work->id = std::move(request.id);

  const auto bytes = std::as_bytes(std::span(request.upload));
  store::Record& record = work->entry.record;
  if (request.content == Content::pixels) {
    assert(request.upload.size() == record.input.size());
    std::ranges::copy(request.upload, record.input.begin());
    // They are the record's input: nothing is left that would have to be kept beside it.
  } else {
    const Result<image::Format> format = image::detect_format(bytes);
    if (!format) {
      figures_of(*served).refused.add();
      return format.error();
    }
    const Result<image::GrayImage> picture = image::decode(bytes, limits);
    if (!picture) {
      figures_of(*served).refused.add();
      return picture.error();
    }
    limits.max_pixels -= std::min<std::uint64_t>(limits.max_pixels, picture->pixels.size());
    record.input = image::prepare(*picture, model.preparation());
    work->entry.upload.media_type = image::media_type(*format);
  }
  record.model = served->name();
  record.model_version = model.version();
  record.file_name = std::move(request.file_name);
  record.subject = std::move(request.subject);
  record.upload_digest = sha256(bytes);
  record.upload_bytes = bytes.size();
  if (request.content == Content::picture) work->entry.upload.bytes = std::move(request.upload);
  work->prepared = std::chrono::steady_clock::now();
  return work;
}

void Lane::State::put_into_batch(const std::shared_ptr<const ServedModel>& served,
                                 std::shared_ptr<Work> work) {
  Batch& batch = batch_of(served);
  const auto now = work->prepared;
  work->tally = batch.tally;
  batch.tally->add(Tally::input, 1, work->prepared - work->arrival);
  work->figures = batch.figures;
  work->figures->decode.add(work->prepared - work->arrival);
  batch.inputs.push_back(work->entry.record.input);
  batch.works.push_back(std::move(work));
  for (const auto& gathering : batches) {
    if (gathering->works.empty()) continue;
    if (now - gathering->works.front()->arrival > classifier.options_.longest_gathering) predict(*gathering);
  }
  if (!predict_is_scheduled) {
    predict_is_scheduled = true;
    schedule([self = shared_from_this()] { self->predict_all(); });
  }
}

void Lane::State::classify(Request request, Completion done) {
  if (Result<void> admitted = admit(); !admitted) return done(std::move(admitted).error());
  const auto arrival = std::chrono::steady_clock::now();
  image::DecodeLimits limits = classifier.options_.decode_limits;
  std::shared_ptr<const ServedModel> served;
  Result<std::shared_ptr<Work>> work = prepare(std::move(request), limits, served);
  if (!work) {
    if (served) count_failure(served, arrival);
    return done(std::move(work).error());
  }
  (*work)->done = std::move(done);
  put_into_batch(served, *std::move(work));
}

void Lane::State::classify_together(std::vector<Request> requests, TogetherCompletion done) {
  assert(!requests.empty() && requests.size() <= kMostTogether);
  const auto together = std::make_shared<Together>();
  together->done = std::move(done);
  if (Result<void> admitted = admit(); !admitted) return together->done(std::move(admitted).error());
  const auto arrival = std::chrono::steady_clock::now();
  // Of all together: while they are decoded this thread does nothing else.
  image::DecodeLimits limits = classifier.options_.decode_limits;
  const std::uint64_t max_pixels = limits.max_pixels;
  std::vector<std::shared_ptr<const ServedModel>> served(requests.size());
  std::vector<std::shared_ptr<Work>> works;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    Result<std::shared_ptr<Work>> work = prepare(std::move(requests[i]), limits, served[i]);
    if (!work) {
      if (served[i]) count_failure(served[i], arrival);
      Error error = std::move(work).error();
      if (requests.size() > 1) error.message = espy::format("picture {}: {}", i, error.message);
      if (error.code == ErrorCode::too_large && limits.max_pixels < max_pixels) {
        error.message += espy::format(", what is left of {} for all pictures of a request", max_pixels);
      }
      return together->done(std::move(error));
    }
    (*work)->together = together;
    (*work)->index = i;
    works.push_back(*std::move(work));
  }
  together->works.resize(works.size());
  for (std::size_t i = 0; i < served.size(); ++i) put_into_batch(served[i], std::move(works[i]));
}

void Lane::State::predict_all() {
  predict_is_scheduled = false;
  // One that is added meanwhile has its own turn.
  const std::size_t count = batches.size();
  for (std::size_t i = 0; i < count; ++i) {
    if (!batches[i]->works.empty()) predict(*batches[i]);
  }
  if (admission.in_turn()) admission.end_turn(std::chrono::steady_clock::now());
  if (!predict_is_scheduled) drop_old_versions();
}

void Lane::State::predict(Batch& batch) {
  // Taken out first: a store that refuses at once answers at once, and that may bring the next request.
  const std::vector<image::Input> inputs = std::exchange(batch.inputs, {});
  std::vector<std::shared_ptr<Work>> works = std::exchange(batch.works, {});
  for (std::size_t begin = 0; begin < works.size(); begin += kMaxBatch) {
    const std::size_t count = std::min(kMaxBatch, works.size() - begin);
    const auto start = std::chrono::steady_clock::now();
    std::vector<model::Prediction> predictions =
        batch.predictor->predict(std::span(inputs).subspan(begin, count));
    const auto end = std::chrono::steady_clock::now();
    const auto spent = end - start;
    batch.figures->inference.add(spent);
    batch.figures->batches.add(count);
    assert(predictions.size() == count);
    std::chrono::nanoseconds waited{};
    for (std::size_t i = 0; i < count; ++i) waited += start - works[begin + i]->prepared;
    batch.tally->add(Tally::queue, count, waited);
    batch.tally->add(Tally::inference, count, spent);
    batch.tally->add_execution(works[begin]->entry.record.time);
    std::vector<Predicted> requests;
    for (std::size_t i = 0; i < count; ++i) {
      works[begin + i]->predicted = end;
      const auto cost =
          works[begin + i]->prepared - works[begin + i]->arrival + spent / static_cast<std::int64_t>(count);
      if (const auto& together = works[begin + i]->together) {
        together->cost += cost;
      } else {
        admission.add_cost(cost);
      }
      auto request = record(std::move(works[begin + i]), std::move(predictions[i]), batch.predictor->model());
      if (request) requests.push_back(*std::move(request));
    }
    append_all(std::move(requests));
  }
}

// Writes what the model says into the record. Returns the request, when it waits for no other picture.
std::optional<Predicted> Lane::State::record(std::shared_ptr<Work> work, model::Prediction prediction,
                                             const model::Model& model) {
  const std::vector<std::string>& names = model.class_names();
  const auto index_of = [](int label) { return static_cast<std::size_t>(label); };
  store::Record& record = work->entry.record;
  record.id = classifier.ids_.next(record.time);
  record.label = prediction.label;
  record.class_name = std::move(prediction.class_name);
  record.confidence = prediction.confidence;
  record.verdict = prediction.verdict;
  record.reason = prediction.reason;
  if (prediction.verdict == Verdict::unsure) record.alternative = names[index_of(prediction.alternative)];
  if (work->coverage) {
    for (const int label : model.calibration()->label_set(prediction.probabilities, *work->coverage)) {
      work->set.push_back(names[index_of(label)]);
    }
  }
  work->probabilities = std::move(prediction.probabilities);
  record.latency = std::chrono::duration_cast<std::chrono::microseconds>(work->predicted - work->arrival);
  if (!work->id.empty()) {
    work->entry.retry = std::make_unique<store::Retry>(store::Retry{.key = retry_key(*work), .earlier = {}});
  }
  const auto together = std::move(work->together);
  if (!together) return Predicted{std::move(work), nullptr};
  const std::size_t index = work->index;
  together->works[index] = std::move(work);
  if (++together->predicted < together->works.size()) return {};
  admission.add_cost(together->cost);
  return Predicted{nullptr, together};
}

// What was predicted together goes to the disk and comes back together: one call for each batch, not for each
// request, to the writer's thread and back. Where a cluster must have the records as well, each request has
// an outcome of its own.
void Lane::State::append_all(std::vector<Predicted> requests) {
  if (requests.empty()) return;
  if (classifier.store().holder().value_or(store::Holder::disk) == store::Holder::disk) {
    return append(std::move(requests));
  }
  for (Predicted& request : requests) append({std::move(request)});
}

// All of them are kept, or none.
void Lane::State::append(std::vector<Predicted> requests) {
  const auto now = std::chrono::steady_clock::now();
  std::vector<std::shared_ptr<const store::Entry>> entries;
  for (const Predicted& request : requests) {
    admission.append(now);
    if (request.work) entries.emplace_back(request.work, &request.work->entry);
    if (!request.together) continue;
    for (const auto& work : request.together->works) entries.emplace_back(work, &work->entry);
  }
  classifier.store().append_together(
      std::move(entries),
      [self = shared_from_this(), requests = std::move(requests)](Result<void> result) mutable {
        self->hand_over({std::move(requests), std::move(result)});
      });
}

void Lane::State::correct(Opinion opinion, std::function<void(Result<store::Record>)> done) {
  Result<store::Record> record = classifier.store().find(opinion.record);
  if (!record) return done(std::move(record));
  // The names of the model as it is now; of one that is served no more nothing but the number is known.
  std::string class_name = espy::format("{}", opinion.label);
  if (const auto served = refresh().find(record->model); served) {
    const std::vector<std::string>& names = (*served)->model().class_names();
    if (opinion.label < 0 || opinion.label >= std::ssize(names)) {
      return done(Error{
          ErrorCode::invalid_input,
          espy::format("label is {}, model {} has 0 to {}", opinion.label, record->model, names.size() - 1)});
    }
    class_name = names[static_cast<std::size_t>(opinion.label)];
  }
  const Timestamp now = classifier.options_.clock();
  const store::Correction correction{.id = classifier.ids_.next(now),
                                     .record = opinion.record,
                                     .time = now,
                                     .label = opinion.label,
                                     .class_name = std::move(class_name),
                                     .author = std::move(opinion.author),
                                     .note = std::move(opinion.note)};
  record->correction = correction;
  classifier.store().correct(correction, [self = shared_from_this(), record = *std::move(record),
                                          done = std::move(done)](Result<void> stored) mutable {
    const std::lock_guard lock(self->mutex);
    if (self->closed) return;
    Result<store::Record> answer =
        stored ? Result(std::move(record)) : Result<store::Record>(std::move(stored).error());
    self->schedule(
        [done = std::move(done), answer = std::move(answer)]() mutable { done(std::move(answer)); });
  });
}

template <typename Found>
void Lane::State::look_back(std::function<Result<Found>(store::History&)> look,
                            std::function<void(Result<Found>)> done) {
  const auto shared = std::make_shared<std::function<void(Result<Found>)>>(std::move(done));
  const bool taken = classifier.aside_->do_soon([self = shared_from_this(), look = std::move(look), shared] {
    Result<Found> found = look(*self->classifier.options_.history);
    const std::lock_guard lock(self->mutex);
    if (self->closed) return;
    self->schedule([shared, found = std::move(found)]() mutable { (*shared)(std::move(found)); });
  });
  if (!taken) {
    (*shared)(Error{ErrorCode::unavailable, espy::format("{} requests wait for the history", kMaxAside)});
  }
}

// The entry is on disk and the store has let go of it.
Answer Lane::State::answer_from(Work&& work) const {
  Answer answer{.record = std::move(work.entry.record),
                .upload_media_type = {},
                .set = std::move(work.set),
                .probabilities = std::move(work.probabilities)};
  if (work.entry.retry && work.entry.retry->earlier) answer.record = *std::move(work.entry.retry->earlier);
  answer.record.held_by = classifier.store().holder();
  if (classifier.store().keeps_upload(answer.record.upload_bytes)) {
    answer.upload_media_type = std::move(work.entry.upload.media_type);
  }
  return answer;
}

// The first outcome of a burst schedules the delivery; those that come until it runs travel with it.
void Lane::State::hand_over(Outcome outcome) {
  const std::lock_guard lock(mutex);
  if (closed) return;
  outcomes.push_back(std::move(outcome));
  // Under the lock, so that the lane cannot go between the question and the call.
  if (outcomes.size() == 1) schedule([self = shared_from_this()] { self->deliver(); });
}

void Lane::State::note(const Result<void>& result, const Work& work,
                       std::chrono::steady_clock::time_point now) {
  std::atomic<std::chrono::steady_clock::rep>& failed_at = classifier.store_failed_at_;
  if (!result) {
    if (result.error().code == ErrorCode::unavailable) {
      failed_at.store(now.time_since_epoch().count(), std::memory_order_relaxed);
    }
    return;
  }
  if (failed_at.load(std::memory_order_relaxed) != 0) failed_at.store(0, std::memory_order_relaxed);
  work.tally->add_inference();
  work.figures->recording.add(now - work.predicted);
  work.figures->predictions[static_cast<std::size_t>(work.entry.record.verdict)].add();
}

void Lane::State::deliver() {
  std::vector<Outcome> burst;
  {
    const std::lock_guard lock(mutex);
    burst.swap(outcomes);
  }
  const auto now = std::chrono::steady_clock::now();
  for (const Outcome& outcome : burst) admission.settle(outcome.requests.size());
  for (const Outcome& outcome : burst) {
    for (const Predicted& request : outcome.requests) answer(request, outcome.result, now);
  }
}

void Lane::State::answer(const Predicted& request, const Result<void>& result,
                         std::chrono::steady_clock::time_point now) {
  // A request counts once, of the first picture's model; pictures count each of their own.
  const Work& first = request.together ? *request.together->works.front() : *request.work;
  first.tally->add(result ? Tally::success : Tally::failure, 1, now - first.arrival);
  if (const auto& together = request.together) {
    for (const auto& work : together->works) note(result, *work, now);
    if (!result) return together->done(result.error());
    std::vector<Answer> answers;
    for (const auto& work : together->works) answers.push_back(answer_from(std::move(*work)));
    return together->done(std::move(answers));
  }
  note(result, *request.work, now);
  const Lane::Completion done = std::move(request.work->done);
  if (!result) return done(result.error());
  done(answer_from(std::move(*request.work)));
}

void Lane::State::hand_over_change(Result<void> outcome, std::function<void(Result<void>)> done) {
  const std::lock_guard lock(mutex);
  if (closed) return;
  schedule([done = std::move(done), outcome = std::move(outcome)]() mutable { done(std::move(outcome)); });
}

Lane::Lane(Classifier& classifier, Schedule schedule)
    : state_(std::make_shared<State>(classifier, std::move(schedule))) {
  state_->begin();
}

Lane::~Lane() {
  state_->subscription.reset();
  const std::lock_guard lock(state_->mutex);
  state_->closed = true;
}

void Lane::classify_together(std::vector<Request> requests, TogetherCompletion done) {
  state_->classify_together(std::move(requests), std::move(done));
}

const Registry& Lane::registry() { return state_->refresh(); }

void Lane::change(const Change& change, std::function<void(Result<void>)> done) {
  change(state_->classifier.catalog(),
         [state = state_, done = std::move(done)](Result<void> outcome) mutable {
           state->hand_over_change(std::move(outcome), std::move(done));
         });
}

void Lane::classify(Request request, Completion done) {
  state_->classify(std::move(request), std::move(done));
}

void Lane::list(store::Query query, std::function<void(Result<store::Listing>)> done) {
  Classifier& classifier = state_->classifier;
  if (classifier.options_.history) {
    return state_->look_back<store::Listing>(
        [query = std::move(query)](store::History& history) { return history.list(query); }, std::move(done));
  }
  Result<store::Page> page = classifier.store().list(query);
  if (!page) return done(std::move(page).error());
  done(store::Listing{*std::move(page), {}});
}

void Lane::find(const Uuid& id, std::function<void(Result<store::Record>)> done) {
  Classifier& classifier = state_->classifier;
  if (!classifier.options_.history) return done(classifier.store().find(id));
  state_->look_back<store::Record>([id](store::History& history) { return history.find(id); },
                                   std::move(done));
}

void Lane::correct(Opinion opinion, std::function<void(Result<store::Record>)> done) {
  state_->correct(std::move(opinion), std::move(done));
}

}  // namespace espy::service
