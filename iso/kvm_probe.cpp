// kvm-probe: does KVM work here? Prints one line that says so or why not; ends with 0 if it is usable, 1 if not.
//
// That /dev/kvm opens proves nothing: in some clouds' virtual machines it opens and makes VMs, but the hypervisor
// outside emulates the guest instruction by instruction and gives up at the first SIMD one. So a vCPU is started in
// 64-bit mode and has to compute one vector fused multiply-add (a mulps and addps where the CPU has no AVX2), within a
// second.
#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

// What the guest runs: position-independent, rdi points at a GuestData. Loads three vectors, leaves a*b+c in `result`.
asm(R"(
    .pushsection .rodata
    .globl guest_fma, guest_fma_end, guest_sse, guest_sse_end
guest_fma:
    vmovups (%rdi), %ymm0
    vmovups 32(%rdi), %ymm1
    vmovups 64(%rdi), %ymm2
    vfmadd231ps %ymm0, %ymm1, %ymm2
    vmovups %ymm2, 96(%rdi)
    hlt
guest_fma_end:
guest_sse:
    movups (%rdi), %xmm0
    movups 32(%rdi), %xmm1
    movups 64(%rdi), %xmm2
    mulps %xmm0, %xmm1
    addps %xmm1, %xmm2
    movups %xmm2, 96(%rdi)
    hlt
guest_sse_end:
    .popsection
)");
extern "C" const uint8_t guest_fma[], guest_fma_end[], guest_sse[], guest_sse_end[];

namespace {

constexpr unsigned kTimeoutSeconds = 1;

struct GuestData {
    float a[8], b[8], c[8], result[8];
};
static_assert(offsetof(GuestData, result) == 96);

// The guest's physical memory: page tables that map the first 2 MiB onto themselves, data, code.
constexpr size_t kPage = 4096;
constexpr size_t kGuestMemory = 16 * kPage;
constexpr uint64_t kPml4 = 1 * kPage, kPdpt = 2 * kPage, kPageDirectory = 3 * kPage;
constexpr uint64_t kDataAddress = 4 * kPage, kCodeAddress = 5 * kPage;
constexpr uint64_t kPresentWritable = 3, kLargePage = 1 << 7;

// Control bits (Intel SDM 3A 2.5, 2.6; XCR0: 1 13.3).
constexpr uint64_t kCr0Pe = 1, kCr0Mp = 1 << 1, kCr0Et = 1 << 4, kCr0Ne = 1 << 5, kCr0Pg = 1u << 31;
constexpr uint64_t kCr4Pae = 1 << 5, kCr4Osfxsr = 1 << 9, kCr4Osxmmexcpt = 1 << 10, kCr4Osxsave = 1 << 18;
constexpr uint64_t kEferLme = 1 << 8, kEferLma = 1 << 10;
constexpr uint64_t kXcr0X87SseAvx = 7;
constexpr uint8_t kCodeExecuteRead = 0xB, kDataReadWrite = 3;
constexpr uint16_t kCodeSelector = 8, kDataSelector = 16;

[[noreturn]] void unusable(const std::string& why) {
    std::printf("kvm: %s\n", why.c_str());
    std::exit(1);
}
[[noreturn]] void unusable_errno(const std::string& what) { unusable(what + ": " + std::strerror(errno)); }

int checked_ioctl(int fd, unsigned long request, void* argument, const char* name) {
    const int result = ioctl(fd, request, argument);
    if (result < 0) unusable_errno(std::string("/dev/kvm opens, but ") + name + " fails");
    return result;
}

std::string exit_reason_name(uint32_t reason) {
    switch (reason) {
        case KVM_EXIT_UNKNOWN:
            return "KVM_EXIT_UNKNOWN";
        case KVM_EXIT_EXCEPTION:
            return "KVM_EXIT_EXCEPTION";
        case KVM_EXIT_IO:
            return "KVM_EXIT_IO";
        case KVM_EXIT_MMIO:
            return "KVM_EXIT_MMIO";
        case KVM_EXIT_SHUTDOWN:
            return "KVM_EXIT_SHUTDOWN";
        case KVM_EXIT_FAIL_ENTRY:
            return "KVM_EXIT_FAIL_ENTRY";
        case KVM_EXIT_INTERNAL_ERROR:
            return "KVM_EXIT_INTERNAL_ERROR";
        default:
            return "exit reason " + std::to_string(reason);
    }
}

void write_page_tables(uint8_t* memory) {
    auto put = [&](uint64_t table, uint64_t entry) { std::memcpy(memory + table, &entry, sizeof entry); };
    put(kPml4, kPdpt | kPresentWritable);
    put(kPdpt, kPageDirectory | kPresentWritable);
    put(kPageDirectory, kLargePage | kPresentWritable);
}

/// Debian 12's header gives kvm_cpuid2 12 bytes in C++ (8 in C), and the size is part of the request numbers: so the
/// structure and its two requests are declared here.
struct CpuidTable {
    uint32_t count = 256, padding = 0;  // KVM_MAX_CPUID_ENTRIES
    kvm_cpuid_entry2 entries[256] = {};
};
static_assert(offsetof(CpuidTable, entries) == sizeof(uint64_t));
constexpr unsigned long kGetSupportedCpuid = _IOWR(KVMIO, 0x05, uint64_t);
constexpr unsigned long kSetCpuid2 = _IOW(KVMIO, 0x90, uint64_t);

void set_cpuid(int kvm, int vcpu) {
    static CpuidTable supported;
    checked_ioctl(kvm, kGetSupportedCpuid, &supported, "KVM_GET_SUPPORTED_CPUID");
    checked_ioctl(vcpu, kSetCpuid2, &supported, "KVM_SET_CPUID2");
}

/// Long mode, flat segments, vector state on; rip at the code, rdi at the data.
void set_registers(int vcpu, bool avx) {
    kvm_sregs special{};
    checked_ioctl(vcpu, KVM_GET_SREGS, &special, "KVM_GET_SREGS");
    kvm_segment code{};
    code.limit = ~0u;
    code.selector = kCodeSelector;
    code.type = kCodeExecuteRead;
    code.present = code.s = code.l = code.g = 1;
    kvm_segment data{};
    data.limit = ~0u;
    data.selector = kDataSelector;
    data.type = kDataReadWrite;
    data.present = data.s = data.db = data.g = 1;
    special.cs = code;
    special.ds = special.es = special.fs = special.gs = special.ss = data;
    special.cr3 = kPml4;
    special.cr4 = kCr4Pae | kCr4Osfxsr | kCr4Osxmmexcpt | (avx ? kCr4Osxsave : 0);
    special.cr0 = kCr0Pe | kCr0Mp | kCr0Et | kCr0Ne | kCr0Pg;
    special.efer = kEferLme | kEferLma;
    checked_ioctl(vcpu, KVM_SET_SREGS, &special, "KVM_SET_SREGS");
    if (avx) {
        kvm_xcrs control{};
        control.nr_xcrs = 1;
        control.xcrs[0].value = kXcr0X87SseAvx;
        checked_ioctl(vcpu, KVM_SET_XCRS, &control, "KVM_SET_XCRS");
    }
    kvm_regs general{};
    general.rip = kCodeAddress;
    general.rdi = kDataAddress;
    general.rflags = 2;  // the bit that is always set
    checked_ioctl(vcpu, KVM_SET_REGS, &general, "KVM_SET_REGS");
}

uint8_t* map_shared(size_t size, int fd, int flags, const char* what) {
    void* mapping = mmap(nullptr, size, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (mapping == MAP_FAILED) unusable_errno(std::string("cannot map ") + what);
    return static_cast<uint8_t*>(mapping);
}

/// Runs the vCPU until it halts; anything else it does is the answer.
void run_until_halt(int vcpu, const kvm_run& run, const char* instructions) {
    const std::string vcpu_did = "/dev/kvm opens, but the vCPU ";
    if (ioctl(vcpu, KVM_RUN, nullptr) < 0) {
        if (errno == EINTR) {
            unusable(vcpu_did + "did not finish one " + instructions + " instruction in " +
                     std::to_string(kTimeoutSeconds) + " s");
        }
        unusable_errno(vcpu_did + "does not run");
    }
    if (run.exit_reason == KVM_EXIT_HLT) return;
    unusable(vcpu_did + "stopped with " + exit_reason_name(run.exit_reason) + " at the first " +
             instructions + " instruction (a nested VM?)");
}

/// Should something else than KVM_RUN hang: it may not come back with EINTR.
void end_here(int) {
    static constexpr char kMessage[] = "kvm: /dev/kvm opens, but it hangs\n";
    [[maybe_unused]] ssize_t written = write(STDOUT_FILENO, kMessage, sizeof kMessage - 1);
    _exit(1);
}

void start_timeout() {
    struct sigaction action {};
    action.sa_handler = [](int) {
        std::signal(SIGALRM, end_here);
        alarm(kTimeoutSeconds);
    };
    sigaction(SIGALRM, &action, nullptr);  // without SA_RESTART: KVM_RUN comes back with EINTR
    alarm(kTimeoutSeconds);
}

}  // namespace

int main() {
    const int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm < 0) unusable_errno("/dev/kvm does not open");
    start_timeout();
    if (ioctl(kvm, KVM_GET_API_VERSION, nullptr) != KVM_API_VERSION)
        unusable("/dev/kvm speaks another API version");
    const int vm = checked_ioctl(kvm, KVM_CREATE_VM, nullptr, "KVM_CREATE_VM");
    const int vcpu = checked_ioctl(vm, KVM_CREATE_VCPU, nullptr, "KVM_CREATE_VCPU");

    uint8_t* memory = map_shared(kGuestMemory, -1, MAP_SHARED | MAP_ANONYMOUS, "the guest's memory");
    kvm_userspace_memory_region region{};
    region.memory_size = kGuestMemory;
    region.userspace_addr = reinterpret_cast<uint64_t>(memory);
    checked_ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region, "KVM_SET_USER_MEMORY_REGION");
    const int run_size = checked_ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, nullptr, "KVM_GET_VCPU_MMAP_SIZE");
    uint8_t* run_page = map_shared(static_cast<size_t>(run_size), vcpu, MAP_SHARED, "the vCPU's state");
    const auto* run = reinterpret_cast<const kvm_run*>(run_page);

    const bool avx = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const char* instructions = avx ? "AVX2" : "SSE";
    const size_t lanes = avx ? 8 : 4;
    write_page_tables(memory);
    const uint8_t* code = avx ? guest_fma : guest_sse;
    std::memcpy(memory + kCodeAddress, code,
                static_cast<size_t>((avx ? guest_fma_end : guest_sse_end) - code));
    auto* data = reinterpret_cast<GuestData*>(memory + kDataAddress);
    for (size_t i = 0; i < lanes; ++i) {
        data->a[i] = static_cast<float>(i + 1);
        data->b[i] = 0.5f;
        data->c[i] = 100.0f;
    }
    set_cpuid(kvm, vcpu);
    set_registers(vcpu, avx);
    run_until_halt(vcpu, *run, instructions);
    for (size_t i = 0; i < lanes; ++i) {
        if (data->result[i] != static_cast<float>(i + 1) * 0.5f + 100.0f) {
            unusable(std::string("/dev/kvm opens, but the vCPU computed a wrong ") + instructions +
                     " result");
        }
    }
    std::puts("kvm: usable");
    return 0;
}
