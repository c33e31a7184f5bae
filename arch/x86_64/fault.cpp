#include "arch/x86_64/fault.h"

#include <atomic>

#include "arch/base/format.h"
#include "arch/base/panic.h"
#include "arch/x86_64/core_table.h"
#include "arch/x86_64/cores.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/display.h"
#include "arch/x86_64/exit.h"
#include "arch/x86_64/image.h"
#include "arch/x86_64/memory.h"
#include "arch/x86_64/serial.h"
#include "arch/x86_64/symbols.h"

namespace bareflow {
namespace {

// Page-fault error code (Intel SDM 3A 4.7).
constexpr uint64_t kPfPresent = 1, kPfWrite = 2, kPfReserved = 8, kPfFetch = 16;
constexpr uint64_t kNullPageEnd = 4096;
constexpr int kMaxBacktrace = 32;
constexpr int kMaxReports = 2;

/// Reports begun: the second is a fault while reporting, a third may not even be told.
constinit int reports = 0;
constexpr unsigned kNobody = ~0u;
constinit std::atomic<unsigned> reporter = kNobody;  ///< the core that reports
constinit const CodeDirectory* code_directory = nullptr;

/// A function of the kernel or an emitted routine, and where in it.
struct Location {
    FixedString<96> name;
    uint64_t offset = 0;
};
Location locate(uint64_t address) {
    Location location;
    if (code_directory != nullptr && code_directory->find_code(address, location.name, location.offset))
        return location;
    const Symbol symbol = find_symbol(address);
    return {FixedString<96>(symbol.name), symbol.offset};
}

struct FaultClass {
    std::string_view name, mnemonic;
};
FaultClass class_of(uint64_t vector) {
    switch (vector) {
        case 0:
            return {"divide-error", "#DE"};
        case 1:
            return {"debug", "#DB"};
        case 2:
            return {"nmi", "NMI"};
        case 3:
            return {"breakpoint", "#BP"};
        case 4:
            return {"overflow", "#OF"};
        case 5:
            return {"bound-range", "#BR"};
        case 6:
            return {"invalid-opcode", "#UD"};
        case 7:
            return {"device-not-available", "#NM"};
        case 8:
            return {"double-fault", "#DF"};
        case 10:
            return {"invalid-tss", "#TS"};
        case 11:
            return {"segment-not-present", "#NP"};
        case 12:
            return {"stack-segment", "#SS"};
        case 13:
            return {"general-protection", "#GP"};
        case 14:
            return {"page-fault", "#PF"};
        case 16:
            return {"x87-error", "#MF"};
        case 17:
            return {"alignment-check", "#AC"};
        case 18:
            return {"machine-check", "#MC"};
        case 19:
            return {"simd-error", "#XM"};
        case 21:
            return {"control-protection", "#CP"};
        default:
            return {"unexpected-vector", "?"};
    }
}

/// To both ports, and to the screen: a person looks at one, a test at another. What faulted while it was reported may be the
/// screen.
void print_text(std::string_view text) {
    console_port().write(text);
    log_port().write(text);
    if (reports < kMaxReports) screen().write(text);
}

void print_values(const char* pattern, FormatKinds kinds, ...) {
    char text[400];
    va_list values;
    va_start(values, kinds);
    print_text(format_list(text, pattern, kinds, values));
    va_end(values);
}
template <typename... Arguments>
void print(const char* pattern, const Arguments&... arguments) {
    print_values(pattern, format_kinds<Arguments...>(), format_value(arguments)...);
}

void print_location(std::string_view label, uint64_t address) {
    const Location location = locate(address);
    print("  {} 0x{:016x} {}+0x{:x}\n", label, address, location.name.view(), location.offset);
}

/// Follows saved frame pointers (every function keeps one: -fno-omit-frame-pointer) while they stay in known stacks.
void print_backtrace(uint64_t rip, uint64_t frame_pointer) {
    print("  backtrace:\n");
    print_location("  #0 ", rip);
    for (int depth = 1; depth < kMaxBacktrace; ++depth) {
        if (frame_pointer % 8 != 0 || place_of(frame_pointer) != Place::kStack ||
            place_of(frame_pointer + 15) != Place::kStack) {
            break;
        }
        const uint64_t* frame = reinterpret_cast<const uint64_t*>(frame_pointer);
        if (place_of(frame[1]) != Place::kText) break;
        print_location(FixedString<8>::formatted("  #{:<2}", depth), frame[1]);
        if (frame[0] <= frame_pointer) break;  // frames grow towards higher addresses, or the chain is broken
        frame_pointer = frame[0];
    }
}

void print_registers(const InterruptFrame& f) {
    print("  rax={:016x} rbx={:016x} rcx={:016x} rdx={:016x}\n", f.rax, f.rbx, f.rcx, f.rdx);
    print("  rsi={:016x} rdi={:016x} rbp={:016x} rsp={:016x}\n", f.rsi, f.rdi, f.rbp, f.rsp);
    print("  r8 ={:016x} r9 ={:016x} r10={:016x} r11={:016x}\n", f.r8, f.r9, f.r10, f.r11);
    print("  r12={:016x} r13={:016x} r14={:016x} r15={:016x}\n", f.r12, f.r13, f.r14, f.r15);
    print("  rflags={:x} cs={:x} cr0={:x} cr3={:x} cr4={:x}\n", f.rflags, f.cs, cpu::read_cr0(),
          cpu::read_cr3(), cpu::read_cr4());
}

/// One core reports; the others stop, where they are or with a fault of their own. Returns its number.
unsigned begin_report() {
    const unsigned core = core_number();
    unsigned first = kNobody;
    if (!reporter.compare_exchange_strong(first, core) && first != core) cpu::halt_forever();
    if (++reports > kMaxReports) cpu::halt_forever();
    if (reports == 1) stop_other_cores();
    return core;
}

}  // namespace

std::string_view name_of(Place place) {
    switch (place) {
        case Place::kNullPage:
            return "null-page";
        case Place::kGuard:
            return "guard";
        case Place::kText:
            return "text";
        case Place::kRodata:
            return "rodata";
        case Place::kData:
            return "data";
        case Place::kStack:
            return "stack";
        case Place::kSymbols:
            return "symbols";
        case Place::kRoutine:
            return "routine";
        case Place::kHeap:
            return "heap";
        case Place::kDevice:
            return "device";
        case Place::kUnmapped:
            return "unmapped";
    }
    return "?";
}

Place place_of(uint64_t address) {
    auto within = [&](const uint8_t* start, const uint8_t* end) {
        return address >= address_of(start) && address < address_of(end);
    };
    if (address < kNullPageEnd) return Place::kNullPage;
    if (address - address_of(boot_stack_guard) < kStackGuardSize) return Place::kGuard;
    for (size_t i = 0; i < kIstCount; ++i) {
        if (address - ist_guard(i) < kStackGuardSize) return Place::kGuard;
        if (address >= ist_guard(i) && address < ist_top(i)) return Place::kStack;
    }
    if (within(boot_stack_guard, boot_stack_top)) return Place::kStack;
    const StackPlace stack = core_stack_place(address);
    if (stack != StackPlace::kElsewhere) return stack == StackPlace::kGuard ? Place::kGuard : Place::kStack;
    if (within(__text_start, __text_end)) return Place::kText;
    if (within(__rodata_start, __rodata_end)) return Place::kRodata;
    if (within(__data_start, __data_end)) return Place::kData;
    if (within(__symbols_start, __symbols_end)) return Place::kSymbols;
    Location ignored;
    if (code_directory != nullptr && code_directory->find_code(address, ignored.name, ignored.offset)) {
        return Place::kRoutine;
    }
    return memory_place_of(address);
}

void report_code_from(const CodeDirectory* directory) { code_directory = directory; }

[[noreturn]] void report_fault_and_stop(const InterruptFrame& frame) {
    const FaultClass fault = class_of(frame.vector);
    const unsigned core = begin_report();
    if (reports > 1) {
        print("\nFAULT while reporting a fault: {} ({})\n", fault.name, fault.mnemonic);
        print_location("at", frame.rip);
        print("fault class={} nested=true rip=0x{:x}\n", fault.name, frame.rip);
        exit_machine(ExitStatus::kFailure, "nested-fault");
    }
    const bool page_fault = frame.vector == kVectorPageFault;
    const uint64_t address = cpu::read_cr2();
    const std::string_view access = !page_fault                     ? "-"
                                    : (frame.error_code & kPfFetch) ? "execute"
                                    : (frame.error_code & kPfWrite) ? "write"
                                                                    : "read";
    const Place place = place_of(address);

    print("\nFAULT {} ({})", fault.name, fault.mnemonic);
    if (page_fault) {
        print(": cannot {} address 0x{:016x}, in {}{}{}", access, address, name_of(place),
              (frame.error_code & kPfPresent) ? ": the page forbids it" : ": nothing is mapped there",
              (frame.error_code & kPfReserved) ? " (reserved bit set in a page table)" : "");
    }
    print("\n");
    print_location("at", frame.rip);
    print("  error code 0x{:x}, on core {}\n", frame.error_code, core);
    print_registers(frame);
    // A call to a bad address leaves the caller's return address on top of the stack: show it in place of the target.
    const bool bad_call = page_fault && (frame.error_code & kPfFetch) && place_of(frame.rsp) == Place::kStack;
    if (bad_call) print_location("called from", *reinterpret_cast<const uint64_t*>(frame.rsp));
    print_backtrace(frame.rip, frame.rbp);

    const Location location = locate(frame.rip);
    print("fault class={} core={} vector={} error=0x{:x} ", fault.name, core, frame.vector, frame.error_code);
    if (page_fault) print("address=0x{:x} access={} place={} ", address, access, name_of(place));
    print("rip=0x{:x} symbol=\"{}\" offset=0x{:x}\n", frame.rip, location.name.view(), location.offset);
    exit_machine(ExitStatus::kFailure, fault.name);
}

[[noreturn]] void panic(const char* what, const char* file, int line) {
    const unsigned core = begin_report();
    if (reports > 1) exit_machine(ExitStatus::kFailure, "panic while reporting a fault");
    print("\nFAULT panic: {} ({}:{})\n", what, file, line);
    const uint64_t* frame = static_cast<const uint64_t*>(__builtin_frame_address(0));
    print_backtrace(frame[1], frame[0]);
    const Symbol symbol = find_symbol(frame[1]);
    print("fault class=panic core={} what=\"{}\" file={} line={} symbol=\"{}\" offset=0x{:x}\n", core, what,
          file, line, symbol.name, symbol.offset);
    exit_machine(ExitStatus::kFailure, "panic");
}

}  // namespace bareflow
