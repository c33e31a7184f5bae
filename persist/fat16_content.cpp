#include "persist/fat16_content.h"

#include <algorithm>

namespace bareflow {
namespace {

constexpr uint64_t kSliceBytes = 8 << 20;  // of one read: progress is told in between

bool is_even(const void* address) { return reinterpret_cast<uintptr_t>(address) % 2 == 0; }

/// Bytes from `skip` on in `sector`, and on through the sectors behind it.
Result<void> read_bytes(FatVolume& volume, uint64_t sector, uint32_t skip, std::span<uint8_t> out) {
    while (!out.empty()) {
        size_t count = out.size() / kSectorBytes * kSectorBytes;
        if (skip == 0 && count > 0 && is_even(out.data())) {
            TRY(volume.disk.read(sector, out.first(count)));
        } else {
            const size_t sectors = std::min((skip + out.size() + kSectorBytes - 1) / kSectorBytes,
                                            volume.scratch.size() / kSectorBytes);
            const auto through = volume.scratch.span().first(sectors * kSectorBytes);
            TRY(volume.disk.read(sector, through));
            count = std::min(out.size(), through.size() - skip);
            __builtin_memcpy(out.data(), through.data() + skip, count);
        }
        sector += (skip + count) / kSectorBytes;
        skip = (skip + count) % kSectorBytes;
        out = out.subspan(count);
    }
    return {};
}

Result<void> write_bytes(FatVolume& volume, uint64_t sector, uint32_t skip, ByteSpan bytes) {
    while (!bytes.empty()) {
        size_t count = bytes.size() / kSectorBytes * kSectorBytes;
        if (skip == 0 && count > 0 && is_even(bytes.data())) {
            TRY(volume.disk.write(sector, bytes.first(count)));
        } else {
            const size_t sectors = std::min((skip + bytes.size() + kSectorBytes - 1) / kSectorBytes,
                                            volume.scratch.size() / kSectorBytes);
            const auto through = volume.scratch.span().first(sectors * kSectorBytes);
            if (skip > 0) TRY(volume.disk.read(sector, through.first(kSectorBytes)));
            count = std::min(bytes.size(), through.size() - skip);
            __builtin_memcpy(through.data() + skip, bytes.data(), count);
            __builtin_memset(through.data() + skip + count, 0, through.size() - skip - count);
            TRY(volume.disk.write(sector, through));
        }
        sector += (skip + count) / kSectorBytes;
        skip = (skip + count) % kSectorBytes;
        bytes = bytes.subspan(count);
    }
    return {};
}

/// Calls `piece(sector, skip, bytes)` for each part of [offset, offset + size) that stands together on the disk.
template <typename Piece>
Result<void> for_each_piece(FatVolume& volume, uint32_t first, uint64_t offset, uint64_t size, uint64_t most,
                            const Piece& piece) {
    const uint32_t cluster_bytes = volume.layout.cluster_bytes();
    if (size == 0) return {};
    uint32_t cluster = TRY(volume.table.step(first, static_cast<uint32_t>(offset / cluster_bytes)));
    uint64_t within = offset % cluster_bytes;
    for (;;) {
        const uint64_t wanted = std::min(size, most);
        const ClusterRun run = volume.table.run(cluster, volume.clusters_for(within + wanted));
        const uint64_t count = std::min(wanted, uint64_t{run.count} * cluster_bytes - within);
        TRY(piece(volume.layout.sector_of(cluster) + within / kSectorBytes,
                  static_cast<uint32_t>(within % kSectorBytes), count));
        size -= count;
        if (size == 0) return {};
        within += count;
        cluster = TRY(volume.table.step(cluster, static_cast<uint32_t>(within / cluster_bytes)));
        within %= cluster_bytes;
    }
}

}  // namespace

Result<void> read_chain(FatVolume& volume, uint32_t first, uint64_t offset, std::span<uint8_t> out,
                        ReadProgress* progress) {
    uint64_t done = 0;
    return for_each_piece(volume, first, offset, out.size(), kSliceBytes,
                          [&](uint64_t sector, uint32_t skip, uint64_t count) -> Result<void> {
                              TRY(read_bytes(volume, sector, skip, out.subspan(done, count)));
                              done += count;
                              if (progress != nullptr) progress->advanced(done, out.size());
                              return {};
                          });
}

Result<Buffer<FileRun>> list_runs(FatVolume& volume, uint32_t first, uint64_t bytes, Allocator& allocator) {
    size_t count = 0;
    Buffer<FileRun> runs;
    uint64_t done = 0;
    const auto count_one = [&](uint64_t, uint32_t, uint64_t) -> Result<void> {
        ++count;
        return {};
    };
    const auto note = [&](uint64_t sector, uint32_t, uint64_t size) -> Result<void> {
        const uint64_t first_sector = volume.disk.range().first + sector;
        runs[count++] = {done, first_sector, size};
        done += size;
        return {};
    };
    TRY(for_each_piece(volume, first, 0, bytes, UINT64_MAX, count_one));
    runs = TRY(Buffer<FileRun>::make(allocator, count, "list of a file's pieces"));
    count = 0;
    TRY(for_each_piece(volume, first, 0, bytes, UINT64_MAX, note));
    return runs;
}

Result<void> write_chain(FatVolume& volume, uint32_t first, uint64_t offset, ByteSpan bytes) {
    uint64_t done = 0;
    return for_each_piece(volume, first, offset, bytes.size(), UINT64_MAX,
                          [&](uint64_t sector, uint32_t skip, uint64_t count) -> Result<void> {
                              TRY(write_bytes(volume, sector, skip, bytes.subspan(done, count)));
                              done += count;
                              return {};
                          });
}

Result<void> write_zeroes(FatVolume& volume, ClusterRun clusters) {
    __builtin_memset(volume.scratch.data(), 0, volume.scratch.size());
    uint64_t sector = volume.layout.sector_of(clusters.first);
    uint64_t left = uint64_t{clusters.count} * volume.layout.cluster_bytes();
    while (left > 0) {
        const uint64_t count = std::min<uint64_t>(left, volume.scratch.size());
        TRY(volume.disk.write(sector, volume.scratch.span().first(count)));
        sector += count / kSectorBytes;
        left -= count;
    }
    return {};
}

}  // namespace bareflow
