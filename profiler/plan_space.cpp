#include "profiler/plan_space.h"

#include <algorithm>

namespace bareflow {
namespace {

constexpr uint8_t kUnrolls[] = {1, 2, 4, 8};
/// Quantised sums take whole groups at a time, and unroll no further.
constexpr uint8_t kMostUnrolledGroups = 2;
constexpr uint16_t kPrefetches[] = {0, 256, 1024};
constexpr uint8_t kVectorBytes[] = {64, 32, 16};
constexpr unsigned kMostPanels = 16, kMostRows = 16;

unsigned sources_of(const RoutineKey& key) { return key.operation == Operation::kGateUp ? 2 : 1; }
unsigned panels_of(const RoutineKey& key) {
    const uint64_t outputs = key.operation == Operation::kQkv ? summed_outputs(key) : key.n;
    return static_cast<unsigned>((outputs + kPanelRows - 1) / kPanelRows);
}
/// Instructions for the multiply-adds of one vector of weights, and what brings it into a register.
double operations_of(const RoutineKey& key, const Plan& plan) {
    if (is_quantised(key.type)) return 5;
    const double multiply_add = key.numerics == NumericClass::kFma ? 1 : 2;
    return multiply_add + (key.type == ElementType::kF16 && plan.rows == 1 ? 1 : 0);
}
bool fits_in_l2(const RoutineKey& key, const Plan& plan, const TuningMachine& machine) {
    const uint64_t block = uint64_t{sources_of(key)} * plan.panels * kPanelRows * row_bytes(key.type, key.k);
    return key.m <= plan.rows || plan.panels == 1 || block <= machine.l2_bytes / 2;
}

/// A turn of the loop, of one panel.
bool reads_about_a_line(const RoutineKey& key, const Plan& plan) {
    constexpr uint64_t kLine = 64;
    return plan.unroll == 1 || plan.unroll * row_bytes(key.type, kGroup) / kGroup * kPanelRows <= kLine;
}

}  // namespace

double predicted_cost(const RoutineKey& key, const Plan& plan, uint64_t shape_bytes,
                      const TuningMachine& machine) {
    constexpr double kIssued = 2, kLatency = 4, kLoop = 4;  // a cycle; cycles; instructions
    constexpr double kL1BytesPerCycle = 64, kL2BytesPerCycle = 32, kMemoryBytesPerCycle = 24;
    const unsigned vectors = static_cast<unsigned>(kPanelRows * sizeof(float)) / plan.vector_bytes;
    const double per_row = sources_of(key) * plan.panels * vectors;
    const double loads = plan.rows > 1 ? per_row * (key.type == ElementType::kF16 ? 2 : 1) : 0;
    const double issue =
        (per_row * plan.rows * operations_of(key, plan) + plan.rows + loads + kLoop / plan.unroll) / kIssued;

    const double panel_bytes =
        static_cast<double>(row_bytes(key.type, key.k)) * kPanelRows / static_cast<double>(key.k);
    const double weights = sources_of(key) * plan.panels * panel_bytes;
    const bool read_again = key.m > plan.rows;  // a block, by the next tile of rows
    const uint64_t held = read_again ? static_cast<uint64_t>(weights) * key.k : shape_bytes;
    const double bytes_per_cycle = held <= machine.l1_bytes   ? kL1BytesPerCycle
                                   : held <= machine.l2_bytes ? kL2BytesPerCycle
                                                              : kMemoryBytesPerCycle;
    const double cycles = std::max({issue, kLatency, weights / bytes_per_cycle});
    return cycles / (plan.panels * plan.rows * static_cast<double>(kPanelRows));
}

bool is_at_limit(const RoutineKey& key, double routine_ns, double load_ns, uint64_t shape_bytes,
                 const TuningMachine& machine) {
    constexpr uint64_t kFarBeyond = 4;
    constexpr double kNearly = 0.95;
    return key.m == 1 && shape_bytes > kFarBeyond * machine.l2_bytes && load_ns >= kNearly * routine_ns;
}

PlanSpace::PlanSpace(const RoutineKey& key, uint64_t shape_bytes, const TuningMachine& machine) {
    if (summed_outputs(key) == 0) return;
    const bool streams = key.m == 1 && shape_bytes > machine.l2_bytes;
    const unsigned most_panels = std::min(kMostPanels, panels_of(key)),
                   most_rows = std::min(kMostRows, key.m);
    // Twice: the best figure must be known before a plan is measured by it.
    double best = 0;
    for (const bool keeping : {false, true}) {
        Plan plan;
        for (const uint8_t vector_bytes : kVectorBytes) {
            for (unsigned panels = 1; panels <= most_panels; ++panels) {
                for (unsigned rows = 1; rows <= most_rows; ++rows) {
                    plan.vector_bytes = vector_bytes;
                    plan.panels = static_cast<uint8_t>(panels);
                    plan.rows = static_cast<uint8_t>(rows);
                    for (const uint8_t unroll : kUnrolls) {
                        plan.unroll = unroll;
                        plan.prefetch = 0;
                        if (is_quantised(key.type) && unroll > kMostUnrolledGroups) continue;
                        if (!(machine.complete(key, plan) == plan) || !fits_in_l2(key, plan, machine))
                            continue;
                        const double cost = predicted_cost(key, plan, shape_bytes, machine);
                        if (!keeping) {
                            best = best == 0 ? cost : std::min(best, cost);
                        } else if (cost <= kWorthTiming * best) {
                            add(plan, cost);
                            for (const uint16_t prefetch : kPrefetches) {
                                if (prefetch == 0 || !streams || !reads_about_a_line(key, plan)) continue;
                                plan.prefetch = prefetch;
                                add(plan, cost);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Behind those that the model likes as well or better; what falls out at the end it liked least.
void PlanSpace::add(const Plan& plan, double cost) {
    const auto place = static_cast<size_t>(std::upper_bound(costs_, costs_ + count_, cost) - costs_);
    if (place == kMaxPlans) return;
    if (count_ < kMaxPlans) ++count_;
    for (size_t i = count_ - 1; i > place; --i) {
        plans_[i] = plans_[i - 1];
        costs_[i] = costs_[i - 1];
    }
    plans_[place] = plan;
    costs_[place] = cost;
}

}  // namespace bareflow
