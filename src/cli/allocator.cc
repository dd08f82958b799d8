// The program's malloc is jemalloc's (docs/adr/0026-jemalloc.md); this is how it is set.
#include <jemalloc/jemalloc.h>

// Read before main() (jemalloc(3), "TUNING"). What is free goes back to the system after a second instead of
// ten, while anything is allocated: a model that was unloaded is gone then. It costs nothing (measured: ADR
// 26).
const char* malloc_conf = "dirty_decay_ms:1000";
