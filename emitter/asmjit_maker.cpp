#include <new>

#include "emitter/asmjit_assembler.h"
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
        Result<size_t> made = make_routine(*assembler, name(), key, plan);
        assembler->~AsmjitAssembler();
        return made;
    }
};
constinit AsmjitMaker asmjit;

}  // namespace

RoutineMaker& asmjit_maker() { return asmjit; }

template void emit_routine(x86::AsmjitAssembler& a, const RoutineKey& key, const Plan& plan);

}  // namespace bareflow
