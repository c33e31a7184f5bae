#include "arch/host/host_platform.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "arch/base/crc32c.h"

// The program's first and last byte in memory, by the linker (ld's default script).
extern "C" const char __executable_start, _end;
// The Makefile's; programs without one take no snapshots.
extern "C" [[gnu::weak]] const uint8_t bareflow_build_id[20];

namespace bareflow {
namespace {

Error system_error(std::string_view what, std::string_view where, int number) {
    return Error::make(ErrorCode::kDevice, "{} {}: {}", what, where, strerror(number));
}

}  // namespace

CpuidRegisters HostCpuid::cpuid(uint32_t leaf, uint32_t subleaf) const {
    CpuidRegisters r;
    __cpuid_count(leaf, subleaf, r.eax, r.ebx, r.ecx, r.edx);
    return r;
}

uint64_t HostCpuid::xcr0() const {
    uint32_t low, high;
    asm("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return uint64_t{high} << 32 | low;
}

uint64_t HostClock::now_ns() {
    constexpr uint64_t kNsPerSecond = 1'000'000'000;
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<uint64_t>(now.tv_sec) * kNsPerSecond + static_cast<uint64_t>(now.tv_nsec);
}

HostLog::~HostLog() {
    if (fd_ >= 0) close(fd_);
}

Result<void> HostLog::open(const std::string& path) {
    constexpr mode_t kReadableByAll = 0644;
    fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, kReadableByAll);
    if (fd_ < 0) return system_error("--log", path, errno);
    return {};
}

void HostLog::write_line(std::string_view line) {
    while (fd_ >= 0 && !line.empty() && write_error_ == 0) {
        const ssize_t written = ::write(fd_, line.data(), line.size());
        if (written >= 0) {
            line.remove_prefix(static_cast<size_t>(written));
        } else if (errno != EINTR) {
            write_error_ = errno;
        }
    }
}

void* HostPages::take(size_t bytes, size_t alignment) {
    // mmap aligns to 4096 only: take more, and give back what lies before and after.
    const size_t slack = alignment - kPageSize;
    if (bytes > SIZE_MAX - slack) return nullptr;
    void* mapped = mmap(nullptr, bytes + slack, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED) return nullptr;
    const auto begin = reinterpret_cast<uintptr_t>(mapped);
    const uintptr_t aligned = (begin + alignment - 1) & ~uintptr_t{alignment - 1};
    const size_t before = aligned - begin, behind = slack - before;
    if (before > 0) munmap(mapped, before);
    if (behind > 0) munmap(reinterpret_cast<void*>(aligned + bytes), behind);
    return reinterpret_cast<void*>(aligned);
}

void HostPages::give(void* pages, size_t bytes) { munmap(pages, bytes); }

HostPlatform::HostPlatform(uint64_t embedded_model_bytes)
    : embedded_model_bytes_(embedded_model_bytes),
      heap_(pages_),
      features_(cpu_detect_features(HostCpuid())),
      cpu_name_(cpu_brand(HostCpuid())) {
    crc32c_by_instruction(features_.sse4_2);
}

MemoryUse HostPlatform::memory_use() {
    const HeapStats stats = heap_.stats();
    return {.total =
                static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)),
            .heap_in_use = stats.in_use,
            .heap_peak = stats.peak,
            .heap_reserved = stats.reserved,
            .image = static_cast<uint64_t>(&_end - &__executable_start) - embedded_model_bytes_};
}

Cores HostPlatform::start_cores(unsigned wanted) {
    const unsigned found = available_cores();
    Workers& workers = threads_.start(wanted == 0 ? found : wanted);
    return {found, workers.count(), workers.count() > 1 ? &workers : nullptr};
}

uint64_t HostPlatform::entropy() {
    uint64_t value = 0;
    if (getrandom(&value, sizeof value, 0) != sizeof value) value = clock_.now_ns();
    return value;
}

ByteSpan HostPlatform::build_id() const {
    return bareflow_build_id == nullptr ? ByteSpan() : ByteSpan(bareflow_build_id);
}

uint64_t HostPlatform::unix_seconds() {
    timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return static_cast<uint64_t>(now.tv_sec);
}

Result<void> HostPlatform::check_output() const {
    if (int error = terminal_.write_error()) return system_error("writing to", "standard output", error);
    if (int error = log_.write_error()) return system_error("writing to", "the --log file", error);
    return {};
}

Result<std::span<uint8_t>> HostPlatform::code_region(size_t bytes) {
    void* region = pages_.take(bytes, CodePages::kPageSize);
    if (region == nullptr) return out_of_memory("{} bytes for emitted routines do not fit in memory", bytes);
    return std::span<uint8_t>(static_cast<uint8_t*>(region), bytes);
}

}  // namespace bareflow
