#include "cli/program.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <istream>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/format.h"
#include "cli/commands.h"
#include "cli/help.h"
#include "cli/output.h"
#include "cli/text.h"

namespace espy::cli {
namespace {

// One entry of commands(), built.
struct Node {
  const Command* command;
  CLI::App* app;
  std::unique_ptr<Flags> flags;
  Action action;
};

// The whole command line as CLI11 objects.
class Grammar {
 public:
  Grammar() {
    root_.set_help_flag("--help,-h");
    root_.set_version_flag("--version", version_text());
    root_.require_subcommand(1);
    root_.fallthrough();
    for (const Command& command : commands()) {
      const std::size_t space = command.name.find(' ');
      CLI::App* parent = &root_;
      if (space != std::string_view::npos) {
        parent = root_.get_subcommand(std::string(command.name.substr(0, space)));
      }
      CLI::App* app = parent->add_subcommand(std::string(command.name.substr(space + 1)));
      Node node{&command, app, std::make_unique<Flags>(*app, std::string(command.environment)), {}};
      if (command.declare) {
        node.action = command.declare(*node.flags);
      } else {
        app->require_subcommand(1);
      }
      nodes_.push_back(std::move(node));
    }
  }

  CLI::App& root() { return root_; }

  // Returns the command that was named so far, nullptr when none was.
  const Node* chosen() const {
    const CLI::App* app = &root_;
    while (!app->get_subcommands().empty()) app = app->get_subcommands().front();
    const auto found =
        std::find_if(nodes_.begin(), nodes_.end(), [&](const Node& n) { return n.app == app; });
    return found == nodes_.end() ? nullptr : &*found;
  }

  const Node* find(std::string_view name) const {
    const auto found = std::find_if(nodes_.begin(), nodes_.end(),
                                    [&](const Node& node) { return node.command->name == name; });
    return found == nodes_.end() ? nullptr : &*found;
  }

  // Returns what may stand after the chosen command: flags, or the names of commands.
  std::vector<std::string> words_like(const std::string& word) const {
    std::vector<std::string> words;
    const Node* node = chosen();
    if (word.starts_with("-")) {
      words = {"--help", "--config", "--version"};
      if (!node) return words;
      for (const FlagHelp& flag : node->flags->flags()) words.push_back(flag.name);
      return words;
    }
    const CLI::App* app = node ? node->app : &root_;
    for (const CLI::App* command : app->get_subcommands([](const CLI::App*) { return true; })) {
      words.push_back(command->get_name());
    }
    return words;
  }

 private:
  CLI::App root_;
  std::vector<Node> nodes_;
};

// The config file: sections are named for commands ([serve], [history.list]), keys for their flags. Only the
// chosen command's section counts, and a variable of the environment wins over it.
class ConfigFile : public CLI::ConfigTOML {
 public:
  explicit ConfigFile(const Grammar& grammar) : grammar_(grammar) {}

  std::vector<CLI::ConfigItem> from_config(std::istream& input) const override {
    std::vector<CLI::ConfigItem> kept;
    for (CLI::ConfigItem& item : CLI::ConfigTOML::from_config(input)) {
      if (item.name == "++" || item.name == "--") continue;  // CLI11's marks of a section's ends
      const std::string section = join(item.parents, " ");
      const Node* node = grammar_.find(section);
      if (!node || !node->command->declare) {
        throw CLI::ConfigError(
            section.empty()
                ? format("config file: {} stands outside a section", item.name)
                : format("config file: there is no command for the section [{}]", join(item.parents, ".")));
      }
      const std::vector<FlagHelp>& flags = node->flags->flags();
      const auto flag = std::find_if(flags.begin(), flags.end(),
                                     [&](const FlagHelp& known) { return known.name == "--" + item.name; });
      if (flag == flags.end()) {
        throw CLI::ConfigError(format("config file: espy {} has no flag --{}", section, item.name));
      }
      if (node != grammar_.chosen()) continue;
      const char* variable = std::getenv(flag->environment.c_str());
      if (variable && *variable) continue;
      kept.push_back(std::move(item));
    }
    return kept;
  }

 private:
  const Grammar& grammar_;
};

// Returns ", did you mean --port?" when one of the words is close, nothing otherwise.
std::string suggestion(const std::string& word, const std::vector<std::string>& words) {
  const auto nearest = std::min_element(words.begin(), words.end(), [&](const auto& a, const auto& b) {
    return edit_distance(word, a) < edit_distance(word, b);
  });
  // Two letters exchanged, or a third of them wrong, are a slip of the fingers; more is another word.
  if (nearest == words.end() ||
      edit_distance(word, *nearest) > std::max<std::size_t>(2, nearest->size() / 3)) {
    return {};
  }
  return format(", did you mean {}?", *nearest);
}

// Returns what is wrong with a command line, in our words.
std::string complaint(Grammar& grammar, const CLI::ParseError& error) {
  const std::string text = error.what();
  // A bad value comes first: what it should have been may well be the unknown word.
  if (dynamic_cast<const CLI::ValidationError*>(&error)) return printable(text);
  const Node* node = grammar.chosen();
  const std::vector<std::string> unknown = grammar.root().remaining(true);
  if (!unknown.empty()) {
    const std::string word = unknown.front().substr(0, unknown.front().find('='));
    const char* kind = word.starts_with("-")                       ? "unknown flag"
                       : node && node->command->declare != nullptr ? "unexpected argument"
                                                                   : "unknown command";
    return format("{} {}{}", kind, printable(word), suggestion(word, grammar.words_like(word)));
  }
  if (dynamic_cast<const CLI::ArgumentMismatch*>(&error)) {
    return format("{} needs a value", text.substr(0, text.find(':')));
  }
  if (dynamic_cast<const CLI::RequiredError*>(&error) && node && !node->command->declare) {
    return "a command is missing: " + join(grammar.words_like({}), ", ");
  }
  if (dynamic_cast<const CLI::FileError*>(&error)) {
    return format("config file: cannot read {}", text.substr(0, text.find(' ')));
  }
  return printable(text);
}

}  // namespace

Invocation parse(std::span<const std::string> arguments) {
  if (arguments.empty()) return {.output = program_help()};

  Grammar grammar;
  // CLI11 reads the file before the environment, so the file's own variable has to be looked up here.
  const char* config = std::getenv("ESPY_CONFIG");
  const bool has_config = config && *config;
  grammar.root().config_formatter(std::make_shared<ConfigFile>(grammar));
  grammar.root().set_config("--config", has_config ? config : "", "", has_config);

  try {
    grammar.root().parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::CallForVersion&) {
    return {.output = version_text() + "\n"};
  } catch (const CLI::CallForHelp&) {
    const Node* node = grammar.chosen();
    return {.output = node ? command_help(*node->command, *node->flags) : program_help()};
  } catch (const CLI::ParseError& error) {
    const Node* node = grammar.chosen();
    const std::string program = node ? format("espy {}", node->command->name) : "espy";
    return {.complaint = format("{0}: {1}\nRun '{0} --help' for help.\n", program, complaint(grammar, error)),
            .status = ExitStatus::usage};
  }
  return {.action = grammar.chosen()->action};
}

int run(int argc, const char* const* argv) {
  ExitStatus status = ExitStatus::failed;
  try {
    const Invocation invocation = parse(std::vector<std::string>(argv + 1, argv + std::max(argc, 1)));
    print(invocation.output);
    std::fputs(invocation.complaint.c_str(), stderr);
    status = invocation.action ? invocation.action() : invocation.status;
  } catch (const std::exception& unforeseen) {
    status = fail({ErrorCode::internal, unforeseen.what()});
  }
  if (const Result<void> printed = finish_printing(); !printed && status == ExitStatus::done) {
    status = fail(printed.error());
  }
  return static_cast<int>(status);
}

}  // namespace espy::cli
