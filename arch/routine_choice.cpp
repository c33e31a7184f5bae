#include "arch/routine_choice.h"

namespace bareflow {

/// A CPU with FMA that no routine could use (without AVX2, a
/// Piledriver) is quicker with muladd, for which there are some.
NumericClass choose_numerics(const Options& options, const CpuFeatures& cpu) {
    if (options.numerics == NumericsChoice::kFma) return NumericClass::kFma;
    if (options.numerics == NumericsChoice::kMulAdd || options.isa == IsaChoice::kSse2 ||
        options.isa == IsaChoice::kSsse3)
        return NumericClass::kMulAdd;
    return cpu.fma && cpu.avx2 && cpu.f16c ? NumericClass::kFma : NumericClass::kMulAdd;
}

bool allows(IsaChoice asked, Isa used) {
    constexpr Isa kMost[] = {Isa::kAvx512Vnni, Isa::kScalar,    Isa::kSse2,
                             Isa::kSsse3,      Isa::kAvx2Words, Isa::kAvx512Vnni};  // of each IsaChoice
    return used <= kMost[static_cast<size_t>(asked)];
}

Workers* start_cores(Platform& platform, unsigned wanted) {
    const Cores cores = platform.start_cores(wanted);
    LogRecord(platform.log(), "cores")
        .field("found", cores.found)
        .field("started", cores.started)
        .field("used", cores.workers == nullptr ? 1 : cores.workers->count());
    return cores.workers;
}

}  // namespace bareflow
