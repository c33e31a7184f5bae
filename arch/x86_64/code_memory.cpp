#include "arch/x86_64/code_memory.h"

#include "arch/x86_64/image.h"
#include "arch/x86_64/interrupts.h"
#include "arch/x86_64/memory.h"

namespace bareflow {
namespace {

class KernelCodePages final : public CodePages {
 public:
    Result<void> make_writable(void* start, size_t bytes) override { return set(start, bytes, kReadWrite); }
    Result<void> make_executable(void* start, size_t bytes) override {
        return set(start, bytes, kReadExecute);
    }
    Result<void> make_guard(void* start, size_t bytes) override {
        return address_space().unmap(address_of(start), bytes);
    }

 private:
    static Result<void> set(void* start, size_t bytes, Rights rights) {
        return address_space().protect(address_of(start), bytes, rights);
    }
};

class RecoveryPoints final : public FaultGuard {
 public:
    bool run(void (*function)(void*), void* argument, FixedString<96>& fault) override {
        InterruptFrame frame{};
        uint64_t address = 0;
        if (run_recoverable(function, argument, frame, address)) return true;
        fault.append_format("vector {} at 0x{:x}", frame.vector, frame.rip);
        if (frame.vector == kVectorPageFault) fault.append_format(", address 0x{:x}", address);
        return false;
    }
};

constinit KernelCodePages code_pages;
constinit RecoveryPoints recovery_points;

}  // namespace

CodePages& kernel_code_pages() { return code_pages; }
FaultGuard& kernel_fault_guard() { return recovery_points; }

Result<std::span<uint8_t>> take_code_region(size_t bytes) {
    const PhysicalAddress start = TRY(frames().allocate(bytes / kFrameSize));
    return std::span<uint8_t>(reinterpret_cast<uint8_t*>(start), bytes);
}

}  // namespace bareflow
