// The program's malloc is jemalloc's (docs/adr/0026-jemalloc.md); this is how it is set.
#include <jemalloc/jemalloc.h>

// jemalloc reads this variable before main() (jemalloc(3), "TUNING"). What is free goes back to the system
// after a second, also when nothing is allocated any more: a model that was unloaded is gone then.
const char* malloc_conf = "background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0";
