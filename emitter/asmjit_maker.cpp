#include <new>

#include "emitter/any_assembler.h"
#include "emitter/routine_maker_impl.h"

namespace bareflow {
namespace {

alignas(x86::AsmjitAssembler) uint8_t storage[sizeof(x86::AsmjitAssembler)];

class AsmjitMaker final : public RoutineMaker {
 public:
    std::string_view name() const override { return "asmjit"; }
    Result<size_t> make(const RoutineKey& key, const Plan& plan, std::span<uint8_t> room) override {
        // The object is too large for a kernel stack, and the kernel has no destructors of statics.
        auto* assembler = new (storage) x86::AsmjitAssembler(room);
        x86::AnyAssembler any(*assembler);
        Result<size_t> made = make_routine(any, name(), key, plan);
        assembler->~AsmjitAssembler();
        return made;
    }
};
constinit AsmjitMaker asmjit;

/// `tiny` by the generators that asmjit has.
class TinyBesideAsmjit final : public RoutineMaker {
 public:
    std::string_view name() const override { return "tiny"; }
    Result<size_t> make(const RoutineKey& key, const Plan& plan, std::span<uint8_t> room) override {
        x86::TinyAssembler assembler(room);
        x86::AnyAssembler any(assembler);
        return make_routine(any, name(), key, plan);
    }
};
constinit TinyBesideAsmjit tiny;

}  // namespace

RoutineMaker& asmjit_maker() { return asmjit; }
RoutineMaker& tiny_beside_asmjit() { return tiny; }

template void emit_routine(x86::AnyAssembler& a, const RoutineKey& key, const Plan& plan);

}  // namespace bareflow
