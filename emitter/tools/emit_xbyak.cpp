#include "emitter/routine_maker_impl.h"
#include "emitter/tools/emit.h"
#include "tests/oracle/xbyak_assembler.h"

namespace bareflow {
namespace {

class XbyakMaker final : public RoutineMaker {
 public:
    std::string_view name() const override { return "xbyak"; }
    Result<size_t> make(const RoutineKey& key, const Plan& plan, std::span<uint8_t> room) override {
        x86::XbyakAssembler assembler(room);
        return make_routine(assembler, name(), key, plan);
    }
};

}  // namespace

RoutineMaker& xbyak_maker() {
    static XbyakMaker maker;
    return maker;
}

}  // namespace bareflow
