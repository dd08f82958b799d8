#include "cli/flags.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>
#include <utility>

#include "cli/text.h"

namespace espy::cli {
namespace {

// What several commands mean alike has one variable for all of them.
constexpr std::array<std::string_view, 11> kSharedFlags = {"--json",
                                                           "--keys",
                                                           "--store",
                                                           "--threads",
                                                           "--cassandra",
                                                           "--cassandra-user",
                                                           "--cassandra-password",
                                                           "--cassandra-tls",
                                                           "--cassandra-ca",
                                                           "--cassandra-datacenter",
                                                           "--cassandra-consistency"};

struct ByteUnit {
  std::string_view name;
  std::size_t bytes;
};
constexpr std::array<ByteUnit, 3> kByteUnits = {{
    {"GiB", std::size_t{1} << 30},
    {"MiB", std::size_t{1} << 20},
    {"KiB", std::size_t{1} << 10},
}};

std::optional<std::size_t> parse_bytes(std::string_view text) {
  std::size_t unit = 1;
  for (const ByteUnit& known : kByteUnits) {
    if (text.ends_with(known.name)) {
      unit = known.bytes;
      text.remove_suffix(known.name.size());
      break;
    }
  }
  std::size_t count = 0;
  const auto [stop, reason] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (reason != std::errc{} || stop != text.data() + text.size() || count > (std::size_t{1} << 40) / unit) {
    return std::nullopt;
  }
  return count * unit;
}

std::string to_byte_text(std::size_t bytes) {
  for (const ByteUnit& unit : kByteUnits) {
    if (bytes >= unit.bytes && bytes % unit.bytes == 0) return format("{}{}", bytes / unit.bytes, unit.name);
  }
  return format("{}", bytes);
}

}  // namespace

Flags::Flags(CLI::App& app, std::string environment) : app_(app), environment_(std::move(environment)) {
  // The variables are tied to their flags only once this command has been chosen, so that a bad value for one
  // command does not trouble the others.
  app_.preparse_callback([this](std::size_t) {
    for (const FlagHelp& flag : flags_) app_.get_option(flag.name)->envname(flag.environment);
  });
}

std::string Flags::environment_of(const std::string& name) const {
  const bool shared = std::find(kSharedFlags.begin(), kSharedFlags.end(), name) != kSharedFlags.end();
  std::string variable = shared ? "ESPY_" : environment_;
  for (const char c : name.substr(2)) {
    variable += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return variable;
}

void Flags::add(FlagHelp help, Reader reader) {
  const bool is_flag = help.name.starts_with("--");
  CLI::Option* option = app_.add_option(
      help.name, [reader = std::move(reader), name = help.name, is_flag](const CLI::results_t& given) {
        for (const std::string& value : given) {
          std::optional<std::string> complaint;
          if (is_flag && value.starts_with("--")) {
            complaint = format("needs a value, but {} follows", value);
          } else {
            complaint = reader(value);
          }
          if (complaint) throw CLI::ValidationError(name + ": " + *complaint);
        }
        return true;
      });
  option->required(help.required);
  if (help.repeated) {
    option->expected(CLI::detail::expected_max_vector_size);
    // `--model A B` would otherwise take B as a second model.
    option->allow_extra_args(!is_flag);
  } else {
    option->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  }
  if (is_flag) help.environment = environment_of(help.name);
  (is_flag ? flags_ : arguments_).push_back(std::move(help));
}

void Flags::text(std::string name, std::string value_name, std::string& value, std::string help) {
  add({.name = std::move(name),
       .value = std::move(value_name),
       .text = std::move(help),
       .default_value = value},
      [&value](const std::string& given) {
        value = given;
        return std::nullopt;
      });
}

void Flags::optional_text(std::string name, std::string value_name, std::optional<std::string>& value,
                          std::string help) {
  add({.name = std::move(name), .value = std::move(value_name), .text = std::move(help)},
      [&value](const std::string& given) {
        value = given;
        return std::nullopt;
      });
}

void Flags::required_text(std::string name, std::string value_name, std::string& value, std::string help) {
  add({.name = std::move(name), .value = std::move(value_name), .text = std::move(help), .required = true},
      [&value](const std::string& given) -> std::optional<std::string> {
        if (given.empty()) return "is empty";
        value = given;
        return std::nullopt;
      });
}

void Flags::texts(std::string name, std::string value_name, std::vector<std::string>& values,
                  std::string help, std::string default_text) {
  const std::string option = name;
  add({.name = std::move(name),
       .value = std::move(value_name),
       .text = std::move(help),
       .default_value = std::move(default_text),
       .repeated = true},
      [&values](const std::string& given) {
        values.push_back(given);
        return std::nullopt;
      });
  // One environment variable holds several.
  app_.get_option(option)->delimiter(',');
}

void Flags::choice(std::string name, std::vector<std::string> choices, std::string& value, std::string help) {
  const std::string default_value = value;
  add({.name = std::move(name),
       .value = join(choices, "|"),
       .text = std::move(help),
       .default_value = default_value},
      [&value, choices](const std::string& given) -> std::optional<std::string> {
        if (std::find(choices.begin(), choices.end(), given) == choices.end()) {
          return format("there is no '{}'; there are {}", given, join(choices, ", "));
        }
        value = given;
        return std::nullopt;
      });
}

void Flags::required_choice(std::string name, std::string value_name, std::vector<std::string> choices,
                            std::string& value, std::string help) {
  add({.name = std::move(name), .value = std::move(value_name), .text = std::move(help), .required = true},
      [&value, choices = std::move(choices)](const std::string& given) -> std::optional<std::string> {
        if (std::find(choices.begin(), choices.end(), given) == choices.end()) {
          return format("there is no '{}'; there are {}", given, join(choices, ", "));
        }
        value = given;
        return std::nullopt;
      });
}

void Flags::bytes(std::string name, std::size_t& value, std::string help) {
  add({.name = std::move(name),
       .value = "BYTES",
       .text = std::move(help),
       .default_value = to_byte_text(value)},
      [&value](const std::string& given) -> std::optional<std::string> {
        const std::optional<std::size_t> bytes = parse_bytes(given);
        if (!bytes) {
          return format("'{}' is not a number of bytes up to 1024GiB, such as 65536, 64KiB or 16MiB", given);
        }
        value = *bytes;
        return std::nullopt;
      });
}

void Flags::optional_bytes(std::string name, std::optional<std::uint64_t>& value, std::string help) {
  add({.name = std::move(name), .value = "BYTES", .text = std::move(help)},
      [&value](const std::string& given) -> std::optional<std::string> {
        value = parse_bytes(given);
        if (value) return std::nullopt;
        return format("'{}' is not a number of bytes up to 1024GiB, such as 65536, 64KiB or 16MiB", given);
      });
}

void Flags::optional_time(std::string name, std::optional<Timestamp>& value, std::string help) {
  add({.name = std::move(name), .value = "TIME", .text = std::move(help)},
      [&value](const std::string& given) -> std::optional<std::string> {
        const std::optional<Timestamp> time = parse_timestamp(given);
        if (!time) return format("'{}' is not a time in UTC such as 2026-11-22 or 2026-11-22T03:41Z", given);
        value = time;
        return std::nullopt;
      });
}

void Flags::optional_id(std::string name, std::optional<Uuid>& value, std::string help) {
  add({.name = std::move(name), .value = "ID", .text = std::move(help)},
      [&value](const std::string& given) -> std::optional<std::string> {
        const std::optional<Uuid> id = parse_uuid(given);
        if (!id) return format("'{}' is not an id such as 01936f2e-7a1b-7c3d-8e4f-0123456789ab", given);
        value = id;
        return std::nullopt;
      });
}

void Flags::toggle(std::string name, bool& value, std::string help) {
  app_.add_flag(name, value);
  FlagHelp shown{.name = std::move(name), .text = std::move(help)};
  shown.environment = environment_of(shown.name);
  flags_.push_back(std::move(shown));
}

void Flags::argument(std::string name, std::string& value, std::string help) {
  required_text(std::move(name), {}, value, std::move(help));
}

void Flags::optional_argument(std::string name, std::string& value, std::string help) {
  add({.name = std::move(name), .text = std::move(help)}, [&value](const std::string& given) {
    value = given;
    return std::nullopt;
  });
}

void Flags::repeated_argument(std::string name, std::vector<std::string>& values, std::string help) {
  add({.name = std::move(name), .text = std::move(help), .required = true, .repeated = true},
      [&values](const std::string& given) {
        values.push_back(given);
        return std::nullopt;
      });
}

}  // namespace espy::cli
