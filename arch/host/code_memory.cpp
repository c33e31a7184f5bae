#include "arch/host/code_memory.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

namespace bareflow {
namespace {

Result<void> set_rights(void* start, size_t bytes, int rights) {
    if (mprotect(start, bytes, rights) == 0) return {};
    return Error::make(ErrorCode::kDevice, "cannot change the rights of {} bytes of code: {}", bytes,
                       strerror(errno));
}

constexpr int kSignals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE};
constexpr size_t kSignalCount = sizeof kSignals / sizeof kSignals[0];

sigjmp_buf recovery;
volatile int caught_signal = 0;
volatile uint64_t caught_at = 0;

void jump_back(int signal, siginfo_t*, void* context) {
    caught_signal = signal;
    caught_at = static_cast<uint64_t>(static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
    siglongjmp(recovery, 1);
}

}  // namespace

Result<void> HostCodePages::make_writable(void* start, size_t bytes) {
    return set_rights(start, bytes, PROT_READ | PROT_WRITE);
}
Result<void> HostCodePages::make_executable(void* start, size_t bytes) {
    return set_rights(start, bytes, PROT_READ | PROT_EXEC);
}
Result<void> HostCodePages::make_guard(void* start, size_t bytes) {
    return set_rights(start, bytes, PROT_NONE);
}

bool SignalGuard::run(void (*function)(void*), void* argument, FixedString<96>& fault) {
    struct sigaction guarded = {}, before[kSignalCount];
    guarded.sa_sigaction = jump_back;
    guarded.sa_flags = SA_SIGINFO | SA_NODEFER;
    for (size_t i = 0; i < kSignalCount; ++i) sigaction(kSignals[i], &guarded, &before[i]);
    const bool finished = sigsetjmp(recovery, 1) == 0;
    if (finished) function(argument);
    for (size_t i = 0; i < kSignalCount; ++i) sigaction(kSignals[i], &before[i], nullptr);
    if (!finished) fault.append_format("{} at 0x{:x}", strsignal(caught_signal), uint64_t{caught_at});
    return finished;
}

}  // namespace bareflow
