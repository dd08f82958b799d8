// How a command says which flags it takes. Each flag can also be set by an environment variable and by a line
// of the config file; the command line wins over the environment, which wins over the file.
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/format.h"
#include "base/uuid.h"

namespace CLI {
class App;
}

namespace espy::cli {

template <typename T>
struct Range {
  T least = std::numeric_limits<T>::lowest();
  T greatest = std::numeric_limits<T>::max();
};

// One flag or argument, as the help shows it.
struct FlagHelp {
  std::string name{};           // "--port", or "FILE" for an argument
  std::string value{};          // "PORT"; empty for a flag that is given or not
  std::string text{};           // what it does
  std::string default_value{};  // as people read it; empty when there is none to show
  std::string environment{};    // "ESPY_PORT"
  bool required = false;
  bool repeated = false;
};

// The flags of one command. Each function declares one and keeps a reference to `value`, which holds the
// default until the command line has been read, and must live as long.
class Flags {
 public:
  // `environment` begins the name of each flag's environment variable: "ESPY_TRAIN_" + "SEED".
  Flags(CLI::App& app, std::string environment);

  void text(std::string name, std::string value_name, std::string& value, std::string help);
  void optional_text(std::string name, std::string value_name, std::optional<std::string>& value,
                     std::string help);
  void required_text(std::string name, std::string value_name, std::string& value, std::string help);
  void texts(std::string name, std::string value_name, std::vector<std::string>& values, std::string help,
             std::string default_text);
  void choice(std::string name, std::vector<std::string> choices, std::string& value, std::string help);
  void required_choice(std::string name, std::string value_name, std::vector<std::string> choices,
                       std::string& value, std::string help);
  // A number of bytes, which may end in KiB, MiB or GiB.
  void bytes(std::string name, std::size_t& value, std::string help);
  void optional_bytes(std::string name, std::optional<std::uint64_t>& value, std::string help);
  void optional_time(std::string name, std::optional<Timestamp>& value, std::string help);
  void optional_id(std::string name, std::optional<Uuid>& value, std::string help);
  void toggle(std::string name, bool& value, std::string help);

  // `default_text` stands in the help instead of the default value's digits.
  template <typename T>
  void number(std::string name, std::string value_name, T& value, Range<T> range, std::string help,
              std::string default_text = {}) {
    if (default_text.empty()) default_text = format("{}", value);
    add({.name = std::move(name),
         .value = std::move(value_name),
         .text = std::move(help),
         .default_value = std::move(default_text)},
        [&value, range](const std::string& given) { return read_number(given, range, value); });
  }
  template <typename T>
  void optional_number(std::string name, std::string value_name, std::optional<T>& value, Range<T> range,
                       std::string help) {
    add({.name = std::move(name), .value = std::move(value_name), .text = std::move(help)},
        [&value, range](const std::string& given) { return read_number(given, range, value.emplace()); });
  }

  // Arguments without a name, in the order in which they are declared.
  void argument(std::string name, std::string& value, std::string help);
  // As argument(), but it may be left out; it comes last.
  void optional_argument(std::string name, std::string& value, std::string help);
  void repeated_argument(std::string name, std::vector<std::string>& values, std::string help);

  // A paragraph for the end of the help.
  void note(std::string text) { notes_.push_back(std::move(text)); }

  const std::vector<FlagHelp>& flags() const { return flags_; }
  const std::vector<FlagHelp>& arguments() const { return arguments_; }
  const std::vector<std::string>& notes() const { return notes_; }

 private:
  // Takes over a value as it was given. Returns what is wrong with it, or nothing.
  using Reader = std::function<std::optional<std::string>(const std::string& given)>;

  template <typename T>
  static std::optional<std::string> read_number(const std::string& given, Range<T> range, T& value) {
    T number{};
    const char* end = given.data() + given.size();
    const auto [stop, reason] = std::from_chars(given.data(), end, number);
    if (reason != std::errc{} || stop != end || !(number >= range.least && number <= range.greatest)) {
      return format("'{}' is not a number from {} to {}", given, range.least, range.greatest);
    }
    value = number;
    return std::nullopt;
  }

  void add(FlagHelp help, Reader reader);
  std::string environment_of(const std::string& name) const;

  CLI::App& app_;
  std::string environment_;
  std::vector<FlagHelp> flags_;
  std::vector<FlagHelp> arguments_;
  std::vector<std::string> notes_;
};

}  // namespace espy::cli
