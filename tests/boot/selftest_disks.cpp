#include "tests/boot/selftest_disks.h"

#include "arch/base/allocator.h"
#include "arch/base/log.h"
#include "arch/x86_64/acpi.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/disks.h"
#include "arch/x86_64/rtc.h"

namespace bareflow {
namespace {

Result<void> expect(bool condition, std::string_view disk, std::string_view what) {
    if (condition) return {};
    return invalid("self-test: {}: {} does not hold", disk, what);
}
bool failed_as(const Result<void>& result, ErrorCode code) {
    return !result && result.error().code() == code;
}

// What test_disks.py expects in sector `sector` of disk `disk`: 64 words of their own each.
constexpr size_t kWords = kSectorBytes / 8;
uint64_t word_of(uint64_t disk, uint64_t sector, uint64_t word) {
    return (sector * kWords + word + 1) * 0x9E37'79B9'7F4A'7C15 ^ disk << 56;
}
void fill(std::span<uint8_t> bytes, uint64_t disk, uint64_t sector) {
    for (size_t i = 0; i < bytes.size() / 8; ++i) {
        const uint64_t word = word_of(disk, sector + i / kWords, i % kWords);
        __builtin_memcpy(&bytes[i * 8], &word, 8);
    }
}
bool holds(std::span<const uint8_t> bytes, uint64_t disk, uint64_t sector) {
    for (size_t i = 0; i < bytes.size() / 8; ++i) {
        const uint64_t word = word_of(disk, sector + i / kWords, i % kWords);
        if (__builtin_memcmp(&bytes[i * 8], &word, 8) != 0) return false;
    }
    return true;
}
constexpr uint8_t kPoison = 0xA5;
void poison(std::span<uint8_t> bytes) { __builtin_memset(bytes.data(), kPoison, bytes.size()); }

// Where things are written (test_disks.py knows the same numbers).
constexpr uint64_t kOneSector = 8, kLargeSector = 100, kManySector = 20'000;
constexpr size_t kLargeSectors = 6 * 2048 + 3;  // six requests of a MiB and a bit
constexpr size_t kManySectors = 8;              // of each of the many
constexpr size_t kMost = 64;

Result<void> test_read_only(BlockDevice& disk, uint64_t number, std::span<uint8_t> buffer) {
    const std::span<uint8_t> data = buffer.first(64 * kSectorBytes);
    poison(data);
    TRY(disk.read(0, data));
    TRY(expect(holds(data, number, 0), disk.name(), "a read-only disk gives what the host put there"));
    TRY(expect(failed_as(disk.write(0, data), ErrorCode::kUnsupported), disk.name(), "writing is refused"));
    BlockRequest request{BlockRequest::Kind::kWrite, 0, data, false, {}};
    disk.start(request);
    TRY(expect(request.done && failed_as(request.outcome, ErrorCode::kUnsupported), disk.name(),
               "a request to write is refused"));
    return disk.flush();
}

/// As many requests as the disk takes, under way at once, and all of them right.
Result<void> test_many(BlockDevice& disk, uint64_t number, std::span<uint8_t> buffer) {
    const size_t depth = disk.limits().in_flight < kMost ? disk.limits().in_flight : kMost;
    TRY(expect(depth >= 16, disk.name(), "16 requests in flight"));
    static BlockRequest requests[kMost];
    // Backwards, so that no order of the requests is that of the sectors.
    auto start_all = [&](BlockRequest::Kind kind) {
        for (size_t i = 0; i < depth; ++i) {
            const size_t place = (depth - 1 - i) * kManySectors;
            requests[i] = {kind,
                           kManySector + place,
                           buffer.subspan(place * kSectorBytes, kManySectors * kSectorBytes),
                           false,
                           {}};
            disk.start(requests[i]);
        }
        for (size_t i = 0; i < depth; ++i) {
            while (!requests[i].done) disk.poll();
        }
    };
    const std::span<uint8_t> all = buffer.first(depth * kManySectors * kSectorBytes);
    fill(all, number, kManySector);
    start_all(BlockRequest::Kind::kWrite);
    for (size_t i = 0; i < depth; ++i) TRY(requests[i].outcome);
    TRY(disk.flush());
    poison(all);
    start_all(BlockRequest::Kind::kRead);
    for (size_t i = 0; i < depth; ++i) TRY(requests[i].outcome);
    return expect(holds(all, number, kManySector), disk.name(), "each of many requests has its own data");
}

Result<void> test_edges(BlockDevice& disk, uint64_t number, std::span<uint8_t> buffer) {
    const uint64_t sectors = disk.limits().sectors;
    const std::span<uint8_t> one = buffer.first(kSectorBytes), two = buffer.first(2 * kSectorBytes);
    fill(one, number, sectors - 1);
    TRY(disk.write(sectors - 1, one));
    poison(two);
    TRY(disk.read(sectors - 2, two));
    TRY(expect(holds(two.subspan(kSectorBytes), number, sectors - 1), disk.name(),
               "the last sector is there"));
    TRY(expect(failed_as(disk.write(sectors - 1, two), ErrorCode::kOutOfRange), disk.name(),
               "a write over the end is refused"));
    TRY(expect(failed_as(disk.read(sectors, one), ErrorCode::kOutOfRange), disk.name(),
               "a read behind the end is refused"));
    TRY(expect(failed_as(disk.read(UINT64_MAX, one), ErrorCode::kOutOfRange), disk.name(),
               "the last sector of all is refused"));
    TRY(expect(failed_as(disk.read(0, buffer.first(700)), ErrorCode::kOutOfRange), disk.name(),
               "a part of a sector is refused"));
    TRY(disk.read(sectors, {}));
    BlockRequest over{BlockRequest::Kind::kRead, sectors - 1, two, false, {}};
    disk.start(over);
    TRY(expect(over.done && failed_as(over.outcome, ErrorCode::kOutOfRange), disk.name(),
               "a request over the end is refused"));
    BlockRequest odd{BlockRequest::Kind::kRead, 0, buffer.subspan(1, kSectorBytes), false, {}};
    disk.start(odd);
    return expect(odd.done && failed_as(odd.outcome, ErrorCode::kInvalid), disk.name(),
                  "an odd address is refused");
}

Result<void> test_io(Platform& platform) {
    constexpr size_t kBufferBytes = kLargeSectors * kSectorBytes + 64;
    const Buffer<uint8_t> memory =
        TRY(Buffer<uint8_t>::make(platform.allocator(), kBufferBytes, "self-test"));
    uint64_t number = 0;
    for (BlockDevice* disk : disks()) {
        const std::span<uint8_t> buffer = memory.span();
        if (disk->limits().read_only) {
            TRY(test_read_only(*disk, number, buffer));
        } else {
            const std::span<uint8_t> one = buffer.first(kSectorBytes);
            fill(one, number, kOneSector);
            TRY(disk->write(kOneSector, one));
            poison(one);
            TRY(disk->read(kOneSector, one));
            TRY(expect(holds(one, number, kOneSector), disk->name(), "a sector is read as it was written"));

            const std::span<uint8_t> large = buffer.first(kLargeSectors * kSectorBytes);
            fill(large, number, kLargeSector);
            const uint64_t begin = platform.clock().now_ns();
            TRY(disk->write(kLargeSector, large));
            TRY(disk->flush());
            const uint64_t written = platform.clock().now_ns();
            const std::span<uint8_t> moved = buffer.subspan(2, large.size());  // even, and no more
            poison(buffer);
            const uint64_t before = platform.clock().now_ns();
            TRY(disk->read(kLargeSector, moved));
            const uint64_t read = platform.clock().now_ns();
            TRY(expect(holds(moved, number, kLargeSector), disk->name(),
                       "megabytes are read as they were written"));
            TRY(expect(buffer[1] == kPoison && buffer[2 + moved.size()] == kPoison, disk->name(),
                       "nothing beside the buffer is written"));
            TRY(test_many(*disk, number, buffer));
            TRY(test_edges(*disk, number, buffer));
            LogRecord(platform.log(), "disk_speed")
                .field("name", disk->name())
                .field("bytes", large.size())
                .field("write_ms", static_cast<double>(written - begin) / 1e6)
                .field("read_ms", static_cast<double>(read - before) / 1e6);
        }
        LogRecord(platform.log(), "disk_io").field("name", disk->name()).field("ok", true);
        ++number;
    }
    return {};
}

void log_outcome(Platform& platform, const char* event, uint64_t sector, const Result<void>& outcome,
                 bool same) {
    LogRecord record(platform.log(), event);
    record.field("sector", sector).field("ok", outcome.ok()).field("same", same);
    if (!outcome)
        record.field("device", outcome.error().code() == ErrorCode::kDevice)
            .field("error", outcome.error().message());
}

/// One sector after another of the first disk, each told of: which of them fail, the host decides.
Result<void> test_each(Platform& platform) {
    TRY(expect(!disks().empty(), "the machine", "it has a disk"));
    BlockDevice& disk = *disks()[0];
    constexpr uint64_t kSectors = 12;
    alignas(16) uint8_t sector[kSectorBytes];
    for (uint64_t i = 0; i < kSectors; ++i) {
        fill(sector, 0, i);
        log_outcome(platform, "disk_write", i, disk.write(i, sector), true);
    }
    log_outcome(platform, "disk_flush", 0, disk.flush(), true);
    for (uint64_t i = 0; i < kSectors; ++i) {
        poison(sector);
        const Result<void> outcome = disk.read(i, sector);
        log_outcome(platform, "disk_read", i, outcome, holds(sector, 0, i));
    }
    return {};
}

/// All of them at once, so that failing ones stand between others.
Result<void> test_together(Platform& platform) {
    TRY(expect(!disks().empty(), "the machine", "it has a disk"));
    BlockDevice& disk = *disks()[0];
    constexpr size_t kSectors = 12;
    static uint8_t data[kSectors * kSectorBytes];
    static BlockRequest requests[kSectors];
    for (const auto kind : {BlockRequest::Kind::kWrite, BlockRequest::Kind::kRead}) {
        const bool write = kind == BlockRequest::Kind::kWrite;
        for (size_t i = 0; i < kSectors; ++i) {
            const auto sector = std::span<uint8_t>(data).subspan(i * kSectorBytes, kSectorBytes);
            if (write) {
                fill(sector, 0, i);
            } else {
                poison(sector);
            }
            requests[i] = {kind, i, sector, false, {}};
            disk.start(requests[i]);
        }
        for (size_t i = 0; i < kSectors; ++i) {
            while (!requests[i].done) disk.poll();
            log_outcome(platform, write ? "disk_write" : "disk_read", i, requests[i].outcome,
                        holds(requests[i].data, 0, i));
        }
    }
    return {};
}

/// The host lets the disk stall: several requests run out of time, and the disk stays off.
Result<void> test_stall(Platform& platform) {
    TRY(expect(!disks().empty(), "the machine", "it has a disk"));
    BlockDevice& disk = *disks()[0];
    constexpr size_t kPart = 1 << 20, kParts = 2;
    const Buffer<uint8_t> memory =
        TRY(Buffer<uint8_t>::make(platform.allocator(), kPart * kParts, "self-test"));
    TRY(disk.read(0, memory.span().first(kPart)));  // what the host allows at once is used up
    BlockRequest requests[kParts];
    const uint64_t begin = platform.clock().now_ns();
    for (size_t i = 0; i < kParts; ++i) {
        requests[i] = {BlockRequest::Kind::kRead,
                       i * (kPart / kSectorBytes),
                       memory.span().subspan(i * kPart, kPart),
                       false,
                       {}};
        disk.start(requests[i]);
    }
    for (BlockRequest& request : requests) {
        while (!request.done) disk.poll();
        LogRecord(platform.log(), "disk_stalled")
            .field("ms", static_cast<double>(platform.clock().now_ns() - begin) / 1e6)
            .field("ok", request.outcome.ok())
            .field("error", request.outcome.ok() ? std::string_view() : request.outcome.error().message());
    }
    // The buffers are ours again: nobody writes there, for longer than the host would have let the disk wait.
    poison(memory.span());
    constexpr uint64_t kWatchNs = 8'000'000'000;
    const uint64_t watched = platform.clock().now_ns();
    while (platform.clock().now_ns() - watched < kWatchNs) cpu::pause();
    bool untouched = true;
    for (const uint8_t byte : memory.span()) untouched = untouched && byte == kPoison;
    const Result<void> later = disk.read(0, memory.span().first(kSectorBytes));
    LogRecord(platform.log(), "disk_after_stall")
        .field("untouched", untouched)
        .field("ok", later.ok())
        .field("error", later.ok() ? std::string_view() : later.error().message());
    return {};
}

/// Writes, waits for a key while the host takes the medium away, and writes again.
Result<void> test_yank(Platform& platform) {
    TRY(expect(!disks().empty(), "the machine", "it has a disk"));
    BlockDevice& disk = *disks()[0];
    alignas(16) static uint8_t sector[kSectorBytes];
    fill(sector, 0, 0);
    log_outcome(platform, "disk_write", 0, disk.write(0, sector), true);
    constexpr uint64_t kWaitNs = 20'000'000'000;
    const uint64_t begin = platform.clock().now_ns();
    LogRecord(platform.log(), "disk_ready").field("name", disk.name());
    while (platform.clock().now_ns() - begin < kWaitNs && platform.terminal().poll() == Terminal::kNone)
        cpu::pause();
    log_outcome(platform, "disk_write", 1, disk.write(0, sector), true);
    log_outcome(platform, "disk_read", 2, disk.read(0, sector), true);
    return {};
}

Result<void> test_rtc(Platform& platform) {
    const uint64_t seconds = TRY(read_rtc(cmos_ports(), rtc_century_register(acpi_table("FACP"))));
    LogRecord(platform.log(), "rtc").field("seconds", seconds);
    return {};
}

}  // namespace

Result<void> run_disk_selftest(std::string_view name, Platform& platform) {
    if (name == "io") return test_io(platform);
    if (name == "each") return test_each(platform);
    if (name == "together") return test_together(platform);
    if (name == "stall") return test_stall(platform);
    if (name == "yank") return test_yank(platform);
    if (name == "rtc") return test_rtc(platform);
    return Error::make(ErrorCode::kNotFound, "self-test: there is none named disk:{}", name);
}

}  // namespace bareflow
