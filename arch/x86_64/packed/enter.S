// A packed kernel's first instructions: in 32-bit protected mode with paging off, as GRUB enters (boot.S). The kernel is entered
// with the registers that GRUB had put there, so that it does not notice.

#define COM1 0x3F8
#define COM2 0x2F8
#define UART_INTERRUPTS 1
#define UART_LINE_CONTROL 3
#define UART_LINE_STATUS 5
#define DIVISOR_LATCH 0x80
#define EIGHT_BITS 3
#define TRANSMITTER_EMPTY 0x20

// How a machine that cannot go on ends in QEMU (exit.cpp).
#define FW_CFG_SELECTOR 0x510
#define FW_CFG_DATA 0x511
#define DEBUG_EXIT_PORT 0xF4
#define DEBUG_EXIT_FAILURE 0x20

    .section .enter, "ax"
    .code32
    .global stub_start
stub_start:
    cli
    cld
    movl $stub_stack_top, %esp
    pushl %ebx
    pushl %eax
    pushl $0                        // the reason
    movl %esp, %eax                 // the first argument (packed.mk: -mregparm)
    call unpack_and_place
    movl %eax, %ecx
    popl %esi
    testl %ecx, %ecx
    jz damaged
    popl %eax
    popl %ebx
    jmp *%ecx

damaged:                            // ESI: why. On both serial ports, as exit.cpp has it
    movl $COM1, %ebx
    movl $console_text, %edi
    call say
    movl %esi, %edi
    call say_on
    movl $console_text_end, %edi
    call say_on
    movl $COM2, %ebx
    movl $log_text, %edi
    call say
    movl %esi, %edi
    call say_on
    movl $log_text_end, %edi
    call say_on

    movw $FW_CFG_SELECTOR, %dx      // QEMU's fw_cfg says "QEMU": then its debug exit is there too
    xorl %eax, %eax
    outw %ax, %dx
    movw $FW_CFG_DATA, %dx
    movl $4, %ecx
1:  shll $8, %eax
    inb %dx, %al
    loop 1b
    cmpl $0x51454D55, %eax
    jne 2f
    movl $DEBUG_EXIT_FAILURE, %eax
    movw $DEBUG_EXIT_PORT, %dx
    outl %eax, %dx
2:  cli
    hlt
    jmp 2b

// Writes the text at EDI to the port at EBX; say sets the port up before: 115200 8N1, no interrupts.
say:
    leal UART_INTERRUPTS(%ebx), %edx
    xorl %eax, %eax
    outb %al, %dx
    leal UART_LINE_CONTROL(%ebx), %edx
    movb $DIVISOR_LATCH, %al
    outb %al, %dx
    movl %ebx, %edx
    movb $1, %al
    outb %al, %dx
    incl %edx
    xorl %eax, %eax
    outb %al, %dx
    leal UART_LINE_CONTROL(%ebx), %edx
    movb $EIGHT_BITS, %al
    outb %al, %dx
say_on:
    leal UART_LINE_STATUS(%ebx), %edx
3:  inb %dx, %al                    // a port that is not there says 0xFF
    testb $TRANSMITTER_EMPTY, %al
    jz 3b
    movb (%edi), %al
    incl %edi
    testb %al, %al
    jz 4f
    movl %ebx, %edx
    outb %al, %dx
    jmp say_on
4:  ret

    .section .rodata, "a"
console_text:                       // behind the kernel's start mark, from which on the launcher passes everything on
    .asciz "\002BAREFLOW\002\nBareFlow: this kernel's image is damaged: "
console_text_end:
    .asciz ". Write the disk or file anew.\r\n"
log_text:
    .asciz "exit status=failed reason=\"the kernel's image is damaged: "
log_text_end:
    .asciz "\"\n"

    .section .bss.stub, "aw", @nobits
    .balign 16
    .skip 4096
stub_stack_top:
    .section .note.GNU-stack,"",@progbits
