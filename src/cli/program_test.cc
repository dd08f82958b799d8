#include "cli/program.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "cli/commands.h"

namespace espy::cli {
namespace {

using testing::Test;

Invocation parse_words(const std::string& line) {
  std::istringstream words(line);
  std::vector<std::string> arguments;
  for (std::string word; words >> word;) arguments.push_back(word);
  return parse(arguments);
}

void expect_usage_error(const std::string& line, const std::string& piece) {
  const Invocation invocation = parse_words(line);
  EXPECT_EQ(invocation.status, ExitStatus::usage) << line;
  EXPECT_FALSE(invocation.action) << line;
  EXPECT_NE(invocation.complaint.find(piece), std::string::npos) << line << "\n" << invocation.complaint;
}

void expect_runs(const std::string& line) {
  const Invocation invocation = parse_words(line);
  EXPECT_TRUE(invocation.action) << line << "\n" << invocation.complaint;
}

TEST(Program, AloneItPrintsItsHelp) {
  const Invocation invocation = parse({});
  EXPECT_EQ(invocation.status, ExitStatus::done);
  EXPECT_NE(invocation.output.find("Usage: espy COMMAND"), std::string::npos);
}

TEST(Program, HelpListsEveryCommandAndFlagWithItsVariable) {
  const std::string program = parse_words("--help").output;
  for (const Command& command : commands()) {
    const std::string help = parse_words(std::string(command.name) + " --help").output;
    EXPECT_TRUE(help.starts_with("espy " + std::string(command.name) + ": ")) << help;
    if (!command.declare) continue;
    EXPECT_NE(program.find("  " + std::string(command.name) + " "), std::string::npos) << command.name;
  }
  const std::string serve = parse_words("serve --help").output;
  for (const char* piece :
       {"[default: 5000]", "[env: ESPY_PORT]", "[default: 16MiB]", "[env: ESPY_MAX_UPLOAD]"}) {
    EXPECT_NE(serve.find(piece), std::string::npos) << piece << serve;
  }
}

TEST(Program, HelpFitsAHundredColumns) {
  for (const Command& command : commands()) {
    std::istringstream help(parse_words(std::string(command.name) + " --help").output);
    for (std::string line; std::getline(help, line);)
      EXPECT_LE(line.size(), 100u) << command.name << ": " << line;
  }
}

TEST(Program, TellsItsVersion) {
  EXPECT_TRUE(parse_words("--version").output.starts_with("espy 0."));
  EXPECT_TRUE(parse_words("serve --version").output.starts_with("espy 0."));
}

TEST(Program, AnUnknownFlagIsAUsageErrorThatNamesTheNearest) {
  expect_usage_error("serve --prot 80", "espy serve: unknown flag --prot, did you mean --port?");
  expect_usage_error("train --dta=mnist", "unknown flag --dta, did you mean --data?");
  expect_usage_error("eval digits --data mnist --colour", "unknown flag --colour\n");
}

TEST(Program, AnUnknownCommandIsAUsageErrorThatNamesTheNearest) {
  expect_usage_error("trian --data mnist", "unknown command trian, did you mean train?");
  expect_usage_error("history lst", "espy history: unknown command lst, did you mean list?");
  expect_usage_error("--json", "unknown flag --json");
}

TEST(Program, AMissingCommandOrValueIsAUsageError) {
  expect_usage_error(
      "history", "a command is missing: list, show, export, import, status, correct, erase, verify, backup");
  expect_usage_error("serve --port", "--port needs a value");
  expect_usage_error("train --data --recipe mlp --out x", "--data: needs a value, but --recipe follows");
  expect_usage_error("train --recipe mlp --out x", "--data is required");
  expect_usage_error("predict digits", "FILE is required");
  expect_usage_error("history show a b", "unexpected argument b");
}

TEST(Program, AValueOutOfRangeIsAUsageErrorThatNamesTheRange) {
  expect_usage_error("serve --port 70000", "--port: '70000' is not a number from 0 to 65535");
  expect_usage_error("serve --port http", "--port: 'http' is not a number from 0 to 65535");
  expect_usage_error("serve --max-upload 16MB", "--max-upload: '16MB' is not a number of bytes");
  expect_usage_error("history list --limit 0", "--limit: '0' is not a number from 1 to 1000");
  expect_usage_error("history list --min-confidence nan",
                     "--min-confidence: 'nan' is not a number from 0 to 1");
  expect_usage_error("history list --from yesterday", "--from: 'yesterday' is not a time in UTC");
  expect_usage_error("history list --before 7", "--before: '7' is not an id");
  expect_usage_error("train --data mnist --recipe gpt --out x",
                     "--recipe: there is no 'gpt'; there are softmax");
}

TEST(Program, WellFormedCommandLinesRun) {
  expect_runs("train --data mnist --recipe mlp --out mlp.onnx --seed 3 --threads 2 --max-steps 10 --json");
  expect_runs("predict digits - folder eval --json");  // a file may have a command's name
  expect_runs("serve --model a.onnx --model b=c.onnx --port=0 --max-kept-upload 0 --log-format json");
  expect_runs("history list --from 2026-11-22 --until 2026-11-23T04:00Z --label 7 --min-confidence 0.5");
  expect_runs("history export --format ndjson --out history.ndjson");
  expect_runs("bench store --folder .");
}

// A variable that is set while it lives.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) { ::setenv(name, value.c_str(), 1); }
  ~Variable() { ::unsetenv(name_); }

 private:
  const char* name_;
};

TEST(Program, TheEnvironmentSetsFlagsOfTheChosenCommandOnly) {
  const Variable port("ESPY_PORT", "ninety");
  expect_usage_error("serve", "--port: 'ninety' is not a number");
  expect_runs("serve --port 90");
  expect_runs("model info digits");
}

class ConfigTest : public Test {
 protected:
  void write(const std::string& text) { std::ofstream(path_) << text; }
  void TearDown() override { std::filesystem::remove(path_); }

  std::string path_ = testing::TempDir() + "espy_program_test.toml";
};

TEST_F(ConfigTest, SetsFlagsOfTheChosenCommand) {
  write("# a comment\n[serve]\nport = 70000\n\n[history.list]\nlimit = 0\n");
  expect_usage_error("serve --config " + path_, "--port: '70000' is not");
  expect_usage_error("--config " + path_ + " history list", "--limit: '0' is not");
  expect_runs("model info digits --config " + path_);
}

TEST_F(ConfigTest, GivesWayToTheEnvironmentAndTheCommandLine) {
  write("[serve]\nport = 70000\n");
  expect_runs("serve --port 80 --config " + path_);
  const Variable port("ESPY_PORT", "81");
  expect_runs("serve --config " + path_);
}

TEST_F(ConfigTest, IsNamedByTheEnvironmentToo) {
  write("[serve]\nport = 70000\n");
  const Variable config("ESPY_CONFIG", path_);
  expect_usage_error("serve", "--port: '70000' is not");
}

TEST_F(ConfigTest, AnUnknownKeyOrSectionIsAUsageError) {
  write("[serve]\nprot = 80\n");
  expect_usage_error("serve --config " + path_, "config file: espy serve has no flag --prot");
  write("[sreve]\nport = 80\n");
  expect_usage_error("serve --config " + path_, "config file: there is no command for the section [sreve]");
  write("port = 80\n");
  expect_usage_error("serve --config " + path_, "config file: port stands outside a section");
}

TEST_F(ConfigTest, AMissingFileIsAUsageError) {
  expect_usage_error("serve --config /nowhere.toml", "config file: cannot read /nowhere.toml");
  const Variable config("ESPY_CONFIG", "/nowhere.toml");
  expect_usage_error("serve", "config file: cannot read /nowhere.toml");
}

TEST(ExitStatus, EveryErrorIsAFailure) {
  for (const ErrorCode code : {ErrorCode::invalid_input, ErrorCode::too_large, ErrorCode::not_found,
                               ErrorCode::unavailable, ErrorCode::corrupt, ErrorCode::internal}) {
    EXPECT_EQ(static_cast<int>(exit_status(code)), 1);
  }
}

}  // namespace
}  // namespace espy::cli
