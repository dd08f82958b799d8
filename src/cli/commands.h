// Every command of the program.
#pragma once

#include <functional>
#include <span>
#include <string_view>

#include "cli/exit_status.h"
#include "cli/flags.h"

namespace espy::cli {

using Action = std::function<ExitStatus()>;

struct Command {
  std::string_view name;  // "train", or "history list"
  std::string_view summary;
  std::string_view environment;  // what its variables begin with
  Action (*declare)(Flags&);     // nullptr for a word that only groups commands
};

// Returns the commands in the order in which help lists them; a group comes before its commands.
std::span<const Command> commands();

// Each declares the flags of its command and returns what runs it once they are read.
Action declare_train(Flags& flags);
Action declare_eval(Flags& flags);
Action declare_predict(Flags& flags);
Action declare_serve(Flags& flags);
Action declare_health(Flags& flags);
Action declare_history_list(Flags& flags);
Action declare_history_show(Flags& flags);
Action declare_history_export(Flags& flags);
Action declare_history_import(Flags& flags);
Action declare_history_status(Flags& flags);
Action declare_history_correct(Flags& flags);
Action declare_history_erase(Flags& flags);
Action declare_history_verify(Flags& flags);
Action declare_history_backup(Flags& flags);
Action declare_key_create(Flags& flags);
Action declare_key_list(Flags& flags);
Action declare_key_remove(Flags& flags);
Action declare_model_info(Flags& flags);
Action declare_bench_predict(Flags& flags);
Action declare_bench_train(Flags& flags);
Action declare_bench_engine(Flags& flags);
Action declare_bench_store(Flags& flags);

}  // namespace espy::cli
