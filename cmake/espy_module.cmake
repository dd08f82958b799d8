# espy_module(NAME SRCS ... HDRS ... [TESTS ...] [DEPS ...] [PRIVATE_DEPS ...] [TEST_DEPS ...])
#
# Declares one module: the static library espy_NAME (alias espy::NAME), one test program per file of TESTS, and
# the module's layering rule. DEPS are the espy modules whose headers it may include (espy::base, ...);
# PRIVATE_DEPS are the foreign libraries that it owns. tools/check_layering.py reads the rules from
# layering.json in the build folder and fails the test "layering" when an #include breaks one.
set(ESPY_SMALL_MODULES "" CACHE STRING "Modules to compile for size rather than speed: the image's, where it does not show")

# What runs in an emulator takes its time.
set(ESPY_UNIT_TEST_TIMEOUT 300)
if(CMAKE_CROSSCOMPILING)
  set(ESPY_UNIT_TEST_TIMEOUT 3000)
endif()
if(BUILD_TESTING)
  find_package(GTest REQUIRED)
  add_custom_target(espy_unit_tests)  # builds all of them, and nothing else
endif()

function(espy_module NAME)
  cmake_parse_arguments(PARSE_ARGV 1 MODULE "" "" "SRCS;HDRS;TESTS;DEPS;PRIVATE_DEPS;TEST_DEPS")
  if(MODULE_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "espy_module(${NAME}): unknown arguments ${MODULE_UNPARSED_ARGUMENTS}")
  endif()

  add_library(espy_${NAME} STATIC ${MODULE_SRCS})
  add_library(espy::${NAME} ALIAS espy_${NAME})
  target_sources(espy_${NAME} PUBLIC FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR}/src FILES ${MODULE_HDRS})
  target_compile_features(espy_${NAME} PUBLIC cxx_std_20)
  target_link_libraries(espy_${NAME} PUBLIC ${MODULE_DEPS} PRIVATE espy_flags ${MODULE_PRIVATE_DEPS})
  if(NAME IN_LIST ESPY_SMALL_MODULES)
    target_compile_options(espy_${NAME} PRIVATE -Os)
  endif()
  set_target_properties(espy_${NAME} PROPERTIES VERIFY_INTERFACE_HEADER_SETS ON)

  if(NOT BUILD_TESTING)
    set(MODULE_TESTS "")
  endif()
  foreach(TEST_SOURCE IN LISTS MODULE_TESTS)
    get_filename_component(TEST_NAME ${TEST_SOURCE} NAME_WE)
    add_executable(${NAME}_${TEST_NAME} ${TEST_SOURCE})
    target_link_libraries(${NAME}_${TEST_NAME} PRIVATE espy::${NAME} espy_flags GTest::gtest_main
                                                       ${MODULE_TEST_DEPS})
    add_test(NAME ${NAME}/${TEST_NAME} COMMAND ${NAME}_${TEST_NAME})
    set_tests_properties(${NAME}/${TEST_NAME} PROPERTIES LABELS unit TIMEOUT ${ESPY_UNIT_TEST_TIMEOUT})
    if(CMAKE_CROSSCOMPILING)
      set_tests_properties(${NAME}/${TEST_NAME} PROPERTIES ENVIRONMENT ESPY_TEST_EMULATED=1)
    endif()
    add_dependencies(espy_unit_tests ${NAME}_${TEST_NAME})
  endforeach()

  list(TRANSFORM MODULE_DEPS REPLACE "^espy::(.*)$" "\"\\1\"" OUTPUT_VARIABLE RULE)
  list(JOIN RULE ", " RULE)
  list(TRANSFORM MODULE_HDRS REPLACE "^(.+)$" "\"\\1\"" OUTPUT_VARIABLE HEADERS)
  list(JOIN HEADERS ", " HEADERS)
  set_property(GLOBAL APPEND PROPERTY ESPY_LAYERING
               "\"${NAME}\": {\"may_include\": [${RULE}], \"public_headers\": [${HEADERS}]}")
endfunction()

# Writes what every espy_module() declared; call it once, after the last.
function(espy_write_layering_rules)
  get_property(RULES GLOBAL PROPERTY ESPY_LAYERING)
  list(JOIN RULES ",\n  " RULES)
  file(WRITE ${PROJECT_BINARY_DIR}/layering.json "{\n  ${RULES}\n}\n")
endfunction()
