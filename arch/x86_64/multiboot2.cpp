#include "arch/x86_64/multiboot2.h"

#include <algorithm>

#include "arch/base/text.h"

namespace bareflow {
namespace {

// Tag types (3.6.x).
enum class TagType : uint32_t {
    kEnd = 0,
    kCommandLine = 1,
    kModule = 3,
    kMemoryMap = 6,
    kFramebuffer = 8,
    kAcpiOld = 14,
    kAcpiNew = 15
};

struct TagHeader {
    uint32_t type, size;
};
struct InformationHeader {
    uint32_t total_size, reserved;
};
struct MemoryMapHeader {
    uint32_t entry_size, entry_version;
};
struct MemoryMapEntry {
    uint64_t base, length;
    uint32_t type, reserved;
};
static_assert(sizeof(MemoryMapEntry) == 24);
struct ModuleHeader {
    uint32_t start, end;
};

struct [[gnu::packed]] FramebufferHeader {
    uint64_t address;
    uint32_t pitch, width, height;
    uint8_t bits, kind;
    uint16_t reserved;
    ColourField red, green, blue;  // of kind 1
};
static_assert(sizeof(FramebufferHeader) == 24 + 6);

constexpr uint32_t kMemoryAvailable = 1;
constexpr uint64_t kTagAlignment = 8;
constexpr uint32_t kMaxInformationSize = 1u << 20;

ByteSpan bytes_at(uint64_t address, uint64_t size) {
    return {reinterpret_cast<const uint8_t*>(address), size};
}

std::string_view text_of(ByteSpan bytes) {
    std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return text.substr(0, text.find('\0'));
}

void add_memory_map(BootInformation& info, ByteSpan body) {
    ByteReader reader(body);
    const auto header = reader.read<MemoryMapHeader>();
    if (header.entry_size < sizeof(MemoryMapEntry)) return;
    while (reader.left() >= header.entry_size) {
        ByteReader entry_reader(reader.take(header.entry_size));
        const auto entry = entry_reader.read<MemoryMapEntry>();
        if (entry.type == kMemoryAvailable && info.usable_count < BootInformation::kMaxRanges) {
            info.usable[info.usable_count++] = {entry.base, entry.length};
            info.ram_bytes += entry.length;
        }
    }
}

void add_module(BootInformation& info, ByteSpan body) {
    ByteReader reader(body);
    const auto header = reader.read<ModuleHeader>();
    if (!reader.ok() || header.end < header.start || info.module_count == BootInformation::kMaxModules)
        return;
    info.modules[info.module_count++] = {trimmed(text_of(reader.take(reader.left()))),
                                         bytes_at(header.start, header.end - header.start)};
}

/// A tag that is too short, as that of a text mode may be, reads as zeroes where it ends.
void add_framebuffer(BootInformation& info, ByteSpan body) {
    FramebufferHeader header{};
    __builtin_memcpy(&header, body.data(), std::min(body.size(), sizeof header));
    info.framebuffer = {.address = header.address,
                        .pitch = header.pitch,
                        .width = header.width,
                        .height = header.height,
                        .bits_per_pixel = header.bits,
                        .kind = static_cast<BootFramebuffer::Kind>(header.kind),
                        .red = header.red,
                        .green = header.green,
                        .blue = header.blue};
}

}  // namespace

ByteSpan BootInformation::module(std::string_view name) const {
    for (const BootModule& candidate : module_list()) {
        if (candidate.name == name) return candidate.bytes;
    }
    return {};
}

Result<BootInformation> parse_boot_information(uint32_t magic, uint64_t address) {
    if (magic != kMultiboot2BootMagic) {
        return invalid(
            "boot: the loader left magic 0x{:x} in EAX, not Multiboot2's; boot this kernel with GRUB's "
            "multiboot2 command",
            magic);
    }
    InformationHeader header;
    __builtin_memcpy(&header, reinterpret_cast<const void*>(address), sizeof header);
    if (header.total_size < sizeof header || header.total_size > kMaxInformationSize) {
        return invalid("boot: Multiboot2 information at 0x{:x} says it has {} bytes", address,
                       header.total_size);
    }
    BootInformation info;
    info.self = bytes_at(address, header.total_size);
    uint64_t offset = sizeof header;
    while (fits(offset, sizeof(TagHeader), info.self.size())) {
        TagHeader tag;
        __builtin_memcpy(&tag, info.self.data() + offset, sizeof tag);
        if (tag.size < sizeof tag || !fits(offset, tag.size, info.self.size())) {
            return invalid("boot: Multiboot2 tag of type {} at offset {} has size {}", tag.type, offset,
                           tag.size);
        }
        ByteSpan body = info.self.subspan(offset + sizeof tag, tag.size - sizeof tag);
        switch (static_cast<TagType>(tag.type)) {
            case TagType::kEnd:
                offset = info.self.size();
                continue;
            case TagType::kCommandLine:
                info.command_line = text_of(body);
                break;
            case TagType::kModule:
                add_module(info, body);
                break;
            case TagType::kMemoryMap:
                add_memory_map(info, body);
                break;
            case TagType::kFramebuffer:
                add_framebuffer(info, body);
                break;
            case TagType::kAcpiOld:
                if (info.rsdp.empty()) info.rsdp = body;
                break;
            case TagType::kAcpiNew:
                info.rsdp = body;
                break;
        }
        offset += (tag.size + kTagAlignment - 1) / kTagAlignment * kTagAlignment;
    }
    if (info.usable_count == 0) return invalid("boot: the loader gave no memory map");
    return info;
}

}  // namespace bareflow
