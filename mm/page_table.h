// 4-level page tables (Intel SDM 3A 4.5, AMD APM 2 5.3): what is mapped where, with which rights.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <type_traits>

#include "arch/base/result.h"
#include "mm/frames.h"
#include "mm/page_table_entry.h"

namespace bareflow {

/// What may be done with a page; reading always may. There is no right for user mode: there is none.
struct Rights {
    bool write, execute;
    bool uncached = false;   ///< device registers: strong uncacheable (PCD and PWT)
    bool combining = false;  ///< video memory: write-combining where the PAT's entry 1 says so (PWT alone)

    bool operator==(const Rights&) const = default;
};
constexpr Rights kReadOnly{.write = false, .execute = false};
constexpr Rights kReadWrite{.write = true, .execute = false};
constexpr Rights kReadExecute{.write = false, .execute = true};
constexpr Rights kDevice{.write = true, .execute = false, .uncached = true};
constexpr Rights kVideo{.write = true, .execute = false, .combining = true};

/// One page, or a run of pages of one size and the same rights whose virtual and physical addresses go up
/// together.
struct Mapping {
    uint64_t virtual_start, physical_start;
    uint64_t size;  ///< bytes
    Rights rights;
    uint64_t page_size;  ///< 4 KiB, 2 MiB or 1 GiB

    bool operator==(const Mapping&) const = default;
};

/// Makes every core forget translations that it may have cached (Intel SDM 3A 4.10.4: INVLPG; a write to
/// CR3).
class TlbFlusher {
 public:
    /// The page that holds `virtual_address`, and all cached table entries on the way to it.
    virtual void flush_page(uint64_t virtual_address) = 0;
    virtual void flush_all() = 0;

 protected:
    ~TlbFlusher() = default;
};

/// A tree of page tables, and the only one who writes to them. Not for two cores at a time.
///
/// Each call checks first and changes then: one that returns an error has changed nothing. Ranges must be
/// whole 4 KiB pages, not empty, and canonical without crossing the hole between the halves; all else is
/// kInvalid. TLBs are flushed before a call returns, for what changed.
class AddressSpace {
 public:
    /// An empty one. `nx`: EFER.NXE is on (without it the NX bit is reserved and never set); `page_1g`: the
    /// CPU has 1 GiB pages. `frames` gives the tables, `memory` reaches them; all three must outlive the
    /// AddressSpace.
    static Result<AddressSpace> make(FrameAllocator& frames, PhysicalMemory& memory, TlbFlusher& flusher,
                                     bool nx, bool page_1g);

    AddressSpace(AddressSpace&&) = default;
    AddressSpace(const AddressSpace&) = delete;
    AddressSpace& operator=(const AddressSpace&) = delete;

    /// Maps [virtual_start, +size) to [physical_start, +size) with the largest pages that fit both addresses.
    /// Errors: kInvalid (also: some of it is mapped already), kOutOfMemory (no frames for tables).
    Result<void> map(uint64_t virtual_start, PhysicalAddress physical_start, uint64_t size, Rights rights);
    /// Unmaps it, splitting the large pages at its edges and freeing tables that become empty. Errors:
    /// kInvalid (also: some of it is not mapped), kOutOfMemory (no frames to split with).
    Result<void> unmap(uint64_t virtual_start, uint64_t size);
    /// Gives it other rights, splitting the large pages at its edges unless their rights are these already.
    /// Pages are not joined again. Errors as unmap().
    Result<void> protect(uint64_t virtual_start, uint64_t size, Rights rights);

    /// The page that holds `virtual_address`; nothing if it is unmapped or not canonical.
    std::optional<Mapping> lookup(uint64_t virtual_address) const;
    /// Calls visitor(const Mapping&) for each maximal run, in ascending order of (canonical) virtual
    /// addresses. The visitor must not change the AddressSpace.
    template <typename Visitor>
    void walk(Visitor&& visitor) const {
        using Callable = std::remove_reference_t<Visitor>;
        walk_runs([](void* context, const Mapping& run) { (*static_cast<Callable*>(context))(run); },
                  const_cast<void*>(static_cast<const void*>(&visitor)));
    }

    /// The top table, for CR3.
    PhysicalAddress root() const { return root_; }
    /// Frees all tables. The CPU must not be using them, and this object not be used afterwards.
    void destroy();

 private:
    /// A part of the address space by its low 48 bits: the two canonical halves side by side, so sums cannot
    /// overflow.
    struct Part {
        uint64_t start, end;
        uint64_t size() const { return end - start; }
    };
    /// What a change needs before it may begin.
    struct Plan {
        uint64_t tables = 0;  ///< new tables
        /// An address that is mapped though it must not be, or the reverse.
        std::optional<uint64_t> problem = {};
    };
    using RunCallback = void (*)(void* context, const Mapping& run);
    struct RunCollector;
    class FlushBatch;

    AddressSpace(FrameAllocator& frames, PhysicalMemory& memory, TlbFlusher& flusher, bool nx, bool page_1g,
                 PhysicalAddress root)
        : frames_(&frames), memory_(&memory), flusher_(&flusher), nx_(nx), page_1g_(page_1g), root_(root) {}

    PageTableEntry* table_at(PhysicalAddress table) const;
    PageTableEntry leaf_entry(PhysicalAddress physical, Rights rights, int level) const;
    bool fits_page(Part part, PhysicalAddress physical, int level) const;
    PhysicalAddress take_table();

    void plan_map(PhysicalAddress table, int level, Part part, PhysicalAddress physical, Plan& plan) const;
    void apply_map(PhysicalAddress table, int level, Part part, PhysicalAddress physical, Rights rights);

    /// Unmap (no `rights`) and protect are one walk.
    Result<void> change(uint64_t virtual_start, uint64_t size, std::optional<Rights> rights);
    bool is_changed_by(PageTableEntry page, std::optional<Rights> rights, int level) const;
    void plan_change(PhysicalAddress table, int level, Part part, std::optional<Rights> rights,
                     Plan& plan) const;
    void apply_change(PhysicalAddress table, int level, Part part, std::optional<Rights> rights,
                      FlushBatch& flush);
    void split(PageTableEntry& entry, int level);
    bool is_empty(PhysicalAddress table) const;
    Result<void> check_frames(const Plan& plan) const;

    void walk_runs(RunCallback callback, void* context) const;
    void collect(PhysicalAddress table, int level, uint64_t table_start, RunCollector& collector) const;
    void destroy_table(PhysicalAddress table, int level);

    FrameAllocator* frames_;
    PhysicalMemory* memory_;
    TlbFlusher* flusher_;
    bool nx_;
    bool page_1g_;
    PhysicalAddress root_;
};

/// One run as a line without newline: first and last address, size, rights, page size, physical start; for
/// example `0000000000001000-00000000001fffff     2044 KiB  rw-  4K  -> 0000000000001000`. Uncached runs end
/// in ` uncached`, those of video memory in ` write-combining`.
FixedString<112> describe(const Mapping& run);

/// Calls line(std::string_view) with describe() of each run of `space` and a newline.
template <typename LineSink>
void print_mappings(const AddressSpace& space, LineSink&& line) {
    space.walk([&line](const Mapping& run) {
        FixedString<113> text(describe(run).view());
        text.append("\n");
        line(text.view());
    });
}

}  // namespace bareflow
