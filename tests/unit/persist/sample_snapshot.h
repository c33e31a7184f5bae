// A small snapshot, and what it was made by.
#pragma once

#include <vector>

#include "arch/base/crc32c.h"
#include "model/tools/std_allocator.h"
#include "persist/snapshot.h"
#include "persist/snapshot_writer.h"

namespace bareflow::testing {

inline SnapshotIdentity sample_identity() {
    SnapshotIdentity identity;
    for (size_t i = 0; i < identity.build.size(); ++i) identity.build[i] = static_cast<uint8_t>(i + 1);
    identity.emitter_version = 3;
    identity.features = 0b1111;
    identity.model_bytes = 1234;
    identity.model_crc32c = 0xABCD;
    return identity;
}

struct SampleSnapshot {
    /// `seed` varies what is in it.
    explicit SampleSnapshot(uint8_t seed = 0) {
        const SnapshotIdentity identity = sample_identity();
        header.boot_count = 7;
        header.timestamp = 1'700'000'000;
        header.emitter_version = identity.emitter_version;
        header.build_id = identity.build;
        header.abi_version = identity.abi_version;
        header.model_bytes = identity.model_bytes;
        header.model_crc32c = identity.model_crc32c;
        header.quantised_isa = Isa::kAvx2Words;
        for (uint32_t i = 0; i < 3; ++i)
            boots.push_back({.boot = 5 + i,
                             .compiled = 2 - i,
                             .restored = 7 * i,
                             .plans_tried = 40,
                             .ns_per_token = 1000});
        const RoutineKey key = parse_key("project_1x128x64_f32_muladd_sse2").take();
        const RoutineKey norm = parse_key("rms_norm_64_muladd_sse2").take();
        const Plan plan{.panels = 2, .rows = 1, .unroll = 4, .vector_bytes = 16};
        plans.push_back({key, plan, 100, 3, 110, 4, {}});
        plans.push_back({key, {.panels = 3, .rows = 1, .unroll = 4, .vector_bytes = 16}, 130, 3, 100, 3, {}});
        profiles.push_back({.operation = Operation::kProject, .m = 1, .n = 128, .k = 64, .call_count = 9});
        code = std::vector<uint8_t>(100, seed);
        routines.push_back(
            {.key = key, .plan = plan, .median_ns = 100, .required_features = 1, .saved_ns = 50});
        routines.push_back(
            {.key = norm, .plan = plan, .required_features = 2, .state = snapshot::RoutineState::kSlower});
        codes = {code, {}};
    }
    /// Payload of whole sectors; header with everything but the generation.
    Buffer<uint8_t> write() {
        return write_payload(header, {totals, boots, plans, profiles, routines, codes}, allocator).take();
    }
    SnapshotRefusal open(SnapshotView& view, Buffer<uint8_t>& payload) {
        payload = write();
        return view.open(header, {payload.data(), header.payload_bytes});
    }

    StdAllocator allocator;
    snapshot::Header header{};
    snapshot::HistoryTotals totals{.boots = 7};
    std::vector<snapshot::StoredBoot> boots;
    std::vector<snapshot::StoredPlan> plans;
    std::vector<snapshot::StoredProfile> profiles;
    std::vector<snapshot::StoredRoutine> routines;
    std::vector<uint8_t> code;
    std::vector<ByteSpan> codes;
};

}  // namespace bareflow::testing
