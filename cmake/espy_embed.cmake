# espy_embed(TARGET NAME FILE): puts FILE's bytes into TARGET as read-only data, between the symbols
# espy_embedded_NAME and espy_embedded_NAME_end (extern "C" const unsigned char arrays).
# .incbin works the same for every architecture that GNU as and clang assemble for, and costs no compile time.
function(espy_embed TARGET NAME FILE)
  get_filename_component(FILE ${FILE} ABSOLUTE)
  set(ASSEMBLY ${CMAKE_CURRENT_BINARY_DIR}/embedded_${NAME}.S)
  file(CONFIGURE OUTPUT ${ASSEMBLY} @ONLY CONTENT [[
.section .rodata
.balign 16
.global espy_embedded_@NAME@
.global espy_embedded_@NAME@_end
espy_embedded_@NAME@:
.incbin "@FILE@"
espy_embedded_@NAME@_end:
.byte 0
.section .note.GNU-stack,"",%progbits
]])
  set_source_files_properties(${ASSEMBLY} PROPERTIES OBJECT_DEPENDS ${FILE})
  target_sources(${TARGET} PRIVATE ${ASSEMBLY})
endfunction()
