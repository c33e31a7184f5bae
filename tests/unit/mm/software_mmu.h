// A CPU's view of page tables, written from Intel SDM 3A 4.5 and 4.10 alone: it decodes raw entries by their
// bit numbers, faults on reserved bits as the CPU would, and caches translations and tables as eagerly as a
// CPU may: it forgets nothing unless told to, and looks again right after each flush.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "mm/page_table.h"
#include "tests/unit/mm/fake_memory.h"

namespace bareflow {

class SoftwareMmu final : public TlbFlusher {
 public:
    static constexpr uint64_t kPresent = 1, kWrite = 2, kUser = 4, kPwt = 8, kPcd = 16, kPs = 128;
    static constexpr uint64_t kNx = uint64_t{1} << 63;

    SoftwareMmu(FakeMemory& memory, bool nxe) : memory_(memory), nxe_(nxe) {}

    /// The page that `address` is on, with the rights that all levels together give a supervisor.
    std::optional<Mapping> translate(uint64_t address) {
        if (address >> 47 != 0 && address >> 47 != 0x1FFFF) return std::nullopt;
        uint64_t table = root, writable = kWrite, no_execute = 0;
        for (int shift = 39;; shift -= 9) {
            const uint64_t entry = memory_.read64(table + 8 * (address >> shift & 0x1FF));
            if ((entry & kPresent) == 0) return std::nullopt;
            if ((entry & kNx) != 0 && !nxe_) throw std::runtime_error("NX is reserved without EFER.NXE");
            if ((entry & kUser) != 0) throw std::runtime_error("a page for user mode");
            if ((entry & kPs) != 0 && shift == 39) throw std::runtime_error("PS is reserved in a PML4E");
            writable &= entry;
            no_execute |= entry & kNx;
            const bool leaf = shift == 12 || (entry & kPs) != 0;
            const uint64_t address_bits = entry & 0x000FFFFFFFFFF000;
            if (!leaf) {
                table = address_bits;
                continue;
            }
            const uint64_t size = uint64_t{1} << shift;
            if (shift == 12 && (entry & kPs) != 0) throw std::runtime_error("PAT set in a PTE");
            if ((address_bits & (size - 1)) != 0) throw std::runtime_error("reserved bits of a large page");
            const bool uncached = (entry & (kPcd | kPwt)) == (kPcd | kPwt);
            const bool combining = (entry & (kPcd | kPwt)) == kPwt;
            return Mapping{address & ~(size - 1),
                           address_bits,
                           size,
                           {writable != 0, no_execute == 0, uncached, combining},
                           size};
        }
    }

    /// Uses `address`: its translation, if it has one, and the tables on the way are cached from now on.
    void access(uint64_t address) {
        if (const std::optional<Mapping> page = translate(address)) tlb_[page->virtual_start] = *page;
        uint64_t table = root;
        for (int shift = 39; shift > 12; shift -= 9) {
            const uint64_t entry = memory_.read64(table + 8 * (address >> shift & 0x1FF));
            if ((entry & kPresent) == 0 || (entry & kPs) != 0) return;
            table = entry & 0x000FFFFFFFFFF000;
            tables_[{shift, address >> shift << shift}] = table;
        }
    }
    /// Whatever is cached must be true.
    void check_tlb() {
        for (const auto& [start, cached] : tlb_) {
            ASSERT_EQ(translate(start), std::optional<Mapping>(cached)) << "stale translation";
        }
        const auto cached_tables = tables_;
        for (const auto& [place, table] : cached_tables) {
            tables_.clear();
            access(place.second);
            ASSERT_TRUE(tables_.contains(place) && tables_[place] == table) << "stale table";
        }
        tables_ = cached_tables;
    }
    uint64_t or_of_all_entries() { return or_of_table(root, 39); }

    void flush_page(uint64_t address) override {
        flushes.push_back(address);
        std::erase_if(tlb_, [&](const auto& item) { return address - item.first < item.second.size; });
        std::erase_if(tables_, [&](const auto& item) {
            return (address ^ item.first.second) >> item.first.first == 0;
        });
        access(address);
    }
    void flush_all() override {
        ++full_flushes;
        tlb_.clear();
        tables_.clear();
    }

    uint64_t root = 0;
    std::vector<uint64_t> flushes;  ///< addresses of flush_page
    int full_flushes = 0;

 private:
    uint64_t or_of_table(uint64_t table, int shift) {
        uint64_t all = 0;
        for (uint64_t i = 0; i < 512; ++i) {
            const uint64_t entry = memory_.read64(table + 8 * i);
            if ((entry & kPresent) == 0) continue;
            all |= entry;
            if (shift > 12 && (entry & kPs) == 0) all |= or_of_table(entry & 0x000FFFFFFFFFF000, shift - 9);
        }
        return all;
    }
    FakeMemory& memory_;
    bool nxe_;
    std::map<uint64_t, Mapping> tlb_;  ///< by start
    std::map<std::pair<int, uint64_t>, uint64_t>
        tables_;  ///< the paging-structure caches, by level and start
};

}  // namespace bareflow
