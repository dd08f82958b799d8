#include "http/metrics.h"

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
  std::string take() && { return std::move(text_); }

 private:
  std::string text_;
};

}  // namespace

std::string metrics_text(const store::HistoryStatus& status) {
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
  return std::move(text).take();
}

}  // namespace espy::http
