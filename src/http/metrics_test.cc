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
  const std::string text = metrics_text(status);
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

}  // namespace
}  // namespace espy::http
