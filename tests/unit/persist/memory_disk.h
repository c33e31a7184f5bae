// A disk in memory that other programs can open: mkfs.fat, fsck.fat and mtools work on path(). Sectors that were never
// written, or only with zeroes, take no memory, so that a volume of 4 GB costs what its files cost.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "persist/block_device.h"

namespace bareflow {

class MemoryDisk final : public BlockDevice {
 public:
    explicit MemoryDisk(uint64_t bytes) : sectors_(bytes / kSectorBytes), fd_(memfd_create("disk", 0)) {
        if (fd_ < 0 || ftruncate(fd_, static_cast<off_t>(bytes)) != 0)
            throw std::runtime_error("no memory disk");
    }
    MemoryDisk(const MemoryDisk&) = delete;
    MemoryDisk& operator=(const MemoryDisk&) = delete;
    ~MemoryDisk() override { close(fd_); }

    /// What the disk says of itself.
    bool read_only = false;
    size_t request_bytes = 256 * 1024;

    std::string path() const { return "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(fd_); }

    std::string_view name() const override { return "memory"; }
    Limits limits() const override { return {sectors_, request_bytes, 4, read_only}; }
    void start(BlockRequest& request) override {
        const auto offset = static_cast<off_t>(request.sector * kSectorBytes);
        const size_t size = request.data.size();
        if (reinterpret_cast<uintptr_t>(request.data.data()) % 2 != 0)
            throw std::runtime_error("odd address");
        if (request.kind == BlockRequest::Kind::kRead) {
            if (pread(fd_, request.data.data(), size, offset) != static_cast<ssize_t>(size)) throw_short();
        } else if (request.kind == BlockRequest::Kind::kWrite) {
            write_at(request.data, offset);
        }
        request.done = true;
    }
    void poll() override {}

    // ---- for tests, past the device
    std::vector<uint8_t> bytes(uint64_t offset, size_t size) const {
        std::vector<uint8_t> result(size);
        if (pread(fd_, result.data(), size, static_cast<off_t>(offset)) != static_cast<ssize_t>(size))
            throw_short();
        return result;
    }
    void set_bytes(uint64_t offset, ByteSpan bytes) {
        if (pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset)) !=
            static_cast<ssize_t>(bytes.size())) {
            throw_short();
        }
    }
    template <typename T>
    void set(uint64_t offset, T value) {
        set_bytes(offset, {reinterpret_cast<const uint8_t*>(&value), sizeof(value)});
    }
    /// Makes this disk what `other`, of the same size, is.
    void copy_from(const MemoryDisk& other) {
        std::vector<uint8_t> buffer(1 << 20);
        const uint64_t size = sectors_ * kSectorBytes;
        for (uint64_t at = 0; at < size; at += buffer.size()) {
            buffer.resize(std::min<uint64_t>(buffer.size(), size - at));
            if (pread(other.fd_, buffer.data(), buffer.size(), static_cast<off_t>(at)) < 0) throw_short();
            write_at(buffer, static_cast<off_t>(at));
        }
    }

 private:
    [[noreturn]] static void throw_short() { throw std::runtime_error("short transfer of a memory disk"); }
    void write_at(std::span<const uint8_t> data, off_t offset) {
        constexpr size_t kWorthAHole = 16 * 1024;
        if (data.size() >= kWorthAHole && data[0] == 0 &&
            std::memcmp(data.data(), data.data() + 1, data.size() - 1) == 0) {
            if (fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset,
                          static_cast<off_t>(data.size())) == 0) {
                return;
            }
        }
        if (pwrite(fd_, data.data(), data.size(), offset) != static_cast<ssize_t>(data.size())) throw_short();
    }

    uint64_t sectors_;
    int fd_;
};

}  // namespace bareflow
