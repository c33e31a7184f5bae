// An UnpackedHeader (unpack.h), of the addresses that pack.sh defines.
    .data
    .long start, bareflow_loaded_model
    .long __image_start, text_bytes
    .long __rodata_start, data_bytes
    .long __symbols_start, symbols_bytes
    .section .note.GNU-stack,"",@progbits
