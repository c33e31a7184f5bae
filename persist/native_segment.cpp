#include "persist/native_segment.h"

#include <algorithm>

#include "arch/base/crc32c.h"

namespace bareflow {
namespace {

static_assert(sizeof(NativeSpace) == kNativeCapacity);
static_assert(snapshot::kAreBytes<NativeHeader>, "no padding");

constexpr uint8_t kInt3 = 0xCC;  // Intel SDM 2A, INT3: what lies between routines is never run

constexpr uint32_t aligned(uint32_t offset) {
    return (offset + kNativeCodeAlignment - 1) / kNativeCodeAlignment * kNativeCodeAlignment;
}

NativeHeader header_of(ByteSpan segment) {
    NativeHeader header{};
    __builtin_memcpy(&header, segment.data(), sizeof header);
    return header;
}
bool is_segment(const NativeHeader& header, uint64_t room) {
    return header.magic == kNativeMagic && header.version == kNativeVersion && header.capacity <= room &&
           header.capacity % kNativePage == 0 && header.capacity >= kNativePage;
}
uint32_t crc_of(const NativeHeader& header) {
    return crc32c({reinterpret_cast<const uint8_t*>(&header), offsetof(NativeHeader, header_crc32c)});
}
bool is_zero(ByteSpan bytes) {
    return std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte == 0; });
}

// ELF-64 Object File Format 1.5, "ELF Header" and "Program Header": only what is read here.
struct ElfHeader {
    uint8_t ident[16];
    uint16_t type, machine;
    uint32_t version;
    uint64_t entry, program_headers, section_headers;
    uint32_t flags;
    uint16_t header_size, program_header_size, program_header_count;
    uint16_t section_header_size, section_header_count, section_names;
};
static_assert(sizeof(ElfHeader) == 64 && offsetof(ElfHeader, program_header_count) == 56);
struct ProgramHeader {
    uint32_t type, flags;
    uint64_t offset, virtual_address, physical_address, file_size, memory_size, alignment;
};
static_assert(sizeof(ProgramHeader) == 56);
constexpr uint8_t kElf64Little[] = {0x7F, 'E', 'L', 'F', 2, 1, 1};  // magic, 64 bits, little-endian, version
constexpr uint32_t kLoad = 1, kExecutable = 1;
constexpr uint16_t kMaxProgramHeaders = 64;

}  // namespace

// ---- reading
SnapshotRefusal NativeSegment::open(ByteSpan segment) {
    using enum SnapshotRefusal;
    if (segment.empty()) return kAbsent;
    if (segment.size() < sizeof(NativeHeader)) return kSmall;
    const NativeHeader header = header_of(segment);
    if (header.magic != kNativeMagic) return kMagic;
    if (header.version != kNativeVersion) return kFormatVersion;
    if (!is_segment(header, segment.size())) return kLength;
    const size_t fixed = offsetof(NativeHeader, bytes);
    if (is_zero(segment.subspan(fixed, sizeof header - fixed))) return kEmpty;
    if (header.header_crc32c != crc_of(header)) return kHeaderCrc;
    if (header.numerics > NumericClass::kMulAdd || header.isa > Isa::kAvx512Vnni ||
        header.quantised_isa > Isa::kAvx512Vnni || header.isa != float_isa_of(header.quantised_isa) ||
        header.reserved0 != 0 || !is_zero(header.reserved))
        return kReserved;
    const uint64_t code_begins = sizeof header + uint64_t{header.count} * sizeof(NativeEntry);
    if (header.count == 0 || header.count > kMaxNativeRoutines || header.bytes > header.capacity ||
        code_begins > header.bytes)
        return kLength;
    if (crc32c(segment.subspan(sizeof header, header.bytes - sizeof header)) != header.payload_crc32c)
        return kPayloadCrc;
    segment_ = segment.first(header.bytes);
    header_ = header;
    for (uint32_t i = 0; i < header.count; ++i) {
        const NativeEntry routine = entry(i);
        if (routine.bytes == 0 || routine.offset < code_begins ||
            routine.offset % kNativeCodeAlignment != 0 ||
            !fits(routine.offset, routine.bytes, header.bytes)) {
            header_ = {};
            return kCodeLength;
        }
    }
    return kNone;
}

NativeEntry NativeSegment::entry(uint32_t index) const {
    NativeEntry entry;
    const size_t at = sizeof(NativeHeader) + index * sizeof entry;
    ASSERT(index < header_.count && fits(at, sizeof entry, segment_.size()));
    __builtin_memcpy(&entry, segment_.data() + at, sizeof entry);
    return entry;
}

// ---- writing
void clear_native_segment(std::span<uint8_t> segment) {
    const NativeHeader empty{
        .magic = kNativeMagic, .version = kNativeVersion, .capacity = header_of(segment).capacity};
    std::fill(segment.begin(), segment.end(), uint8_t{0});
    __builtin_memcpy(segment.data(), &empty, sizeof empty);
}

Result<NativeFilling> fill_native_segment(std::span<uint8_t> segment, const SnapshotView& snapshot) {
    if (segment.size() < sizeof(NativeHeader) || !is_segment(header_of(segment), segment.size()))
        return invalid("there is no segment for routines to fill; give a native kernel of this version");
    clear_native_segment(segment);
    NativeFilling filling;
    NativeHeader header = header_of(segment);
    const auto is_wanted = [&](const snapshot::StoredRoutine& routine) {
        return routine.state == snapshot::RoutineState::kInstalled &&
               snapshot.check(routine, ~uint64_t{0}) == SnapshotRefusal::kNone &&
               routine.key.numerics == snapshot.header().numerics;
    };
    for (uint32_t i = 0; i < snapshot.routines(); ++i) header.count += is_wanted(snapshot.routine(i));
    if (header.count == 0)
        return Error::make(ErrorCode::kNotFound, "the snapshot has no routines; let its machine boot again");
    uint32_t entry_at = sizeof header;
    uint64_t end = sizeof header + uint64_t{header.count} * sizeof(NativeEntry);
    for (uint32_t i = 0; i < snapshot.routines(); ++i) {
        const snapshot::StoredRoutine routine = snapshot.routine(i);
        if (!is_wanted(routine)) {
            filling.left_out += routine.state == snapshot::RoutineState::kInstalled;
            continue;
        }
        const uint64_t begin = aligned(static_cast<uint32_t>(end));
        if (header.count > kMaxNativeRoutines || !fits(begin, routine.code_bytes, header.capacity)) {
            clear_native_segment(segment);
            return Error::make(ErrorCode::kOutOfRange,
                               "the snapshot's {} routines do not fit into the {} KiB that the image has for "
                               "them; use a full or small image",
                               header.count, header.capacity / 1024);
        }
        std::fill(segment.begin() + static_cast<ptrdiff_t>(end),
                  segment.begin() + static_cast<ptrdiff_t>(begin), kInt3);
        const NativeEntry entry{routine.key, static_cast<uint32_t>(begin), routine.code_bytes};
        __builtin_memcpy(segment.data() + entry_at, &entry, sizeof entry);
        entry_at += sizeof entry;
        __builtin_memcpy(segment.data() + begin, snapshot.code(routine).data(), routine.code_bytes);
        end = begin + routine.code_bytes;
        header.required_features |= routine.required_features;
        ++filling.routines;
    }
    const snapshot::Header& from = snapshot.header();
    filling.bytes = header.bytes = static_cast<uint32_t>(end);
    header.abi_version = from.abi_version;
    header.build_id = from.build_id;
    header.emitter_version = from.emitter_version;
    header.model_bytes = from.model_bytes;
    header.model_crc32c = from.model_crc32c;
    header.numerics = from.numerics;
    header.quantised_isa = from.quantised_isa;
    header.isa = float_isa_of(from.quantised_isa);
    header.generation = from.generation;
    header.payload_crc32c = crc32c(segment.subspan(sizeof header, header.bytes - sizeof header));
    header.header_crc32c = crc_of(header);
    __builtin_memcpy(segment.data(), &header, sizeof header);
    return filling;
}

// ---- in a file
Result<FileRange> find_native_segment(ByteSpan elf) {
    ByteReader reader(elf);
    const auto header = reader.read<ElfHeader>();
    if (!reader.ok() || !std::equal(std::begin(kElf64Little), std::end(kElf64Little), header.ident))
        return invalid("this is no ELF file of 64 bits; give a native kernel, bareflow-native.elf");
    const uint64_t table = uint64_t{header.program_header_count} * sizeof(ProgramHeader);
    if (header.program_header_size != sizeof(ProgramHeader) ||
        header.program_header_count > kMaxProgramHeaders || !fits(header.program_headers, table, elf.size()))
        return invalid("the ELF file's program headers are not in order; build it again");
    FileRange found;
    for (uint16_t i = 0; i < header.program_header_count; ++i) {
        ProgramHeader load;
        __builtin_memcpy(&load, elf.data() + header.program_headers + i * sizeof load, sizeof load);
        if (load.type != kLoad || (load.flags & kExecutable) == 0) continue;
        if (!fits(load.offset, load.file_size, elf.size()))
            return invalid("the ELF file is cut short: program header {} says {} bytes at {}", i,
                           load.file_size, load.offset);
        const uint64_t end = load.offset + load.file_size;
        // It begins on a page of memory, wherever that is in the file.
        const uint64_t to_page = (kNativePage - load.virtual_address % kNativePage) % kNativePage;
        for (uint64_t at = load.offset + to_page; at < end; at += kNativePage) {
            if (end - at < sizeof(NativeHeader)) break;
            const NativeHeader segment = header_of(elf.subspan(at));
            if (!is_segment(segment, end - at)) continue;
            if (found.size != 0) return invalid("the ELF file has two segments for routines; build it again");
            found = {at, segment.capacity};
            at += segment.capacity - kNativePage;
        }
    }
    if (found.size == 0)
        return Error::make(ErrorCode::kNotFound,
                           "the ELF file has no segment for routines; give a native kernel, "
                           "bareflow-native.elf");
    return found;
}

}  // namespace bareflow
