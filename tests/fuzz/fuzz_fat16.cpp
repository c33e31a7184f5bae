// libFuzzer, target 4: find, mount and walk a volume, and change it. The input is a list of patches on a small sound
// volume, so that it comes past the boot sector: most patches go to fields, table entries and directory entries.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "persist/fat16.h"
#include "persist/gpt.h"
#include "persist/partitions.h"

namespace {

using namespace bareflow;

struct HostAllocator final : Allocator {
    void* allocate(size_t size, size_t alignment) override {
        return std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    }
    void release(void* pointer) override { std::free(pointer); }
};

/// Sectors from 0 on are stored; the volume's far end is zeroes that forget what is written.
class Disk final : public BlockDevice {
 public:
    static constexpr uint64_t kSectors = 4400, kStored = 256;
    std::vector<uint8_t> bytes = std::vector<uint8_t>(kStored * kSectorBytes);

    std::string_view name() const override { return "fuzzed"; }
    Limits limits() const override { return {kSectors, 64 * 1024, 4, false}; }
    void start(BlockRequest& request) override {
        request.done = true;
        if (request.kind == BlockRequest::Kind::kFlush) return;
        if (!fits(request.sector, request.data.size() / kSectorBytes, kSectors)) std::abort();
        for (size_t at = 0; at < request.data.size(); at += kSectorBytes) {
            const uint64_t sector = request.sector + at / kSectorBytes;
            uint8_t* there = sector < kStored ? &bytes[sector * kSectorBytes] : nullptr;
            uint8_t* here = request.data.data() + at;
            const bool reading = request.kind == BlockRequest::Kind::kRead;
            if (there == nullptr) {
                if (reading) std::memset(here, 0, kSectorBytes);
            } else {
                std::memcpy(reading ? here : there, reading ? there : here, kSectorBytes);
            }
        }
    }
    void poll() override {}

    template <typename T>
    void set(uint64_t at, T value) {
        if (fits(at, sizeof(value), bytes.size())) std::memcpy(&bytes[at], &value, sizeof(value));
    }
};

// The volume: a partition at sector 4 of an MBR, clusters of one sector, two FATs of 17 sectors, 32 root entries.
constexpr uint64_t kStart = 4, kTable = kStart + 1, kTableSectors = 17, kRoot = kTable + 2 * kTableSectors,
                   kData = kRoot + 2;
constexpr uint32_t kVolumeSectors = 4300;

void put_entry(Disk& disk, uint64_t at, const char* name, uint8_t attributes, uint16_t cluster,
               uint32_t size) {
    if (!fits(at, 32, disk.bytes.size())) return;
    std::memcpy(&disk.bytes[at], name, 11);
    disk.set<uint8_t>(at + 11, attributes);
    disk.set<uint16_t>(at + 26, cluster);
    disk.set<uint32_t>(at + 28, size);
}

void put_table(Disk& disk, uint32_t cluster, uint16_t value) {
    for (uint64_t copy = 0; copy < 2; ++copy) {
        disk.set<uint16_t>((kTable + copy * kTableSectors) * kSectorBytes + cluster * 2, value);
    }
}

void make_volume(Disk& disk) {
    disk.set<uint8_t>(446 + 4, 0x06);
    disk.set<uint32_t>(446 + 8, kStart);
    disk.set<uint32_t>(446 + 12, kVolumeSectors);
    disk.set<uint16_t>(510, 0xAA55);
    const uint64_t boot = kStart * kSectorBytes;
    std::memcpy(&disk.bytes[boot], "\xEB\x3C\x90mkfs.fat", 11);
    disk.set<uint16_t>(boot + 11, 512);
    disk.set<uint8_t>(boot + 13, 1);
    disk.set<uint16_t>(boot + 14, 1);
    disk.set<uint8_t>(boot + 16, 2);
    disk.set<uint16_t>(boot + 17, 32);
    disk.set<uint16_t>(boot + 19, kVolumeSectors);
    disk.set<uint8_t>(boot + 21, 0xF8);
    disk.set<uint16_t>(boot + 22, kTableSectors);
    disk.set<uint8_t>(boot + 38, 0x29);
    disk.set<uint16_t>(boot + 510, 0xAA55);
    put_table(disk, 0, 0xFFF8);
    put_table(disk, 1, 0xFFFF);
    for (const uint32_t end : {2, 3, 7, 9, 10}) put_table(disk, end, 0xFFFF);
    for (const uint32_t link : {4, 5, 6, 8}) put_table(disk, link, static_cast<uint16_t>(link + 1));
    const uint64_t root = kRoot * kSectorBytes;
    put_entry(disk, root, "DIR        ", 0x10, 2, 0);
    put_entry(disk, root + 32, "FILE    BIN", 0x20, 4, 4 * 512 - 7);
    put_entry(disk, root + 64, "EMPTY      ", 0x20, 0, 0);
    // A long name: its piece carries the checksum of what follows.
    disk.set<uint8_t>(root + 96, 0x41);
    std::memcpy(&disk.bytes[root + 97], "l\0o\0n\0g\0 \0", 10);
    disk.set<uint8_t>(root + 96 + 11, 0x0F);
    uint8_t name[11];
    (void)pack_short_name("LONG~1.TXT", name);
    disk.set<uint8_t>(root + 96 + 13, short_name_checksum(name));
    put_entry(disk, root + 128, "LONG~1  TXT", 0x20, 8, 600);
    for (const uint64_t directory : {2, 3}) {
        const uint64_t at = (kData + directory - 2) * kSectorBytes;
        put_entry(disk, at, ".          ", 0x10, static_cast<uint16_t>(directory), 0);
        put_entry(disk, at + 32, "..         ", 0x10, directory == 3 ? 2 : 0, 0);
    }
    put_entry(disk, kData * kSectorBytes + 64, "SUB        ", 0x10, 3, 0);
    put_entry(disk, kData * kSectorBytes + 96, "IN_DIR     ", 0x20, 10, 512);
}

struct Input {
    const uint8_t* data;
    size_t size;
    uint8_t byte() {
        if (size == 0) return 0;
        --size;
        return *data++;
    }
    uint16_t word() { return static_cast<uint16_t>(byte() | byte() << 8); }
};

/// One patch, of 4 to 6 bytes of the input.
void patch(Disk& disk, Input& input) {
    const uint8_t kind = input.byte();
    const uint64_t boot = kStart * kSectorBytes;
    switch (kind % 8) {
        case 0:
            disk.set<uint8_t>(boot + 11 + input.byte() % 28, input.byte());
            break;
        case 1:
            disk.set<uint8_t>(446 + input.byte() % 66, input.byte());
            break;
        case 2:
        case 3:
            put_table(disk, input.byte() % 16, input.byte() % 2 ? input.byte() % 16 : input.word());
            break;
        case 4:
            disk.set<uint8_t>(kRoot * kSectorBytes + input.word() % 1024, input.byte());
            break;
        case 5:
            disk.set<uint8_t>(kData * kSectorBytes + input.word() % 1024, input.byte());
            break;
        case 6:
            disk.set<uint16_t>(kRoot * kSectorBytes + input.byte() % 8 * 32 + 26, input.byte() % 20);
            break;
        case 7:
            disk.set<uint32_t>(input.word() * uint64_t{2}, input.word());
            break;
    }
}

/// The same volume in a GPT of 8 entries in sectors 1 to 3, a few of its bytes changed, and its CRCs made right again.
void make_gpt(Disk& disk, Input& input) {
    constexpr uint64_t kHeader = kSectorBytes, kEntries = 2 * kSectorBytes;
    disk.set<uint8_t>(446 + 4, 0xEE);
    std::memcpy(&disk.bytes[kHeader], "EFI PART\0\0\1\0\x5C", 13);
    disk.set<uint64_t>(kHeader + 24, 1);
    disk.set<uint64_t>(kHeader + 72, 2);
    disk.set<uint32_t>(kHeader + 80, 8);
    disk.set<uint32_t>(kHeader + 84, 128);
    disk.set<uint8_t>(kEntries + 128, 1);
    disk.set<uint64_t>(kEntries + 128 + 32, kStart);
    disk.set<uint64_t>(kEntries + 128 + 40, kStart + kVolumeSectors - 1);
    for (unsigned i = input.byte() % 4; i > 0; --i)
        disk.set<uint8_t>(kHeader + input.byte() % 92, input.byte());
    for (unsigned i = input.byte() % 4; i > 0; --i)
        disk.set<uint8_t>(kEntries + input.word() % 1024, input.byte());
    const ByteSpan all(disk.bytes);
    if (input.byte() % 8 != 0) disk.set<uint32_t>(kHeader + 88, crc32(all.subspan(kEntries, 1024)));
    disk.set<uint32_t>(kHeader + 16, 0);
    if (input.byte() % 8 != 0) disk.set<uint32_t>(kHeader + 16, crc32(all.subspan(kHeader, 92)));
}

unsigned long long inputs, mounted, read_only, entries, changes;

void report() {
    std::fprintf(stderr,
                 "fuzz_fat16: %llu inputs, %llu mounted (%llu read-only), %llu entries seen, %llu changes\n",
                 inputs, mounted, read_only, entries, changes);
}

/// Lists and reads everything down to a depth, since directories may hold each other.
void walk(Fat16& fat, const std::string& path, int depth, std::vector<std::string>& paths) {
    auto listing = fat.list(path);
    if (!listing.ok()) return;
    FileInfo info;
    for (int i = 0; i < 64; ++i) {
        auto more = listing.value().next(info);
        if (!more.ok() || !more.value()) return;
        ++entries;
        const std::string full = path + "/" + std::string(info.short_name.view());
        paths.push_back(full);
        if (info.directory) {
            if (depth < 3) walk(fat, full, depth + 1, paths);
            continue;
        }
        std::vector<uint8_t> out(info.size < 4096 ? info.size : 4096);
        (void)fat.read(info, info.size - out.size(), out).ok();
        (void)fat.info(path + "/" + std::string(info.name.view())).ok();
        if (auto fixed = fat.open_fixed(full); fixed.ok() && fixed.value().size() <= out.size()) {
            (void)fixed.value().read(0, out).ok();
            (void)fixed.value().write(0, out).ok();
        }
    }
}

void change(Fat16& fat, Input& input, const std::vector<std::string>& paths) {
    const auto some = [&] { return paths.empty() ? std::string("DIR") : paths[input.byte() % paths.size()]; };
    const auto fresh = [&] { return some() + "/N" + std::to_string(input.byte() % 4); };
    const std::vector<uint8_t> text(input.word() % 3000, 0x55);
    Result<void> done;
    switch (input.byte() % 9) {
        case 0:
            done = fat.create(fresh());
            break;
        case 1:
            done = fat.append(some(), text);
            break;
        case 2:
            done = fat.truncate(some(), input.word());
            break;
        case 3:
            done = fat.remove(some());
            break;
        case 4:
            done = fat.rename(some(), input.byte() % 2 ? "X" : fresh());
            break;
        case 5:
            done = fat.make_directory(fresh());
            break;
        case 6:
            done = fat.remove_directory(some());
            break;
        case 7:
            done = fat.preallocate(input.byte() % 2 ? "P" : fresh(), input.word());
            break;
        case 8:
            done = fat.unmount();
            break;
    }
    changes += done.ok();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static const int registered = std::atexit(report);
    (void)registered;
    ++inputs;
    Input input{data, size};
    Disk disk;
    make_volume(disk);
    const unsigned patches = input.byte() % 24;
    for (unsigned i = 0; i < patches; ++i) patch(disk, input);
    if (input.byte() % 4 == 0) make_gpt(disk, input);
    auto found = find_fat16(disk);
    const SectorRange range = found.ok() ? found.value().range : SectorRange{kStart, kVolumeSectors};
    HostAllocator allocator;
    auto result = Fat16::mount(disk, range, allocator);
    if (!result.ok()) return 0;
    ++mounted;
    Fat16 fat = result.take();
    read_only += !fat.writable().ok();
    const uint64_t total = fat.total_bytes();
    std::vector<std::string> paths;
    walk(fat, "", 0, paths);
    for (int i = 0; i < 8 && input.size > 0; ++i) change(fat, input, paths);
    paths.clear();
    walk(fat, "", 0, paths);
    if (fat.free_bytes() > total) std::abort();
    (void)fat.unmount().ok();
    return 0;
}
