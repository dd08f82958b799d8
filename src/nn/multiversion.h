// ESPY_MULTIVERSION before a function compiles it for several generations of x86 and chooses at load time.
#pragma once

// Clang lacks the attribute for these levels; the resolvers run before a sanitizer is ready for them.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_THREAD__) && \
    !defined(__SANITIZE_ADDRESS__)
#define ESPY_MULTIVERSION __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define ESPY_MULTIVERSION
#endif
