// The segment of native images: filled from a snapshot, found in an ELF file, and read whatever its bytes are.
#include "persist/native_segment.h"

#include <gmock/gmock.h>

#include <elf.h>

#include <cstring>
#include <random>

#include "tests/unit/persist/sample_snapshot.h"

namespace bareflow {
namespace {

using ::testing::HasSubstr;
using Bytes = std::vector<uint8_t>;

Bytes empty_segment(uint32_t capacity = 8192) {
    NativeHeader header{.magic = kNativeMagic, .version = kNativeVersion, .capacity = capacity};
    Bytes segment(capacity);
    std::memcpy(segment.data(), &header, sizeof header);
    return segment;
}

/// A segment that was filled from the sample snapshot.
struct Filled {
    explicit Filled(uint8_t seed = 0x90) : sample(seed) {
        sample.header.numerics = NumericClass::kMulAdd;
        sample.header.quantised_isa = Isa::kSsse3;
        sample.header.generation = 5;
        EXPECT_EQ(sample.open(view, payload), SnapshotRefusal::kNone);
    }
    Result<NativeFilling> fill() { return fill_native_segment(segment, view); }
    NativeHeader& header() { return *reinterpret_cast<NativeHeader*>(segment.data()); }
    NativeEntry& entry() { return *reinterpret_cast<NativeEntry*>(segment.data() + sizeof(NativeHeader)); }
    /// Makes both CRCs right after a change.
    void seal() {
        header().payload_crc32c =
            crc32c({segment.data() + sizeof(NativeHeader), header().bytes - sizeof(NativeHeader)});
        header().header_crc32c = crc32c({segment.data(), offsetof(NativeHeader, header_crc32c)});
    }
    SnapshotRefusal read() { return NativeSegment().open(segment); }

    testing::SampleSnapshot sample;
    SnapshotView view;
    Buffer<uint8_t> payload;
    Bytes segment = empty_segment();
};

TEST(NativeSegment, HoldsTheRoutinesOfTheSnapshotAndWhoseTheyAre) {
    Filled filled;
    const NativeFilling filling = filled.fill().take();
    EXPECT_EQ(filling.routines, 1u) << "the other one has no code";
    EXPECT_EQ(filling.left_out, 0u);
    NativeSegment segment;
    ASSERT_EQ(segment.open(filled.segment), SnapshotRefusal::kNone);
    const NativeHeader& header = segment.header();
    const SnapshotIdentity identity = testing::sample_identity();
    EXPECT_EQ(header.build_id, identity.build);
    EXPECT_EQ(header.emitter_version, identity.emitter_version);
    EXPECT_EQ(header.abi_version, kRoutineAbi);
    EXPECT_EQ(header.model_bytes, identity.model_bytes);
    EXPECT_EQ(header.model_crc32c, identity.model_crc32c);
    EXPECT_EQ(header.required_features, 1u) << "of routines with code only";
    EXPECT_EQ(header.numerics, NumericClass::kMulAdd);
    EXPECT_EQ(header.quantised_isa, Isa::kSsse3);
    EXPECT_EQ(header.isa, Isa::kSse2);
    EXPECT_EQ(header.generation, 5u);
    EXPECT_EQ(header.bytes, filling.bytes);
    ASSERT_EQ(segment.count(), 1u);
    const NativeEntry entry = segment.entry(0);
    EXPECT_EQ(name_of(entry.key).view(), "project_1x128x64_f32_muladd_sse2");
    EXPECT_EQ(entry.offset % kNativeCodeAlignment, 0u);
    const ByteSpan code = segment.code(entry);
    EXPECT_EQ(Bytes(code.begin(), code.end()), filled.sample.code);
}

TEST(NativeSegment, FilledTwiceIsFilledTheSame) {
    Filled filled;
    filled.fill().take();
    const Bytes once = filled.segment;
    std::fill(filled.segment.begin() + 4000, filled.segment.end(), uint8_t{1});
    filled.fill().take();
    EXPECT_EQ(filled.segment, once);
    clear_native_segment(filled.segment);
    EXPECT_EQ(filled.segment, empty_segment());
    EXPECT_EQ(filled.read(), SnapshotRefusal::kEmpty);
}

TEST(NativeSegment, WhatIsNotInOrderIsRefusedByItsName) {
    using enum SnapshotRefusal;
    struct Case {
        const char* what;
        SnapshotRefusal refusal;
        bool sealed;
        void (*change)(Filled&);
    };
    const Case cases[] = {
        {"magic", kMagic, true, [](Filled& f) { f.header().magic[0] = 'b'; }},
        {"version", kFormatVersion, true, [](Filled& f) { ++f.header().version; }},
        {"capacity beyond the segment", kLength, true, [](Filled& f) { f.header().capacity += kNativePage; }},
        {"capacity of no pages", kLength, true, [](Filled& f) { f.header().capacity -= 1; }},
        {"header", kHeaderCrc, false, [](Filled& f) { f.header().model_bytes ^= 1; }},
        {"header's CRC", kHeaderCrc, false, [](Filled& f) { f.header().header_crc32c ^= 1; }},
        {"numerics", kReserved, true, [](Filled& f) { f.header().numerics = NumericClass{2}; }},
        {"isa", kReserved, true, [](Filled& f) { f.header().isa = Isa{9}; }},
        {"isa of another width", kReserved, true, [](Filled& f) { f.header().isa = Isa::kAvx2; }},
        {"quantised isa", kReserved, true, [](Filled& f) { f.header().quantised_isa = Isa{8}; }},
        {"reserved byte", kReserved, true, [](Filled& f) { f.header().reserved0 = 1; }},
        {"reserved bytes", kReserved, true, [](Filled& f) { f.header().reserved[35] = 1; }},
        {"no entries", kLength, true, [](Filled& f) { f.header().count = 0; }},
        {"many entries", kLength, true, [](Filled& f) { f.header().count = kMaxNativeRoutines + 1; }},
        {"entries beyond the end", kLength, true, [](Filled& f) { f.header().count = 200; }},
        {"more bytes than it has", kLength, false,
         [](Filled& f) {
             f.header().bytes = f.header().capacity + 1;
             f.header().header_crc32c = crc32c({f.segment.data(), offsetof(NativeHeader, header_crc32c)});
         }},
        {"an entry", kPayloadCrc, false, [](Filled& f) { f.entry().key.n ^= 1; }},
        {"code", kPayloadCrc, false, [](Filled& f) { f.segment[f.entry().offset] ^= 1; }},
        {"code before the code", kCodeLength, true, [](Filled& f) { f.entry().offset = 0; }},
        {"code between alignments", kCodeLength, true, [](Filled& f) { f.entry().offset += 1; }},
        {"code beyond the end", kCodeLength, true, [](Filled& f) { f.entry().bytes += 1; }},
        {"code beyond all ends", kCodeLength, true, [](Filled& f) { f.entry().bytes = UINT32_MAX; }},
        {"no code", kCodeLength, true, [](Filled& f) { f.entry().bytes = 0; }},
    };
    for (const Case& each : cases) {
        Filled filled;
        filled.fill().take();
        each.change(filled);
        if (each.sealed) filled.seal();
        EXPECT_EQ(filled.read(), each.refusal) << each.what << ": " << name_of(filled.read());
    }
    EXPECT_EQ(NativeSegment().open({}), kAbsent);
    EXPECT_EQ(NativeSegment().open(Bytes(100)), kSmall);
}

TEST(NativeSegment, AnyFlippedBitIsFound) {
    Filled filled;
    filled.fill().take();
    for (size_t bit = 0; bit < size_t{filled.header().bytes} * 8; ++bit) {
        filled.segment[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
        ASSERT_NE(filled.read(), SnapshotRefusal::kNone) << "bit " << bit;
        filled.segment[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    }
}

// With CRCs that fit, whatever the rest says: nothing is read beyond the segment (the sanitizers' build looks).
TEST(NativeSegment, HostileBytesAreReadWithinBounds) {
    std::mt19937 random(7);
    for (int round = 0; round < 3000; ++round) {
        Filled filled;
        filled.fill().take();
        for (int change = 0; change < 4; ++change) {
            const size_t at = 12 + random() % (sizeof(NativeHeader) + sizeof(NativeEntry) - 12);
            filled.segment[at] = static_cast<uint8_t>(random());
        }
        if (filled.header().bytes >= sizeof(NativeHeader) && filled.header().bytes <= filled.segment.size())
            filled.seal();
        NativeSegment segment;
        if (segment.open(filled.segment) != SnapshotRefusal::kNone) continue;
        for (uint32_t i = 0; i < segment.count(); ++i) {
            const ByteSpan code = segment.code(segment.entry(i));
            EXPECT_GE(code.data(), filled.segment.data());
            EXPECT_LE(code.data() + code.size(), filled.segment.data() + filled.segment.size());
        }
    }
}

TEST(NativeSegment, ASnapshotWithoutRoutinesOrWithTooManyLeavesItEmpty) {
    Filled none;
    none.sample.routines[0].state = snapshot::RoutineState::kSlower;
    none.sample.codes[0] = {};
    ASSERT_EQ(none.sample.open(none.view, none.payload), SnapshotRefusal::kNone);
    EXPECT_THAT(std::string(none.fill().error().message()), HasSubstr("has no routines"));
    EXPECT_EQ(none.read(), SnapshotRefusal::kEmpty);

    Filled large;
    large.sample.code.assign(9000, 0x90);
    large.sample.codes[0] = large.sample.code;
    ASSERT_EQ(large.sample.open(large.view, large.payload), SnapshotRefusal::kNone);
    EXPECT_THAT(std::string(large.fill().error().message()), HasSubstr("do not fit into the 8 KiB"));
    EXPECT_EQ(large.segment, empty_segment());

    Filled elsewhere;
    elsewhere.segment.assign(8192, 0);
    EXPECT_THAT(std::string(elsewhere.fill().error().message()), HasSubstr("no segment"));
}

TEST(NativeSegment, ARoutineWhoseEntryIsNotInOrderIsLeftOut) {
    Filled filled;
    const RoutineKey good = filled.sample.routines[0].key;
    filled.sample.routines.push_back(filled.sample.routines[0]);
    filled.sample.routines[2].key.num_heads = 3;  // which a projection has not
    filled.sample.codes.push_back(filled.sample.code);
    ASSERT_EQ(filled.sample.open(filled.view, filled.payload), SnapshotRefusal::kNone);
    const NativeFilling filling = filled.fill().take();
    EXPECT_EQ(filling.routines, 1u);
    EXPECT_EQ(filling.left_out, 1u);
    NativeSegment segment;
    ASSERT_EQ(segment.open(filled.segment), SnapshotRefusal::kNone);
    EXPECT_TRUE(segment.entry(0).key == good);
}

// ---- in a file
/// An ELF file with one executable PT_LOAD that ends with a segment.
struct ElfFile {
    explicit ElfFile(uint64_t at = 2 * kNativePage) : bytes(at + 8192 + 100) {
        Elf64_Ehdr& header = *reinterpret_cast<Elf64_Ehdr*>(bytes.data());
        std::memcpy(header.e_ident, ELFMAG, SELFMAG);
        header.e_ident[EI_CLASS] = ELFCLASS64;
        header.e_ident[EI_DATA] = ELFDATA2LSB;
        header.e_ident[EI_VERSION] = EV_CURRENT;
        header.e_phoff = 64;
        header.e_phentsize = sizeof(Elf64_Phdr);
        header.e_phnum = 2;
        load(0).p_type = load(1).p_type = PT_LOAD;
        load(0).p_flags = PF_R;
        load(0).p_offset = 4096;
        load(0).p_filesz = 100;
        load(1).p_flags = PF_R | PF_X;
        load(1).p_offset = load(1).p_vaddr = 4096 + 8;
        load(1).p_filesz = at + 8192 - 4104;
        put(at);
    }
    Elf64_Ehdr& header() { return *reinterpret_cast<Elf64_Ehdr*>(bytes.data()); }
    Elf64_Phdr& load(int index) { return reinterpret_cast<Elf64_Phdr*>(bytes.data() + 64)[index]; }
    void put(uint64_t at, uint32_t capacity = 8192) {
        const Bytes segment = empty_segment(capacity);
        std::memcpy(bytes.data() + at, segment.data(), std::min<uint64_t>(segment.size(), bytes.size() - at));
    }
    std::string error() {
        Result<FileRange> found = find_native_segment(bytes);
        return found.ok() ? "" : std::string(found.error().message());
    }
    Bytes bytes;
};

TEST(NativeSegmentInAFile, IsFoundWithinTheCode) {
    ElfFile elf;
    const FileRange range = find_native_segment(elf.bytes).take();
    EXPECT_EQ(range.offset, 2 * kNativePage);
    EXPECT_EQ(range.size, 8192u);
}

TEST(NativeSegmentInAFile, BeginsOnAPageOfMemoryWhereverThatIsInTheFile) {
    constexpr uint64_t kSector = 512;
    ElfFile elf(2 * kNativePage + kSector);
    EXPECT_THAT(elf.error(), HasSubstr("no segment for routines"));
    elf.load(1).p_vaddr -= kSector;
    EXPECT_EQ(find_native_segment(elf.bytes).take().offset, 2 * kNativePage + kSector);
}

TEST(NativeSegmentInAFile, WhatIsNoKernelWithOneSegmentIsRefused) {
    ElfFile elf;
    elf.load(1).p_flags = PF_R;
    EXPECT_THAT(elf.error(), HasSubstr("no segment for routines"));
    elf.load(1).p_flags = PF_R | PF_X;
    elf.load(1).p_filesz -= 1;
    EXPECT_THAT(elf.error(), HasSubstr("no segment for routines")) << "it is not whole";
    elf.load(1).p_filesz = UINT64_MAX;
    EXPECT_THAT(elf.error(), HasSubstr("cut short"));

    ElfFile headers;
    headers.header().e_phnum = 65;
    EXPECT_THAT(headers.error(), HasSubstr("program headers"));
    headers.header().e_phnum = 2;
    headers.header().e_phoff = UINT64_MAX - 8;
    EXPECT_THAT(headers.error(), HasSubstr("program headers"));
    headers.header().e_phoff = 64;
    headers.header().e_ident[EI_CLASS] = ELFCLASS32;
    EXPECT_THAT(headers.error(), HasSubstr("no ELF file"));
    headers.bytes.resize(20);
    EXPECT_THAT(headers.error(), HasSubstr("no ELF file"));

    ElfFile two(4 * kNativePage);
    two.put(2 * kNativePage, 2 * kNativePage);
    EXPECT_THAT(two.error(), HasSubstr("two segments"));
}

TEST(NativeSegmentInAFile, HostileHeadersAreReadWithinBounds) {
    std::mt19937 random(11);
    for (int round = 0; round < 5000; ++round) {
        ElfFile elf;
        for (int change = 0; change < 3; ++change) {
            const size_t at = random() % (64 + 2 * sizeof(Elf64_Phdr));
            elf.bytes[at] = random() % 2 == 0 ? uint8_t{0xFF} : static_cast<uint8_t>(random());
        }
        const Result<FileRange> found = find_native_segment(elf.bytes);
        if (!found.ok()) continue;
        EXPECT_TRUE(fits(found.value().offset, found.value().size, elf.bytes.size()));
    }
}

}  // namespace
}  // namespace bareflow
