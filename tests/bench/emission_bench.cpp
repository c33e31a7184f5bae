// How fast instructions are encoded: one routine of 2,030 instructions, by tiny and by asmjit with and without validation,
// into a warm buffer; beside it, where they are installed, what libxsmm takes to dispatch a new kernel and oneDNN to create
// a primitive. Medians and quartiles of several rounds, in which all take turns.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "emitter/asmjit_assembler.h"
#include "emitter/tiny_assembler.h"

#ifdef BAREFLOW_HAVE_LIBXSMM
#include <libxsmm.h>
#endif
#ifdef BAREFLOW_HAVE_DNNL
#include <dnnl.hpp>
#endif

namespace {

using namespace bareflow;
using namespace bareflow::x86;

constexpr int kRows = 8, kSteps = 220, kVectorBytes = 32;
constexpr int kInstructions = kRows + kSteps * (1 + kRows) + kRows * 5 + 2;
constexpr int kRounds = 31;

/// Eight dot products of 220 * 8 floats, without a loop: y (rdx) = W (rdi, row-major) * x (rsi).
template <typename A>
void generate(A& a) {
    const Ymm x = ymm(15);
    const Xmm high = xmm(14);
    for (unsigned row = 0; row < kRows; ++row) a.vxorps(ymm(row), ymm(row), ymm(row));
    for (int step = 0; step < kSteps; ++step) {
        a.vmovups(x, ptr(rsi, step * kVectorBytes));
        for (unsigned row = 0; row < kRows; ++row) {
            a.vfmadd231ps(ymm(row), x, ptr(rdi, (static_cast<int>(row) * kSteps + step) * kVectorBytes));
        }
    }
    for (unsigned row = 0; row < kRows; ++row) {
        const Xmm sum = xmm(row);
        a.vextractf128(high, ymm(row), 1);
        a.vaddps(sum, sum, high);
        a.vhaddps(sum, sum, sum);
        a.vhaddps(sum, sum, sum);
        a.vmovss(ptr(rdx, static_cast<int>(row) * 4), sum);
    }
    a.vzeroupper();
    a.ret();
}

alignas(64) uint8_t buffer[1 << 16];
size_t code_bytes;

void require(bool ok, const char* what) {
    if (ok) return;
    std::fprintf(stderr, "emission_bench: %s\n", what);
    std::exit(1);
}

void with_tiny() {
    TinyAssembler a(buffer);
    generate(a);
    require(a.finish() == AssemblerError::kNone, "tiny failed");
    code_bytes = a.size();
}
void with_asmjit(AsmjitAssembler::Validation validation) {
    AsmjitAssembler a(buffer, validation);
    generate(a);
    require(a.finish() == AssemblerError::kNone, "asmjit failed");
    code_bytes = a.size();
}

struct Contestant {
    std::string name;
    int instructions;  ///< 0 if unknown
    int repeats;       ///< in one round
    std::function<void(int)> run;
    std::vector<double> microseconds{};
    size_t bytes = 0;
};

double now_us() {
    using namespace std::chrono;
    return duration<double, std::micro>(steady_clock::now().time_since_epoch()).count();
}

}  // namespace

int main() {
    std::vector<Contestant> contestants = {
        {"tiny", kInstructions, 50, [](int) { with_tiny(); }},
        {"asmjit, validation off", kInstructions, 20,
         [](int) { with_asmjit(AsmjitAssembler::Validation::kOff); }},
        {"asmjit, validation on", kInstructions, 20,
         [](int) { with_asmjit(AsmjitAssembler::Validation::kOn); }},
    };
#ifdef BAREFLOW_HAVE_LIBXSMM
    libxsmm_init();
    // A shape that was not asked for before, each time.
    contestants.push_back({"libxsmm dispatch", 0, 1, [next = 0](int) mutable {
                               const int lda = 256 + ++next, ldb = 256, ldc = 256;
                               const float alpha = 1, beta = 1;
                               require(libxsmm_smmdispatch(64, 8, 256, &lda, &ldb, &ldc, &alpha, &beta,
                                                           nullptr, nullptr) != nullptr,
                                       "libxsmm made no kernel");
                           }});
#endif
#ifdef BAREFLOW_HAVE_DNNL
    const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
    contestants.push_back({"oneDNN primitive creation", 0, 1, [&engine, next = 0](int) mutable {
                               using dnnl::memory;
                               const memory::dim k = 256 + 8 * ++next;
                               const auto type = memory::data_type::f32;
                               const memory::desc a({8, k}, type, memory::format_tag::ab);
                               const memory::desc b({k, 64}, type, memory::format_tag::ab);
                               const memory::desc c({8, 64}, type, memory::format_tag::ab);
                               const dnnl::matmul::primitive_desc description({a, b, c}, engine);
                               const dnnl::matmul primitive(description);
                           }});
#endif
    for (int round = -2; round < kRounds; ++round) {  // two to warm up
        for (Contestant& contestant : contestants) {
            code_bytes = 0;
            const double start = now_us();
            for (int i = 0; i < contestant.repeats; ++i) contestant.run(i);
            const double each = (now_us() - start) / contestant.repeats;
            if (round >= 0) contestant.microseconds.push_back(each);
            contestant.bytes = code_bytes;
        }
    }
    std::printf("emission of one routine of %d instructions, %d rounds\n", kInstructions, kRounds);
    std::printf("%-28s %10s %21s %10s %8s\n", "", "us median", "us quartiles", "M instr/s", "bytes");
    for (Contestant& contestant : contestants) {
        std::vector<double>& times = contestant.microseconds;
        std::sort(times.begin(), times.end());
        const double median = times[times.size() / 2];
        std::printf("%-28s %10.2f %10.2f-%10.2f ", contestant.name.c_str(), median, times[times.size() / 4],
                    times[times.size() * 3 / 4]);
        if (contestant.instructions != 0) {
            std::printf("%10.1f %8zu\n", contestant.instructions / median, contestant.bytes);
        } else {
            std::printf("%10s %8s\n", "-", "-");
        }
    }
    return 0;
}
