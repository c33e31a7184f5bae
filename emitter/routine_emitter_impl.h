// The body of emit_routine, for the files that instantiate it with an assembler.
#pragma once

#include "emitter/argmax_code.h"
#include "emitter/attention_code.h"
#include "emitter/projection_code.h"
#include "emitter/qkv_code.h"
#include "emitter/quantise_code.h"
#include "emitter/quantised_sums.h"
#include "emitter/rms_norm_code.h"
#include "emitter/routine_emitter.h"

namespace bareflow {

/// Any routine of weights, its sums made by `Sums`.
template <typename A, typename Sums>
void emit_product(A& a, const RoutineKey& key, const Plan& plan) {
    switch (key.operation) {
        case Operation::kGateUp:
            return ProjectionCode<A, Sums>(a, key, plan).emit_gate_up();
        case Operation::kQkv:
            return QkvCode<A, Sums>(a, key, plan).emit();
        default:
            return ProjectionCode<A, Sums>(a, key, plan).emit_project();
    }
}

template <typename A>
void emit_routine(A& a, const RoutineKey& key, const Plan& plan) {
    switch (key.operation) {
        case Operation::kProject:
        case Operation::kGateUp:
        case Operation::kQkv:
            return is_quantised(key.type) ? emit_product<A, QuantisedSums<A>>(a, key, plan)
                                          : emit_product<A, PanelSums<A>>(a, key, plan);
        case Operation::kRmsNorm:
            return RmsNormCode<A>(a, key, plan).emit();
        case Operation::kAttention:
            return AttentionCode<A>(a, key, plan).emit();
        case Operation::kArgmax:
            return ArgmaxRoutine<A>(a, key, plan).emit();
        case Operation::kSoftmax:
            return SoftmaxRoutine<A>(a, key, plan).emit();
        case Operation::kQuantise:
        case Operation::kQuantiseWords:
            return QuantiseCode<A>(a, key, plan).emit();
    }
    ASSERT(!"can_emit() was not asked");
}

}  // namespace bareflow
