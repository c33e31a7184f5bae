// The stub's data: pack.sh names the files.
    .section .header, "a"
    .global packed_header
packed_header:
    .ascii "BFPACKED"
    .long stub_end                  // model_address
    .long 0                         // model_bytes

    .section .payload, "a"
    .global unpacked_crc32, packed_kernel, packed_kernel_end
    .balign 4
unpacked_crc32:
    .incbin UNPACKED_CRC32
packed_kernel:
    .incbin PACKED_KERNEL
packed_kernel_end:
    .section .note.GNU-stack,"",@progbits
