// The routines of a native image: a segment that its ELF file reserves, filled from a snapshot by a host tool or by a running
// machine, and read by the native kernel at boot. Everything is little-endian; what is reserved is zero.
//
//     NativeHeader | NativeEntry[count] | code of each, 64-byte aligned, int3 between | zeroes
//     0              128
//
// The linker leaves a header with magic, version and capacity, and zeroes behind it: an empty segment. It begins on a page of
// the file within an executable PT_LOAD, so that it is found without section headers and written in place.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "arch/base/bytes.h"
#include "arch/base/result.h"
#include "arch/base/routine.h"
#include "persist/snapshot.h"
#include "persist/snapshot_refusal.h"

namespace bareflow {

constexpr std::array<uint8_t, 8> kNativeMagic = {'B', 'F', 'N', 'A', 'T', 'I', 'V', 'E'};
constexpr uint32_t kNativeVersion = 1;
/// What an image reserves, in all: TinyLlama's routines take some 60 KiB.
constexpr uint32_t kNativeCapacity = 256 * 1024;
constexpr uint32_t kNativePage = 4096;  ///< where it begins is a multiple of this
constexpr uint32_t kNativeCodeAlignment = 64;
constexpr uint32_t kMaxNativeRoutines = 256;

struct NativeHeader {
    std::array<uint8_t, 8> magic{};
    uint32_t version{};
    uint32_t capacity{};  ///< bytes of the segment
    // ---- zero while it is empty
    uint32_t bytes{};           ///< that are used, from the header's first
    uint32_t count{};           ///< of entries
    uint32_t payload_crc32c{};  ///< of the used bytes behind the header
    uint32_t abi_version{};
    snapshot::BuildId build_id{};  ///< of the image whose snapshot it was
    uint32_t emitter_version{};
    uint64_t required_features{};  ///< feature_bits() of all routines together
    uint64_t model_bytes{};
    uint32_t model_crc32c{};  ///< the model's own header_crc32c
    NumericClass numerics{};
    Isa isa{};            ///< which the routines of floats were made for
    Isa quantised_isa{};  ///< and those of quantised weights
    uint8_t reserved0{};
    uint64_t generation{};  ///< of the snapshot
    uint8_t reserved[36]{};
    uint32_t header_crc32c{};  ///< of the bytes before it; 0 while it is empty
};
static_assert(sizeof(NativeHeader) == 128 && offsetof(NativeHeader, bytes) == 16);
static_assert(offsetof(NativeHeader, build_id) == 32 && offsetof(NativeHeader, required_features) == 56);
static_assert(offsetof(NativeHeader, numerics) == 76 && offsetof(NativeHeader, generation) == 80);
static_assert(offsetof(NativeHeader, header_crc32c) == 124);

struct NativeEntry {
    RoutineKey key;
    uint32_t offset;  ///< of its code, from the segment's beginning
    uint32_t bytes;
};
static_assert(sizeof(NativeEntry) == 52);

/// What the linker puts into an image.
struct NativeSpace {
    NativeHeader header{.magic = kNativeMagic, .version = kNativeVersion, .capacity = kNativeCapacity};
    uint8_t rest[kNativeCapacity - sizeof(NativeHeader)]{};
};

/// The widest ISA for floats that goes with one for quantised weights.
constexpr Isa float_isa_of(Isa quantised) {
    return has_evex(quantised)         ? Isa::kAvx512
           : has_vex(quantised)        ? Isa::kAvx2
           : quantised == Isa::kScalar ? Isa::kScalar
                                       : Isa::kSse2;
}

/// A segment that was filled. Nothing in it is trusted before it is checked; what the code does no check can say.
class NativeSegment {
 public:
    /// `segment` must outlive it. kEmpty: nobody filled it yet. kAbsent: there is none.
    SnapshotRefusal open(ByteSpan segment);

    const NativeHeader& header() const { return header_; }
    uint32_t count() const { return header_.count; }
    NativeEntry entry(uint32_t index) const;
    /// Within the segment, aligned.
    ByteSpan code(const NativeEntry& entry) const { return segment_.subspan(entry.offset, entry.bytes); }

 private:
    NativeHeader header_{};
    ByteSpan segment_;
};

/// What became of a snapshot's routines.
struct NativeFilling {
    uint32_t routines = 0;  ///< now in the segment
    uint32_t left_out = 0;  ///< whose entry is not in order
    uint32_t bytes = 0;     ///< used of the segment
};

/// Writes every routine with code that the snapshot holds into the segment, in the snapshot's order: the most called first.
/// What was in the segment is lost. `segment` is find_native_segment()'s range of an image. Errors: it is no segment; there
/// are no routines, or more than it holds: then it is empty.
Result<NativeFilling> fill_native_segment(std::span<uint8_t> segment, const SnapshotView& snapshot);
/// As the linker left it.
void clear_native_segment(std::span<uint8_t> segment);

struct FileRange {
    uint64_t offset = 0, size = 0;
};
/// Where in an ELF64 file's bytes the one segment stands, empty or filled.
Result<FileRange> find_native_segment(ByteSpan elf);

}  // namespace bareflow
