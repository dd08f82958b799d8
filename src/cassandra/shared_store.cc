#include "cassandra/shared_store.h"

#include <condition_variable>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/format.h"
#include "cassandra/merged_history.h"

namespace espy::cassandra {
namespace {

// Answers once: with the first failure, or when the disk and the cluster have everything.
class All {
 public:
  All(std::size_t parts, store::Store::Completion done) : left_(parts), done_(std::move(done)) {}

  void add(Result<void> outcome) {
    store::Store::Completion done;
    {
      const std::lock_guard lock(mutex_);
      if (!done_ || (outcome && --left_ > 0)) return;
      done = std::exchange(done_, nullptr);
    }
    done(std::move(outcome));
  }

 private:
  std::mutex mutex_;
  std::size_t left_;
  store::Store::Completion done_;
};

class ForwardedStore : public SharedStore {
 public:
  ForwardedStore(std::unique_ptr<store::Store> own, std::unique_ptr<store::Outbox> outbox,
                 std::unique_ptr<Cluster> cluster, const SharedStoreOptions& options, std::string destination)
      : acknowledge_(options.acknowledge),
        quorum_limit_(options.quorum_limit),
        destination_(std::move(destination)),
        own_(std::move(own)),
        outbox_(std::move(outbox)),
        cluster_(std::move(cluster)),
        everywhere_(*own_, *cluster_, outbox_.get()),
        forwarder_(*outbox_, *cluster_, options.forwarder),
        reconciler_(*own_, *outbox_, destination_, *cluster_, forwarder_, options.reconciler) {}

  store::History& everywhere() override { return everywhere_; }
  Result<Compared> compare_now() override { return reconciler_.compare_now(); }

  ~ForwardedStore() override {
    std::unique_lock lock(mutex_);
    answered_.wait(lock, [&] { return appending_ == 0; });
  }

  using Store::append;
  void append(std::shared_ptr<const store::Entry> entry, Completion done) override {
    if (acknowledge_ == Acknowledge::disk) return own_->append(std::move(entry), std::move(done));
    append_to_both({std::move(entry)}, std::move(done));
  }

  void append_together(std::vector<std::shared_ptr<const store::Entry>> entries, Completion done) override {
    if (acknowledge_ == Acknowledge::disk) {
      return own_->append_together(std::move(entries), std::move(done));
    }
    append_to_both(std::move(entries), std::move(done));
  }

  std::optional<store::Holder> holder() const override {
    if (acknowledge_ == Acknowledge::disk) return store::Holder::disk;
    return holder_of(cluster_->consistency());
  }

  using Store::correct;
  void correct(store::Correction correction, Completion done) override {
    own_->correct(std::move(correction), std::move(done));
  }

  Result<store::Erased> erase(const store::Choice& choice, const std::string& reason) override {
    Result<store::Erased> erased = own_->erase(choice, reason);
    forwarder_.wake();
    return erased;
  }

  Result<store::HistoryStatus> status() override {
    Result<store::HistoryStatus> status = own_->status();
    if (!status) return status;
    for (store::DestinationStatus& destination : status->destinations) {
      if (destination.name != destination_) continue;
      const ForwarderFigures figures = forwarder_.figures();
      const ReconcilerFigures found = reconciler_.figures();
      const Result<store::Pending> pending = outbox_->pending(figures.confirmed_place);
      if (!pending) return pending.error();
      destination.forwarding = store::ForwardingStatus{
          .confirmed_place = figures.confirmed_place,
          .pending = *pending,
          .confirmed = figures.confirmed,
          .rejected = figures.rejected,
          .retries = figures.retries,
          .losses = figures.losses,
          .comparisons = found.comparisons,
          .missing = found.missing,
          .sent_again = figures.sent_again,
          .to_send_again = figures.to_send_again,
          .in_flight = figures.in_flight,
          .connected = figures.connected,
          .problem = figures.problem,
      };
    }
    return status;
  }

  bool keeps_upload(std::uint64_t bytes) const override { return own_->keeps_upload(bytes); }
  Result<std::vector<store::Carried>> carried(const std::string& destination, const Uuid& after,
                                              std::size_t limit) override {
    return own_->carried(destination, after, limit);
  }
  Result<store::Record> find(const Uuid& id) override { return own_->find(id); }
  Result<std::vector<store::Correction>> corrections(const Uuid& id) override {
    return own_->corrections(id);
  }
  Result<store::Upload> find_upload(const Uuid& id) override { return own_->find_upload(id); }
  Result<std::vector<std::string>> upload_media_types(std::span<const Uuid> ids) override {
    return own_->upload_media_types(ids);
  }
  Result<store::Page> list(const store::Query& query) override { return own_->list(query); }
  Result<store::Verification> backup(const std::filesystem::path& path) override {
    return own_->backup(path);
  }
  Result<std::unique_ptr<store::Outbox>> open_outbox(const std::string& destination,
                                                     std::int64_t max_pending) override {
    return own_->open_outbox(destination, max_pending);
  }
  Result<store::Verification> verify(const std::optional<store::ChainPoint>& known) override {
    return own_->verify(known);
  }
  Result<std::optional<Uuid>> newest_id() override { return own_->newest_id(); }

 private:
  void append_to_both(std::vector<std::shared_ptr<const store::Entry>> entries, Completion done) {
    {
      const std::lock_guard lock(mutex_);
      ++appending_;
    }
    const auto all = std::make_shared<All>(1 + entries.size(), std::move(done));
    // Before the append, or the answer could come before anybody waits for it.
    for (const auto& entry : entries) {
      forwarder_.expect(entry->record.id, quorum_limit_,
                        [all](Result<void> confirmed) { all->add(std::move(confirmed)); });
    }
    auto kept = entries;
    own_->append_together(std::move(entries), [this, all, kept = std::move(kept)](Result<void> durable) {
      if (durable) {
        forwarder_.wake();
        for (const auto& entry : kept) {
          if (entry->retry && entry->retry->earlier) all->add(confirmed(*entry->retry));
        }
      }
      all->add(std::move(durable));
      const std::lock_guard lock(mutex_);
      --appending_;
      answered_.notify_one();
    });
  }

  // Whether the cluster has the record that stands for a repeated one. Nobody waits for that again: it is
  // asked for once, and whoever repeats may do so once more.
  Result<void> confirmed(const store::Retry& retry) {
    if (retry.earlier_place <= forwarder_.figures().confirmed_place) return {};
    return Error{
        ErrorCode::unavailable,
        format("record {} is on disk, and Cassandra has not confirmed it yet", to_string(retry.earlier->id))};
  }

  const Acknowledge acknowledge_;
  const std::chrono::milliseconds quorum_limit_;
  const std::string destination_;
  std::mutex mutex_;  // guards the number
  std::condition_variable answered_;
  int appending_ = 0;  // that `own` has not answered yet: their answers wake the forwarder
  // Closed from the last to the first.
  std::unique_ptr<store::Store> own_;
  std::unique_ptr<store::Outbox> outbox_;
  std::unique_ptr<Cluster> cluster_;
  MergedHistory everywhere_;
  Forwarder forwarder_;
  Reconciler reconciler_;
};

}  // namespace

std::string destination_of(const ClusterOptions& cluster) { return format("cassandra:{}", cluster.keyspace); }

Result<std::unique_ptr<SharedStore>> share(std::unique_ptr<store::Store> own,
                                           const SharedStoreOptions& options) {
  Result<std::unique_ptr<Cluster>> cluster = Cluster::open(options.cluster);
  if (!cluster) return std::move(cluster).error();
  const std::string destination = destination_of(options.cluster);
  Result<std::unique_ptr<store::Outbox>> outbox = own->open_outbox(destination, options.max_pending);
  if (!outbox) return std::move(outbox).error();
  return std::unique_ptr<SharedStore>(std::make_unique<ForwardedStore>(
      std::move(own), *std::move(outbox), *std::move(cluster), options, destination));
}

}  // namespace espy::cassandra
