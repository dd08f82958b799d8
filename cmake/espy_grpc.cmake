# espy_grpc_library: gRPC for C++ as archives, so that whoever does not use it does not load it, and espy stays one
# file: as shared objects they are 47, which would cost every start of espy 8 ms (ADR 22).
# Sets ESPY_HAS_GRPC.
include(espy_optional)

# Sets VARIABLE to why there is no gRPC, or to nothing; then espy_grpc_library is defined.
function(espy_find_grpc VARIABLE)
  set(PACKAGES "(Debian: libgrpc++-dev)")
  find_package(PkgConfig QUIET)
  # Asked once and only this: with Abseil's hundreds of dependencies an answer takes two seconds.
  if(NOT ESPY_GRPC_LINK AND PKG_CONFIG_EXECUTABLE)
    execute_process(COMMAND ${PKG_CONFIG_EXECUTABLE} --static --libs-only-l grpc++ OUTPUT_VARIABLE LINK ERROR_QUIET
                    OUTPUT_STRIP_TRAILING_WHITESPACE)
    set(ESPY_GRPC_LINK "${LINK}" CACHE INTERNAL "What pkg-config links grpc++ with")
  endif()
  if(NOT ESPY_GRPC_LINK)
    set(${VARIABLE} "there is no grpc++ ${PACKAGES}" PARENT_SCOPE)
    return()
  endif()
  string(REGEX MATCHALL "-l[^ ]+" NAMES "${ESPY_GRPC_LINK}")
  list(REMOVE_DUPLICATES NAMES)
  list(TRANSFORM NAMES REPLACE "^-l" "")
  set(ARCHIVES "")
  foreach(NAME IN LISTS NAMES)
    # What espy links anyway, and what belongs to the system, stays as it is.
    if(NAME MATCHES "^(ssl|crypto|z|dl|pthread|m|rt|atomic)$")
      continue()
    endif()
    find_library(ESPY_GRPC_${NAME} NAMES lib${NAME}.a)
    mark_as_advanced(ESPY_GRPC_${NAME})
    if(NOT ESPY_GRPC_${NAME})
      set(${VARIABLE} "there is no lib${NAME}.a ${PACKAGES}" PARENT_SCOPE)
      return()
    endif()
    list(APPEND ARCHIVES ${ESPY_GRPC_${NAME}})
  endforeach()
  find_package(OpenSSL REQUIRED)
  find_package(Threads REQUIRED)
  find_package(ZLIB REQUIRED)
  add_library(espy_grpc_library INTERFACE)
  list(JOIN ARCHIVES "," GROUP)
  target_link_libraries(espy_grpc_library INTERFACE "$<LINK_GROUP:RESCAN,${GROUP}>" OpenSSL::SSL OpenSSL::Crypto
                                                    ZLIB::ZLIB Threads::Threads ${CMAKE_DL_LIBS})
  set(${VARIABLE} "" PARENT_SCOPE)
endfunction()

espy_optional(GRPC "The gRPC server" espy_find_grpc)
