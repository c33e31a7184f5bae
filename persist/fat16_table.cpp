#include "persist/fat16_table.h"

#include <bit>

namespace bareflow {

static_assert(std::endian::native == std::endian::little, "entries are used as they stand on the disk");

ByteSpan FatTable::bytes(uint32_t sector, uint32_t count) const {
    return {reinterpret_cast<const uint8_t*>(entries_.data() + sector * kInSector), count * kSectorBytes};
}

// ---------------------------------------------------------------- loading
Result<void> FatTable::load_copy(DiskRange& disk, uint32_t copy, std::span<uint16_t> out) const {
    TRY(disk.read(layout_.table_start + uint64_t{copy} * layout_.table_sectors,
                  {reinterpret_cast<uint8_t*>(out.data()), out.size_bytes()}));
    if (out[0] != (0xFF00 | layout_.media)) {
        return invalid("{}: FAT {} begins with {:04x} instead of ff{:02x}; run fsck.fat", disk.name(),
                       copy + 1, out[0], layout_.media);
    }
    return {};
}

Result<FatTable> FatTable::load(DiskRange& disk, const FatLayout& layout, Allocator& allocator) {
    FatTable table;
    table.layout_ = layout;
    const uint32_t needed = (layout.end_cluster() + kInSector - 1) / kInSector;
    ASSERT(needed <= kMostSectors);
    table.entries_ = TRY(Buffer<uint16_t>::make(allocator, size_t{needed} * kInSector, "the FAT"));
    auto other = TRY(Buffer<uint16_t>::make(allocator, size_t{needed} * kInSector, "a copy of the FAT"));

    auto first = table.load_copy(disk, 0, table.entries_.span());
    uint32_t loaded = 0;
    bool good = first.ok();
    while (!good && ++loaded < layout.tables)
        good = table.load_copy(disk, loaded, table.entries_.span()).ok();
    if (!good) return first.error();
    if (loaded > 0) {
        table.damage_.append_format("FAT 1 cannot be used, FAT {} is; run fsck.fat", loaded + 1);
    } else {
        TRY(table.compare_copies(disk, loaded, other.span()));
    }
    TRY(table.look_for_damage(allocator));
    return table;
}

Result<void> FatTable::compare_copies(DiskRange& disk, uint32_t loaded, std::span<uint16_t> other) {
    for (uint32_t copy = 0; copy < layout_.tables; ++copy) {
        if (copy == loaded) continue;
        const bool readable = load_copy(disk, copy, other).ok();
        for (uint32_t sector = 0; sector < sectors(); ++sector) {
            if (readable && __builtin_memcmp(other.data() + sector * kInSector, bytes(sector, 1).data(),
                                             kSectorBytes) == 0) {
                continue;
            }
            if (!marked(sector)) ++differing_;
            mark(sector);
        }
    }
    return {};
}

// One pass over the table finds what no walk along a single chain can: two chains that join. Writing to such a volume
// would let the repair of one file damage another.
Result<void> FatTable::look_for_damage(Allocator& allocator) {
    led_to_ = TRY(Buffer<uint8_t>::make(allocator, (layout_.end_cluster() + 7) / 8, "the FAT's check"));
    for (uint32_t cluster = kFirstCluster; cluster < layout_.end_cluster(); ++cluster) {
        const uint16_t value = entries_[cluster];
        if (!layout_.holds(value)) continue;
        const uint8_t bit = static_cast<uint8_t>(1U << value % 8);
        if ((led_to_[value / 8] & bit) != 0 && damage_.empty()) {
            damage_.append_format("two chains join at cluster {}; run fsck.fat", value);
        }
        led_to_[value / 8] |= bit;
    }
    uint32_t half_chains = 0;
    for (uint32_t cluster = kFirstCluster; cluster < layout_.end_cluster(); ++cluster) {
        const bool can_be = can_be_given(cluster);
        free_ += can_be;
        half_chains += entries_[cluster] == kFree && !can_be;
        if (entries_[cluster] != kFree)
            led_to_[cluster / 8] = static_cast<uint8_t>(led_to_[cluster / 8] & ~(1U << cluster % 8));
    }
    if (half_chains == 0) led_to_ = {};
    return {};
}

// ---------------------------------------------------------------- chains
Result<uint32_t> FatTable::next(uint32_t cluster) const {
    if (!layout_.holds(cluster)) {
        return invalid("FAT: cluster {} is outside the volume's 2 to {}; run fsck.fat", cluster,
                       layout_.end_cluster() - 1);
    }
    const uint16_t value = entries_[cluster];
    if (value >= kLeastEnd) return uint32_t{0};
    if (!layout_.holds(value)) {
        return invalid("FAT: cluster {} leads to {:04x}, which is {}; run fsck.fat", cluster, value,
                       value == kFree  ? "free"
                       : value == kBad ? "bad"
                                       : "outside the volume");
    }
    return uint32_t{value};
}

Result<uint32_t> FatTable::length(uint32_t first) const {
    uint32_t count = 0;
    for (uint32_t cluster = first; cluster != 0; ++count) {
        if (count == layout_.clusters)
            return invalid("FAT: the chain from cluster {} is a loop; run fsck.fat", first);
        cluster = TRY(next(cluster));
    }
    return count;
}

Result<uint32_t> FatTable::step(uint32_t first, uint32_t steps) const {
    uint32_t cluster = first;
    for (uint32_t i = 0; i < steps; ++i) {
        cluster = TRY(next(cluster));
        if (cluster == 0) {
            return invalid("FAT: the chain from cluster {} ends after {} of {} clusters; run fsck.fat", first,
                           i + 1, steps + 1);
        }
    }
    if (!layout_.holds(cluster))
        return invalid("FAT: cluster {} is outside the volume; run fsck.fat", cluster);
    return cluster;
}

ClusterRun FatTable::run(uint32_t first, uint32_t most) const {
    ClusterRun result{first, 1};
    while (result.count < most && entries_[first + result.count - 1] == first + result.count &&
           layout_.holds(first + result.count)) {
        ++result.count;
    }
    return result;
}

Result<void> FatTable::check_owned(uint32_t first) const {
    TRY(length(first));
    for (uint32_t cluster = kFirstCluster; cluster < layout_.end_cluster(); ++cluster) {
        if (entries_[cluster] == first) {
            return invalid(
                "FAT: the file from cluster {} is also the rest of another's chain (cluster {}); run "
                "fsck.fat",
                first, cluster);
        }
    }
    return {};
}

// ---------------------------------------------------------------- changes
void FatTable::set(uint32_t cluster, uint16_t value) {
    if ((entries_[cluster] == kFree) != (value == kFree)) value == kFree ? ++free_ : --free_;
    entries_[cluster] = value;
    mark(cluster / kInSector);
}

void FatTable::set_clean(bool clean) {
    entries_[1] = static_cast<uint16_t>(clean ? entries_[1] | kCleanBit : entries_[1] & ~kCleanBit);
    mark(0);
}

Result<uint32_t> FatTable::allocate(uint32_t count, uint32_t near) {
    ASSERT(count > 0);
    if (count > free_) {
        return Error::make(ErrorCode::kOutOfRange,
                           "the disk is full: {} clusters are needed, {} of {} bytes are free", count, free_,
                           layout_.cluster_bytes());
    }
    uint32_t cluster = layout_.holds(near + 1) ? near + 1 : search_from_;
    uint32_t first = 0, last = 0;
    for (uint32_t found = 0; found < count;
         cluster = layout_.holds(cluster + 1) ? cluster + 1 : kFirstCluster) {
        if (!can_be_given(cluster)) continue;  // free_ says that there are enough
        set(cluster, kEnd);
        if (last == 0) first = cluster;
        if (last != 0) link(last, cluster);
        last = cluster;
        ++found;
    }
    search_from_ = cluster;
    return first;
}

Result<uint32_t> FatTable::allocate_contiguous(uint32_t count) {
    ASSERT(count > 0);
    uint32_t length = 0, longest = 0;
    for (uint32_t cluster = kFirstCluster; cluster < layout_.end_cluster(); ++cluster) {
        length = can_be_given(cluster) ? length + 1 : 0;
        longest = length > longest ? length : longest;
        if (length < count) continue;
        const uint32_t first = cluster + 1 - count;
        for (uint32_t i = first; i < cluster; ++i) set(i, static_cast<uint16_t>(i + 1));
        set(cluster, kEnd);
        return first;
    }
    return Error::make(ErrorCode::kOutOfRange,
                       "the disk has no {} free clusters in one piece; the longest piece is {} of {} bytes",
                       count, longest, layout_.cluster_bytes());
}

void FatTable::link(uint32_t cluster, uint32_t next) {
    ASSERT(layout_.holds(cluster) && layout_.holds(next));
    set(cluster, static_cast<uint16_t>(next));
}

Result<uint32_t> FatTable::cut_behind(uint32_t cluster) {
    const uint32_t rest = TRY(next(cluster));
    if (rest != 0) set(cluster, kEnd);
    return rest;
}

void FatTable::release(uint32_t first) {
    // A freed cluster leads nowhere, so that even a loop ends.
    for (uint32_t cluster = first; layout_.holds(cluster);) {
        auto following = next(cluster);
        if (!following.ok()) return;
        set(cluster, kFree);
        cluster = following.take();
    }
}

// ---------------------------------------------------------------- writing
Result<void> FatTable::write(DiskRange& disk, uint32_t sector, uint32_t count) {
    for (uint32_t copy = 0; copy < layout_.tables; ++copy) {
        TRY(disk.write_metadata(layout_.table_start + uint64_t{copy} * layout_.table_sectors + sector,
                                bytes(sector, count)));
    }
    for (uint32_t i = sector; i < sector + count; ++i) changed_[i / 64] &= ~(uint64_t{1} << i % 64);
    return {};
}

Result<void> FatTable::commit(DiskRange& disk, Order order, uint32_t cluster) {
    const uint32_t special = cluster / kInSector;
    if (order == Order::kFirst && marked(special)) {
        TRY(write(disk, special, 1));
        TRY(disk.barrier());
    }
    const bool hold_back = order == Order::kLast && marked(special);
    bool others = false;
    for (uint32_t sector = 0; sector < sectors();) {
        uint32_t end = sector;
        while (end < sectors() && marked(end) && !(hold_back && end == special)) ++end;
        if (end > sector) {
            TRY(write(disk, sector, end - sector));
            others = true;
        }
        sector = end + 1;
    }
    if (!hold_back) return {};
    if (others) TRY(disk.barrier());
    return write(disk, special, 1);
}

}  // namespace bareflow
