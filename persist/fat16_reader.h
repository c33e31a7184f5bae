// A file of a FAT16 volume that is read ahead: requests straight to the disk, several under way.
#pragma once

#include "arch/base/allocator.h"
#include "arch/base/async_file.h"
#include "persist/block_device.h"

namespace bareflow {

/// Part of a file that stands together on the disk.
struct FileRun {
    uint64_t offset = 0;  ///< in the file, bytes
    uint64_t sector = 0;  ///< of the disk
    uint64_t bytes = 0;
};

/// The disk outlives it; the volume must not change the file meanwhile.
class FatReader final : public AsyncFile {
 public:
    /// `runs`: the whole file, in order, as Fat16::runs_of() gives them.
    FatReader(BlockDevice& disk, Buffer<FileRun>&& runs, uint64_t bytes);
    FatReader(const FatReader&) = delete;

    uint64_t size() const override { return bytes_; }
    bool start(Read& read) override;
    void poll() override;

 private:
    static constexpr size_t kMostRequests = 32;
    struct Slot {
        BlockRequest request;
        Read* read = nullptr;  ///< nullptr: the slot is free
    };
    const FileRun& run_at(uint64_t offset) const;

    BlockDevice& disk_;
    Buffer<FileRun> runs_;
    uint64_t bytes_;
    size_t request_bytes_;
    size_t slot_count_;
    Slot slots_[kMostRequests];
};

}  // namespace bareflow
