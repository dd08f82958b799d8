// ESPY_MULTIVERSION before a function compiles it for several generations of x86 and chooses at load time.
#pragma once

// Clang compiles the fuzzers alone, which are in no hurry; the thread sanitizer is not ready for the
// resolvers, which run before everything else; with the address sanitizer's checks three versions take
// minutes to compile.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_THREAD__) && \
    !defined(__SANITIZE_ADDRESS__)
#define ESPY_MULTIVERSION __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define ESPY_MULTIVERSION
#endif
