// Which plans are worth timing for a routine: a finite list, best prospects first, the same at every boot.
//
// All of vector width x panels x rows x unroll x prefetch would be some thousands. A model of the inner loop prunes it. For
// one step of k in a block of panels and rows it takes the largest of
//
//     issue     (chains * operations + broadcasts + loads + loop / unroll) / 2    two instructions a cycle
//     latency   4                                  a sum waits for its last multiply-add, however few chains there are
//     bytes     weights of the step / bytes a cycle of where they lie: 64 in L1, 32 in L2, 24 beyond
//
// per output. A plan stays if the model gives it at most kWorthTiming times the best plan's figure: the model is rough, and
// the clock decides. Hard limits beside it:
//
//     registers   the emitter would change the plan, since its accumulators do not fit
//     L2          a block of panels that is read again for each tile of rows must stay in half of it
//     prefetch    only for one row of x, where all weights of the shape are more than L2 holds, and where a turn of the loop
//                 reads about one cache line of a panel: one line is what it fetches
//
// Beyond L2 the figure is the L3 cache's. What memory gives is measured instead, by plain loads of the same weights: a shape whose
// routine already reads as fast is left alone (is_at_limit()).
#pragma once

#include <span>

#include "arch/base/routine.h"

namespace bareflow {

/// What the model knows of the machine. Sizes are the smallest of the last ten years' x86-64 cores, so that a plan never
/// relies on a cache that is not there.
struct TuningMachine {
    /// The emitter's own account of what fits: a plan that comes back changed is not one.
    Plan (*complete)(const RoutineKey& key, const Plan& plan);
    uint64_t l1_bytes = 32 * 1024;
    uint64_t l2_bytes = 256 * 1024;
};

class PlanSpace {
 public:
    static constexpr size_t kMaxPlans = 48;
    static constexpr double kWorthTiming = 1.25;

    /// `shape_bytes`: the weights of all calls of the key, which a token reads one after another. Empty for operations
    /// without weights: nothing but the vector width could differ there, and they take a few hundredths of a token's time.
    PlanSpace(const RoutineKey& key, uint64_t shape_bytes, const TuningMachine& machine);

    std::span<const Plan> plans() const { return {plans_, count_}; }

 private:
    void add(const Plan& plan, double cost);

    Plan plans_[kMaxPlans];
    double costs_[kMaxPlans];
    size_t count_ = 0;
};

/// The model's figure: cycles for one step of k of one output.
double predicted_cost(const RoutineKey& key, const Plan& plan, uint64_t shape_bytes,
                      const TuningMachine& machine);

/// Whether a routine that takes `routine_ns` reads its weights as fast as plain loads do, which take `load_ns` for the same: no
/// plan can gain the margin then. Only beyond L2: in cache, plain loads are no limit.
bool is_at_limit(const RoutineKey& key, double routine_ns, double load_ns, uint64_t shape_bytes,
                 const TuningMachine& machine);

}  // namespace bareflow
