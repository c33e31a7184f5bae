// A FixedFile in memory: records what was written between flushes, and fails when a test wants it.
#pragma once

#include <cstring>
#include <string>
#include <vector>

#include "arch/base/log.h"
#include "persist/fixed_file.h"

namespace bareflow::testing {

/// What disks were asked to do, in order; of several files, since they share a disk.
struct DiskRecord {
    struct Write {
        class MemoryFile* file;
        uint64_t offset;
        std::vector<uint8_t> bytes;  ///< one sector
    };
    /// Sectors written between two flushes, oldest first.
    std::vector<std::vector<Write>> epochs{1};
    int operations = 0;
    int fails_at = -1;        ///< that operation fails, counted from 0
    int fails_every = 0;      ///< one in so many operations fails; 0: none
    bool stays_dead = false;  ///< and all behind it
};

class MemoryFile final : public FixedFile {
 public:
    static constexpr size_t kSector = 512;
    MemoryFile(DiskRecord& disk, size_t size) : bytes(size), disk_(disk) {}

    uint64_t size() const override { return bytes.size(); }
    Result<void> read(uint64_t offset, std::span<uint8_t> out) override {
        TRY(operate("read", offset, out.size()));
        std::memcpy(out.data(), bytes.data() + offset, out.size());
        return {};
    }
    Result<void> write(uint64_t offset, ByteSpan data) override {
        TRY(operate("write", offset, data.size()));
        if (read_only) return Error::make(ErrorCode::kDevice, "read-only");
        std::memcpy(bytes.data() + offset, data.data(), data.size());
        if (forgets) bytes[offset] ^= 1;
        for (size_t at = 0; at < data.size(); at += kSector) {
            const ByteSpan sector = data.subspan(at, kSector);
            disk_.epochs.back().push_back({this, offset + at, {sector.begin(), sector.end()}});
        }
        return {};
    }
    Result<void> flush() override {
        TRY(operate("flush", 0, 0));
        disk_.epochs.emplace_back();
        return {};
    }

    std::vector<uint8_t> bytes;
    bool read_only = false;
    bool forgets = false;  ///< what is written is not what is read back

 private:
    Result<void> operate(const char* what, uint64_t offset, size_t size) {
        const int number = disk_.operations++;
        const bool periodic = disk_.fails_every != 0 && number % disk_.fails_every == disk_.fails_every - 1;
        const bool fails = periodic || number == disk_.fails_at ||
                           (disk_.stays_dead && disk_.fails_at >= 0 && number > disk_.fails_at);
        if (fails) return Error::make(ErrorCode::kDevice, "planted: {} {}", what, number);
        if (offset % kSector != 0 || size % kSector != 0 || !fits(offset, size, bytes.size()))
            return Error::make(ErrorCode::kOutOfRange, "{} of {} bytes at {}", what, size, offset);
        return {};
    }
    DiskRecord& disk_;
};

/// Forgets all log records, or keeps them.
struct Lines final : public LogSink {
    void write_line(std::string_view line) override { lines.emplace_back(line); }
    std::vector<std::string> lines;
};

}  // namespace bareflow::testing
