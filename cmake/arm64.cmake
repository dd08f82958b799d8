# Compiles for 64-bit ARM with Debian's cross compiler, against the libraries that script/make-arm64-root unpacked into
# build/arm64-root; what runs, runs under qemu-user.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)

get_filename_component(ARM64_ROOT ${CMAKE_CURRENT_LIST_DIR}/../build/arm64-root ABSOLUTE)
set(CMAKE_SYSROOT ${ARM64_ROOT})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${ARM64_ROOT})
set(ENV{PKG_CONFIG_LIBDIR} ${ARM64_ROOT}/usr/lib/aarch64-linux-gnu/pkgconfig:${ARM64_ROOT}/usr/share/pkgconfig)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64;-L;${ARM64_ROOT})

# Debian's Rust, unpacked beside it, because only a compiler's own standard library for ARM will do for it. What runs in an
# emulator need not be compiled with all care.
get_filename_component(ARM64_RUST ${ARM64_ROOT}-rust ABSOLUTE)
set(ESPY_CARGO ${ARM64_RUST}/usr/bin/cargo)
set(ESPY_RUSTC ${ARM64_RUST}/usr/bin/rustc)
set(ESPY_RUST_ENVIRONMENT RUSTC=${ESPY_RUSTC} CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1
                          LD_LIBRARY_PATH=${ARM64_RUST}/usr/lib/x86_64-linux-gnu:${ARM64_RUST}/usr/lib)
