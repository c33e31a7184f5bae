// Where the processor enters on an exception or interrupt, and the recovery point that a probe's fault returns to.
//
// Each vector has a stub that pushes what the processor did not (an error code of 0, the vector), so that the handler
// always finds the same frame: InterruptFrame in arch/x86_64/interrupts.h. Vector registers are not saved: a handler
// that returns is compiled without them (-mgeneral-regs-only), all others end in a report.

    .section .text
    .global interrupt_stubs
    .balign 16
interrupt_stubs:                    // 256 stubs of 16 bytes
    .set vector, 0
    .rept 256
    .balign 16
    // The processor itself pushes an error code for these: Intel SDM 3A table 6-1.
    .if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30)
    pushq $0
    .endif
    pushq $vector
    jmp interrupt_common
    .set vector, vector + 1
    .endr

interrupt_common:
    pushq %rax
    pushq %rbx
    pushq %rcx
    pushq %rdx
    pushq %rsi
    pushq %rdi
    pushq %rbp
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    cld
    movq %rsp, %rdi
    xorl %ebp, %ebp
    movq %rsp, %rbx                 // the frame may be unaligned by 8: calls want 16
    andq $-16, %rsp
    call interrupt_dispatch
    movq %rbx, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rbp
    popq %rdi
    popq %rsi
    popq %rdx
    popq %rcx
    popq %rbx
    popq %rax
    addq $16, %rsp
    iretq

// bool call_with_recovery_point(RecoveryPoint* point, void (*function)(void*), void* argument)
// Calls function(argument) and returns true. If a fault happens meanwhile, the dispatcher sends execution to
// recovery_landing with RDI = the point, which returns false from here.
    .global call_with_recovery_point, recovery_landing
call_with_recovery_point:
    pushq %rbp
    movq %rsp, %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    pushq %rdi
    movq %rsp, (%rdi)               // RecoveryPoint::stack_pointer
    movq %rdx, %rdi
    call *%rsi
    movl $1, %eax
    jmp 1f
recovery_landing:
    movq (%rdi), %rsp
    // What the fault may have left behind: direction flag, MXCSR.
    cld
    pushq $0x1F80
    ldmxcsr (%rsp)
    addq $8, %rsp
    xorl %eax, %eax
1:  popq %rdi
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
