// From GRUB to C++: the Multiboot2 header, then 32-bit protected mode to 64-bit long mode.
//
// GRUB enters at `start` in 32-bit protected mode with paging off, EAX = the Multiboot2 magic, EBX = the physical
// address of the boot information (Multiboot2 specification 1.6, section 3.3). No stack, no GDT to rely on.

#define MULTIBOOT2_HEADER_MAGIC 0xE85250D6
#define MULTIBOOT2_ARCHITECTURE_I386 0
#define TAG_END 0
#define TAG_CONSOLE_FLAGS 4
#define TAG_FRAMEBUFFER 5
#define TAG_MODULE_ALIGN 6
#define TAG_OPTIONAL 1
#define CONSOLE_TEXT_SUPPORTED 2

#define CR0_PG_WP_NE_MP_PE 0x80010023
#define CR4_PAE_OSFXSR_OSXMMEXCPT ((1 << 5) | (1 << 9) | (1 << 10))  // compiled C++ uses SSE2 everywhere
#define MSR_EFER 0xC0000080
#define EFER_LME (1 << 8)
#define PAGE_PRESENT_WRITE 0x3
#define PAGE_LARGE_PRESENT_WRITE 0x83
#define PAGE_DIRECTORIES 4          // one a GiB: all that GRUB can have put anything into
#define ENTRIES_PER_TABLE 512

    .section .multiboot, "a"
    .balign 8
header:
    .long MULTIBOOT2_HEADER_MAGIC
    .long MULTIBOOT2_ARCHITECTURE_I386
    .long header_end - header
    .long -(MULTIBOOT2_HEADER_MAGIC + MULTIBOOT2_ARCHITECTURE_I386 + (header_end - header))
    .balign 8
    .short TAG_MODULE_ALIGN, 0      // modules begin on a page, so their rights can be their own
    .long 8
    .balign 8
    .short TAG_CONSOLE_FLAGS, TAG_OPTIONAL
    .long 12
    .long CONSOLE_TEXT_SUPPORTED
    .balign 8
    .short TAG_FRAMEBUFFER, TAG_OPTIONAL
    .long 20
    .long 0, 0, 0                   // width, height, depth: the mode that suits the screen
    .balign 8
    .short TAG_END, 0
    .long 8
header_end:

    .section .text.boot, "ax"
    .code32
    .global start
start:
    cli
    cld
    movl %eax, %ebp                 // kept over the zeroing: magic
    movl %ebx, %esi                 //                        boot information

    movl $__bss_start, %edi
    movl $__bss_end, %ecx
    subl %edi, %ecx
    shrl $2, %ecx
    xorl %eax, %eax
    rep stosl

    movl $boot_stack_top, %esp

    // Is there a 64-bit CPU? (CPUID 0x80000001 EDX bit 29; any CPU that runs this far has CPUID.)
    movl $0x80000000, %eax
    cpuid
    cmpl $0x80000001, %eax
    jb no_long_mode
    movl $0x80000001, %eax
    cpuid
    testl $(1 << 29), %edx
    jz no_long_mode

    // Identity-map the first 4 GiB with 2 MiB pages: PML4[0] -> PDPT[0..3] -> four directories.
    movl $(boot_pdpt + PAGE_PRESENT_WRITE), boot_pml4
    movl $boot_directories + PAGE_PRESENT_WRITE, %eax
    movl $boot_pdpt, %edi
    movl $PAGE_DIRECTORIES, %ecx
1:  movl %eax, (%edi)
    addl $4096, %eax
    addl $8, %edi
    loop 1b
    movl $PAGE_LARGE_PRESENT_WRITE, %eax
    movl $boot_directories, %edi
    movl $(PAGE_DIRECTORIES * ENTRIES_PER_TABLE), %ecx
2:  movl %eax, (%edi)
    addl $0x200000, %eax
    addl $8, %edi
    loop 2b

    movl $boot_pml4, %eax
    movl %eax, %cr3
    movl $CR4_PAE_OSFXSR_OSXMMEXCPT, %eax   // set outright: firmware may have left LA57 on
    movl %eax, %cr4
    movl $MSR_EFER, %ecx
    rdmsr
    orl $EFER_LME, %eax
    wrmsr
    movl $CR0_PG_WP_NE_MP_PE, %eax
    movl %eax, %cr0
    lgdt boot_gdt_pointer
    ljmp $0x08, $long_mode

no_long_mode:                       // nothing is set up yet: say it on COM1 and stop
    movl $no_long_mode_text, %esi
3:  movw $0x3FD, %dx
4:  inb %dx, %al
    testb $0x20, %al
    jz 4b
    movw $0x3F8, %dx
    lodsb
    testb %al, %al
    jz 5f
    outb %al, %dx
    jmp 3b
5:  hlt
    jmp 5b

    .code64
long_mode:
    movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    xorl %eax, %eax
    movw %ax, %fs
    movw %ax, %gs
    movq $boot_stack_top, %rsp
    movl %ebp, %edi                 // kernel_main(magic, boot information)
    movl %esi, %esi
    xorl %ebp, %ebp                 // ends the chain of frames that a backtrace walks
    call kernel_main
6:  cli
    hlt
    jmp 6b

    .section .rodata.boot, "a"
no_long_mode_text:
    .asciz "\nBareFlow needs a 64-bit x86 processor (long mode); this one has none.\n"
    .balign 8
boot_gdt:
    .quad 0
    .quad 0x00209A0000000000        // 64-bit code
    .quad 0x0000920000000000        // data
boot_gdt_pointer:
    .short . - boot_gdt - 1
    .long boot_gdt

    .section .bss.boot_tables, "aw", @nobits
    .balign 4096
    .global boot_pml4
boot_pml4:
    .skip 4096
boot_pdpt:
    .skip 4096
boot_directories:
    .skip PAGE_DIRECTORIES * 4096

// Stacks, each below by a guard page that mm unmaps, so that an overflow faults instead of spreading.
// arch/x86_64/image.h names them for C++.
    .section .bss.stacks, "aw", @nobits
    .balign 4096
    .global boot_stack_guard, boot_stack_top, ist_stacks
boot_stack_guard:
    .skip 4096
    .skip 256 * 1024
boot_stack_top:
ist_stacks:                         // 7 of: guard page, 16 KiB
    .skip 7 * (4096 + 16384)
