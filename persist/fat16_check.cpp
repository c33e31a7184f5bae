#include "persist/fat16_check.h"

#include "persist/fat16_directory.h"

namespace bareflow {
namespace {

/// One bit for each cluster.
class ClusterSet {
 public:
    static Result<ClusterSet> make(uint32_t clusters, Allocator& allocator) {
        ClusterSet set;
        set.bits_ = TRY(Buffer<uint8_t>::make(allocator, clusters / 8 + 1, "the disk's check"));
        return set;
    }
    bool has(uint32_t cluster) const { return (bits_[cluster / 8] >> cluster % 8 & 1) != 0; }
    void add(uint32_t cluster) {
        bits_[cluster / 8] = static_cast<uint8_t>(bits_[cluster / 8] | 1U << cluster % 8);
    }
    void remove(uint32_t cluster) {
        bits_[cluster / 8] = static_cast<uint8_t>(bits_[cluster / 8] & ~(1U << cluster % 8));
    }
    /// The first one from `cluster` on; `end` if there is none.
    uint32_t find(uint32_t cluster, uint32_t end) const {
        while (cluster < end && !has(cluster)) ++cluster;
        return cluster;
    }

 private:
    Buffer<uint8_t> bits_;
};

}  // namespace

Result<void> check_tree(FatVolume& volume, Allocator& allocator) {
    const uint32_t end = volume.layout.end_cluster();
    auto begun = TRY(ClusterSet::make(end, allocator));  // a file or directory begins here
    auto to_do = TRY(ClusterSet::make(end, allocator));  // directories
    to_do.add(kRootDirectory);
    for (uint32_t directory = 0; (directory = to_do.find(0, end)) < end;) {
        to_do.remove(directory);
        DirectoryScan scan(volume, directory);
        while (TRY(scan.next())) {
            const uint32_t first = scan.entry().first_cluster;
            if (first == 0 && !scan.entry().is_directory()) continue;
            const auto name = unpack_short_name(scan.entry());
            if (!volume.layout.holds(first)) {
                return invalid("{} begins in cluster {}, outside the volume; run fsck.fat", name.view(),
                               first);
            }
            if (begun.has(first)) {
                return invalid("{} and another file both begin in cluster {}; run fsck.fat", name.view(),
                               first);
            }
            begun.add(first);
            if (scan.entry().is_directory()) to_do.add(first);
        }
    }
    return {};
}

}  // namespace bareflow
