#include "service/classifier.h"

#include <algorithm>
#include <cassert>
#include <chrono>
#include <mutex>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/format.h"
#include "model/predictor.h"

namespace espy::service {
namespace {

// A longer batch is cut, so that a predictor's memory and one model's hold on the loop stay small.
constexpr std::size_t kMaxBatch = 256;

// Who look back wait for a cluster most of the time, each at most for some seconds.
constexpr int kAsideThreads = 2;
constexpr std::size_t kMaxAside = 100;

// One classification between its arrival and its answer. The store shares it until the entry is on disk.
struct Work {
  Lane::Completion done;
  std::chrono::steady_clock::time_point arrival;
  std::optional<double> coverage;
  std::vector<std::string> set;
  store::Entry entry;
};

struct Outcome {
  std::shared_ptr<Work> work;
  Result<void> result;
};

}  // namespace

Result<std::unique_ptr<Classifier>> Classifier::create(const Registry& registry, store::Store& store,
                                                       ClassifierOptions options) {
  if (registry.size() == 0) return Error{ErrorCode::invalid_input, "there is no model to serve"};
  Result<std::optional<Uuid>> newest = store.newest_id();
  if (!newest) return std::move(newest).error();
  return std::unique_ptr<Classifier>(
      new Classifier(registry, store, std::move(options), newest->value_or(Uuid{})));
}

Classifier::Classifier(const Registry& registry, store::Store& store, ClassifierOptions options,
                       const Uuid& newest)
    : registry_(registry), store_(store), options_(std::move(options)), ids_(newest) {
  if (options_.history) aside_.emplace();
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
  // The inputs of one model that wait for this turn's batch, and who waits for them.
  struct Batch {
    std::unique_ptr<model::Predictor> predictor;
    std::vector<image::Input> inputs;
    std::vector<std::shared_ptr<Work>> works;
  };

  State(Classifier& owner, Schedule loop) : classifier(owner), schedule(std::move(loop)) {
    for (std::size_t i = 0; i < classifier.registry().size(); ++i) {
      auto predictor =
          std::make_unique<model::Predictor>(classifier.registry().model(i), classifier.precision());
      // The first prediction plans memory and makes code; better now than in the first request.
      predictor->predict(std::array<image::Input, 1>{});
      batches.push_back({std::move(predictor), {}, {}});
    }
  }

  void classify(Request request, Completion done);
  void correct(Opinion opinion, std::function<void(Result<store::Record>)> done);
  template <typename Found>
  void look_back(std::function<Result<Found>(store::History&)> look, std::function<void(Result<Found>)> done);
  void predict_all();
  void predict(Batch& batch);
  void record(std::shared_ptr<Work> work, model::Prediction prediction, const model::Model& model);
  Answer answer_from(Work&& work) const;
  void hand_over(Outcome outcome);
  void deliver();

  Classifier& classifier;
  Schedule schedule;
  std::vector<Batch> batches;  // one for each model
  bool predict_is_scheduled = false;

  // What the writer's thread leaves for the loop's.
  std::mutex mutex;
  std::vector<Outcome> outcomes;
  bool closed = false;
};

void Lane::State::classify(Request request, Completion done) {
  const auto work = std::make_shared<Work>();
  work->arrival = std::chrono::steady_clock::now();
  work->entry.record.time = classifier.options_.clock();

  const Result<std::size_t> index = classifier.registry().find(request.model);
  if (!index) return done(index.error());
  const model::Model& model = *classifier.registry().model(*index);
  if (request.coverage && !model.calibration()) {
    return done(Error{ErrorCode::invalid_input,
                      espy::format("model {} has no calibration, so it has no sets of a coverage",
                                   classifier.registry().name(*index))});
  }
  work->coverage = request.coverage;

  const auto bytes = std::as_bytes(std::span(request.upload));
  const Result<image::Format> format = image::detect_format(bytes);
  if (!format) return done(format.error());
  const Result<image::GrayImage> picture = image::decode(bytes, classifier.options_.decode_limits);
  if (!picture) return done(picture.error());

  store::Record& record = work->entry.record;
  record.input = image::prepare(*picture, model.preparation());
  record.model = classifier.registry().name(*index);
  record.model_version = model.version();
  record.file_name = std::move(request.file_name);
  record.subject = std::move(request.subject);
  record.upload_digest = sha256(bytes);
  record.upload_bytes = bytes.size();
  work->entry.upload = {std::string(image::media_type(*format)), std::move(request.upload)};
  work->done = std::move(done);

  Batch& batch = batches[*index];
  batch.inputs.push_back(record.input);
  batch.works.push_back(work);
  if (!predict_is_scheduled) {
    predict_is_scheduled = true;
    schedule([self = shared_from_this()] { self->predict_all(); });
  }
}

void Lane::State::predict_all() {
  predict_is_scheduled = false;
  for (Batch& batch : batches) {
    if (!batch.works.empty()) predict(batch);
  }
}

void Lane::State::predict(Batch& batch) {
  // Taken out first: a store that refuses at once answers at once, and that may bring the next request.
  const std::vector<image::Input> inputs = std::exchange(batch.inputs, {});
  std::vector<std::shared_ptr<Work>> works = std::exchange(batch.works, {});
  for (std::size_t begin = 0; begin < works.size(); begin += kMaxBatch) {
    const std::size_t count = std::min(kMaxBatch, works.size() - begin);
    std::vector<model::Prediction> predictions =
        batch.predictor->predict(std::span(inputs).subspan(begin, count));
    assert(predictions.size() == count);
    for (std::size_t i = 0; i < count; ++i) {
      record(std::move(works[begin + i]), std::move(predictions[i]), batch.predictor->model());
    }
  }
}

void Lane::State::record(std::shared_ptr<Work> work, model::Prediction prediction,
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
  record.latency =
      std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - work->arrival);
  std::shared_ptr<const store::Entry> entry(work, &work->entry);
  classifier.store().append(std::move(entry),
                            [self = shared_from_this(), work = std::move(work)](Result<void> result) mutable {
                              self->hand_over({std::move(work), std::move(result)});
                            });
}

void Lane::State::correct(Opinion opinion, std::function<void(Result<store::Record>)> done) {
  Result<store::Record> record = classifier.store().find(opinion.record);
  if (!record) return done(std::move(record));
  // The names of the model as it is now; of one that is served no more nothing but the number is known.
  std::string class_name = espy::format("{}", opinion.label);
  if (const Result<std::size_t> index = classifier.registry().find(record->model); index) {
    const std::vector<std::string>& names = classifier.registry().model(*index)->class_names();
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
  Answer answer{.record = std::move(work.entry.record), .upload_media_type = {}, .set = std::move(work.set)};
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

void Lane::State::deliver() {
  std::vector<Outcome> burst;
  {
    const std::lock_guard lock(mutex);
    burst.swap(outcomes);
  }
  for (Outcome& outcome : burst) {
    const Lane::Completion done = std::move(outcome.work->done);
    if (outcome.result) {
      done(answer_from(std::move(*outcome.work)));
    } else {
      done(std::move(outcome.result).error());
    }
  }
}

Lane::Lane(Classifier& classifier, Schedule schedule)
    : state_(std::make_shared<State>(classifier, std::move(schedule))) {}

Lane::~Lane() {
  const std::lock_guard lock(state_->mutex);
  state_->closed = true;
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
