#include "http/metrics.h"

#include <gtest/gtest.h>

#include <chrono>
#include <vector>

namespace espy::http {
namespace {

TEST(Metrics, TellsWhatTheWriterAndTheHistoryHave) {
  store::HistoryStatus status;
  status.records = 12;
  status.writer.emplace();
  status.writer->accepted = 10;
  status.writer->durable = 7;
  status.writer->failed = 2;
  status.writer->waiting = 1;
  for (const int microseconds : {100, 300, 400, 2'000'000}) {
    status.writer->commits.add(std::chrono::microseconds(microseconds));
  }
  const std::string text = metrics_text({.now = {}, .history = &status});
  for (const char* line :
       {"# TYPE espy_records_accepted_total counter\nespy_records_accepted_total 10\n",
        "espy_records_durable_total 7\n", "espy_records_failed_total 2\n", "espy_records_waiting 1\n",
        "# TYPE espy_commit_seconds histogram\n", "espy_commit_seconds_bucket{le=\"0.0002\"} 1\n",
        "espy_commit_seconds_bucket{le=\"0.0005\"} 3\n", "espy_commit_seconds_bucket{le=\"1\"} 3\n",
        "espy_commit_seconds_bucket{le=\"+Inf\"} 4\n", "espy_commit_seconds_count 4\n",
        "espy_history_records 12\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
  }
  EXPECT_EQ(metrics_text({}).find("accepted"), std::string::npos);
}

TEST(Metrics, TellsHowFarTheHistoryWasCarried) {
  store::HistoryStatus status;
  status.head.seq = 110;
  status.erasures = 10;
  status.destinations.resize(2);
  store::DestinationStatus& destination = status.destinations[0];
  destination.name = "cassandra:espy";
  destination.settled = 60;
  destination.pending.entries = 40;
  destination.dead_letters = 2;
  destination.forwarding.emplace();
  destination.forwarding->pending = {.entries = 25, .oldest = Timestamp{std::chrono::seconds{90}}};
  destination.forwarding->connected = true;
  destination.forwarding->missing = 3;
  destination.forwarding->sent_again = 2;
  destination.forwarding->to_send_again = 1;
  destination.comparison = store::Comparison{.time = {}, .entries = 60, .missing = 3};
  const std::string text = metrics_text({.now = Timestamp{std::chrono::seconds{100}}, .history = &status});
  for (const char* line :
       {"# TYPE espy_forward_confirmed gauge\nespy_forward_confirmed{destination=\"cassandra:espy\"} 73\n",
        "espy_forward_pending{destination=\"cassandra:espy\"} 25\n",
        "espy_forward_unsettled{destination=\"cassandra:espy\"} 40\n",
        "espy_forward_dead_letters{destination=\"cassandra:espy\"} 2\n",
        "espy_forward_oldest_pending_seconds{destination=\"cassandra:espy\"} 10\n",
        "espy_forward_compared{destination=\"cassandra:espy\"} 60\n",
        "espy_forward_missing_total{destination=\"cassandra:espy\"} 3\n",
        "espy_forward_sent_again_total{destination=\"cassandra:espy\"} 2\n",
        "espy_forward_to_send_again{destination=\"cassandra:espy\"} 1\n",
        "espy_forward_connected{destination=\"cassandra:espy\"} 1\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
  }
  // Nobody carries it to the other one now.
  EXPECT_EQ(text.find("destination=\"\""), std::string::npos);
}

TEST(Metrics, TellsOfRequestsAndModels) {
  Figures figures(1);
  LoopFigures& one = figures.open();
  LoopFigures& other = figures.open();
  one.of(0, 200).add(std::chrono::microseconds(20));
  other.of(0, 204).add(std::chrono::microseconds(30));
  other.of(1, 404).add(std::chrono::seconds(1));
  one.requests_begun.add(2);
  other.requests_begun.add(2);
  other.connections_opened.add(3);
  other.connections_closed.add(1);
  service::Figures of_models;
  const int lane = 0;
  const int other_lane = 0;
  of_models.open(&lane, "digits", "0a").predictions[0].add(5);
  of_models.open(&other_lane, "digits", "0a").predictions[0].add(2);
  of_models.open(&lane, "digits", "0a").batches.add(2);
  of_models.open(&lane, "di\"gits", "0b").refused.add();
  const std::vector<service::ModelTotals> models = of_models.totals();
  const RouteName route{"POST", "/api/predict"};
  const std::string text =
      metrics_text({.now = {}, .models = models, .loops = figures.totals(), .routes = {&route, 1}});
  for (const char* line :
       {"espy_http_request_seconds_bucket{method=\"POST\",route=\"/api/"
        "predict\",status=\"2xx\",le=\"2.5e-05\"} 1\n",
        "espy_http_request_seconds_bucket{method=\"POST\",route=\"/api/predict\",status=\"2xx\",le=\"+Inf\"} "
        "2\n",
        "espy_http_request_seconds_sum{method=\"POST\",route=\"/api/predict\",status=\"2xx\"} 5e-05\n",
        "espy_http_request_seconds_count{method=\"none\",route=\"none\",status=\"4xx\"} 1\n",
        "espy_http_requests_in_progress 1\n", "espy_http_connections 2\n", "espy_http_connections_total 3\n",
        "espy_predictions_total{model=\"digits\",version=\"0a\",verdict=\"recognized\"} 7\n",
        "espy_predictions_total{model=\"digits\",version=\"0a\",verdict=\"unsure\"} 0\n",
        "espy_pictures_refused_total{model=\"di\\\"gits\",version=\"0b\"} 1\n",
        "espy_batch_pictures_bucket{model=\"digits\",version=\"0a\",le=\"1\"} 0\n",
        "espy_batch_pictures_bucket{model=\"digits\",version=\"0a\",le=\"2\"} 1\n",
        "espy_history_readable 0\n", "espy_ready 0\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
  }
}

}  // namespace
}  // namespace espy::http
