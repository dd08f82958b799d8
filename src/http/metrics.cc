#include "http/metrics.h"

#include <chrono>
#include <utility>

#include "base/format.h"

namespace espy::http {
namespace {

class Text {
 public:
  void head(std::string_view name, std::string_view type, std::string_view help) {
    text_ += format("# HELP {0} {1}\n# TYPE {0} {2}\n", name, help, type);
  }
  void single(std::string_view name, std::string_view type, std::string_view help, auto value) {
    head(name, type, help);
    text_ += format("{} {}\n", name, value);
  }
  void histogram(std::string_view name, std::string_view help, const store::Histogram& histogram) {
    head(name, "histogram", help);
    std::int64_t below = 0;
    for (std::size_t i = 0; i < histogram.kBounds.size(); ++i) {
      below += histogram.counts[i];
      text_ += format("{}_bucket{{le=\"{}\"}} {}\n", name, histogram.kBounds[i], below);
    }
    text_ += format("{0}_bucket{{le=\"+Inf\"}} {1}\n{0}_sum {2}\n{0}_count {1}\n", name, histogram.count,
                    histogram.sum);
  }
  // A value for each destination.
  void destinations(std::string_view name, std::string_view type, std::string_view help,
                    const store::HistoryStatus& status, auto value_of) {
    bool headed = false;
    for (const store::DestinationStatus& destination : status.destinations) {
      if (!destination.forwarding) continue;
      if (!std::exchange(headed, true)) head(name, type, help);
      text_ += format("{}{{destination=\"{}\"}} {}\n", name, destination.name,
                      value_of(destination, *destination.forwarding));
    }
  }
  std::string take() && { return std::move(text_); }

 private:
  std::string text_;
};

}  // namespace

std::string metrics_text(const store::HistoryStatus& status, Timestamp now) {
  Text text;
  if (status.writer) {
    const store::WriterStatus& writer = *status.writer;
    text.single("espy_records_accepted_total", "counter",
                "Records taken for the disk; always durable + failed + waiting.", writer.accepted);
    text.single("espy_records_durable_total", "counter", "Records committed and fsynced.", writer.durable);
    text.single("espy_records_failed_total", "counter", "Records whose commit failed; answered 503.",
                writer.failed);
    text.single("espy_records_refused_total", "counter", "Records that were not taken; answered 503.",
                writer.refused);
    text.single("espy_records_waiting", "gauge", "Records that wait for their commit.", writer.waiting);
    text.single("espy_records_oldest_waiting_seconds", "gauge", "How long the oldest of them has waited.",
                writer.oldest_waiting.count());
    text.histogram("espy_commit_seconds", "Commits with their fsync; each carries one group of records.",
                   writer.commits);
    text.histogram("espy_checkpoint_seconds", "Checkpoints; commits wait behind them.", writer.checkpoints);
    text.histogram("espy_retention_step_seconds", "Steps of retention; commits wait behind them.",
                   writer.retentions);
  }
  text.single("espy_history_records", "gauge", "Records in the history.", status.records);
  text.single("espy_history_corrections", "gauge", "Corrections in the history.", status.corrections);
  text.single("espy_history_expired_total", "counter", "Records that retention has removed.",
              status.expired_records);
  text.single("espy_history_erased_total", "counter", "Records erased on request.", status.erased_records);
  text.single("espy_history_bytes", "gauge", "Bytes of the history in use.", status.bytes);
  text.single("espy_history_free_bytes", "gauge", "Bytes of the history's file that are free.",
              status.free_bytes);

  using Destination = store::DestinationStatus;
  using Forwarding = store::ForwardingStatus;
  // Every entry has a place, and every erasure: what is neither pending nor refused is there.
  const std::int64_t entries = status.head.seq - status.erasures;
  text.destinations("espy_forward_confirmed", "gauge",
                    "Records and corrections that the destination has confirmed; with pending and dead "
                    "letters all that were ever appended.",
                    status, [&](const Destination& destination, const Forwarding& forwarding) {
                      return entries - forwarding.pending.entries - destination.dead_letters;
                    });
  text.destinations(
      "espy_forward_pending", "gauge", "Those that it has not confirmed yet.", status,
      [](const Destination&, const Forwarding& forwarding) { return forwarding.pending.entries; });
  text.destinations("espy_forward_oldest_pending_seconds", "gauge", "The age of the oldest record of these.",
                    status, [&](const Destination&, const Forwarding& forwarding) {
                      if (!forwarding.pending.oldest) return 0.0;
                      return std::chrono::duration<double>(now - *forwarding.pending.oldest).count();
                    });
  text.destinations(
      "espy_forward_unsettled", "gauge",
      "Those that are not settled, so that they would be sent again after a restart.", status,
      [](const Destination& destination, const Forwarding&) { return destination.pending.entries; });
  text.destinations(
      "espy_forward_dead_letters", "gauge", "Those that it will never take.", status,
      [](const Destination& destination, const Forwarding&) { return destination.dead_letters; });
  text.destinations(
      "espy_forward_withdrawals", "gauge", "Records that are erased here and not there yet.", status,
      [](const Destination& destination, const Forwarding&) { return destination.withdrawals; });
  text.destinations("espy_forward_in_flight", "gauge", "Entries that are being sent.", status,
                    [](const Destination&, const Forwarding& forwarding) { return forwarding.in_flight; });
  text.destinations("espy_forward_confirmations_total", "counter",
                    "Confirmations since the start; of an entry that was sent again one more.", status,
                    [](const Destination&, const Forwarding& forwarding) { return forwarding.confirmed; });
  text.destinations("espy_forward_retries_total", "counter", "Sendings that had to be repeated.", status,
                    [](const Destination&, const Forwarding& forwarding) { return forwarding.retries; });
  text.destinations("espy_forward_losses_total", "counter",
                    "Times that entries were sent again because a node had gone away.", status,
                    [](const Destination&, const Forwarding& forwarding) { return forwarding.losses; });
  text.destinations(
      "espy_forward_connected", "gauge", "1 while the destination takes entries.", status,
      [](const Destination&, const Forwarding& forwarding) { return forwarding.connected ? 1 : 0; });
  return std::move(text).take();
}

}  // namespace espy::http
