#include "arch/routine_engine.h"

#include "emitter/routine_emitter.h"
#include "model/reference.h"

namespace bareflow {
namespace {

/// Legacy SSE has no fma, so asking for sse2 asks for muladd too.
NumericClass choose_numerics(const Options& options, const CpuFeatures& cpu) {
    if (options.numerics == NumericsChoice::kFma) return NumericClass::kFma;
    if (options.numerics == NumericsChoice::kMulAdd || options.isa == IsaChoice::kSse2)
        return NumericClass::kMulAdd;
    return cpu.fma ? NumericClass::kFma : NumericClass::kMulAdd;
}

Result<Isa> choose_isa(const Options& options, const CpuFeatures& cpu, NumericClass numerics) {
    if (!options.jit || options.isa == IsaChoice::kScalar) return Isa::kScalar;
    if (options.isa == IsaChoice::kAuto) return best_isa(cpu, numerics);
    const Isa isa = options.isa == IsaChoice::kSse2   ? Isa::kSse2
                    : options.isa == IsaChoice::kAvx2 ? Isa::kAvx2
                                                      : Isa::kAvx512;
    if (!runs_on(cpu, isa, numerics)) {
        return Error::make(ErrorCode::kUnsupported,
                           "isa: this CPU cannot run {} routines with {} numerics; it has {}", name_of(isa),
                           name_of(numerics), name_of(best_isa(cpu, numerics)));
    }
    return isa;
}

}  // namespace

RoutineEngine::~RoutineEngine() {
    if (platform_ != nullptr) platform_->set_code_directory(nullptr);
}

Result<void> RoutineEngine::make_room(Platform& platform) {
    const std::span<uint8_t> region = TRY(platform.code_region(kCodeBytes));
    return cache_->initialise(region, platform.code_pages(), platform.allocator());
}

Result<Operators*> RoutineEngine::start(Platform& platform, const Options& options) {
    const CpuFeatures& cpu = platform.cpu();
    const NumericClass numerics = choose_numerics(options, cpu);
    Operators* reference = TRY(reference_operators(numerics, cpu));
    const Isa isa = TRY(choose_isa(options, cpu, numerics));
    RoutineMaker& maker = options.assembler == AssemblerChoice::kTiny ? tiny_maker() : asmjit_maker();
    LogRecord(platform.log(), "path")
        .field("isa", name_of(isa))
        .field("numerics", name_of(numerics))
        .field("assembler", isa == Isa::kScalar ? "none" : maker.name());
    if (isa == Isa::kScalar) return reference;

    probe_.emplace(*reference, platform.fault_guard(), platform.allocator(), platform.clock());
    cache_.emplace(maker, *probe_, platform.log());
    if (Result<void> ready = make_room(platform); !ready) {
        LogRecord(platform.log(), "routines_off").field("reason", ready.error().message.view());
        cache_.reset();
        return reference;
    }
    platform.set_code_directory(&*cache_);
    platform_ = &platform;
    operators_.emplace(*cache_, *reference, isa, platform.allocator());
    return static_cast<Operators*>(&*operators_);
}

}  // namespace bareflow
