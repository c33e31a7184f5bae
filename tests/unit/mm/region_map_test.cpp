#include "mm/region_map.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <vector>

namespace bareflow {
namespace {

TEST(RegionMap, FindsLikeAnOrderedMapInRandomUse) {
    std::mt19937_64 random(3);
    RegionMap regions;
    std::map<uintptr_t, std::unique_ptr<Region>> shadow;
    for (int step = 0; step < 20'000; ++step) {
        const uintptr_t start = (1 + random() % 3'000) * 0x1000;
        auto it = shadow.find(start);
        if (it != shadow.end()) {
            regions.remove(*it->second);
            shadow.erase(it);
        } else {
            auto region = std::make_unique<Region>(RegionKind::kBig, reinterpret_cast<void*>(start),
                                                   1 + random() % 0x1000);
            regions.insert(*region);
            shadow.emplace(start, std::move(region));
        }
        const uintptr_t address = random() % 0xC00000;
        auto after = shadow.upper_bound(address);
        Region* expected = nullptr;
        if (after != shadow.begin()) {
            Region* candidate = std::prev(after)->second.get();
            if (address - candidate->start < candidate->size) expected = candidate;
        }
        ASSERT_EQ(regions.find(reinterpret_cast<void*>(address)), expected);
    }
    std::vector<Region*> walked;
    regions.for_each([&](Region& region) { walked.push_back(&region); });
    ASSERT_EQ(walked.size(), shadow.size());
    size_t i = 0;
    for (const auto& [start, region] : shadow) EXPECT_EQ(walked[i++], region.get());
}

size_t depth_of(const Region* region) {
    return region == nullptr ? 0 : 1 + std::max(depth_of(region->left), depth_of(region->right));
}

TEST(RegionMap, StaysShallowWhateverTheOrderOfInsertionAndRemoval) {
    constexpr size_t kRegions = 4'096;
    std::vector<Region> all;
    all.reserve(2 * kRegions);
    RegionMap regions;
    for (uintptr_t i = 0; i < 2 * kRegions; ++i) {
        regions.insert(all.emplace_back(RegionKind::kSlab, reinterpret_cast<void*>((i + 1) << 15), 1 << 15));
    }
    for (size_t i = 0; i < all.size(); i += 2) regions.remove(all[i]);
    std::set<const Region*> roots;  // who is nobody's child
    for (size_t i = 1; i < all.size(); i += 2) roots.insert(&all[i]);
    for (size_t i = 1; i < all.size(); i += 2) {
        roots.erase(all[i].left);
        roots.erase(all[i].right);
    }
    ASSERT_EQ(roots.size(), 1u);
    EXPECT_LT(depth_of(*roots.begin()), 40u);  // a list would be 4,096
}

}  // namespace
}  // namespace bareflow
