#include "cli/commands.h"

namespace espy::cli {
namespace {

constexpr Command kCommands[] = {
    {"train", "train a network and write it as a model file", "ESPY_TRAIN_", declare_train},
    {"eval", "measure a model on labelled pictures", "ESPY_EVAL_", declare_eval},
    {"predict", "say what pictures show", "ESPY_PREDICT_", declare_predict},
    {"serve", "answer over HTTP and record every answer", "ESPY_", declare_serve},
    {"health", "say whether a server takes requests", "ESPY_", declare_health},
    {"history", "look back at what was answered", "ESPY_HISTORY_", nullptr},
    {"history list", "list records, newest first", "ESPY_HISTORY_", declare_history_list},
    {"history show", "show one record and its picture", "ESPY_HISTORY_", declare_history_show},
    {"history export", "write records as CSV or NDJSON", "ESPY_HISTORY_", declare_history_export},
    {"history import", "append records of a complete export", "ESPY_HISTORY_", declare_history_import},
    {"history status", "say how much a history holds and what became of the rest", "ESPY_HISTORY_",
     declare_history_status},
    {"history correct", "append the right label of a record", "ESPY_HISTORY_CORRECT_",
     declare_history_correct},
    {"history erase", "remove records for good", "ESPY_HISTORY_ERASE_", declare_history_erase},
    {"history verify", "check that a history is whole and unchanged", "ESPY_HISTORY_",
     declare_history_verify},
    {"history backup", "copy a history, also while a server writes to it", "ESPY_HISTORY_",
     declare_history_backup},
    {"key", "say who may use a server", "ESPY_KEY_", nullptr},
    {"key create", "make a key and show it once", "ESPY_KEY_", declare_key_create},
    {"key list", "list names and scopes", "ESPY_KEY_", declare_key_list},
    {"key remove", "take a key back", "ESPY_KEY_", declare_key_remove},
    {"model", "look into model files", "ESPY_MODEL_", nullptr},
    {"model info", "show what a model file holds", "ESPY_MODEL_", declare_model_info},
    {"bench", "measure this machine", "ESPY_BENCH_", nullptr},
    {"bench predict", "measure decoding, preparing and predicting", "ESPY_BENCH_", declare_bench_predict},
    {"bench train", "measure seconds per epoch", "ESPY_BENCH_", declare_bench_train},
    {"bench engine", "measure what networks reach of the processor's peak", "ESPY_BENCH_",
     declare_bench_engine},
    {"bench store", "measure durable records per second", "ESPY_BENCH_", declare_bench_store},
};

}  // namespace

std::span<const Command> commands() { return kCommands; }

}  // namespace espy::cli
