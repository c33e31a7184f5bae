#include "emitter/routine_emitter.h"

#include <algorithm>

#include "emitter/attention_code.h"
#include "emitter/panel_sums.h"
#include "emitter/quantised_dots.h"

namespace bareflow {
namespace {

constexpr uint32_t kMaxDimension = 1u << 20;  ///< so that every displacement of a block fits in 32 bits
constexpr uint32_t kMaxRows = 64;

bool sane_matrix(const RoutineKey& key) {
    return can_store(key.type, key.layout, key.k) && key.layout == Layout::kPanels16 && key.n >= 1 &&
           key.n <= kMaxDimension && key.k >= 1 && key.k <= kMaxDimension && key.m >= 1 && key.m <= kMaxRows;
}

unsigned sources_of(const RoutineKey& key) { return key.operation == Operation::kGateUp ? 2 : 1; }
/// Without VNNI quantised sums need psignb, which has no EVEX form: AVX-512 computes them as AVX2 does.
bool uses_evex(const RoutineKey& key) {
    return has_evex(key.isa) && (!is_quantised(key.type) || has_vnni(key.isa));
}
unsigned vector_registers(const RoutineKey& key) { return uses_evex(key) ? 32 : 16; }
unsigned widest_vector(const RoutineKey& key) {
    if (key.operation == Operation::kQuantise || key.operation == Operation::kQuantiseWords) return 16;
    return uses_evex(key) ? 64 : has_vex(key.isa) ? 32 : 16;
}

/// Registers of a block beside its accumulators: x, the weights' way in, scratch, and what SiLU needs.
unsigned registers_needed(const RoutineKey& key, unsigned panels, unsigned rows, unsigned vectors_per_panel) {
    const unsigned sources = sources_of(key);
    const unsigned accumulators = sources * panels * rows * vectors_per_panel;
    const bool half = key.type == ElementType::kF16;
    const unsigned best = key.epilogue == Epilogue::kArgmax ? 1 : 0;
    if (is_quantised(key.type)) {
        const unsigned bytes = static_cast<unsigned>(kPanelRows * sizeof(float)) / vectors_per_panel;
        const unsigned dots = rows * DotsRegisters::vectors_of(bytes);
        return DotsRegisters::scratch_of(bytes) +
               (rows > 1 ? std::max(dots, sources) : accumulators + best + dots);
    }
    const unsigned weights = rows > 1 ? sources * panels * vectors_per_panel : half ? 1 : 0;
    const unsigned scratch = half && !has_vex(key.isa) ? 3 : key.numerics == NumericClass::kFma ? 0 : 1;
    const unsigned loop = 1 + weights + scratch;
    constexpr unsigned kActivation = 5, kRotation = 4;
    const unsigned epilogue = sources == 2 ? kActivation : key.operation == Operation::kQkv ? kRotation : 1;
    return accumulators + best + std::max(loop, epilogue);
}

/// As many rows of x at a time as fit beside one panel (two where there are 32 registers): each weight that was loaded is
/// used by all of them, and their sums hide the latency of the multiply-adds.
unsigned preferred_rows(const RoutineKey& key, unsigned available, unsigned vectors) {
    if (is_quantised(key.type)) return balanced(key.m, vectors == 1 ? 16 : 4);
    const unsigned panels = uses_evex(key) ? 2 : 1;
    unsigned rows = 1;
    while (rows < key.m && registers_needed(key, panels, rows + 1, vectors) <= available) ++rows;
    return balanced(key.m, rows);
}
/// Panels of quantised weights that are read side by side: where they are long, hardware fetches several streams at a time,
/// and ahead of each; where they end after a page or two it has just begun to, and one stream with prefetches is better.
bool has_long_panels(const RoutineKey& key) {
    constexpr size_t kLong = 16 * 1024;
    return kPanelRows * row_bytes(key.type, key.k) >= kLong;
}
/// With one row, some 12 sums: 8 hide the latency of two multiply-adds a cycle that take 4 each, more leave room for the
/// loads of x.
unsigned preferred_panels(const RoutineKey& key, unsigned available, unsigned rows, unsigned vectors) {
    if (is_quantised(key.type)) return rows > 1 || !has_long_panels(key) ? 1 : 3;
    if (rows > 1) return uses_evex(key) ? 2 : 1;
    constexpr unsigned kChains = 12;
    const unsigned sources = sources_of(key);
    unsigned largest = std::max(1u, kChains / (vectors * sources));
    while (largest > 1 && registers_needed(key, largest, 1, vectors) > available) --largest;
    if (key.operation == Operation::kQkv) return largest;  // the generator shares them out among its matrices
    return balanced((key.n + kPanelRows - 1) / kPanelRows, largest);
}

}  // namespace

bool can_emit(const RoutineKey& key) {
    if (key.isa == Isa::kScalar || (!has_vex(key.isa) && key.numerics == NumericClass::kFma)) return false;
    if (is_for_quantised_only(key.isa) && !is_quantised(key.type)) return false;
    switch (key.operation) {
        case Operation::kProject:
        case Operation::kGateUp:
            return sane_matrix(key) &&
                   (key.epilogue == Epilogue::kStore ||
                    (key.operation == Operation::kProject &&
                     (key.epilogue == Epilogue::kAdd || (key.epilogue == Epilogue::kArgmax && key.m == 1))));
        case Operation::kQkv:
            return sane_matrix(key) && key.epilogue == Epilogue::kStore && key.m == 1 && key.kv_n >= 1 &&
                   key.kv_n <= kMaxDimension && key.head_size >= 2 && key.head_size % 2 == 0 &&
                   key.n % key.head_size == 0 && key.kv_n % key.head_size == 0;
        case Operation::kRmsNorm:
        case Operation::kArgmax:
        case Operation::kSoftmax:
            return key.n >= 1 && key.n <= kMaxDimension;
        case Operation::kQuantise:
        case Operation::kQuantiseWords:
            return key.n >= 1 && key.n <= kMaxRows * kMaxDimension && key.n % kGroup == 0;
        case Operation::kAttention:
            return attention_supports(key);
    }
    return false;
}

CpuFeatures needed_features(Isa isa, NumericClass numerics) {
    CpuFeatures needed;
    needed.fma = numerics == NumericClass::kFma;
    needed.sse2 = isa == Isa::kSse2;
    needed.ssse3 = isa == Isa::kSsse3;
    needed.avx2 = needed.f16c = has_vex(isa);
    needed.avx_vnni = isa == Isa::kAvxVnni;
    needed.avx512f = needed.avx512bw = needed.avx512dq = needed.avx512vl = has_evex(isa);
    needed.avx512_vnni = isa == Isa::kAvx512Vnni;
    return needed;
}

bool runs_on(const CpuFeatures& cpu, Isa isa, NumericClass numerics) {
    const bool legacy = isa == Isa::kSse2 || isa == Isa::kSsse3;
    if (legacy && numerics == NumericClass::kFma) return false;
    return (feature_bits(needed_features(isa, numerics)) & ~feature_bits(cpu)) == 0;
}

Isa best_isa(const CpuFeatures& cpu, NumericClass numerics) {
    for (const Isa isa : {Isa::kAvx512, Isa::kAvx2, Isa::kSse2}) {
        if (runs_on(cpu, isa, numerics)) return isa;
    }
    return Isa::kScalar;
}

Isa best_quantised_isa(const CpuFeatures& cpu, Isa floats, NumericClass numerics) {
    const Isa special = has_evex(floats)       ? Isa::kAvx512Vnni
                        : has_vex(floats)      ? Isa::kAvxVnni
                        : floats == Isa::kSse2 ? Isa::kSsse3
                                               : floats;
    return runs_on(cpu, special, numerics) ? special : floats;
}

Plan default_plan(const RoutineKey& key) {
    Plan plan;
    // A group's sums take so many instructions that a processor does not look far enough ahead.
    constexpr uint16_t kAhead = 4096;
    if (is_quantised(key.type) && key.m == 1 && !has_long_panels(key)) plan.prefetch = kAhead;
    return complete_plan(key, plan);
}

Plan complete_plan(const RoutineKey& key, const Plan& wanted) {
    Plan plan = wanted;
    const unsigned widest = widest_vector(key);
    if (plan.vector_bytes != 16 && plan.vector_bytes != 32 && plan.vector_bytes != 64) {
        plan.vector_bytes = static_cast<uint8_t>(widest);
    }
    plan.vector_bytes = static_cast<uint8_t>(std::min<unsigned>(plan.vector_bytes, widest));
    const unsigned vectors = static_cast<unsigned>(kPanelRows * sizeof(float)) / plan.vector_bytes;
    const unsigned available = vector_registers(key);
    constexpr unsigned kMaxPanels = 16, kMaxUnroll = 64, kUnroll = 4;
    unsigned rows =
        std::clamp<unsigned>(plan.rows != 0 ? plan.rows : preferred_rows(key, available, vectors), 1, key.m);
    if (is_quantised(key.type) && !has_vex(key.isa)) rows = 1;  // quantised_dots.h
    unsigned panels = std::clamp<unsigned>(
        plan.panels != 0 ? plan.panels : preferred_panels(key, available, rows, vectors), 1, kMaxPanels);
    while (registers_needed(key, panels, rows, vectors) > available && (panels > 1 || rows > 1)) {
        if (panels > 1 && (rows == 1 || panels >= 2 * rows)) {
            --panels;
        } else if (rows > 1) {
            --rows;
        } else {
            --panels;
        }
    }
    if (is_quantised(key.type) && rows > 1) panels = 1;  // their sums lie on the stack
    plan.panels = static_cast<uint8_t>(panels);
    plan.rows = static_cast<uint8_t>(rows);
    if (plan.unroll == 0) plan.unroll = kUnroll;
    plan.unroll = static_cast<uint8_t>(std::min<unsigned>(plan.unroll, kMaxUnroll));
    return plan;
}

}  // namespace bareflow
