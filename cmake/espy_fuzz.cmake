# espy_fuzz_target(NAME SOURCES ... DEPS ... [DEFINITIONS ...] [SEEDS ...])
#
# Declares the program fuzz_NAME from SOURCES, which define LLVMFuzzerTestOneInput (bytes in, no disk), and the
# test fuzz/NAME (label fuzz), which feeds it every file of tests/fuzz/corpus/NAME and of the folders SEEDS.
# With ESPY_FUZZ the program is libFuzzer's, which makes inputs of its own:
#   build/fuzz/tests/fuzz/fuzz_NAME -max_total_time=60 NEW_FOLDER tests/fuzz/corpus/NAME
# Otherwise it only replays what it is given (tests/fuzz/replay.cc), with any compiler and any sanitizer.
# An input that once broke the program is kept in the corpus, named for the defect.
function(espy_fuzz_target NAME)
  cmake_parse_arguments(PARSE_ARGV 1 FUZZ "" "" "SOURCES;DEPS;DEFINITIONS;SEEDS")
  if(FUZZ_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "espy_fuzz_target(${NAME}): unknown arguments ${FUZZ_UNPARSED_ARGUMENTS}")
  endif()

  add_executable(fuzz_${NAME} ${FUZZ_SOURCES})
  target_link_libraries(fuzz_${NAME} PRIVATE ${FUZZ_DEPS} espy_flags)
  target_compile_definitions(fuzz_${NAME} PRIVATE ${FUZZ_DEFINITIONS})
  if(ESPY_FUZZ)
    target_link_options(fuzz_${NAME} PRIVATE -fsanitize=fuzzer)
    set(REPLAY_ONLY -runs=0)
  else()
    target_sources(fuzz_${NAME} PRIVATE ${PROJECT_SOURCE_DIR}/tests/fuzz/replay.cc)
    target_link_libraries(fuzz_${NAME} PRIVATE espy::base)
    set(REPLAY_ONLY)
  endif()

  add_test(NAME fuzz/${NAME}
           COMMAND fuzz_${NAME} ${REPLAY_ONLY} ${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/${NAME} ${FUZZ_SEEDS})
  set_tests_properties(fuzz/${NAME} PROPERTIES LABELS fuzz TIMEOUT 300)
endfunction()
