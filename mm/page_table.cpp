#include "mm/page_table.h"

#include <algorithm>

#include "mm/align.h"

namespace bareflow {
namespace {

/// A linear address has 48 bits here; the 16 above repeat bit 47 (Intel SDM 1 3.3.7.1).
constexpr unsigned kVirtualBits = 48;
constexpr uint64_t kVirtualMask = (uint64_t{1} << kVirtualBits) - 1;
constexpr uint64_t kUpperHalf = uint64_t{1} << (kVirtualBits - 1);

constexpr uint64_t canonical(uint64_t offset) {
    return offset < kUpperHalf ? offset : offset | ~kVirtualMask;
}
constexpr bool is_canonical(uint64_t address) { return canonical(address & kVirtualMask) == address; }
constexpr size_t index_of(uint64_t offset, int level) { return offset / entry_span(level) % kTableEntries; }

/// New tables that it takes to split a page of `level` such that [start, end), a part of it, is whole pages.
uint64_t tables_to_split(int level, uint64_t start, uint64_t end) {
    if (end - start == entry_span(level)) return 0;
    const uint64_t child = entry_span(level - 1);
    const uint64_t first = align_down(start, child), last = align_down(end - 1, child);
    uint64_t tables = 1 + tables_to_split(level - 1, start, std::min(end, first + child));
    if (last != first) tables += tables_to_split(level - 1, last, end);
    return tables;
}

/// Calls body(index, start, end) for each entry of a table of `level` that [start, end) touches, with the
/// part of it that the entry covers.
template <typename Body>
void for_each_entry(int level, uint64_t start, uint64_t end, Body body) {
    while (start < end) {
        const uint64_t next = std::min(end, align_down(start, entry_span(level)) + entry_span(level));
        body(index_of(start, level), start, next);
        start = next;
    }
}

Result<void> check_virtual(std::string_view what, uint64_t start, uint64_t size) {
    if (size == 0 || !is_aligned(start, kFrameSize) || !is_aligned(size, kFrameSize)) {
        return invalid(
            "{} {:x} +{:x}: not whole pages; give multiples of 1000 (hexadecimal), and at least one", what,
            start, size);
    }
    const uint64_t last = start + (size - 1);
    if (last < start || !is_canonical(start) || !is_canonical(last) ||
        (start & kUpperHalf) != (last & kUpperHalf)) {
        return invalid("{} {:x} +{:x}: leaves the canonical addresses; stay within one half of them", what,
                       start, size);
    }
    return {};
}

}  // namespace

/// Flushes page by page, or everything at the end if that is many pages.
class AddressSpace::FlushBatch {
 public:
    explicit FlushBatch(TlbFlusher& flusher) : flusher_(flusher) {}
    FlushBatch(const FlushBatch&) = delete;
    FlushBatch& operator=(const FlushBatch&) = delete;
    ~FlushBatch() {
        if (pages_ > kMaxPages) flusher_.flush_all();
    }
    void page(uint64_t offset) {
        if (++pages_ <= kMaxPages) flusher_.flush_page(canonical(offset));
    }

 private:
    /// About where refilling the TLB gets cheaper than so many INVLPG (Linux has 33:
    /// tlb_single_page_flush_ceiling).
    static constexpr size_t kMaxPages = 32;
    TlbFlusher& flusher_;
    size_t pages_ = 0;
};

/// Joins pages to maximal runs.
struct AddressSpace::RunCollector {
    RunCallback callback;
    void* context;
    std::optional<Mapping> run = {};

    void add(const Mapping& page) {
        if (run && run->virtual_start + run->size == page.virtual_start &&
            run->physical_start + run->size == page.physical_start && run->rights == page.rights &&
            run->page_size == page.page_size) {
            run->size += page.size;
            return;
        }
        finish();
        run = page;
    }
    void finish() {
        if (run) callback(context, *run);
        run.reset();
    }
};

namespace {

Mapping mapping_of(PageTableEntry page, int level, uint64_t offset) {
    const Rights rights{page.writable(), page.executable(), page.uncached(), page.combining()};
    return {canonical(offset), page.page_address(level), entry_span(level), rights, entry_span(level)};
}

}  // namespace

Result<AddressSpace> AddressSpace::make(FrameAllocator& frames, PhysicalMemory& memory, TlbFlusher& flusher,
                                        bool nx, bool page_1g) {
    AddressSpace space(frames, memory, flusher, nx, page_1g, 0);
    TRY(space.check_frames({.tables = 1}));
    space.root_ = space.take_table();
    return space;
}

PageTableEntry* AddressSpace::table_at(PhysicalAddress table) const {
    return static_cast<PageTableEntry*>(memory_->at(table));
}

PageTableEntry AddressSpace::leaf_entry(PhysicalAddress physical, Rights rights, int level) const {
    PageTableEntry page = PageTableEntry::to_page(physical, level);
    page.set_writable(rights.write);
    page.set_executable(rights.execute || !nx_);
    page.set_uncached(rights.uncached);
    if (rights.combining) page.set_combining();
    return page;
}

/// Whether one page of `level` maps exactly `part`.
bool AddressSpace::fits_page(Part part, PhysicalAddress physical, int level) const {
    if (level > kLargestPageLevel || (level == kLargestPageLevel && !page_1g_)) return false;
    return part.size() == entry_span(level) && is_aligned(physical, entry_span(level));
}

/// An empty table. The plan has made sure that there is a frame for it.
PhysicalAddress AddressSpace::take_table() {
    const PhysicalAddress table = frames_->allocate().take();
    __builtin_memset(memory_->at(table), 0, kFrameSize);
    return table;
}

Result<void> AddressSpace::check_frames(const Plan& plan) const {
    const uint64_t needed = plan.tables * kFrameSize;
    if (needed <= frames_->free_bytes()) return {};
    return out_of_memory("page tables: {} bytes needed for tables, {} are free; give the machine more RAM",
                         needed, frames_->free_bytes());
}

// ---------------------------------------------------------------- map

Result<void> AddressSpace::map(uint64_t virtual_start, PhysicalAddress physical_start, uint64_t size,
                               Rights rights) {
    TRY(check_virtual("map", virtual_start, size));
    if (!is_aligned(physical_start, kFrameSize) || physical_start >= kPhysicalLimit ||
        size > kPhysicalLimit - physical_start) {
        return invalid("map {:x} +{:x}: physical {:x} is not a multiple of 1000 (hexadecimal) or too high",
                       virtual_start, size, physical_start);
    }
    const uint64_t start = virtual_start & kVirtualMask;
    const Part part{start, start + size};
    Plan plan;
    plan_map(root_, kTopLevel, part, physical_start, plan);
    if (plan.problem) {
        return invalid("map {:x} +{:x}: {:x} is mapped already; unmap it first", virtual_start, size,
                       canonical(*plan.problem));
    }
    TRY(check_frames(plan));
    apply_map(root_, kTopLevel, part, physical_start, rights);
    return {};
}

/// What mapping `part` will need. `table` 0 stands for one that does not exist yet: frame 0 is never a table.
void AddressSpace::plan_map(PhysicalAddress table, int level, Part part, PhysicalAddress physical,
                            Plan& plan) const {
    for_each_entry(level, part.start, part.end, [&](size_t index, uint64_t start, uint64_t end) {
        if (plan.problem) return;
        const Part here{start, end};
        const PhysicalAddress target = physical + (start - part.start);
        const PageTableEntry entry = table == 0 ? PageTableEntry() : table_at(table)[index];
        // A table is never empty, so one in the place of a large page means that something in it is mapped.
        if (entry.is_page(level) || (entry.present() && fits_page(here, target, level))) {
            plan.problem = start;
        } else if (!fits_page(here, target, level)) {
            plan.tables += entry.present() ? 0 : 1;
            plan_map(entry.present() ? entry.table_address() : 0, level - 1, here, target, plan);
        }
    });
}

void AddressSpace::apply_map(PhysicalAddress table, int level, Part part, PhysicalAddress physical,
                             Rights rights) {
    for_each_entry(level, part.start, part.end, [&](size_t index, uint64_t start, uint64_t end) {
        const Part here{start, end};
        const PhysicalAddress target = physical + (start - part.start);
        PageTableEntry& entry = table_at(table)[index];
        if (fits_page(here, target, level)) {
            // What was not present is in no TLB (Intel SDM 3A 4.10.2.3): nothing to flush.
            entry = leaf_entry(target, rights, level);
            return;
        }
        if (!entry.present()) entry = PageTableEntry::to_table(take_table());
        apply_map(entry.table_address(), level - 1, here, target, rights);
    });
}

// ---------------------------------------------------------------- unmap, protect

Result<void> AddressSpace::unmap(uint64_t virtual_start, uint64_t size) {
    return change(virtual_start, size, std::nullopt);
}

Result<void> AddressSpace::protect(uint64_t virtual_start, uint64_t size, Rights rights) {
    return change(virtual_start, size, rights);
}

Result<void> AddressSpace::change(uint64_t virtual_start, uint64_t size, std::optional<Rights> rights) {
    const std::string_view what = rights ? "protect" : "unmap";
    TRY(check_virtual(what, virtual_start, size));
    const uint64_t start = virtual_start & kVirtualMask;
    const Part part{start, start + size};
    Plan plan;
    plan_change(root_, kTopLevel, part, rights, plan);
    if (plan.problem) {
        return invalid("{} {:x} +{:x}: {:x} is not mapped; map it first", what, virtual_start, size,
                       canonical(*plan.problem));
    }
    TRY(check_frames(plan));
    FlushBatch flush(*flusher_);
    apply_change(root_, kTopLevel, part, rights, flush);
    return {};
}

bool AddressSpace::is_changed_by(PageTableEntry page, std::optional<Rights> rights, int level) const {
    return !rights || !page.same_rights(leaf_entry(page.page_address(level), *rights, level));
}

void AddressSpace::plan_change(PhysicalAddress table, int level, Part part, std::optional<Rights> rights,
                               Plan& plan) const {
    for_each_entry(level, part.start, part.end, [&](size_t index, uint64_t start, uint64_t end) {
        if (plan.problem) return;
        const PageTableEntry entry = table_at(table)[index];
        if (!entry.present()) {
            plan.problem = start;
        } else if (entry.is_table(level)) {
            plan_change(entry.table_address(), level - 1, {start, end}, rights, plan);
        } else if (is_changed_by(entry, rights, level)) {
            plan.tables += tables_to_split(level, start, end);
        }
    });
}

void AddressSpace::apply_change(PhysicalAddress table, int level, Part part, std::optional<Rights> rights,
                                FlushBatch& flush) {
    for_each_entry(level, part.start, part.end, [&](size_t index, uint64_t start, uint64_t end) {
        PageTableEntry& entry = table_at(table)[index];
        if (entry.is_page(level)) {
            if (!is_changed_by(entry, rights, level)) return;
            if (end - start == entry_span(level)) {
                entry = rights ? leaf_entry(entry.page_address(level), *rights, level) : PageTableEntry();
                flush.page(start);
                return;
            }
            split(entry, level);  // the first part that changes flushes the large page
        }
        const PhysicalAddress child = entry.table_address();
        apply_change(child, level - 1, {start, end}, rights, flush);
        if (!rights && is_empty(child)) {
            entry = PageTableEntry();
            // The way through the table that goes may be cached, and may have been again since the flush of
            // its last page (Intel SDM 3A 4.10.3).
            flush.page(start);
            frames_->release(child, 1);
        }
    });
}

/// Replaces a large page by a table of pages one size smaller that map the same.
void AddressSpace::split(PageTableEntry& entry, int level) {
    const PhysicalAddress table = take_table();
    const Mapping large = mapping_of(entry, level, 0);
    PageTableEntry* small = table_at(table);
    for (size_t i = 0; i < kTableEntries; ++i) {
        small[i] = leaf_entry(large.physical_start + i * entry_span(level - 1), large.rights, level - 1);
    }
    entry = PageTableEntry::to_table(table);
}

bool AddressSpace::is_empty(PhysicalAddress table) const {
    const PageTableEntry* entries = table_at(table);
    return std::none_of(entries, entries + kTableEntries,
                        [](PageTableEntry entry) { return entry.present(); });
}

// ---------------------------------------------------------------- looking

std::optional<Mapping> AddressSpace::lookup(uint64_t virtual_address) const {
    if (!is_canonical(virtual_address)) return std::nullopt;
    const uint64_t offset = virtual_address & kVirtualMask;
    PhysicalAddress table = root_;
    for (int level = kTopLevel; level > 0; --level) {
        const PageTableEntry entry = table_at(table)[index_of(offset, level)];
        if (!entry.present()) return std::nullopt;
        if (entry.is_page(level)) return mapping_of(entry, level, align_down(offset, entry_span(level)));
        table = entry.table_address();
    }
    return std::nullopt;
}

void AddressSpace::walk_runs(RunCallback callback, void* context) const {
    RunCollector collector{callback, context};
    collect(root_, kTopLevel, 0, collector);
    collector.finish();
}

void AddressSpace::collect(PhysicalAddress table, int level, uint64_t table_start,
                           RunCollector& collector) const {
    const PageTableEntry* entries = table_at(table);
    for (size_t i = 0; i < kTableEntries; ++i) {
        const PageTableEntry entry = entries[i];
        const uint64_t offset = table_start + i * entry_span(level);
        if (entry.is_page(level)) {
            collector.add(mapping_of(entry, level, offset));
        } else if (entry.present()) {
            collect(entry.table_address(), level - 1, offset, collector);
        }
    }
}

void AddressSpace::destroy() {
    destroy_table(root_, kTopLevel);
    root_ = 0;
}

void AddressSpace::destroy_table(PhysicalAddress table, int level) {
    const PageTableEntry* entries = table_at(table);
    for (size_t i = 0; i < kTableEntries; ++i) {
        const PageTableEntry entry = entries[i];
        if (entry.is_table(level)) destroy_table(entry.table_address(), level - 1);
    }
    frames_->release(table, 1);
}

FixedString<112> describe(const Mapping& run) {
    constexpr uint64_t kKiB = 1024;
    const char* page_size = run.page_size == entry_span(1)   ? "4K"
                            : run.page_size == entry_span(2) ? "2M"
                                                             : "1G";
    auto text = FixedString<112>::formatted("{:016x}-{:016x} {:>11} KiB  r{}{}  {}  -> {:016x}",
                                            run.virtual_start, run.virtual_start + (run.size - 1),
                                            run.size / kKiB, run.rights.write ? "w" : "-",
                                            run.rights.execute ? "x" : "-", page_size, run.physical_start);
    if (run.rights.uncached) text.append(" uncached");
    if (run.rights.combining) text.append(" write-combining");
    return text;
}

}  // namespace bareflow
