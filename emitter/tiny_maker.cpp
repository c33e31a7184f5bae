#include "emitter/routine_maker_impl.h"
#include "emitter/tiny_assembler.h"

namespace bareflow {
namespace {

class TinyMaker final : public RoutineMaker {
 public:
    std::string_view name() const override { return "tiny"; }
    Result<size_t> make(const RoutineKey& key, const Plan& plan, std::span<uint8_t> room) override {
        x86::TinyAssembler assembler(room);
        return make_routine(assembler, name(), key, plan);
    }
};
constinit TinyMaker tiny;

}  // namespace

RoutineMaker& tiny_maker() { return tiny; }

// Those who emit without a maker (tools, tests) share this one.
template void emit_routine(x86::TinyAssembler& a, const RoutineKey& key, const Plan& plan);

}  // namespace bareflow
