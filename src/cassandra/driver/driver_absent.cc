// The driver of builds without one (ESPY_CASSANDRA=OFF).
#include "cassandra/driver/espy_cql.h"

extern "C" {

int32_t espy_cql_open(const espy_cql_options*, espy_cql**, char*, size_t) { return ESPY_CQL_ABSENT; }

// Nothing was opened, so nothing below is ever called.
int32_t espy_cql_submit(espy_cql*, const espy_cql_request*) { return ESPY_CQL_CLOSED; }
int64_t espy_cql_wait(espy_cql*, espy_cql_completion*, size_t, uint32_t) { return ESPY_CQL_CLOSED; }
void espy_cql_release(espy_cql_completion*) {}
uint64_t espy_cql_losses(const espy_cql*) { return 0; }
void espy_cql_close(espy_cql*, uint32_t) {}
void espy_cql_free(espy_cql*) {}
}
