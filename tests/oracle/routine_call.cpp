#include "tests/oracle/routine_call.h"

#include <setjmp.h>
#include <signal.h>

#include <cstddef>
#include <cstring>
#include <vector>

#include "tests/oracle/this_cpu.h"

namespace bareflow {

constexpr uint32_t kPoisonLane = 0x7FA0'BAD0;  ///< a signalling NaN

/// What goes in and comes out; the assembly below knows the offsets.
struct alignas(64) CallState {
    uint64_t routine, arguments;
    uint64_t vectors;  ///< 0: xmm, 1: ymm, 2: zmm and masks
    uint64_t rsp;
    uint64_t kept[6];  ///< rbx, rbp, r12 to r15 after the call
    uint64_t rsp_after, flags;
    uint32_t mxcsr, mxcsr_after;
    uint8_t padding[24];
    uint32_t poison[16];
    uint32_t upper_halves[16][4];  ///< of ymm0 to ymm15 after the call
};
static_assert(offsetof(CallState, vectors) == 16 && offsetof(CallState, rsp) == 24);
static_assert(offsetof(CallState, kept) == 32 && offsetof(CallState, rsp_after) == 80);
static_assert(offsetof(CallState, flags) == 88 && offsetof(CallState, mxcsr) == 96);
static_assert(offsetof(CallState, poison) == 128 && offsetof(CallState, upper_halves) == 192);

/// Bits 0 to 31 stand in every register that a callee must keep; the register's number is added.
constexpr uint64_t kKept = 0x5AFE'0000'1234'5600;

// One call at a time: the state has a fixed place, so that it is found even if the callee loses the stack pointer.
extern "C" {
CallState bareflow_call_state;
void bareflow_call_with_poison();
}
asm(R"(
.pushsection .text
.intel_syntax noprefix
.globl bareflow_call_with_poison
bareflow_call_with_poison:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    sub rsp, 8                      # now a multiple of 16, as the ABI wants it at a call
    mov [rip + bareflow_call_state + 24], rsp
    stmxcsr [rip + bareflow_call_state + 96]
    cld
    lea rdi, [rsp - 1024]           # junk where the callee's frame and red zone will be
    mov ecx, 128
    movabs rax, 0x7FA0BAD27FA0BAD2
    rep stosq

    cmp qword ptr [rip + bareflow_call_state + 16], 1
    ja 2f
    je 1f
.irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    movaps xmm\i, [rip + bareflow_call_state + 128]
.endr
    jmp 3f
1:
.irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    vmovaps ymm\i, [rip + bareflow_call_state + 128]
.endr
    jmp 3f
2:
.irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    vmovaps zmm\i, [rip + bareflow_call_state + 128]
.endr
.irp i, 0, 1, 2, 3, 4, 5, 6, 7
    kmovd k\i, eax
.endr
3:
    movabs rax, 0xBAD0BAD0BAD0BA00  # not canonical: as an address it faults
    lea rcx, [rax + 1]
    lea rdx, [rax + 2]
    lea rsi, [rax + 6]
    lea r8, [rax + 8]
    lea r9, [rax + 9]
    lea r10, [rax + 10]
    lea r11, [rax + 11]
    movabs rbx, 0x5AFE000012345600
    lea rbp, [rbx + 1]
    lea r12, [rbx + 2]
    lea r13, [rbx + 3]
    lea r14, [rbx + 4]
    lea r15, [rbx + 5]
    mov rdi, [rip + bareflow_call_state + 8]
    call [rip + bareflow_call_state]

    mov [rip + bareflow_call_state + 80], rsp
    mov rsp, [rip + bareflow_call_state + 24]
    mov [rip + bareflow_call_state + 32], rbx
    mov [rip + bareflow_call_state + 40], rbp
    mov [rip + bareflow_call_state + 48], r12
    mov [rip + bareflow_call_state + 56], r13
    mov [rip + bareflow_call_state + 64], r14
    mov [rip + bareflow_call_state + 72], r15
    pushfq
    pop rax
    mov [rip + bareflow_call_state + 88], rax
    cld
    stmxcsr [rip + bareflow_call_state + 100]
    ldmxcsr [rip + bareflow_call_state + 96]
    cmp qword ptr [rip + bareflow_call_state + 16], 0
    je 4f
.irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    vextractf128 [rip + bareflow_call_state + 192 + 16 * \i], ymm\i, 1
.endr
    vzeroupper
4:
    add rsp, 8
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret
.att_syntax
.popsection
)");

namespace {

sigjmp_buf after_fault;
volatile int fault_signal;
volatile uint64_t fault_address;

void on_fault(int signal, siginfo_t* info, void*) {
    fault_signal = signal;
    fault_address = reinterpret_cast<uint64_t>(info->si_addr);
    siglongjmp(after_fault, 1);
}

/// Faults of the routine come back to us while this lives; on a stack of their own, the callee's may be lost.
class FaultGuard {
 public:
    FaultGuard() {
        stack_t stack{};
        stack.ss_sp = stack_.data();
        stack.ss_size = stack_.size();
        sigaltstack(&stack, &old_stack_);
        struct sigaction action {};
        action.sa_sigaction = on_fault;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK;
        for (size_t i = 0; i < std::size(kSignals); ++i) sigaction(kSignals[i], &action, &old_[i]);
    }
    ~FaultGuard() {
        for (size_t i = 0; i < std::size(kSignals); ++i) sigaction(kSignals[i], &old_[i], nullptr);
        sigaltstack(&old_stack_, nullptr);
    }

 private:
    static constexpr int kSignals[] = {SIGSEGV, SIGBUS, SIGILL, SIGTRAP};
    std::vector<uint8_t> stack_ = std::vector<uint8_t>(64 * 1024);
    struct sigaction old_[std::size(kSignals)] = {};
    stack_t old_stack_{};
};

uint64_t widest_vectors() {
    const CpuFeatures& cpu = this_cpu();
    return cpu.avx512f && cpu.avx512bw ? 2 : cpu.avx ? 1 : 0;
}

std::string broken_promise(const CallState& state, Isa isa) {
    constexpr const char* kNames[] = {"rbx", "rbp", "r12", "r13", "r14", "r15"};
    constexpr uint64_t kDirectionFlag = 1u << 10;
    constexpr uint32_t kMxcsrControl = 0xFFC0;
    if (state.rsp_after != state.rsp)
        return "rsp is off by " + std::to_string(static_cast<int64_t>(state.rsp_after - state.rsp));
    for (unsigned i = 0; i < std::size(kNames); ++i) {
        if (state.kept[i] != kKept + i) return std::string("clobbers ") + kNames[i];
    }
    if ((state.flags & kDirectionFlag) != 0) return "leaves the direction flag set";
    if (((state.mxcsr ^ state.mxcsr_after) & kMxcsrControl) != 0) return "changes MXCSR's control bits";
    if (state.vectors == 0) return {};
    const uint32_t upper = !has_vex(isa) ? kPoisonLane : 0;
    for (unsigned i = 0; i < 16; ++i) {
        for (const uint32_t lane : state.upper_halves[i]) {
            if (lane == upper) continue;
            return !has_vex(isa) ? "touches the upper half of ymm" + std::to_string(i)
                                 : "leaves upper halves dirty: vzeroupper is missing";
        }
    }
    return {};
}

/// A function of its own: no variable of the caller lives across the jump back.
[[gnu::noinline]] void call_until_fault() {
    if (sigsetjmp(after_fault, 1) == 0) bareflow_call_with_poison();
}

}  // namespace

CallOutcome call_poisoned(Routine routine, const void* arguments, Isa isa) {
    CallState& state = bareflow_call_state;
    state = {};
    state.routine = reinterpret_cast<uint64_t>(routine);
    state.arguments = reinterpret_cast<uint64_t>(arguments);
    state.vectors = widest_vectors();
    for (uint32_t& lane : state.poison) lane = kPoisonLane;
    fault_signal = 0;
    fault_address = 0;
    const FaultGuard guard;
    call_until_fault();
    CallOutcome outcome;
    outcome.fault_signal = fault_signal;
    outcome.fault_address = fault_address;
    if (outcome.fault_signal == 0) outcome.wrong = broken_promise(state, isa);
    return outcome;
}

}  // namespace bareflow
