// Which of the heap's regions holds an address: a treap, its nodes inside the regions' own descriptors.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bareflow {

enum class RegionKind : uint8_t { kSlab, kArena, kBig };

/// A piece of memory from the PageSource. Slabs, arenas and big blocks derive from it.
struct Region {
    Region(RegionKind region_kind, void* region_start, size_t region_size)
        : kind(region_kind), start(reinterpret_cast<uintptr_t>(region_start)), size(region_size) {}

    RegionKind kind;
    uintptr_t start;
    size_t size;  ///< bytes
    Region* left = nullptr;
    Region* right = nullptr;
};

/// Regions by address; they must not overlap. All operations take O(log n) steps on average: a treap's shape
/// is that of a random tree, whatever the order of insertion (Seidel and Aragon 1996). The priorities are
/// hashes of the addresses, so nothing random is needed and no balance is stored.
class RegionMap {
 public:
    void insert(Region& region);
    void remove(Region& region);
    /// The region that holds `address`, or nullptr.
    Region* find(const void* address) const;
    /// Calls visitor(Region&) for each, by ascending address. The visitor must not insert or remove.
    template <typename Visitor>
    void for_each(Visitor&& visitor) const {
        for (Region* region = first_from(0); region != nullptr; region = first_from(region->start + 1)) {
            visitor(*region);
        }
    }

 private:
    /// The region with the lowest start that is not below `start`.
    Region* first_from(uintptr_t start) const;

    Region* root_ = nullptr;
};

}  // namespace bareflow
