#include "persist/fat16_reader.h"

#include <algorithm>

namespace bareflow {

// Half of the disk's queue: BlockDevice's own transfers keep to the other one.
FatReader::FatReader(BlockDevice& disk, Buffer<FileRun>&& runs, uint64_t bytes)
    : disk_(disk),
      runs_(std::move(runs)),
      bytes_(bytes),
      request_bytes_(
          std::max(disk.limits().request_bytes / kUnit * kUnit, disk.limits().request_bytes % kUnit)),
      slot_count_(std::clamp<size_t>(disk.limits().in_flight / 2, 1, kMostRequests)) {}

const FileRun& FatReader::run_at(uint64_t offset) const {
    const FileRun* const behind = std::upper_bound(
        runs_.begin(), runs_.end(), offset, [](uint64_t at, const FileRun& run) { return at < run.offset; });
    return behind[-1];
}

bool FatReader::start(Read& read) {
    ASSERT(read.offset % kSectorBytes == 0);
    read.done = read.offset >= bytes_;  // the rest of a unit, behind the file's end
    if (read.done) return true;
    Slot* const free =
        std::find_if(slots_, slots_ + slot_count_, [](const Slot& slot) { return slot.read == nullptr; });
    if (free == slots_ + slot_count_) return false;
    const FileRun& run = run_at(read.offset);
    const uint64_t within = read.offset - run.offset;
    // Whole sectors; what is asked for behind the file's last one counts as read.
    const uint64_t there = (run.bytes - within + kSectorBytes - 1) / kSectorBytes * kSectorBytes;
    const bool last = run.offset + run.bytes == bytes_;
    read.out = read.out.first(std::min(read.out.size(), request_bytes_));
    const std::span<uint8_t> data = read.out.first(std::min<uint64_t>(read.out.size(), there));
    if (!last) read.out = data;
    free->read = &read;
    free->request = {BlockRequest::Kind::kRead, run.sector + within / kSectorBytes, data, false, {}};
    disk_.start(free->request);
    return true;
}

void FatReader::poll() {
    disk_.poll();
    for (Slot& slot : std::span(slots_, slot_count_)) {
        if (slot.read == nullptr || !slot.request.done) continue;
        slot.read->outcome = slot.request.outcome;
        slot.read->done = true;
        slot.read = nullptr;
    }
}

}  // namespace bareflow
