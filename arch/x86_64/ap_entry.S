// How another core comes from its SIPI to C++ (Intel SDM 3A 8.4): real mode in a page below 1 MiB, protected mode, long
// mode.
//
// Only the real-mode part is copied to the low page. Paging is first turned on with the boot loader's time's tables
// (boot.S), which map the first 4 GiB without restrictions, and only from within the kernel's text; so the kernel's own
// tables never have to make the low page executable.

#define MSR_EFER 0xC0000080
#define CODE64 0x08
#define DATA 0x10
#define CODE32 0x18
#define CR0_PE 1

    .section .rodata.ap, "a"
    .global ap_real_mode, ap_real_mode_end
    .code16
ap_real_mode:                       // CS:IP = page:0; copied, so only offsets within and absolute addresses
    cli
    cld
    movw %cs, %ax
    movw %ax, %ds
    lgdtl ap_gdt_pointer - ap_real_mode
    movl %cr0, %eax
    orl $CR0_PE, %eax
    movl %eax, %cr0
    ljmpl $CODE32, $ap_protected_mode
    .balign 4
ap_gdt_pointer:
    .short ap_gdt_end - ap_gdt - 1
    .long ap_gdt
ap_real_mode_end:

    .balign 8
ap_gdt:
    .quad 0
    .quad 0x00209A0000000000        // 64-bit code
    .quad 0x00CF92000000FFFF        // data, 4 GiB for the 32-bit part
    .quad 0x00CF9A000000FFFF        // 32-bit code
ap_gdt_end:

    .section .text.boot, "ax"
    .code32
ap_protected_mode:
    movw $DATA, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    // The same as on the core that booted: cores.cpp has read them there.
    movl ap_cr4, %eax
    movl %eax, %cr4
    movl $boot_pml4, %eax
    movl %eax, %cr3
    movl $MSR_EFER, %ecx
    movl ap_efer, %eax
    xorl %edx, %edx
    wrmsr
    movl ap_cr0, %eax               // ends INIT's disabled cache, too
    movl %eax, %cr0
    ljmp $CODE64, $ap_long_mode

    .code64
ap_long_mode:
    movw $DATA, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    xorl %eax, %eax
    movw %ax, %fs
    movw %ax, %gs
    movq ap_cr3, %rax
    movq %rax, %cr3
    // One core may have the number that was given out. Who comes too late finds 0, and no stack.
    xorl %edi, %edi
    xchgl %edi, ap_ticket
    testl %edi, %edi
    jz 1f
    movq ap_stack_tops(, %rdi, 8), %rsp
    xorl %ebp, %ebp                 // ends the chain of frames that a backtrace walks
    call ap_main                    // ap_main(number)
1:  cli
    hlt
    jmp 1b
