// What a snapshot is on the disk, byte for byte: persist/README.md has the tables. Everything is little-endian; what is
// reserved is zero.
//
//     slot   header | … | boot mark | … | payload
//            0        512  4096      4608  8192
//     payload   HistoryTotals | StoredBoot[] | StoredPlan[] | StoredProfile[] | StoredRoutine[] | code
//
// Header, mark and payload lie in different pieces of 4 KiB: a disk whose real sectors are that large, and that loses power
// while it rewrites one of them, still has the others.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "arch/base/phase.h"
#include "arch/base/routine.h"
#include "arch/base/stage.h"
#include "persist/block_device.h"

namespace bareflow::snapshot {

constexpr uint32_t kMagic = 0x534E4150;      // "SNAP" as a number: the bytes are "PANS"
constexpr uint32_t kMarkMagic = 0x4B52414D;  // "MARK"
constexpr uint32_t kFormatVersion = 1;

constexpr uint64_t kHeaderOffset = 0, kMarkOffset = 4096, kPayloadOffset = 8192;

// Limits beyond which a snapshot is refused.
constexpr uint64_t kMaxGeneration = uint64_t{1} << 62;
constexpr uint32_t kMaxBoots = 64;  ///< of the history; older ones are in the totals only
constexpr uint32_t kMaxPlans = 2048;
constexpr uint32_t kMaxProfiles = 512;
constexpr uint32_t kMaxRoutines = 512;
constexpr uint32_t kMaxRoutineBytes = 64 * 1024;
constexpr uint32_t kMaxCodeBytes = 1 << 20;  ///< of all routines
constexpr uint32_t kCodeAlignment = 16;

/// What tells two builds apart: of the host program and of the kernel, each its own.
using BuildId = std::array<uint8_t, 20>;

/// One sector. Its first fields are SEED.md's.
struct Header {
    uint32_t magic;
    uint32_t version;
    uint32_t boot_count;  ///< boots up to the one that wrote it, that one included
    uint32_t reserved0;
    uint64_t timestamp;   ///< when it was written: Unix seconds, 0 where nobody knows
    uint64_t generation;  ///< of two snapshots the one with more is newer; never 0
    uint64_t payload_bytes;
    uint32_t payload_crc32c;
    uint32_t emitter_version;
    BuildId build_id;
    uint32_t abi_version;
    uint64_t required_features;  ///< of all routines together: feature_bits()
    uint64_t model_bytes;
    uint32_t model_crc32c;  ///< the model's own header_crc32c, which stands for all of its bytes
    NumericClass numerics;
    Stage stage;        ///< of the image that wrote it
    Isa quantised_isa;  ///< which routines for quantised weights were made for
    uint8_t reserved1;
    uint32_t boot_records, plans, profiles, routines;  ///< entries of the payload's arrays
    uint32_t code_bytes;
    uint8_t reserved[392];
    uint32_t header_crc32c;  ///< of the bytes before it
};
static_assert(sizeof(Header) == kSectorBytes);
static_assert(offsetof(Header, timestamp) == 16 && offsetof(Header, generation) == 24);
static_assert(offsetof(Header, payload_bytes) == 32 && offsetof(Header, payload_crc32c) == 40);
static_assert(offsetof(Header, build_id) == 48 && offsetof(Header, abi_version) == 68);
static_assert(offsetof(Header, required_features) == 72 && offsetof(Header, model_bytes) == 80);
static_assert(offsetof(Header, model_crc32c) == 88 && offsetof(Header, numerics) == 92);
static_assert(offsetof(Header, boot_records) == 96 && offsetof(Header, code_bytes) == 112);
static_assert(offsetof(Header, reserved) == 116 && offsetof(Header, header_crc32c) == 508);

/// How often a snapshot was booted from since it was written. One sector, rewritten in place; a mark that is damaged, or
/// belongs to another generation, counts nothing.
struct BootMark {
    uint32_t magic;
    uint32_t unclean;     ///< boots in a row that began from this snapshot and did not end well
    uint64_t generation;  ///< of the snapshot that it belongs to
    uint32_t boots;       ///< that began from it
    uint32_t
        header_crc32c;  ///< of the same: a generation may be given twice by a disk that failed in between
    uint8_t reserved[484];
    uint32_t crc32c;  ///< of the bytes before it
};
static_assert(sizeof(BootMark) == kSectorBytes && offsetof(BootMark, crc32c) == 508);

/// Of all boots since the snapshot began, however many.
struct HistoryTotals {
    uint64_t compiled{}, restored{}, rejected{}, plans_tried{};
    uint64_t ns{}, tokens{};  ///< of generation
    uint32_t boots{};         ///< that ended well
    uint32_t refused{};       ///< entries of snapshots, ever
    uint64_t reserved{};
};
static_assert(sizeof(HistoryTotals) == 64);

/// One boot that ended well; in the payload oldest first.
struct StoredBoot {
    uint32_t boot{};                              ///< its number
    uint32_t compiled{}, restored{}, rejected{};  ///< routines
    uint32_t plans_tried{}, plans_left{};
    uint32_t explored_permille{};
    uint32_t routines{};      ///< installed at its end
    uint64_t ns_per_token{};  ///< of generation; 0: nothing was generated
};
static_assert(sizeof(StoredBoot) == 40);

/// A plan that was tried: the tuner's record.
struct StoredPlan {
    RoutineKey key{};
    Plan plan{};
    uint32_t median_ns{};
    uint32_t spread_ns{};
    uint32_t incumbent_ns{};
    uint8_t verdict{};  ///< the tuner's number, 1 to kMaxVerdict
    uint8_t reserved[3]{};
};
constexpr uint8_t kMaxVerdict = 5;
static_assert(sizeof(StoredPlan) == 68 && offsetof(StoredPlan, median_ns) == 52);

/// Cycles of one operation at one shape in one phase, added up over boots.
struct StoredProfile {
    Operation operation{};
    Phase phase{};
    uint16_t reserved{};
    ElementType type{};
    uint32_t m{}, n{}, k{};
    uint32_t reserved1{};
    uint64_t call_count{}, timed_count{}, timed_cycles{}, min_cycles{}, max_cycles{};
};
static_assert(sizeof(StoredProfile) == 64 && offsetof(StoredProfile, call_count) == 24);

enum class RoutineState : uint8_t {
    kInstalled = 0,
    kSlower,       ///< right, but the reference is faster on this machine; no code
    kQuarantined,  ///< was made, and wrong or worse; no code
};

struct StoredRoutine {
    RoutineKey key{};
    Plan plan{};
    uint32_t median_ns{};  ///< of a call, as the tuner measured it; 0: it did not
    uint32_t spread_ns{};
    uint32_t code_bytes{};
    uint64_t required_features{};
    uint64_t saved_ns{};     ///< of a call, over the reference
    uint32_t code_offset{};  ///< from the beginning of the code
    uint32_t code_crc32c{};
    RoutineState state{};
    uint8_t reserved[7]{};
};
static_assert(sizeof(StoredRoutine) == 96 && offsetof(StoredRoutine, required_features) == 64);
static_assert(offsetof(StoredRoutine, code_offset) == 80 && offsetof(StoredRoutine, state) == 88);

static_assert(sizeof(RoutineKey) == 44 && alignof(RoutineKey) == 4 && sizeof(Plan) == 8);
static_assert(offsetof(RoutineKey, numerics) == 1 && offsetof(RoutineKey, isa) == 2);
static_assert(offsetof(RoutineKey, epilogue) == 3 && offsetof(RoutineKey, type) == 4);
static_assert(offsetof(RoutineKey, layout) == 8 && offsetof(RoutineKey, m) == 12);
static_assert(offsetof(RoutineKey, kv_n) == 24 && offsetof(RoutineKey, eps) == 40);

template <typename... T>
constexpr bool kAreBytes = (std::has_unique_object_representations_v<T> && ...);
static_assert(kAreBytes<Header, BootMark, HistoryTotals, StoredBoot, StoredProfile>, "no padding");

/// Bytes of a payload with so many entries; no sum overflows within the limits.
constexpr uint64_t payload_size(uint64_t boots, uint64_t plans, uint64_t profiles, uint64_t routines,
                                uint64_t code) {
    return sizeof(HistoryTotals) + boots * sizeof(StoredBoot) + plans * sizeof(StoredPlan) +
           profiles * sizeof(StoredProfile) + routines * sizeof(StoredRoutine) + code;
}
/// A slot of this size holds every snapshot that there can be.
constexpr uint64_t kLargestSlot =
    (kPayloadOffset + payload_size(kMaxBoots, kMaxPlans, kMaxProfiles, kMaxRoutines, kMaxCodeBytes) +
     kSectorBytes - 1) /
    kSectorBytes * kSectorBytes;

}  // namespace bareflow::snapshot
