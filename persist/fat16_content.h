// The bytes of files: between a chain of clusters and memory.
#pragma once

#include "persist/fat16_reader.h"
#include "persist/fat16_volume.h"

namespace bareflow {

/// Told while something large is read, every few MiB and at the end.
class ReadProgress {
 public:
    virtual void advanced(uint64_t done, uint64_t total) = 0;

 protected:
    ~ReadProgress() = default;
};

/// Fills `out` from byte `offset` of the chain that begins with `first`. Clusters that stand together are read at once,
/// straight into `out` where that begins at an even address. kInvalid: the chain is damaged or too short.
Result<void> read_chain(FatVolume& volume, uint32_t first, uint64_t offset, std::span<uint8_t> out,
                        ReadProgress* progress);
/// Where the first `bytes` bytes of the chain stand.
Result<Buffer<FileRun>> list_runs(FatVolume& volume, uint32_t first, uint64_t bytes, Allocator& allocator);
/// Writes `bytes` at `offset`; bytes before it stay, what follows in the last sector becomes 0.
Result<void> write_chain(FatVolume& volume, uint32_t first, uint64_t offset, ByteSpan bytes);
/// Writes zeroes over `clusters` clusters that stand together.
Result<void> write_zeroes(FatVolume& volume, ClusterRun clusters);

}  // namespace bareflow
