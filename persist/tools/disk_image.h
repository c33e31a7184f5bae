// A BareFlow disk as a file, an image or a real disk's node: what lies on its FAT16, for tools that only read.
#pragma once

#include <memory>
#include <string>

#include "arch/host/file_block_device.h"
#include "model/tools/files.h"
#include "model/tools/std_allocator.h"
#include "persist/fat16.h"
#include "persist/tools/snapshot_file.h"

namespace bareflow {

class DiskImage {
 public:
    /// Of the first FAT16 volume, as BareFlow takes it. Nothing is written. An error names it.
    static Result<DiskImage> open(const std::string& path);

    /// A copy in memory of a file of its root directory.
    Result<MappedFile> file(std::string_view name);
    /// Of the two slots the one with the newer snapshot that is whole. An error says what is wrong with both.
    Result<SnapshotFile> newest_snapshot();

 private:
    /// Stays where it is: the volume knows the disk and the allocator.
    struct Parts {
        explicit Parts(FileBlockDevice&& opened) : disk(std::move(opened)) {}
        FileBlockDevice disk;
        StdAllocator allocator;
    };
    DiskImage(std::unique_ptr<Parts> parts, Fat16&& volume)
        : parts_(std::move(parts)), volume_(std::move(volume)) {}

    std::unique_ptr<Parts> parts_;
    Fat16 volume_;
};

}  // namespace bareflow
