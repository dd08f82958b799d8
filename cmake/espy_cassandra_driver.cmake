# espy::cassandra_driver: the functions of src/cassandra/driver/espy_cql.h. With a Rust toolchain they are the crate
# beside that header, built by plain cargo from its committed Cargo.lock; without, they say that there is no driver.
include(espy_optional)

set(DRIVER_SOURCE ${PROJECT_SOURCE_DIR}/src/cassandra/driver)
# One for all presets: the crate takes minutes, and its only flags are its own.
set(DRIVER_TARGET ${PROJECT_SOURCE_DIR}/build/cargo)
file(STRINGS ${DRIVER_SOURCE}/Cargo.toml DRIVER_RUST REGEX "^rust-version")
string(REGEX MATCH "[0-9]+\\.[0-9]+" DRIVER_RUST "${DRIVER_RUST}")

# For another processor cargo is told which, and puts what it builds into a folder of that name.
set(DRIVER_BUILT ${DRIVER_TARGET}/release)
set(DRIVER_ARGUMENTS)
set(DRIVER_ENVIRONMENT)
if(CMAKE_CROSSCOMPILING)
  set(RUST_TARGET ${CMAKE_SYSTEM_PROCESSOR}-unknown-linux-gnu)
  string(REPLACE "-" "_" C_NAME ${RUST_TARGET})
  string(TOUPPER ${C_NAME} NAME)
  set(DRIVER_TARGET ${DRIVER_TARGET}-${RUST_TARGET})
  set(DRIVER_BUILT ${DRIVER_TARGET}/${RUST_TARGET}/release)
  set(DRIVER_ARGUMENTS --target ${RUST_TARGET})
  set(DRIVER_ENVIRONMENT
      ${CMAKE_COMMAND} -E env ${ESPY_RUST_ENVIRONMENT} CARGO_TARGET_${NAME}_LINKER=${CMAKE_C_COMPILER}
      ${NAME}_OPENSSL_INCLUDE_DIR=${CMAKE_SYSROOT}/usr/include
      # Part of OpenSSL's headers is in Debian's folder for the processor.
      CFLAGS_${C_NAME}=-I${CMAKE_SYSROOT}/usr/include/${CMAKE_LIBRARY_ARCHITECTURE}
      ${NAME}_OPENSSL_LIB_DIR=${CMAKE_SYSROOT}/usr/lib/${CMAKE_LIBRARY_ARCHITECTURE})
endif()

# Sets VARIABLE to why the driver cannot be built here, or to nothing.
function(espy_find_rust VARIABLE)
  find_program(ESPY_CARGO cargo HINTS $ENV{HOME}/.cargo/bin)
  find_program(ESPY_RUSTC rustc HINTS $ENV{HOME}/.cargo/bin)
  if(NOT ESPY_CARGO OR NOT ESPY_RUSTC)
    set(${VARIABLE} "there is no cargo or no rustc (Debian: cargo-web)" PARENT_SCOPE)
    return()
  endif()
  execute_process(COMMAND ${CMAKE_COMMAND} -E env ${ESPY_RUST_ENVIRONMENT} ${ESPY_RUSTC} --version OUTPUT_VARIABLE RUST ERROR_QUIET)
  string(REGEX MATCH "[0-9]+\\.[0-9]+\\.[0-9]+" RUST "${RUST}")
  if(NOT RUST OR RUST VERSION_LESS DRIVER_RUST)
    set(${VARIABLE} "${ESPY_RUSTC} is version \"${RUST}\", needed is ${DRIVER_RUST} (Debian: cargo-web)" PARENT_SCOPE)
    return()
  endif()
  if(CMAKE_CROSSCOMPILING)
    execute_process(COMMAND ${CMAKE_COMMAND} -E env ${ESPY_RUST_ENVIRONMENT} ${ESPY_RUSTC} --print target-libdir
                            --target ${RUST_TARGET}
                    OUTPUT_VARIABLE FOLDER OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    file(GLOB LIBRARY ${FOLDER}/libstd-*.rlib)
    if(NOT LIBRARY)
      set(${VARIABLE} "${ESPY_RUSTC} has no standard library for ${RUST_TARGET} (Debian: libstd-rust-web-dev)" PARENT_SCOPE)
      return()
    endif()
  endif()
  set(${VARIABLE} "" PARENT_SCOPE)
endfunction()

# Sets VARIABLE to why the crates cannot be had, or to nothing. They are fetched once for each lock file.
function(espy_fetch_crates VARIABLE)
  file(SHA256 ${DRIVER_SOURCE}/Cargo.lock LOCK)
  set(${VARIABLE} "" PARENT_SCOPE)
  if("${ESPY_CRATES_FETCHED}" STREQUAL LOCK)
    return()
  endif()
  message(STATUS "Cassandra: fetching the driver's crates")
  execute_process(COMMAND ${DRIVER_ENVIRONMENT} ${ESPY_CARGO} fetch --locked --manifest-path ${DRIVER_SOURCE}/Cargo.toml
                  RESULT_VARIABLE STATUS OUTPUT_QUIET ERROR_VARIABLE SAID TIMEOUT 600)
  if(STATUS EQUAL 0)
    set(ESPY_CRATES_FETCHED ${LOCK} CACHE INTERNAL "SHA-256 of the lock file whose crates are here")
  else()
    string(STRIP "${SAID}" SAID)
    set(${VARIABLE} "cargo cannot fetch the driver's crates: ${SAID}" PARENT_SCOPE)
  endif()
endfunction()

# Sets VARIABLE to why there is no driver, or to nothing.
function(espy_find_cassandra_driver VARIABLE)
  espy_find_rust(WITHOUT)
  if(NOT WITHOUT)
    espy_fetch_crates(WITHOUT)
  endif()
  set(${VARIABLE} "${WITHOUT}" PARENT_SCOPE)
endfunction()

espy_optional(CASSANDRA "Cassandra's driver" espy_find_cassandra_driver)

if(NOT ESPY_HAS_CASSANDRA)
  add_library(espy_cassandra_driver STATIC ${DRIVER_SOURCE}/driver_absent.cc)
  target_include_directories(espy_cassandra_driver PRIVATE ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(espy_cassandra_driver PRIVATE espy_flags)
else()
  find_package(OpenSSL REQUIRED)
  find_package(Threads REQUIRED)
  set(DRIVER_LIBRARY ${CMAKE_CURRENT_BINARY_DIR}/libespy_cassandra_driver.a)
  # Copied, because cargo leaves the library's time as it is when nothing has to be done.
  add_custom_command(
    OUTPUT ${DRIVER_LIBRARY}
    COMMAND ${DRIVER_ENVIRONMENT} ${ESPY_CARGO} build --release --locked --manifest-path ${DRIVER_SOURCE}/Cargo.toml
            --target-dir ${DRIVER_TARGET} ${DRIVER_ARGUMENTS}
    COMMAND ${CMAKE_COMMAND} -E copy ${DRIVER_BUILT}/libespy_cassandra_driver.a ${DRIVER_LIBRARY}
    DEPENDS ${DRIVER_SOURCE}/Cargo.toml ${DRIVER_SOURCE}/Cargo.lock ${DRIVER_SOURCE}/src/lib.rs
    COMMENT "Building Cassandra's driver (cargo)"
    VERBATIM)
  add_custom_target(espy_cassandra_crate DEPENDS ${DRIVER_LIBRARY})
  add_library(espy_cassandra_driver INTERFACE)
  add_dependencies(espy_cassandra_driver espy_cassandra_crate)
  target_link_libraries(espy_cassandra_driver INTERFACE ${DRIVER_LIBRARY} OpenSSL::SSL OpenSSL::Crypto
                                                        Threads::Threads ${CMAKE_DL_LIBS} m)
  if(BUILD_TESTING AND NOT CMAKE_CROSSCOMPILING)
    add_test(NAME cassandra/crate COMMAND ${ESPY_CARGO} test --release --locked --quiet
                                          --manifest-path ${DRIVER_SOURCE}/Cargo.toml --target-dir ${DRIVER_TARGET})
    set_tests_properties(cassandra/crate PROPERTIES LABELS "unit;slow" TIMEOUT 1800)
  endif()
endif()
add_library(espy::cassandra_driver ALIAS espy_cassandra_driver)
