#include "http/metrics.h"

#include <chrono>
#include <utility>

#include "base/format.h"

namespace espy::http {
namespace {

// A label's value, with the format's escapes.
std::string escaped(std::string_view value) {
  std::string text;
  for (const char c : value) {
    if (c == '\n') {
      text += "\\n";
    } else {
      if (c == '"' || c == '\\') text += '\\';
      text += c;
    }
  }
  return text;
}

class Text {
 public:
  void head(std::string_view name, std::string_view type, std::string_view help) {
    text_ += format("# HELP {0} {1}\n# TYPE {0} {2}\n", name, help, type);
  }
  void single(std::string_view name, std::string_view type, std::string_view help, auto value) {
    head(name, type, help);
    text_ += format("{} {}\n", name, value);
  }
  // Labels are as they are written: name="value",...
  void sample(std::string_view name, std::string_view labels, auto value) {
    text_ += format("{}{{{}}} {}\n", name, labels, value);
  }
  void histogram(std::string_view name, std::string_view help, const store::Histogram& histogram) {
    head(name, "histogram", help);
    buckets(name, "", histogram.kBounds, histogram.counts, 1, histogram.sum);
  }
  // The values' unit is so small a part of the base unit.
  template <const auto& Bounds>
  void distribution(std::string_view name, std::string_view labels,
                    const typename Distribution<Bounds>::Sum& sum, double unit) {
    buckets(name, labels, Bounds, sum.counts, unit, static_cast<double>(sum.total) * unit);
  }
  // A value for each destination.
  void destinations(std::string_view name, std::string_view type, std::string_view help,
                    const store::HistoryStatus& status, auto value_of) {
    bool headed = false;
    for (const store::DestinationStatus& destination : status.destinations) {
      if (!destination.forwarding) continue;
      if (!std::exchange(headed, true)) head(name, type, help);
      text_ += format("{}{{destination=\"{}\"}} {}\n", name, escaped(destination.name),
                      value_of(destination, *destination.forwarding));
    }
  }
  std::string take() && { return std::move(text_); }

 private:
  void buckets(std::string_view name, std::string_view labels, const auto& bounds, const auto& counts,
               double unit, double sum) {
    const std::string_view comma = labels.empty() ? "" : ",";
    std::uint64_t below = 0;
    for (std::size_t i = 0; i < bounds.size(); ++i) {
      below += static_cast<std::uint64_t>(counts[i]);
      text_ += format("{}_bucket{{{}{}le=\"{}\"}} {}\n", name, labels, comma,
                      static_cast<double>(bounds[i]) * unit, below);
    }
    below += static_cast<std::uint64_t>(counts[bounds.size()]);
    text_ += format("{}_bucket{{{}{}le=\"+Inf\"}} {}\n", name, labels, comma, below);
    const std::string braced = labels.empty() ? "" : format("{{{}}}", labels);
    text_ += format("{0}_sum{1} {2}\n{0}_count{1} {3}\n", name, braced, sum, below);
  }

  std::string text_;
};

constexpr double kNanosecond = 1e-9;

void append_requests(Text& text, const MetricsInput& input) {
  const LoopTotals& loops = input.loops;
  std::uint64_t ended = 0;
  text.head("espy_http_request_seconds", "histogram",
            "Requests, from their last byte to their answer's leaving, by route and status class; route is "
            "\"none\" where no route took it.");
  for (std::size_t i = 0; i < loops.requests.size(); ++i) {
    const Durations::Sum& sum = loops.requests[i];
    const std::uint64_t count = sum.count();
    ended += count;
    if (count == 0) continue;  // most routes never answer most statuses
    const std::size_t route = i / kStatusClasses;
    const RouteName name = route < input.routes.size() ? input.routes[route] : RouteName{"none", "none"};
    text.distribution<kDurationBounds>("espy_http_request_seconds",
                                       format("method=\"{}\",route=\"{}\",status=\"{}xx\"", name.method,
                                              escaped(name.path), i % kStatusClasses + 1),
                                       sum, kNanosecond);
  }
  text.single("espy_http_requests_in_progress", "gauge", "Requests that have no answer yet.",
              loops.requests_begun > ended ? loops.requests_begun - ended : 0);
  text.single("espy_http_connections", "gauge", "Connections that are open.",
              loops.connections_opened - loops.connections_closed);
  text.single("espy_http_connections_total", "counter", "Connections that were opened.",
              loops.connections_opened);
  text.single("espy_http_connections_refused_total", "counter",
              "Connections beyond the limit; answered 503 or closed.", loops.connections_refused);
  text.single("espy_http_received_bytes_total", "counter", "Bytes that came over connections.",
              loops.received_bytes);
  text.single("espy_http_sent_bytes_total", "counter", "Bytes that went over connections.", loops.sent_bytes);
  text.single("espy_access_log_lines_total", "counter",
              "Lines of the access log, and of slow requests, that were written.",
              input.access_log ? input.access_log->written.load() : 0);
  text.single("espy_access_log_dropped_lines_total", "counter",
              "Lines that were not: the disk is full or too slow.",
              input.access_log ? input.access_log->dropped.load() : 0);
  text.single("espy_ready", "gauge", "1 while /readyz says that requests should come.", input.ready ? 1 : 0);
}

void append_models(Text& text, std::span<const service::ModelTotals> models) {
  const auto labels = [](const service::ModelTotals& total) {
    return format("model=\"{}\",version=\"{}\"", escaped(total.model), escaped(total.version));
  };
  const auto durations = [&](std::string_view name, std::string_view help,
                             Durations::Sum service::ModelTotals::*which) {
    text.head(name, "histogram", help);
    for (const service::ModelTotals& total : models) {
      text.distribution<kDurationBounds>(name, labels(total), total.*which, kNanosecond);
    }
  };
  text.head("espy_predictions_total", "counter", "Predictions that are on disk, by verdict.");
  for (const service::ModelTotals& total : models) {
    for (const Verdict verdict : service::kVerdicts) {
      text.sample("espy_predictions_total", format("{},verdict=\"{}\"", labels(total), to_string(verdict)),
                  total.predictions[static_cast<std::size_t>(verdict)]);
    }
  }
  text.head("espy_pictures_refused_total", "counter", "Uploads that could not be decoded.");
  for (const service::ModelTotals& total : models) {
    text.sample("espy_pictures_refused_total", labels(total), total.refused);
  }
  durations("espy_decode_seconds", "Decoding and preparing, a picture each.", &service::ModelTotals::decode);
  durations("espy_inference_seconds", "Inference, a batch each.", &service::ModelTotals::inference);
  durations("espy_recording_seconds", "From a prediction to its record on disk, as its request waits for it.",
            &service::ModelTotals::recording);
  text.head("espy_batch_pictures", "histogram", "Pictures of each batch.");
  for (const service::ModelTotals& total : models) {
    text.distribution<service::kBatchBounds>("espy_batch_pictures", labels(total), total.batches, 1);
  }
}

void append_process(Text& text, const ProcessStatus& process) {
  text.head("espy_build_info", "gauge", "1; which espy this is.");
  text.sample("espy_build_info", "version=\"" ESPY_VERSION "\",compiler=\"" __VERSION__ "\"", 1);
  text.single("process_cpu_seconds_total", "counter", "Processor time, user and system.",
              process.cpu_seconds);
  text.single("process_start_time_seconds", "gauge", "When the process started, since 1970.",
              process.start_seconds);
  text.single("process_resident_memory_bytes", "gauge", "Memory in use.", process.resident_bytes);
  text.single("process_virtual_memory_bytes", "gauge", "Address space in use.", process.virtual_bytes);
  text.single("process_open_fds", "gauge", "File descriptors that are open.", process.open_descriptors);
  text.single("process_max_fds", "gauge", "File descriptors that may be open.", process.max_descriptors);
  text.single("process_threads", "gauge", "Threads.", process.threads);
}

void append_history(Text& text, const store::HistoryStatus& status, Timestamp now) {
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
    text.histogram("espy_commit_seconds",
                   "Commits with their fsync, of groups of records and of everything else.", writer.commits);
    text.histogram("espy_checkpoint_seconds", "Checkpoints by the writer; commits wait behind them.",
                   writer.checkpoints);
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
  text.destinations("espy_forward_comparisons_total", "counter",
                    "Comparisons of the history with what the destination has.", status,
                    [](const Destination&, const Forwarding& forwarding) { return forwarding.comparisons; });
  text.destinations("espy_forward_compared", "gauge",
                    "Entries that the last comparison looked for, also of an earlier server.", status,
                    [](const Destination& destination, const Forwarding&) {
                      return destination.comparison ? destination.comparison->entries : 0;
                    });
  text.destinations(
      "espy_forward_missing_total", "counter",
      "Entries that comparisons did not find, although they had been settled; they are sent again.", status,
      [](const Destination&, const Forwarding& forwarding) { return forwarding.missing; });
  text.destinations("espy_forward_sent_again_total", "counter", "Of them, those that were confirmed again.",
                    status,
                    [](const Destination&, const Forwarding& forwarding) { return forwarding.sent_again; });
  text.destinations(
      "espy_forward_to_send_again", "gauge", "Of them, those that are not confirmed again yet.", status,
      [](const Destination&, const Forwarding& forwarding) { return forwarding.to_send_again; });
  text.destinations(
      "espy_forward_connected", "gauge", "1 while the destination takes entries.", status,
      [](const Destination&, const Forwarding& forwarding) { return forwarding.connected ? 1 : 0; });
}

}  // namespace

std::string metrics_text(const MetricsInput& input) {
  Text text;
  append_requests(text, input);
  append_models(text, input.models);
  text.single("espy_history_readable", "gauge",
              "1 while the history's figures can be read; they follow then.", input.history ? 1 : 0);
  if (input.history) append_history(text, *input.history, input.now);
  append_process(text, input.process);
  return std::move(text).take();
}

}  // namespace espy::http
