// espy key: who may use a server.
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/format.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "http/json.h"
#include "http/keys.h"

namespace espy::cli {
namespace {

struct Settings {
  std::string keys = "espy.keys";
  std::string name;
  std::vector<std::string> scopes;
  bool json = false;
};

struct KeysFile {
  std::string text;
  http::Keys keys;
};

// Reads the file of keys. One that is not there is empty where `missing` says that it may.
enum class Missing { refused, empty };
Result<KeysFile> read_keys(const std::string& path, Missing missing) {
  Result<std::string> text = read_file(path, http::kMaxKeysBytes);
  if (!text && (missing == Missing::refused || text.error().code != ErrorCode::not_found)) {
    return std::move(text).error();
  }
  KeysFile file{text ? *std::move(text) : std::string(), {}};
  Result<http::Keys> keys = http::Keys::parse(file.text);
  if (!keys) return Error{keys.error().code, format("{}, {}", path, keys.error().message)};
  file.keys = *std::move(keys);
  if (!file.text.empty() && !file.text.ends_with('\n')) file.text += '\n';
  return file;
}

ExitStatus create(Settings settings) {
  Result<KeysFile> file = read_keys(settings.keys, Missing::empty);
  if (!file) return fail(file.error());
  if (settings.scopes.empty()) settings.scopes = {"predict", "history"};
  const Result<http::NewKey> key = http::make_key(settings.name, settings.scopes);
  if (!key) return fail(key.error());
  const std::string text = file->text + key->line + "\n";
  if (const Result<http::Keys> all = http::Keys::parse(text); !all) {
    return fail({all.error().code, format("{}, {}", settings.keys, all.error().message)});
  }
  if (const Result<void> written = write_file(settings.keys, as_bytes(text)); !written) {
    return fail(written.error());
  }
  say(format("this is the key of {}; keep it, it stands nowhere else", settings.name));
  print(key->secret + "\n");
  return ExitStatus::done;
}

ExitStatus list(const Settings& settings) {
  const Result<KeysFile> file = read_keys(settings.keys, Missing::refused);
  if (!file) return fail(file.error());
  for (const http::Key& key : file->keys.all()) {
    if (settings.json) {
      http::JsonWriter json;
      json.begin_object().field("name", key.name).field("scopes", http::to_string(key.scopes)).end_object();
      print(std::move(json).text() + "\n");
    } else {
      print(format("{:<24} {}\n", key.name, http::to_string(key.scopes)));
    }
  }
  return ExitStatus::done;
}

ExitStatus remove(const Settings& settings) {
  const Result<KeysFile> file = read_keys(settings.keys, Missing::refused);
  if (!file) return fail(file.error());
  std::string rest;
  bool found = false;
  for (std::size_t begin = 0; begin < file->text.size();) {
    const std::size_t end = file->text.find('\n', begin) + 1;
    const std::string line = file->text.substr(begin, end - begin);
    begin = end;
    if (line.starts_with(settings.name + " ")) {
      found = true;
    } else {
      rest += line;
    }
  }
  if (!found) {
    return fail({ErrorCode::not_found, format("{} has no key named {}", settings.keys, settings.name)});
  }
  if (const Result<void> written = write_file(settings.keys, as_bytes(rest)); !written) {
    return fail(written.error());
  }
  return ExitStatus::done;
}

void declare_file(Flags& flags, Settings& settings) {
  flags.text("--keys", "FILE", settings.keys, "the file of keys");
}

}  // namespace

Action declare_key_create(Flags& flags) {
  auto settings = std::make_shared<Settings>();
  flags.argument("NAME", settings->name, "whose key it is: a-z A-Z 0-9 . _ -");
  declare_file(flags, *settings);
  flags.texts("--scope", "SCOPE", settings->scopes,
              "what it may: predict, history (look back, correct), admin (figures, models)",
              "predict, history");
  flags.note(
      "The key is printed once; the file has its SHA-256. A server that reads the file sees the change in\n"
      "a few seconds.");
  return [settings] { return create(*settings); };
}

Action declare_key_list(Flags& flags) {
  auto settings = std::make_shared<Settings>();
  declare_file(flags, *settings);
  flags.toggle("--json", settings->json, "print one JSON object a line");
  return [settings] { return list(*settings); };
}

Action declare_key_remove(Flags& flags) {
  auto settings = std::make_shared<Settings>();
  flags.argument("NAME", settings->name, "whose key it is");
  declare_file(flags, *settings);
  return [settings] { return remove(*settings); };
}

}  // namespace espy::cli
