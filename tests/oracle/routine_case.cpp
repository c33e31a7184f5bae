#include "tests/oracle/routine_case.h"

#include <sys/mman.h>

#include "emitter/routine_emitter.h"
#include "emitter/tiny_assembler.h"
#include "tests/oracle/this_cpu.h"

namespace bareflow {
namespace {

bool has_weights(Operation operation) {
    return operation == Operation::kProject || operation == Operation::kGateUp ||
           operation == Operation::kQkv;
}

Plan choose_plan(x86::Chooser& choose, const RoutineKey& key) {
    Plan plan;
    plan.panels = static_cast<uint8_t>(choose.one_in(8) ? choose.below(20) : choose.below(9));
    plan.rows = static_cast<uint8_t>(choose.one_in(8) ? choose.below(40) : choose.below(9));
    plan.unroll = static_cast<uint8_t>(choose.one_in(8) ? key.k % 64 + 1 : 1 + choose.below(9));
    plan.vector_bytes = choose.pick(std::vector<uint8_t>{0, 16, 32, 64});
    plan.prefetch = choose.pick(std::vector<uint16_t>{0, 0, 64, 4096});
    return complete_plan(key, plan);
}

}  // namespace

bool runs_here(const CaseKind& kind) { return runs_on(this_cpu(), kind.isa, kind.numerics); }

const std::vector<CaseKind>& all_kinds() {
    static const std::vector<CaseKind> kinds = [] {
        std::vector<CaseKind> found;
        const auto add = [&](const CaseKind& kind) {
            if (!has_vex(kind.isa) && kind.numerics == NumericClass::kFma) return;
            if (is_for_quantised_only(kind.isa) && !is_quantised(kind.type)) return;
            if (kind.numerics == NumericClass::kFma && !this_cpu().fma) return;
            found.push_back(kind);
        };
        for (const Isa isa : kIsas) {
            if (isa == Isa::kScalar) continue;
            for (const NumericClass numerics : {NumericClass::kFma, NumericClass::kMulAdd}) {
                for (const ElementType type : kElementTypes) {
                    add({Operation::kProject, numerics, isa, Epilogue::kStore, type});
                    add({Operation::kProject, numerics, isa, Epilogue::kAdd, type});
                    add({Operation::kProject, numerics, isa, Epilogue::kArgmax, type});
                    add({Operation::kGateUp, numerics, isa, Epilogue::kStore, type});
                    add({Operation::kQkv, numerics, isa, Epilogue::kStore, type});
                }
                add({Operation::kRmsNorm, numerics, isa, {}, {}});
                for (const ElementType cache : {ElementType::kF32, ElementType::kF16})
                    add({Operation::kAttention, numerics, isa, {}, cache});
                add({Operation::kArgmax, numerics, isa, {}, {}});
                add({Operation::kSoftmax, numerics, isa, {}, {}});
                add({Operation::kQuantise, numerics, isa, {}, {}});
                add({Operation::kQuantiseWords, numerics, isa, {}, {}});
            }
        }
        return found;
    }();
    return kinds;
}

std::string name_of(const CaseKind& kind) {
    std::string name(name_of(kind.operation));
    for (const std::string_view part : {name_of(kind.isa), name_of(kind.numerics), name_of(kind.type)})
        name += "_" + std::string(part);
    if (kind.epilogue == Epilogue::kArgmax) return name + "_argmax";
    return name + (kind.epilogue == Epilogue::kAdd ? "_add" : "");
}

RoutineCase choose_case(x86::Chooser& choose, const CaseSizes& sizes) {
    return choose_case(choose, choose.pick(all_kinds()), sizes);
}

RoutineCase choose_case(x86::Chooser& choose, const CaseKind& kind, const CaseSizes& sizes) {
    const auto size = [&](unsigned largest) { return 1 + choose.below(largest); };
    RoutineCase c;
    RoutineKey& key = c.key;
    key = {
        .operation = kind.operation, .numerics = kind.numerics, .isa = kind.isa, .epilogue = kind.epilogue};
    key.n = size(choose.one_in(2) ? sizes.n : 40);
    if (has_weights(kind.operation)) {
        key.type = kind.type;
        key.layout = Layout::kPanels16;
        key.k = size(choose.one_in(2) ? sizes.k : 12);
        if (is_quantised(key.type)) key.k = static_cast<uint32_t>(kGroup) * size(sizes.k / 8);
        const bool one_row = kind.operation == Operation::kQkv || kind.epilogue == Epilogue::kArgmax;
        if (!one_row && choose.one_in(2)) key.m = size(sizes.m);
    }
    if (kind.operation == Operation::kQkv) {
        key.head_size = choose.pick(std::vector<uint32_t>{2, 4, 6, 8, 10, 12, 16, 24, 32, 48});
        const unsigned kv_heads = size(3);
        key.kv_n = kv_heads * key.head_size;
        key.n = key.kv_n * size(sizes.n < 4 * key.kv_n ? 2 : 4);
    }
    if (kind.operation == Operation::kQuantise || kind.operation == Operation::kQuantiseWords)
        key.n = static_cast<uint32_t>(kGroup) * size(6);
    if (kind.operation == Operation::kRmsNorm) {
        const std::vector<float> eps = {1e-5f, 1e-6f, 0x1p-20f};
        key.eps = choose.pick(eps);
    }
    if (kind.operation == Operation::kAttention) {
        key.n = 0;
        key.type = kind.type;
        key.head_size = 4 * size(choose.one_in(4) ? 64 : 17);
        key.num_kv_heads = size(3);
        key.num_heads = key.num_kv_heads * size(3);
        c.positions = size(sizes.positions);
        c.stride = c.positions + choose.below(3);
    }
    c.plan = choose_plan(choose, key);
    c.guard = choose.one_in(2) ? Guarded::Guard::kBehind : Guarded::Guard::kBefore;
    c.seed = choose.below(UINT32_MAX);
    return c;
}

std::string to_string(const RoutineCase& c) {
    const Plan& p = c.plan;
    std::string text(name_of(c.key).view());
    text += ", plan " + std::to_string(p.panels) + " panels, " + std::to_string(p.rows) + " rows, unroll " +
            std::to_string(p.unroll) + ", " + std::to_string(p.vector_bytes) + " bytes, prefetch " +
            std::to_string(p.prefetch);
    if (c.key.operation == Operation::kAttention) text += ", " + std::to_string(c.positions) + " positions";
    return text + (c.guard == Guarded::Guard::kBehind ? ", guarded behind" : ", guarded before") + ", seed " +
           std::to_string(c.seed);
}

EmittedRoutine emit_with_tiny(const RoutineKey& key, const Plan& plan, std::span<uint8_t> buffer) {
    x86::TinyAssembler a(buffer);
    emit_routine(a, key, plan);
    const x86::AssemblerError error = a.finish();
    return {error, a.code()};
}

std::span<uint8_t> code_buffer() {
    constexpr size_t kBytes = 1 << 20;
    static uint8_t* const memory = static_cast<uint8_t*>(
        mmap(nullptr, kBytes, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    return {memory, kBytes};
}

}  // namespace bareflow
