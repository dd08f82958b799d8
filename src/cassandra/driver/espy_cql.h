/* The C ABI between espy and the Cassandra driver (driver/src/lib.rs, written in Rust). Values and rows cross
 * it as Cassandra's own protocol has them, so all knowledge of statements and tables stays on the C++ side.
 *
 * Nothing throws, no panic crosses, and nothing blocks except espy_cql_wait, espy_cql_close and
 * espy_cql_free. Every request that espy_cql_submit takes yields exactly one completion, also after a panic
 * or a shutdown. Threads: all functions may be called from any thread at once; espy_cql_free is the last
 * call. Three sets of functions stand behind this header: the driver, driver_absent.cc in builds without it,
 * and the unit tests' fake. */
#ifndef ESPY_CASSANDRA_DRIVER_ESPY_CQL_H
#define ESPY_CASSANDRA_DRIVER_ESPY_CQL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ESPY_CQL_ABI 1u

typedef struct espy_cql espy_cql;

/* Not terminated; bytes may be null when size is 0. Strings are UTF-8. */
typedef struct {
  const uint8_t* bytes;
  size_t size;
} espy_cql_bytes;

enum { ESPY_CQL_LOCAL_QUORUM = 0, ESPY_CQL_LOCAL_ONE = 1 };

/* Copied by espy_cql_open. */
typedef struct {
  uint32_t abi; /* ESPY_CQL_ABI */
  uint32_t io_threads;
  uint32_t max_outstanding; /* requests that were submitted and not yet fetched by espy_cql_wait */
  uint32_t connect_ms;      /* limit of one attempt to connect to one node */
  uint32_t keepalive_ms; /* silence after which a node is asked for a sign of life, and given as long again */
  uint32_t consistency;
  uint32_t tls;              /* 1: TLS, and the nodes' certificates must name their IP addresses */
  espy_cql_bytes hosts;      /* "HOST:PORT,HOST:PORT" */
  espy_cql_bytes datacenter; /* requests go to its nodes only; empty: to any */
  espy_cql_bytes user;       /* empty: no login */
  espy_cql_bytes password;
  espy_cql_bytes ca_file; /* PEM; empty: the system's certificates */
} espy_cql_options;

/* Copied by espy_cql_submit. */
typedef struct {
  uint64_t tag; /* names the completion */
  espy_cql_bytes statement;
  espy_cql_bytes values; /* cells: a big-endian int32 size, then as many bytes; -1: null, -2: not set */
  uint32_t value_count;
  uint32_t prepare;    /* 0: as it is, without values, for what changes the schema */
  uint32_t timeout_ms; /* of all tries together; later the answer is ESPY_CQL_CLIENT_TIMEOUT */
  uint32_t page_size;  /* rows at most in an answer */
  espy_cql_bytes page; /* next_page of the answer before; empty: the first page */
} espy_cql_request;

/* What a completion says; the requests are idempotent, so that the driver may try one on several nodes. */
enum {
  ESPY_CQL_OK = 0,
  ESPY_CQL_RETRY = 1,  /* not this time, or nobody knows; the request itself is not to blame */
  ESPY_CQL_REJECT = 2, /* the same request will fail again */
  ESPY_CQL_PANIC = 3   /* a bug of the driver; as ESPY_CQL_RETRY */
};

/* Why. */
enum {
  ESPY_CQL_NONE = 0,
  ESPY_CQL_NO_CONNECTION = 1,  /* none of the nodes can be reached, or none that may be asked */
  ESPY_CQL_LOGIN_REFUSED = 2,  /* wrong user or password, or none although one is wanted */
  ESPY_CQL_UNAVAILABLE = 3,    /* too few replicas are alive */
  ESPY_CQL_SERVER_TIMEOUT = 4, /* too few replicas answered in time: it may or may not have happened */
  ESPY_CQL_CLIENT_TIMEOUT = 5, /* timeout_ms is over: likewise */
  ESPY_CQL_OVERLOADED = 6,
  ESPY_CQL_BROKEN = 7,       /* the connection went away: it may or may not have happened */
  ESPY_CQL_UNAUTHORIZED = 8, /* the user may not do this */
  ESPY_CQL_INVALID = 9,      /* no such keyspace, table or column, or a value that does not fit */
  ESPY_CQL_SHUTDOWN = 10,
  ESPY_CQL_OTHER = 11
};

typedef struct {
  uint64_t tag;
  int32_t status;
  int32_t reason;
  uint32_t row_count;
  uint32_t column_count;
  espy_cql_bytes rows;      /* row_count * column_count cells, as in espy_cql_request, without -2 */
  espy_cql_bytes next_page; /* empty: no more rows */
  espy_cql_bytes message;   /* of a failure */
  void* owner;              /* holds the bytes until espy_cql_release */
} espy_cql_completion;

/* What calls return. */
enum {
  ESPY_CQL_DONE = 0,
  ESPY_CQL_BAD_OPTIONS = -1,
  ESPY_CQL_FULL = -2, /* max_outstanding: fetch completions first */
  ESPY_CQL_CLOSED = -3,
  ESPY_CQL_ABSENT = -4, /* this build has no driver */
  ESPY_CQL_PANICKED = -5
};

/* Returns at once and connects in the background, again and again until it succeeds; what breaks later is
 * mended in the background too. The driver's threads inherit the caller's signal mask. `*out` is set on
 * ESPY_CQL_DONE only; otherwise up to `capacity` bytes of `message` are written, 0 at the end. */
int32_t espy_cql_open(const espy_cql_options* options, espy_cql** out, char* message, size_t capacity);

/* Takes the request, or returns ESPY_CQL_FULL, ESPY_CQL_CLOSED or ESPY_CQL_PANICKED and there is no
 * completion. While the first attempt to connect goes on the request waits for it; after a failed one it
 * fails with that one's reason. */
int32_t espy_cql_submit(espy_cql* cql, const espy_cql_request* request);

/* Waits until there are completions, and moves up to `max` of them to `out`; returns how many, 0 when
 * timeout_ms are over, or ESPY_CQL_CLOSED when espy_cql_close has ended and none will come. Each is to be
 * released. */
int64_t espy_cql_wait(espy_cql* cql, espy_cql_completion* out, size_t max, uint32_t timeout_ms);

void espy_cql_release(espy_cql_completion* completion);

/* Returns how often a node's last connection went away. In clusters of three nodes or more a node that goes
 * away again within a minute counts once, unless the consistency is ESPY_CQL_LOCAL_ONE. */
uint64_t espy_cql_losses(const espy_cql* cql);

/* Takes no more requests, waits up to drain_ms for those that were taken, ends the others with
 * ESPY_CQL_SHUTDOWN and ends the driver's threads. Completions can still be fetched. */
void espy_cql_close(espy_cql* cql, uint32_t drain_ms);

/* Closes when that has not happened, and frees everything. */
void espy_cql_free(espy_cql* cql);

#ifdef __cplusplus
}
#endif

#endif
