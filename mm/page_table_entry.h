// One entry of a page table as the CPU reads it (Intel SDM 3A tables 4-15 to 4-20, AMD APM 2 figures 5-18 to
// 5-27).
#pragma once

#include <cstddef>
#include <cstdint>

namespace bareflow {

/// Tables have levels: 4 is the PML4, 3 a PDPT, 2 a PD, 1 a PT.
constexpr int kTopLevel = 4;
constexpr int kLargestPageLevel = 3;  ///< a PDPT's entry may be a page of 1 GiB
constexpr size_t kTableEntries = 512;
constexpr unsigned kLevelBits = 9;
constexpr unsigned kPageBits = 12;

/// Bytes of address space that one entry of a table of `level` covers: 4 KiB, 2 MiB, 1 GiB, 512 GiB.
constexpr uint64_t entry_span(int level) { return uint64_t{1} << (kPageBits + kLevelBits * (level - 1)); }

class PageTableEntry {
 public:
    constexpr PageTableEntry() = default;

    /// Points to the table at `address`. Rights are decided by the page alone, so a table allows everything.
    static constexpr PageTableEntry to_table(uint64_t address) {
        return PageTableEntry(address | kPresent | kWritable);
    }
    /// A page of entry_span(level) bytes at `address`, read-only, executable, cached.
    static constexpr PageTableEntry to_page(uint64_t address, int level) {
        return PageTableEntry(address | kPresent | (level > 1 ? kLarge : 0));
    }

    constexpr bool present() const { return (raw_ & kPresent) != 0; }
    constexpr bool writable() const { return (raw_ & kWritable) != 0; }
    constexpr bool executable() const { return (raw_ & kNoExecute) == 0; }
    constexpr bool uncached() const { return (raw_ & kUncached) == kUncached; }
    constexpr bool combining() const { return (raw_ & kUncached) == kWriteThrough; }
    /// Whether an entry of a table of `level` is a page, not a table. In a PT bit 7 is PAT, and all are
    /// pages.
    constexpr bool is_page(int level) const { return present() && (level == 1 || (raw_ & kLarge) != 0); }
    constexpr bool is_table(int level) const { return present() && !is_page(level); }
    constexpr uint64_t table_address() const { return raw_ & kAddress; }
    /// Of a page: the bits below its size are flags (a large page's bit 12 is PAT).
    constexpr uint64_t page_address(int level) const { return raw_ & kAddress & ~(entry_span(level) - 1); }

    constexpr void set_writable(bool on) { set(kWritable, on); }
    constexpr void set_executable(bool on) { set(kNoExecute, !on); }
    constexpr void set_uncached(bool on) { set(kUncached, on); }
    /// The PAT's entry 1 (Intel SDM 3A 11.12.3): write-through from reset, write-combining once the PAT says so.
    constexpr void set_combining() { set(kWriteThrough, true); }

    /// Whether both give the same rights; the accessed and dirty bits, which the CPU sets, do not count.
    constexpr bool same_rights(PageTableEntry other) const { return ((raw_ ^ other.raw_) & kRights) == 0; }

 private:
    static constexpr uint64_t kPresent = uint64_t{1} << 0;
    static constexpr uint64_t kWritable = uint64_t{1} << 1;
    static constexpr uint64_t kWriteThrough = uint64_t{1} << 3;
    static constexpr uint64_t kCacheDisable = uint64_t{1} << 4;
    static constexpr uint64_t kLarge = uint64_t{1} << 7;  // PS
    static constexpr uint64_t kNoExecute = uint64_t{1} << 63;
    static constexpr uint64_t kAddress = ((uint64_t{1} << 52) - 1) & ~((uint64_t{1} << kPageBits) - 1);
    static constexpr uint64_t kUncached = kCacheDisable | kWriteThrough;
    static constexpr uint64_t kRights = kWritable | kUncached | kNoExecute;

    explicit constexpr PageTableEntry(uint64_t raw) : raw_(raw) {}
    constexpr void set(uint64_t bits, bool on) { raw_ = on ? raw_ | bits : raw_ & ~bits; }

    uint64_t raw_ = 0;
};
static_assert(sizeof(PageTableEntry) == 8);

}  // namespace bareflow
