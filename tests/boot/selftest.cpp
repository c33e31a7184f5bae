// What can only be shown inside the machine: the fault matrix, memory at full size, the paging walker. Linked into
// build/bareflow-test.elf; tests/boot/*.py starts one test a boot (option test=NAME) and reads the report.
#include "arch/x86_64/selftest.h"

#include "arch/base/log.h"
#include "arch/routine_engine.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/image.h"
#include "arch/x86_64/interrupts.h"
#include "arch/x86_64/memory.h"
#include "tests/boot/selftest_disks.h"

namespace bareflow {
namespace {

/// An address no machine of ours has RAM or devices at: 128 TiB - 1 GiB is canonical, and far beyond all RAM.
constexpr uint64_t kNowhere = 0x7FFF'C000'0000;
constexpr uint64_t kNonCanonical = 0x8000'0000'0000'0000;

/// Hides a value from the optimiser, so that the fault really happens.
template <typename T>
T opaque(T value) {
    asm volatile("" : "+r"(value));
    return value;
}
template <typename T>
T* pointer_to(uint64_t address) {
    return reinterpret_cast<T*>(opaque(address));
}
void write_byte(uint64_t address) { *pointer_to<volatile uint8_t>(address) = 1; }
[[gnu::always_inline]] inline void call(uint64_t address) {
    pointer_to<void()>(address)();
    asm volatile("");  // no tail call: the return address on the stack is the caller's
}

// ---- the fault matrix (FIELD.md): every function must not return

void write_text() { write_byte(address_of(__text_start)); }
void write_rodata() { write_byte(address_of(__rodata_start)); }
void execute_data() {
    static uint8_t code[] = {0xC3};  // ret
    call(address_of(code));
}
void execute_heap() {
    auto* code = static_cast<uint8_t*>(heap().malloc(16));
    *code = 0xC3;
    call(address_of(code));
}
void null_read() { opaque(*pointer_to<volatile uint8_t>(0)); }
void null_write() { write_byte(0); }
void null_call() { call(0); }
void unmapped() { opaque(*pointer_to<volatile uint8_t>(kNowhere)); }
void non_canonical() { opaque(*pointer_to<volatile uint8_t>(kNonCanonical)); }
void misaligned_sse() {
    alignas(16) static float lanes[8] = {};
    asm volatile("movaps (%0), %%xmm0" ::"r"(opaque(reinterpret_cast<uint64_t>(lanes) + 4)) : "xmm0");
}
void invalid_opcode() { asm volatile("ud2"); }
void divide_by_zero() {
    asm volatile("xorl %%edx, %%edx; movl $1, %%eax; divl %0" ::"r"(opaque(0)) : "eax", "edx");
}
[[gnu::noinline]] uint64_t overflow_stack(uint64_t depth) {
    volatile uint8_t frame[512];
    frame[0] = static_cast<uint8_t>(depth);
    if (depth == opaque(UINT64_MAX)) return 0;
    return overflow_stack(depth + 1) + frame[0];
}
void stack_guard() { opaque(overflow_stack(0)); }
/// The reporter itself faults: the stack that the backtrace reads is gone.
void nested() {
    const uint64_t stack_page = address_of(boot_stack_top) - kFrameSize;
    (void)address_space().unmap(stack_page, kFrameSize);
    asm volatile("mov %0, %%rbp; ud2" ::"r"(stack_page + 64) : "memory");
}
void failed_assertion() { ASSERT(opaque(1) == 2); }

/// A fault inside emitted code: weights that are nowhere, after the routine has passed its probe. Of integers, since under
/// TCG only these are sure to be quicker than the reference.
constinit Platform* routine_platform = nullptr;
void fault_in_routine() {
    constexpr uint32_t kColumns = 512;
    static const Q8Panel weights[kColumns / kGroup] = {};
    static float x[kColumns], y[kPanelRows];
    RoutineEngine engine;
    Options options;
    Operators* operators = engine.start(*routine_platform, options).take();
    TensorView w{weights, kPanelRows, kColumns, ElementType::kQ8_0, Layout::kPanels16};
    for (uint64_t call = 0; call < RoutineCache::kHotCalls; ++call) operators->matvec(y, w, x);
    w.data = opaque<const void*>(nullptr);
    operators->matvec(y, w, x);
}

/// Faults on core 1, while core 0 waits for it.
void run_on_core_1(void (*fault)()) {
    const Cores cores = routine_platform->start_cores(0);
    if (cores.workers == nullptr) return;
    auto job = [](void* context, unsigned worker, unsigned) {
        if (worker == 1) (*static_cast<void (**)()>(context))();
    };
    static_cast<void>(cores.workers->run(2, job, &fault));
}
void other_core() { run_on_core_1(opaque(invalid_opcode)); }
void other_core_stack() { run_on_core_1(opaque(stack_guard)); }

struct FaultTest {
    std::string_view name;
    void (*run)();
};
constexpr FaultTest kFaultTests[] = {
    {"write-text", write_text},
    {"write-rodata", write_rodata},
    {"execute-data", execute_data},
    {"execute-heap", execute_heap},
    {"null-read", null_read},
    {"null-write", null_write},
    {"null-call", null_call},
    {"stack-guard", stack_guard},
    {"unmapped", unmapped},
    {"misaligned-sse", misaligned_sse},
    {"invalid-opcode", invalid_opcode},
    {"divide", divide_by_zero},
    {"gp", non_canonical},
    {"nested", nested},
    {"panic", failed_assertion},
    {"routine", fault_in_routine},
    {"other-core", other_core},
    {"other-core-stack", other_core_stack},
};

// ---- the other tests

Result<void> expect(bool condition, std::string_view what) {
    if (condition) return {};
    return invalid("self-test: {} does not hold", what);
}

/// 1 KB, 1 MB, 10 MB and, where RAM allows, 1 GB: written from end to end and given back.
Result<void> test_malloc(Platform& platform) {
    constexpr size_t kSizes[] = {1 << 10, 1 << 20, 10 << 20, 1 << 30};
    const size_t before = heap().stats().in_use;
    for (const size_t size : kSizes) {
        constexpr size_t kBookkeeping = 8
                                        << 20;  // what an arena and the alignment to 2 MiB may cost beside it
        const bool fits = frames().largest_free_run() > size + kBookkeeping;
        auto* block = static_cast<volatile uint64_t*>(heap().malloc(size));
        bool intact = block != nullptr;
        if (block != nullptr) {
            for (size_t i = 0; i < size / 8; i += 512) block[i] = i;
            for (size_t i = 0; i < size / 8; i += 512) intact = intact && block[i] == i;
            heap().free(const_cast<uint64_t*>(block));
        }
        LogRecord(platform.log(), "malloc").field("bytes", size).field("ok", intact).field("fits", fits);
        TRY(expect(intact || !fits, "a block that fits is had, and keeps what is written"));
    }
    const HeapStats after = heap().stats();
    LogRecord(platform.log(), "heap")
        .field("in_use", after.in_use)
        .field("peak", after.peak)
        .field("fragmentation", after.fragmentation());
    return expect(after.in_use == before, "all memory came back");
}

Result<void> test_out_of_memory(Platform& platform) {
    constexpr size_t kTooMuch = size_t{1} << 46;
    TRY(expect(heap().malloc(kTooMuch) == nullptr, "64 TiB are refused with a null pointer"));
    void* all[64];
    size_t count = 0;
    while (count < 64 && (all[count] = heap().malloc(frames().largest_free_run() / 2)) != nullptr) ++count;
    TRY(expect(heap().malloc(frames().free_bytes() + kFrameSize) == nullptr, "more than is free is refused"));
    while (count > 0) heap().free(all[--count]);
    void* block = heap().malloc(1 << 20);
    TRY(expect(block != nullptr, "after that memory is to be had again"));
    heap().free(block);
    LogRecord(platform.log(), "out_of_memory").field("ok", true);
    return {};
}

/// Prints the mappings.
Result<void> test_mappings(Platform& platform) {
    uint64_t runs = 0;
    address_space().walk([&](const Mapping& run) {
        const char rights[] = {'r', run.rights.write ? 'w' : '-', run.rights.execute ? 'x' : '-', 0};
        constexpr uint64_t k2M = 2u << 20;
        LogRecord(platform.log(), "mapping")
            .field("start", FixedString<24>::formatted("0x{:x}", run.virtual_start).view())
            .field("end", FixedString<24>::formatted("0x{:x}", run.virtual_start + run.size).view())
            .field("physical", FixedString<24>::formatted("0x{:x}", run.physical_start).view())
            .field("rights", static_cast<const char*>(rights))
            .field("uncached", run.rights.uncached)
            .field("combining", run.rights.combining)
            .field("page", run.page_size == kFrameSize ? "4K"
                           : run.page_size == k2M      ? "2M"
                                                       : "1G");
        ++runs;
    });
    LogRecord(platform.log(), "mappings_done").field("runs", runs);
    return {};
}

/// And then waits for a key, so that QEMU's `info tlb` can be asked for its view.
Result<void> test_paging(Platform& platform) {
    TRY(test_mappings(platform));
    constexpr uint64_t kWaitNs = 60'000'000'000;
    const uint64_t begin = platform.clock().now_ns();
    while (platform.clock().now_ns() - begin < kWaitNs && platform.terminal().poll() == Terminal::kNone)
        cpu::pause();
    return {};
}

/// A fault inside a recovery point comes back as a value, and the machine goes on; twice, nested, and after it the
/// vector unit still computes.
Result<void> test_recover(Platform& platform) {
    struct Case {
        void (*function)(void*);
        uint64_t vector;
    };
    const Case cases[] = {
        {[](void*) { null_read(); }, kVectorPageFault},
        {[](void*) { invalid_opcode(); }, kVectorInvalidOpcode},
        {[](void*) { divide_by_zero(); }, kVectorDivide},
        {[](void*) { misaligned_sse(); }, kVectorGeneralProtection},
    };
    for (const Case& each : cases) {
        InterruptFrame fault{};
        uint64_t address = 0;
        TRY(expect(!run_recoverable(each.function, nullptr, fault, address), "the fault is told"));
        TRY(expect(fault.vector == each.vector, "the fault is the one that happened"));
        LogRecord(platform.log(), "recovered").field("vector", fault.vector).field("rip", fault.rip);
    }
    struct Nested {
        bool inner_failed = false, went_on = false;
    } nested;
    InterruptFrame fault{};
    uint64_t address = 0;
    const bool outer = run_recoverable(
        [](void* argument) {
            auto* state = static_cast<Nested*>(argument);
            InterruptFrame inner_fault{};
            uint64_t inner_address = 0;
            state->inner_failed =
                !run_recoverable([](void*) { null_write(); }, nullptr, inner_fault, inner_address);
            state->went_on = true;
        },
        &nested, fault, address);
    TRY(expect(outer && nested.inner_failed && nested.went_on,
               "an inner fault leaves the outer function running"));
    volatile double x = 2;
    return expect(x * x == 4, "the vector unit computes");
}

/// Each job reaches each core, whether the cores spin or have long been halted; a changed page is seen by all of them.
Result<void> test_cores(Platform& platform) {
    const Cores cores = platform.start_cores(0);
    LogRecord(platform.log(), "cores").field("found", cores.found).field("started", cores.started);
    if (cores.workers == nullptr) return {};
    struct alignas(64) Count {
        uint64_t calls = 0;
    };
    static Count counts[Workers::kMaxWorkers];
    auto count = [](void*, unsigned worker, unsigned) { ++counts[worker].calls; };
    constexpr uint64_t kCalls = 3000, kParkEvery = 300, kParkNs = 20'000'000;
    for (uint64_t call = 1; call <= kCalls; ++call) {
        if (call % kParkEvery == 0) {
            const uint64_t begin = platform.clock().now_ns();
            while (platform.clock().now_ns() - begin < kParkNs) cpu::pause();
        }
        TRY(expect(cores.workers->run(cores.started, count, nullptr), "a job is taken"));
        for (unsigned core = 0; core < cores.started; ++core)
            TRY(expect(counts[core].calls == call, "every core has done its part of the job"));
    }
    // One page of code after another at the same address, run by all cores.
    const std::span<uint8_t> region = TRY(platform.code_region(CodePages::kPageSize));
    constexpr uint8_t kReturns[] = {0xB8, 0, 0, 0, 0, 0xC3};  // mov eax, N; ret
    static uint32_t results[Workers::kMaxWorkers];
    for (uint8_t number = 1; number <= 50; ++number) {
        TRY(platform.code_pages().make_writable(region.data(), region.size()));
        __builtin_memcpy(region.data(), kReturns, sizeof kReturns);
        region[1] = number;
        TRY(platform.code_pages().make_executable(region.data(), region.size()));
        auto call = [](void* code, unsigned worker, unsigned) {
            results[worker] = reinterpret_cast<uint32_t (*)()>(code)();
        };
        TRY(expect(cores.workers->run(cores.started, call, region.data()), "a job is taken"));
        for (unsigned core = 0; core < cores.started; ++core)
            TRY(expect(results[core] == number, "every core runs the code that is there now"));
    }
    LogRecord(platform.log(), "cores_worked").field("calls", kCalls);
    return {};
}

}  // namespace

Result<void> run_selftest(std::string_view name, Platform& platform) {
    constexpr std::string_view kFaultPrefix = "fault:";
    if (name.starts_with(kFaultPrefix)) {
        const std::string_view fault = name.substr(kFaultPrefix.size());
        if (fault == "out-of-memory-value") return test_out_of_memory(platform);
        for (const FaultTest& test : kFaultTests) {
            if (test.name != fault) continue;
            LogRecord(platform.log(), "fault_expected").field("test", test.name);
            routine_platform = &platform;
            opaque(test.run)();  // not inlined: the report shall name the function
            return invalid("self-test: {} did not fault", name);
        }
    }
    constexpr std::string_view kDiskPrefix = "disk:";
    if (name.starts_with(kDiskPrefix)) return run_disk_selftest(name.substr(kDiskPrefix.size()), platform);
    if (name == "malloc") return test_malloc(platform);
    if (name == "mappings") return test_mappings(platform);
    if (name == "paging") return test_paging(platform);
    if (name == "recover") return test_recover(platform);
    if (name == "cores") return test_cores(platform);
    return Error::make(ErrorCode::kNotFound, "self-test: there is none named {}", name);
}

}  // namespace bareflow
