// Why a snapshot, or an entry of one, is not used. Each reason has a name of its own, so that a log tells what happened and a
// test can ask for it.
#pragma once

#include <cstdint>
#include <iterator>
#include <string_view>

namespace bareflow {

enum class SnapshotRefusal : uint8_t {
    kNone = 0,
    // ---- of a slot
    kAbsent,  ///< there is no such file
    kDevice,  ///< the disk failed
    kSmall,   ///< the file is too small for any snapshot
    kEmpty,   ///< zeroes: nothing was written yet
    kMagic,
    kFormatVersion,
    kHeaderCrc,
    kReserved,  ///< a field that must be zero is not, or an enumerator that there is not
    kLength,    ///< counts and sizes do not fit each other, the slot or the limits
    kPayloadCrc,
    kMemory,  ///< no room to read it
    // ---- of a snapshot that is whole
    kBuild,
    kEmitter,
    kAbi,
    kFeatures,  ///< the CPU lacks what its routines need
    kNumerics,
    kModel,
    kUnclean,  ///< too many boots in a row began from it and did not end well
    // ---- of an entry
    kKey,
    kShape,  ///< not one of this model
    kPlan,
    kVerdict,
    kCodeLength,
    kCodeCrc,
    kCodeDiffers,  ///< emitted again, it has other bytes
    kNoRoom,       ///< in the cache of routines
};
constexpr size_t kSnapshotRefusals = static_cast<size_t>(SnapshotRefusal::kNoRoom) + 1;

constexpr std::string_view name_of(SnapshotRefusal refusal) {
    constexpr std::string_view kNames[] = {
        "none",       "absent",   "device",      "small",       "empty",        "magic",  "version",
        "header_crc", "reserved", "length",      "payload_crc", "memory",       "build",  "emitter",
        "abi",        "features", "numerics",    "model",       "unclean",      "key",    "shape",
        "plan",       "verdict",  "code_length", "code_crc",    "code_differs", "no_room"};
    static_assert(std::size(kNames) == kSnapshotRefusals);
    return kNames[static_cast<size_t>(refusal)];
}

/// How often each reason was met.
class RefusalCounts {
 public:
    void add(SnapshotRefusal refusal) { ++counts_[static_cast<size_t>(refusal)]; }
    uint32_t of(SnapshotRefusal refusal) const { return counts_[static_cast<size_t>(refusal)]; }
    uint32_t total() const {
        uint32_t total = 0;
        for (const uint32_t count : counts_) total += count;
        return total;
    }

 private:
    uint32_t counts_[kSnapshotRefusals] = {};
};

}  // namespace bareflow
