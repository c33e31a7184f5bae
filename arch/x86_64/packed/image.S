// What a packed kernel's file is put together from: pack.sh names the files.
    .section .multiboot, "a"
    .incbin KERNEL_TEXT, 0, MULTIBOOT_BYTES     // the kernel's own header, which stands first in it

    .section .native, "ax"
    .incbin KERNEL_NATIVE

    .section .stub, "awx"
    .incbin STUB

    // Memory that is taken and not in the file: GRUB puts nothing else there.
    .section .taken.text, "aw", @nobits
    .skip __native_start - __image_start - headers_bytes
    .section .taken.rest, "aw", @nobits
    .skip __image_end - __native_end
    .section .taken.stub, "aw", @nobits
    .skip stub_end - stub_address - stub_bytes
    .section .note.GNU-stack,"",@progbits
