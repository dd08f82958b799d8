# One INTERFACE target carries every flag; modules link it privately.
add_library(espy_flags INTERFACE)
target_compile_options(espy_flags INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # GCC 12 sees overlapping copies in std::string's operator+ that cannot happen (GCC bug 105651).
  target_compile_options(espy_flags INTERFACE -Wno-restrict)
endif()
if(ESPY_WERROR)
  target_compile_options(espy_flags INTERFACE -Werror)
endif()

# -fno-math-errno: without it the compiler may not vectorise std::sqrt (measured: Adam 17 -> 203 us a step).
target_compile_options(espy_flags INTERFACE -fno-math-errno)

# The oldest x86 machine that espy promises to run on; faster kernels are chosen at run time.
if(CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64")
  target_compile_options(espy_flags INTERFACE -march=x86-64-v2)
endif()

if(ESPY_SANITIZE MATCHES "address" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # The sanitizer's own code hides from GCC 12 that a value is set (seen in Boost.Beast's optional).
  target_compile_options(espy_flags INTERFACE -Wno-maybe-uninitialized)
endif()
if(ESPY_SANITIZE)
  target_compile_options(espy_flags INTERFACE -fsanitize=${ESPY_SANITIZE} -fno-omit-frame-pointer
                                              -fno-sanitize-recover=all)
  target_link_options(espy_flags INTERFACE -fsanitize=${ESPY_SANITIZE})
endif()
if(ESPY_FUZZ)
  target_compile_options(espy_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
