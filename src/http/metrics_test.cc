#include "http/metrics.h"

#include <gtest/gtest.h>

#include <chrono>

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
  const std::string text = metrics_text(status, Timestamp{});
  for (const char* line :
       {"# TYPE espy_records_accepted_total counter\nespy_records_accepted_total 10\n",
        "espy_records_durable_total 7\n", "espy_records_failed_total 2\n", "espy_records_waiting 1\n",
        "# TYPE espy_commit_seconds histogram\n", "espy_commit_seconds_bucket{le=\"0.0002\"} 1\n",
        "espy_commit_seconds_bucket{le=\"0.0005\"} 3\n", "espy_commit_seconds_bucket{le=\"1\"} 3\n",
        "espy_commit_seconds_bucket{le=\"+Inf\"} 4\n", "espy_commit_seconds_count 4\n",
        "espy_history_records 12\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
  }
  EXPECT_EQ(metrics_text({}, Timestamp{}).find("accepted"), std::string::npos);
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
  const std::string text = metrics_text(status, Timestamp{std::chrono::seconds{100}});
  for (const char* line :
       {"# TYPE espy_forward_confirmed gauge\nespy_forward_confirmed{destination=\"cassandra:espy\"} 73\n",
        "espy_forward_pending{destination=\"cassandra:espy\"} 25\n",
        "espy_forward_unsettled{destination=\"cassandra:espy\"} 40\n",
        "espy_forward_dead_letters{destination=\"cassandra:espy\"} 2\n",
        "espy_forward_oldest_pending_seconds{destination=\"cassandra:espy\"} 10\n",
        "espy_forward_connected{destination=\"cassandra:espy\"} 1\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
  }
  // Nobody carries it to the other one now.
  EXPECT_EQ(text.find("destination=\"\""), std::string::npos);
}

}  // namespace
}  // namespace espy::http
