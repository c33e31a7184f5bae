// The screen's font: a PSF2 file made from Debian's Terminus (tools/font_subset.cpp, the Makefile's CONSOLE_FONT), an object
// of its own for the size report.
    .section .rodata.bareflow_console_font, "a"
    .balign 16
    .global bareflow_console_font, bareflow_console_font_end
    .type bareflow_console_font, @object
bareflow_console_font:
    .incbin CONSOLE_FONT
bareflow_console_font_end:
    .size bareflow_console_font, . - bareflow_console_font
    .section .note.GNU-stack, "", @progbits
