#include "mm/region_map.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <random>
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
            auto region = std::make_unique<Region>(RegionKind::kBig, reinterpret_cast<void*>(start), 1 + random() % 0x1000);
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

}  // namespace
}  // namespace bareflow
