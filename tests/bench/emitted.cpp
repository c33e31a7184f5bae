#include "tests/bench/emitted.h"

#include "arch/host/host_platform.h"
#include "emitter/routine_emitter.h"
#include "emitter/vector_code.h"

namespace bareflow::bench {
namespace {

unsigned widest(Isa isa) { return isa == Isa::kAvx512 ? 64 : isa == Isa::kAvx2 ? 32 : 16; }

/// rdi: the data, rsi: bytes of a stream, rdx: the distance of streams.
void emit_load_loop(x86::TinyAssembler& a, Isa isa, unsigned streams, unsigned step) {
    const unsigned bytes = widest(isa);
    VectorCode<x86::TinyAssembler> code(a, isa, NumericClass::kMulAdd, bytes);
    const x86::Label loop = a.new_label();
    constexpr unsigned kRegisters = 8;
    const x86::Gp bases[] = {x86::rdi, x86::rax, x86::rcx, x86::r8};
    for (unsigned i = 1; i < streams; ++i) a.lea(bases[i], x86::ptr(bases[i - 1], x86::rdx, 1));
    a.align(32);
    a.bind(loop);
    for (unsigned at = 0; at < step; at += bytes) {
        for (unsigned i = 0; i < streams; ++i) {
            code.load((at / bytes * streams + i) % kRegisters, x86::ptr(bases[i], static_cast<int64_t>(at)));
        }
    }
    for (unsigned i = 0; i < streams; ++i) a.add(bases[i], static_cast<int32_t>(step));
    a.sub(x86::rsi, static_cast<int32_t>(step));
    a.jnz(loop);
    code.leave();
}

constexpr unsigned kChains = 12;

enum class Dots { kWords, kBytes, kVnniYmm, kVnniZmm };
struct DotsChoice {
    Dots dots;
    unsigned bytes;  ///< of a vector
    const char* name;
};
/// Newer ones do the same with fewer instructions, and wider ones are never slower.
DotsChoice best_dots(const Machine& machine) {
    const bool wide = machine.isa == Isa::kAvx512;
    if (wide && machine.cpu.avx512_vnni) return {Dots::kVnniZmm, 64, "vpdpbusd zmm"};
    if (wide) return {Dots::kBytes, 64, "vpmaddubsw, vpmaddwd, vpaddd zmm"};
    if (machine.isa == Isa::kAvx2 && machine.cpu.avx_vnni) return {Dots::kVnniYmm, 32, "vpdpbusd ymm"};
    if (machine.isa == Isa::kAvx2) return {Dots::kBytes, 32, "vpmaddubsw, vpmaddwd, vpaddd ymm"};
    return {Dots::kWords, 16, "pmaddwd, paddd on words"};
}

void emit_integer_loop(x86::TinyAssembler& a, const DotsChoice& choice, unsigned chains) {
    const Isa isa = choice.bytes == 64 ? Isa::kAvx512 : choice.bytes == 32 ? Isa::kAvx2 : Isa::kSse2;
    VectorCode<x86::TinyAssembler> code(a, isa, NumericClass::kMulAdd, choice.bytes);
    for (unsigned i = 0; i < 16; ++i) code.zero(i);
    const auto reg = [&](unsigned i) { return code.reg(i); };
    constexpr unsigned kX = 12, kW = 13, kOnes = 14;
    const x86::Label loop = a.new_label();
    a.align(32);
    a.bind(loop);
    for (unsigned i = 0; i < chains; ++i) {
        const unsigned product = chains + i;
        switch (choice.dots) {
            case Dots::kVnniZmm:
                a.vpdpbusd(reg(i), reg(kX), reg(kW));
                break;
            case Dots::kVnniYmm:
                a.vpdpbusd_vex(reg(i), reg(kX), reg(kW));
                break;
            case Dots::kBytes:
                a.vpmaddubsw(reg(product), reg(kX), reg(kW));
                a.vpmaddwd(reg(product), reg(product), reg(kOnes));
                a.vpaddd(reg(i), reg(i), reg(product));
                break;
            case Dots::kWords:
                a.movaps(x86::xmm(product), x86::xmm(kX));
                a.pmaddwd(x86::xmm(product), x86::xmm(kW));
                a.paddd(x86::xmm(i), x86::xmm(product));
                break;
        }
    }
    a.dec(x86::rdi);
    a.jnz(loop);
    code.leave();
}
unsigned chains_of(const DotsChoice& choice) {
    // Where a product needs a register of its own, half as many.
    return choice.dots == Dots::kVnniYmm || choice.dots == Dots::kVnniZmm ? kChains : kChains / 2;
}

void emit_multiply_add_loop(x86::TinyAssembler& a, Isa isa, NumericClass numerics) {
    VectorCode<x86::TinyAssembler> code(a, isa, numerics, widest(isa));
    for (unsigned i = 0; i < 16; ++i) code.zero(i);
    const x86::Label loop = a.new_label();
    a.align(32);
    a.bind(loop);
    for (unsigned i = 0; i < kChains; ++i) code.multiply_add(i, 12, 13, 14 + i % 2);
    a.dec(x86::rdi);
    a.jnz(loop);
    code.leave();
}

}  // namespace

Machine this_machine() {
    const CpuFeatures cpu = cpu_detect_features(HostCpuid());
    const NumericClass numerics = cpu.fma ? NumericClass::kFma : NumericClass::kMulAdd;
    return {cpu, numerics, best_isa(cpu, numerics)};
}

RoutineKey projection_key(const Machine& machine, size_t m, size_t n, size_t k) {
    return {.operation = Operation::kProject,
            .numerics = machine.numerics,
            .isa = machine.isa,
            .layout = Layout::kPanels16,
            .m = static_cast<uint32_t>(m),
            .n = static_cast<uint32_t>(n),
            .k = static_cast<uint32_t>(k)};
}

Code emit(const RoutineKey& key, const Plan& plan) {
    if (!can_emit(key)) give_up(std::string("no routine for ").append(name_of(key).view()));
    const Plan complete = complete_plan(key, plan);
    return Code([&](x86::TinyAssembler& a) { emit_routine(a, key, complete); });
}

PureLoad::PureLoad(Isa isa, unsigned streams)
    : streams_(streams), code_([=](x86::TinyAssembler& a) { emit_load_loop(a, isa, streams, kStep); }) {}

PureIntegerDots::PureIntegerDots(const Machine& machine)
    : name_(best_dots(machine).name), code_([&](x86::TinyAssembler& a) {
          const DotsChoice choice = best_dots(machine);
          emit_integer_loop(a, choice, chains_of(choice));
      }) {
    const DotsChoice choice = best_dots(machine);
    const unsigned values = choice.dots == Dots::kWords ? choice.bytes / 2 : choice.bytes;
    operations_ = 2.0 * values * chains_of(choice);
}

PureMultiplyAdd::PureMultiplyAdd(Isa isa, NumericClass numerics)
    : flops_(kChains * 2.0 * widest(isa) / sizeof(float)),
      code_([=](x86::TinyAssembler& a) { emit_multiply_add_loop(a, isa, numerics); }) {}

}  // namespace bareflow::bench
