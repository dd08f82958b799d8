#include "cli/help.h"

#include <algorithm>
#include <array>

#include "base/format.h"
#include "cli/text.h"

namespace espy::cli {
namespace {

constexpr std::size_t kHelpWidth = 96;
// Where the explanations begin; a longer flag pushes its own to the next line.
constexpr std::size_t kHelpColumn = 28;

// What every command takes, and the program itself.
const std::array<FlagHelp, 2>& common_flags() {
  static const std::array<FlagHelp, 2> flags = {{
      {.name = "--config",
       .value = "FILE",
       .text = "read flags from this file (TOML): name = value, under [the command]",
       .environment = "ESPY_CONFIG"},
      {.name = "--help", .text = "print this help"},
  }};
  return flags;
}

// Stands for a space at which no line is broken.
constexpr char kFixedSpace = '\x01';

std::string unbroken(std::string text) {
  std::replace(text.begin(), text.end(), ' ', kFixedSpace);
  return text;
}

std::string entry(const std::string& name, const std::string& text) {
  std::string shown = "  " + name;
  const std::string indent(kHelpColumn, ' ');
  bool first = true;
  for (const std::string& line : wrap(text, kHelpWidth - kHelpColumn)) {
    if (first && shown.size() + 2 <= kHelpColumn) {
      shown.resize(kHelpColumn, ' ');
    } else {
      shown += "\n" + indent;
    }
    shown += line;
    first = false;
  }
  std::replace(shown.begin(), shown.end(), kFixedSpace, ' ');
  return shown + "\n";
}

std::string flag_entry(const FlagHelp& flag) {
  std::string name = flag.name;
  if (!flag.value.empty()) name += " " + flag.value;
  if (flag.repeated) name += "...";
  std::string text = flag.text;
  if (flag.required && flag.name.starts_with("--")) text += " [required]";
  if (!flag.default_value.empty()) text += " " + unbroken(format("[default: {}]", flag.default_value));
  if (!flag.environment.empty()) text += " " + unbroken(format("[env: {}]", flag.environment));
  return entry(name, text);
}

std::string command_list(std::string_view group) {
  std::string list;
  for (const Command& command : commands()) {
    const bool listed = group.empty() || command.name.starts_with(std::string(group) + " ");
    if (listed && command.declare) list += entry(std::string(command.name), std::string(command.summary));
  }
  return list;
}

std::string usage_line(const Command& command, const Flags& flags) {
  std::string usage = format("Usage: espy {}", command.name);
  for (const FlagHelp& flag : flags.flags()) {
    if (flag.required) usage += format(" {} {}", flag.name, flag.value);
  }
  for (const FlagHelp& argument : flags.arguments()) {
    const std::string name = argument.name + (argument.repeated ? "..." : "");
    usage += argument.required ? " " + name : format(" [{}]", name);
  }
  return usage + " [flags]\n";
}

}  // namespace

std::string version_text() { return "espy " ESPY_VERSION; }

std::string program_help() {
  return version_text() +
         ": trains an image classifier, serves it over HTTP, and keeps every prediction\n"
         "\n"
         "Usage: espy COMMAND [flags]\n"
         "\n"
         "Commands:\n" +
         command_list({}) +
         "\n"
         "Flags:\n" +
         flag_entry(common_flags()[1]) + flag_entry({.name = "--version", .text = "print the version"}) +
         "\n"
         "`espy COMMAND --help` shows the flags of a command. A flag can be given on the command line, by\n"
         "its environment variable, or in a config file; the first of these wins.\n"
         "Exit status: 0 done, 1 failed, 2 wrong command line, 130 interrupted.\n";
}

std::string command_help(const Command& command, const Flags& flags) {
  std::string help = format("espy {}: {}\n\n", command.name, command.summary);
  if (!command.declare) {
    return help +
           format(
               "Usage: espy {0} COMMAND [flags]\n\nCommands:\n{1}\n`espy {0} COMMAND --help` shows more.\n",
               command.name, command_list(command.name));
  }
  help += usage_line(command, flags);
  if (!flags.arguments().empty()) help += "\nArguments:\n";
  for (const FlagHelp& argument : flags.arguments()) help += flag_entry(argument);
  help += "\nFlags:\n";
  for (const FlagHelp& flag : flags.flags()) help += flag_entry(flag);
  for (const FlagHelp& flag : common_flags()) help += flag_entry(flag);
  for (const std::string& note : flags.notes()) help += "\n" + note + "\n";
  return help;
}

}  // namespace espy::cli
