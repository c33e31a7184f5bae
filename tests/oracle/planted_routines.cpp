#include "tests/oracle/planted_routines.h"

#include <tuple>

#include "emitter/routine_emitter_impl.h"
#include "emitter/tiny_assembler.h"

namespace bareflow {
namespace {

using namespace x86;

RoutineBug planted = RoutineBug::kNone;
std::vector<uint64_t> forms(kFormCount);

bool has(RoutineBug bug) { return planted == bug; }

/// The tiny assembler, but for what the planted bug changes.
class PlantedAssembler : public InstructionSet<PlantedAssembler> {
 public:
    explicit PlantedAssembler(std::span<uint8_t> buffer) : a_(buffer) {}

    Label new_label() { return a_.new_label(); }
    void bind(Label label) { a_.bind(label); }
    void align(unsigned alignment) { a_.align(alignment); }
    void embed(ByteSpan bytes) { a_.embed(bytes); }
    void embed_u32(uint32_t value) { a_.embed_u32(value); }
    size_t size() const { return a_.size(); }
    AssemblerError error() const { return a_.error(); }
    AssemblerError finish() { return a_.finish(); }
    ByteSpan code() const { return a_.code(); }

    void move_constant(Gp destination, int64_t value) {
        if (has(RoutineBug::kOneTurnTooMany)) ++value;
        if (has(RoutineBug::kOneTurnTooFew) && value > 1) --value;
        a_.move_constant(destination, value);
    }
    template <Form form, typename... Operands>
    void emit(Operands... operands) {
        ++forms[static_cast<unsigned>(form)];
        if (!replaced<form>(operands...)) a_.template emit<form>(operands...);
        if constexpr (form == Form::jne) after_loop_ = true;
    }

 private:
    /// Whether the bug took the instruction's place.
    template <Form form, typename... Operands>
    bool replaced(Operands... operands) {
        const auto all = std::tuple<Operands...>(operands...);
        if constexpr (form == Form::vzeroupper) return has(RoutineBug::kVzeroupperMissing);
        if constexpr (form == Form::ret) before_return();
        if constexpr (form == Form::pop) return popped(operands...);
        if constexpr (form == Form::jb) {
            if (!has(RoutineBug::kJumpIfBelowOrEqual)) return false;
            a_.jbe(operands...);
            return true;
        }
        if constexpr (form == Form::add_imm) return added(operands...);
        if constexpr (form == Form::movss_store) {
            if (!has(RoutineBug::kTailStoredTooWide)) return false;
            a_.movups(operands...);
            return true;
        }
        if constexpr (form == Form::vmovss_store) {
            if (!has(RoutineBug::kTailStoredTooWide)) return false;
            a_.vmovups(operands...);
            return true;
        }
        constexpr bool kWhole = form == Form::movups || form == Form::vmovups;
        constexpr bool kWholeStore = form == Form::movups_store || form == Form::vmovups_store;
        if constexpr (kWhole || kWholeStore) return moved<form>(tiny_detail::as_rm(operands)...);
        if constexpr (form == Form::movss || form == Form::vbroadcastss) return float_loaded(operands...);
        if constexpr (form == Form::vmovhlps || form == Form::vmovshdup) return reordered(operands...);
        if constexpr (form == Form::vxorps) {
            if (has(RoutineBug::kEvexInAvx2)) return a_.vpxord(operands...), true;
        }
        if constexpr (form == Form::xorps || form == Form::vxorps || form == Form::vpxord)
            return has(RoutineBug::kAccumulatorNotZeroed) && std::get<0>(all).id() % 16 == 0;
        if constexpr (form == Form::vfmadd231ps) {
            if (remainder_dropped()) return true;
            if (!has(RoutineBug::kFmaOperandRoles)) return false;
            a_.vfmadd213ps(operands...);
            return true;
        }
        if constexpr (form == Form::addps || form == Form::vaddps) return remainder_dropped();
        if constexpr (form == Form::shufps || form == Form::vpermilps_imm || form == Form::vshuff32x4)
            return shuffled<form>(operands...);
        if constexpr (form == Form::vextractf128 || form == Form::vextractf64x4) {
            if (!has(RoutineBug::kLowerHalfExtracted)) return false;
            a_.template emit<form>(std::get<0>(all), std::get<1>(all), uint8_t{0});
            return true;
        }
        return false;
    }

    void before_return() {
        if (has(RoutineBug::kRbxClobbered)) a_.move_constant(ebx, 1);
        if (has(RoutineBug::kRspNotRestored)) a_.sub(rsp, 8);
        constexpr uint8_t kStd[] = {0xFD};
        if (has(RoutineBug::kDirectionFlagSet)) a_.embed(kStd);
    }
    bool popped(Gp reg) {
        if (has(RoutineBug::kPopMissing)) return reg == rbp;
        if (!has(RoutineBug::kPopsSwapped) || (reg != r12 && reg != r13)) return false;
        a_.pop(reg == r12 ? r13 : r12);
        return true;
    }
    bool added(GpMem target, int32_t value) {
        if (has(RoutineBug::kPointerNotRewound) && value < 0) return true;
        constexpr unsigned kWeights = 6;
        if (!has(RoutineBug::kPointerOneFloatFar) || target.id() != kWeights) return false;
        a_.add(target, value + 4);
        return true;
    }
    /// (0 + 1) + (2 + 3) instead of (0 + 2) + (1 + 3).
    bool reordered(Xmm to, Xmm, Xmm from) {
        if (has(RoutineBug::kSumsInOtherOrder)) a_.vmovshdup(to, from);
        return has(RoutineBug::kSumsInOtherOrder);
    }
    bool reordered(Vec to, VecMem from) {
        const Xmm other = xmm(to.id());
        if (has(RoutineBug::kSumsInOtherOrder)) a_.vmovhlps(other, other, xmm(from.id()));
        return has(RoutineBug::kSumsInOtherOrder);
    }
    bool remainder_dropped() {
        if (!has(RoutineBug::kRemainderStepMissing) || !after_loop_) return false;
        after_loop_ = false;
        return true;
    }
    static Mem other(Mem memory) {
        constexpr unsigned kRsp = 4;
        constexpr int64_t kRedZone = 128;
        return has(RoutineBug::kBeyondTheRedZone) && memory.has_base() && memory.base() == kRsp
                   ? memory + -kRedZone
                   : memory;
    }
    template <Form form>
    bool moved(RegMem to, RegMem from) {
        constexpr bool kStore = form == Form::movups_store || form == Form::vmovups_store;
        constexpr bool kVex = form == Form::vmovups || form == Form::vmovups_store;
        if (!has(RoutineBug::kAlignedMoves) && !has(RoutineBug::kBeyondTheRedZone)) return false;
        if (!to.is_memory() && !from.is_memory()) return false;
        const Mem memory = other(kStore ? to.memory() : from.memory());
        const Vec reg = Vec::from_bits(kStore ? from.low() : to.low());
        const Xmm legacy = xmm(reg.id());
        const bool aligned = has(RoutineBug::kAlignedMoves);
        if constexpr (kVex) {
            if (aligned) kStore ? a_.vmovaps(memory, reg) : a_.vmovaps(reg, memory);
            if (!aligned) kStore ? a_.vmovups(memory, reg) : a_.vmovups(reg, memory);
        } else {
            if (aligned) kStore ? a_.movaps(memory, legacy) : a_.movaps(legacy, memory);
            if (!aligned) kStore ? a_.movups(memory, legacy) : a_.movups(legacy, memory);
        }
        return true;
    }
    bool float_loaded(Xmm to, XmmMem from) {  // movss
        if (!from.is_memory()) return false;
        if (has(RoutineBug::kVectorReadForFloat)) a_.movups(to, from);
        if (has(RoutineBug::kOtherStepOfX) && is_x(from.memory())) a_.movss(to, from.memory() + 4);
        return changes_float(from.memory());
    }
    bool float_loaded(Vec to, XmmMem from) {  // vbroadcastss
        if (!from.is_memory()) return false;
        if (has(RoutineBug::kVectorReadForFloat)) {
            a_.vmovups(xmm(to.id()), from.memory());
            a_.vbroadcastss(to, xmm(to.id()));
        }
        if (has(RoutineBug::kOtherStepOfX) && is_x(from.memory())) a_.vbroadcastss(to, from.memory() + 4);
        return changes_float(from.memory());
    }
    static bool is_x(Mem memory) { return memory.has_base() && memory.base() == rdx.id(); }
    static bool changes_float(Mem memory) {
        return has(RoutineBug::kVectorReadForFloat) || (has(RoutineBug::kOtherStepOfX) && is_x(memory));
    }
    template <Form form, typename... Operands>
    bool shuffled(Operands... operands) {
        if (!has(RoutineBug::kOtherShuffle)) return false;
        auto all = std::tuple<Operands...>(operands...);
        std::get<sizeof...(Operands) - 1>(all) ^= 1;
        std::apply([&](auto... changed) { a_.template emit<form>(changed...); }, all);
        return true;
    }

    TinyAssembler a_;
    bool after_loop_ = false;  ///< the next step of a sum is the first behind a loop
};

}  // namespace

void plant(RoutineBug bug) { planted = bug; }
const std::vector<uint64_t>& emitted_forms() { return forms; }

EmittedRoutine emit_with_planted_bug(const RoutineKey& key, const Plan& plan, std::span<uint8_t> buffer) {
    PlantedAssembler a(buffer);
    RoutineKey made = key;
    if (has(RoutineBug::kOtherEpilogue) && key.operation == Operation::kProject)
        made.epilogue = key.epilogue == Epilogue::kAdd ? Epilogue::kStore : Epilogue::kAdd;
    if (has(RoutineBug::kOtherNumericClass) && has_vex(key.isa) && key.numerics == NumericClass::kFma)
        made.numerics = NumericClass::kMulAdd;  // the other way round the ISA gives it away
    emit_routine(a, made, plan);
    const AssemblerError error = a.finish();
    return {error, a.code()};
}

std::string_view name_of(RoutineBug bug) {
    static constexpr std::string_view kNames[] = {"none",
                                                  "vzeroupper missing",
                                                  "a pop missing",
                                                  "two pops swapped",
                                                  "rbx clobbered",
                                                  "rsp not restored",
                                                  "direction flag set",
                                                  "beyond the red zone",
                                                  "tail stored 16 bytes at a time",
                                                  "16 bytes read for one float",
                                                  "aligned moves",
                                                  "one turn of a loop too many",
                                                  "one turn of a loop too few",
                                                  "jbe for jb",
                                                  "a step behind the loop missing",
                                                  "x of the next k",
                                                  "pointers not rewound",
                                                  "weights advanced one float too far",
                                                  "an accumulator not zeroed",
                                                  "vfmadd213 for vfmadd231",
                                                  "mul and add for fma",
                                                  "store for add, add for store",
                                                  "another shuffle",
                                                  "the lower half for the upper",
                                                  "the last four lanes added in another order",
                                                  "an EVEX instruction in an AVX2 routine"};
    static_assert(std::size(kNames) == static_cast<unsigned>(RoutineBug::kCount));
    return kNames[static_cast<unsigned>(bug)];
}

}  // namespace bareflow
