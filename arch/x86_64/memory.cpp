#include "arch/x86_64/memory.h"

#include <algorithm>
#include <atomic>

#include "arch/base/sort.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/image.h"
#include "mm/frame_pages.h"

namespace bareflow {
namespace {

constexpr uint64_t kLowMemoryEnd =
    0x100000;  ///< below lie firmware data, and the page where other cores start

/// A global that is constructed when its time has come; it is never destroyed.
template <typename T>
class Late {
 public:
    T& emplace(T&& value) { return *(pointer_ = new (storage_) T(std::move(value))); }
    template <typename... Arguments>
    T& construct(Arguments&&... arguments) {
        return *(pointer_ = new (storage_) T(std::forward<Arguments>(arguments)...));
    }
    T& operator*() {
        ASSERT(pointer_ != nullptr);
        return *pointer_;
    }
    T* operator->() { return &**this; }

 private:
    alignas(T) unsigned char storage_[sizeof(T)] = {};
    T* pointer_ = nullptr;
};

class IdentityMemory final : public PhysicalMemory {
 public:
    void* at(PhysicalAddress address) override { return reinterpret_cast<void*>(address); }
};

/// Tables change on the first core, between jobs; the others forget before their next one (cores.cpp).
class CpuTlb final : public TlbFlusher {
 public:
    void flush_page(uint64_t virtual_address) override {
        changes_.fetch_add(1, std::memory_order_release);
        cpu::invalidate_page(virtual_address);
    }
    void flush_all() override {
        changes_.fetch_add(1, std::memory_order_release);
        cpu::write_cr3(cpu::read_cr3());
    }
    uint32_t changes() const { return changes_.load(std::memory_order_acquire); }

 private:
    std::atomic<uint32_t> changes_ = 0;
};

constinit IdentityMemory identity;
constinit CpuTlb tlb;
constinit Late<FrameAllocator> frames_;
constinit Late<AddressSpace> address_space_;
constinit Late<FramePages> heap_pages;
constinit Late<Heap> heap_;
constinit bool paging_ready = false;
constinit uint64_t low_page_ = 0;

uint64_t page_floor(uint64_t address) { return address & ~(kFrameSize - 1); }
uint64_t page_ceiling(uint64_t address) { return page_floor(address + kFrameSize - 1); }

/// Whole pages of usable RAM, sorted and merged, page 0 left out.
struct RamRanges {
    MemoryRange ranges[BootInformation::kMaxRanges];
    size_t count = 0;

    explicit RamRanges(const BootInformation& boot) {
        for (const MemoryRange& usable : boot.usable_ranges()) {
            const uint64_t start = std::max(page_ceiling(usable.start), kFrameSize),
                           end = page_floor(usable.end());
            if (start < end) ranges[count++] = {start, end - start};
        }
        sort(std::span(ranges, count), [](const auto& a, const auto& b) { return a.start < b.start; });
        size_t kept = 0;
        for (size_t i = 0; i < count; ++i) {
            if (kept > 0 && ranges[i].start <= ranges[kept - 1].end()) {
                const uint64_t end = std::max(ranges[kept - 1].end(), ranges[i].end());
                ranges[kept - 1].size = end - ranges[kept - 1].start;
            } else {
                ranges[kept++] = ranges[i];
            }
        }
        count = kept;
    }
};

Result<void> protect_section(const uint8_t* start, const uint8_t* end, Rights rights) {
    const uint64_t first = page_floor(address_of(start)), last = page_ceiling(address_of(end));
    if (first == last) return {};
    return address_space_->protect(first, last - first, rights);
}

Result<void> map_kernel_and_modules(const BootInformation& boot) {
    TRY(protect_section(__text_start, __text_end, kReadExecute));
    TRY(protect_section(__native_start, __native_end, kReadExecute));
    TRY(protect_section(__rodata_start, __rodata_end, kReadOnly));
    TRY(protect_section(__symbols_start, __symbols_end, kReadOnly));
    TRY(protect_section(loaded_model().data(), loaded_model().data() + loaded_model().size(), kReadOnly));
    for (const BootModule& module : boot.module_list()) {
        TRY(protect_section(module.bytes.data(), module.bytes.data() + module.bytes.size(), kReadOnly));
    }
    TRY(address_space_->unmap(address_of(boot_stack_guard), kStackGuardSize));
    for (size_t i = 0; i < kIstCount; ++i) TRY(address_space_->unmap(ist_guard(i), kStackGuardSize));
    return {};
}

/// The last page of usable RAM below 1 MiB that holds nothing of the boot loader's.
uint64_t find_low_page(std::span<const MemoryRange> usable, std::span<const MemoryRange> in_use) {
    for (uint64_t page = kLowMemoryEnd - kFrameSize; page >= kFrameSize; page -= kFrameSize) {
        auto holds_page = [&](const MemoryRange& range) {
            return range.start <= page && range.end() >= page + kFrameSize;
        };
        auto touches_page = [&](const MemoryRange& range) {
            return range.start < page + kFrameSize && range.end() > page;
        };
        if (std::any_of(usable.begin(), usable.end(), holds_page) &&
            std::none_of(in_use.begin(), in_use.end(), touches_page))
            return page;
    }
    return 0;
}

/// Maps the pages of [physical, physical + size) that are not mapped yet.
Result<void> map_missing(uint64_t physical, uint64_t size, Rights rights) {
    const uint64_t end = page_ceiling(physical + size);
    for (uint64_t page = page_floor(physical); page < end; page += kFrameSize) {
        if (!address_space_->lookup(page)) TRY(address_space_->map(page, page, kFrameSize, rights));
    }
    return {};
}

}  // namespace

FrameAllocator& frames() { return *frames_; }
AddressSpace& address_space() { return *address_space_; }
Heap& heap() { return *heap_; }

Result<void> initialise_memory(const BootInformation& boot, const CpuFeatures& cpu) {
    MemoryRange reserved[BootInformation::kMaxModules + 4];
    size_t reserved_count = 0;
    reserved[reserved_count++] = {0, kLowMemoryEnd};
    reserved[reserved_count++] = {address_of(__image_start),
                                  static_cast<uint64_t>(__image_end - __image_start)};
    reserved[reserved_count++] = {address_of(boot.self.data()), boot.self.size()};
    reserved[reserved_count++] = {address_of(loaded_model().data()), loaded_model().size()};
    for (const BootModule& module : boot.module_list()) {
        reserved[reserved_count++] = {address_of(module.bytes.data()), module.bytes.size()};
    }
    low_page_ = find_low_page(boot.usable_ranges(), {reserved + 1, reserved_count - 1});
    frames_.emplace(TRY(FrameAllocator::make(boot.usable_ranges(), {reserved, reserved_count}, identity)));
    address_space_.emplace(TRY(AddressSpace::make(*frames_, identity, tlb, cpu.nx, cpu.page_1g)));

    const RamRanges ram(boot);
    for (size_t i = 0; i < ram.count; ++i) {
        TRY(address_space_->map(ram.ranges[i].start, ram.ranges[i].start, ram.ranges[i].size, kReadWrite));
    }
    TRY(map_missing(address_of(__image_start), static_cast<uint64_t>(__image_end - __image_start),
                    kReadWrite));
    TRY(map_kernel_and_modules(boot));
    cpu::write_cr3(address_space_->root());
    paging_ready = true;
    heap_.construct(heap_pages.construct(*frames_, identity));
    return {};
}

uint32_t page_table_changes() { return tlb.changes(); }
uint64_t low_page() { return low_page_; }

Result<void> map_device(uint64_t physical, uint64_t size) { return map_missing(physical, size, kDevice); }
Result<void> map_video(uint64_t physical, uint64_t size) {
    constexpr uint64_t kIdentityLimit = uint64_t{1} << 47;  // canonical, lower half
    if (!fits(physical, size, kIdentityLimit - kFrameSize))
        return invalid("video memory at 0x{:x} lies beyond what can be mapped", physical);
    const uint64_t start = page_floor(physical);
    return address_space_->map(start, start, page_ceiling(physical + size) - start, kVideo);
}
Result<void> map_firmware(uint64_t physical, uint64_t size) { return map_missing(physical, size, kReadOnly); }

Place memory_place_of(uint64_t address) {
    if (!paging_ready) return Place::kUnmapped;
    const std::optional<Mapping> mapping = address_space_->lookup(address);
    if (!mapping) return Place::kUnmapped;
    return mapping->rights.uncached || mapping->rights.combining ? Place::kDevice : Place::kHeap;
}

}  // namespace bareflow
