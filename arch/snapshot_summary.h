// What convergence is decided on, of what a snapshot says of a boot.
#pragma once

#include "persist/snapshot_format.h"
#include "profiler/convergence.h"

namespace bareflow {

inline BootSummary summary_of(const snapshot::StoredBoot& boot) {
    return {.boot = boot.boot,
            .compiled = boot.compiled,
            .restored = boot.restored,
            .rejected = boot.rejected,
            .plans_tried = boot.plans_tried,
            .plans_left = boot.plans_left,
            .ns_per_token = boot.ns_per_token};
}

}  // namespace bareflow
