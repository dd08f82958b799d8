# Finds jemalloc 5 as an archive for position independent programs and defines jemalloc::jemalloc.
find_path(jemalloc_INCLUDE_DIR jemalloc/jemalloc.h)
find_library(jemalloc_LIBRARY NAMES jemalloc_pic)
mark_as_advanced(jemalloc_INCLUDE_DIR jemalloc_LIBRARY)

if(jemalloc_INCLUDE_DIR)
  file(STRINGS ${jemalloc_INCLUDE_DIR}/jemalloc/jemalloc.h jemalloc_VERSION REGEX "#define JEMALLOC_VERSION \"")
  string(REGEX MATCH "[0-9]+\\.[0-9]+\\.[0-9]+" jemalloc_VERSION "${jemalloc_VERSION}")
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(jemalloc REQUIRED_VARS jemalloc_LIBRARY jemalloc_INCLUDE_DIR
                                  VERSION_VAR jemalloc_VERSION)

if(jemalloc_FOUND AND NOT TARGET jemalloc::jemalloc)
  find_package(Threads REQUIRED)
  add_library(jemalloc::jemalloc UNKNOWN IMPORTED)
  set_target_properties(jemalloc::jemalloc PROPERTIES IMPORTED_LOCATION ${jemalloc_LIBRARY}
                                                      INTERFACE_INCLUDE_DIRECTORIES ${jemalloc_INCLUDE_DIR}
                                                      INTERFACE_LINK_LIBRARIES "Threads::Threads;m;${CMAKE_DL_LIBS}")
endif()
