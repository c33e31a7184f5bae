// Every routine, bit for bit against the scalar reference: all operations, ISAs that this CPU has, classes, types, plans
// and sizes; buffers end at pages that cannot be touched, vector registers hold NaN on entry, and the registers that a
// callee must keep are looked at.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "arch/base/float16.h"
#include "arch/host/host_platform.h"
#include "emitter/routine_emitter.h"
#include "emitter/tiny_assembler.h"
#include "model/reference.h"
#include "model/reference_table.h"

namespace bareflow {
namespace {

constexpr size_t kPage = 4096;

/// `bytes` that end right before a page without access.
class Guarded {
 public:
    explicit Guarded(size_t bytes) : bytes_(bytes), pages_((bytes + kPage - 1) / kPage + 2) {
        base_ = static_cast<uint8_t*>(
            mmap(nullptr, pages_ * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        mprotect(base_, kPage, PROT_NONE);
        mprotect(base_ + (pages_ - 1) * kPage, kPage, PROT_NONE);
        data_ = base_ + (pages_ - 1) * kPage - bytes;
    }
    Guarded(const Guarded&) = delete;
    ~Guarded() { munmap(base_, pages_ * kPage); }
    float* floats() { return reinterpret_cast<float*>(data_); }
    void* data() { return data_; }
    size_t bytes() const { return bytes_; }

 private:
    size_t bytes_, pages_;
    uint8_t *base_, *data_;
};

class Code {
 public:
    Code()
        : memory_(static_cast<uint8_t*>(mmap(nullptr, kBytes, PROT_READ | PROT_WRITE | PROT_EXEC,
                                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))) {}
    ~Code() { munmap(memory_, kBytes); }
    Routine emit(const RoutineKey& key, const Plan& plan) {
        x86::TinyAssembler a({memory_, kBytes});
        emit_routine(a, key, plan);
        EXPECT_EQ(a.finish(), x86::AssemblerError::kNone) << name_of(key).view();
        return reinterpret_cast<Routine>(memory_);
    }

 private:
    static constexpr size_t kBytes = 1 << 20;
    uint8_t* memory_;
};

std::vector<Isa> isas(NumericClass numerics) {
    const CpuFeatures cpu = cpu_detect_features(HostCpuid());
    std::vector<Isa> found;
    for (Isa isa : {Isa::kSse2, Isa::kAvx2, Isa::kAvx512}) {
        if (runs_on(cpu, isa, numerics)) found.push_back(isa);
    }
    return found;
}

const ReferenceKernels& reference(NumericClass numerics) {
    return numerics == NumericClass::kFma ? kFmaKernels : kMulAddKernels;
}

class RoutinesTest : public testing::TestWithParam<NumericClass> {
 protected:
    void fill(float* values, size_t count, float scale = 1) {
        std::normal_distribution<float> normal(0, scale);
        for (size_t i = 0; i < count; ++i) values[i] = normal(random_);
    }
    /// A random matrix in panels; rows that do not exist are zero.
    TensorView matrix(Guarded& memory, unsigned n, unsigned k, ElementType type) {
        TensorView view{memory.data(), n, k, type, Layout::kPanels16};
        std::normal_distribution<float> normal(0, 0.5f);
        for (size_t row = 0; row < view.stored_rows(); ++row) {
            for (size_t column = 0; column < k; ++column) {
                const size_t index = row / 16 * 16 * k + column * 16 + row % 16;
                const float value = row < n ? normal(random_) : 0;
                if (type == ElementType::kF32) {
                    memory.floats()[index] = value;
                } else {
                    static_cast<uint16_t*>(memory.data())[index] =
                        f16_from_f32(value * (random_() % 50 ? 1 : 1e-6f));
                }
            }
        }
        return view;
    }
    static size_t matrix_bytes(unsigned n, unsigned k, ElementType type) {
        return TensorView{nullptr, n, k, type, Layout::kPanels16}.bytes();
    }
    static void expect_same(const float* got, const float* wanted, size_t count, const RoutineKey& key,
                            const Plan& p) {
        for (size_t i = 0; i < count; ++i) {
            ASSERT_EQ(std::bit_cast<uint32_t>(got[i]), std::bit_cast<uint32_t>(wanted[i]))
                << name_of(key).view() << " plan " << int(p.panels) << " panels, " << int(p.rows)
                << " rows, unroll " << int(p.unroll) << ", " << int(p.vector_bytes) << " bytes: output " << i
                << " is " << got[i] << ", not " << wanted[i];
        }
    }
    Plan random_plan() {
        Plan plan;
        plan.panels = static_cast<uint8_t>(random_() % 9);
        plan.rows = static_cast<uint8_t>(random_() % 9);
        plan.unroll = static_cast<uint8_t>(1 + random_() % 9);
        constexpr uint8_t kWidths[] = {0, 16, 32, 64};
        plan.vector_bytes = kWidths[random_() % 4];
        plan.prefetch = random_() % 4 == 0 ? 512 : 0;
        return plan;
    }
    /// Small sizes all, larger ones at random.
    unsigned random_size(unsigned largest) {
        return 1 + static_cast<unsigned>(random_() % (random_() % 2 ? 40 : largest));
    }

    std::mt19937 random_{7};
    Code code_;
};

TEST_P(RoutinesTest, ProjectionsGiveTheReferencesBits) {
    for (int round = 0; round < 300; ++round) {
        for (Isa isa : isas(GetParam())) {
            RoutineKey key{.operation = Operation::kProject,
                           .numerics = GetParam(),
                           .isa = isa,
                           .epilogue = random_() % 2 ? Epilogue::kAdd : Epilogue::kStore,
                           .type = random_() % 2 ? ElementType::kF16 : ElementType::kF32,
                           .layout = Layout::kPanels16,
                           .m = random_() % 2 ? 1 : random_size(64),
                           .n = random_size(150),
                           .k = random_size(150)};
            if (key.m > 64) key.m = 64;
            const Plan plan = complete_plan(key, random_plan());
            Guarded w(matrix_bytes(key.n, key.k, key.type)), x(key.m * key.k * 4ul), y(key.m * key.n * 4ul);
            const TensorView view = matrix(w, key.n, key.k, key.type);
            fill(x.floats(), key.m * key.k);
            fill(y.floats(), key.m * key.n);
            std::vector<float> wanted(y.floats(), y.floats() + key.m * key.n);
            for (unsigned row = 0; row < key.m; ++row) {
                auto function = key.epilogue == Epilogue::kAdd ? reference(GetParam()).project_add
                                                               : reference(GetParam()).matvec;
                function(wanted.data() + row * key.n, view, x.floats() + row * key.k);
            }
            const ProjectArguments arguments{y.floats(), w.data(), x.floats()};
            code_.emit(key, plan)(&arguments);
            expect_same(y.floats(), wanted.data(), wanted.size(), key, plan);
            if (HasFatalFailure()) return;
        }
    }
}

TEST_P(RoutinesTest, GateUpGivesTheReferencesBits) {
    for (int round = 0; round < 150; ++round) {
        for (Isa isa : isas(GetParam())) {
            RoutineKey key{.operation = Operation::kGateUp,
                           .numerics = GetParam(),
                           .isa = isa,
                           .type = random_() % 2 ? ElementType::kF16 : ElementType::kF32,
                           .layout = Layout::kPanels16,
                           .m = random_() % 2 ? 1 : random_size(8),
                           .n = random_size(150),
                           .k = random_size(150)};
            if (key.m > 64) key.m = 64;
            const Plan plan = complete_plan(key, random_plan());
            Guarded gate(matrix_bytes(key.n, key.k, key.type)), up(matrix_bytes(key.n, key.k, key.type)),
                x(key.m * key.k * 4ul), h(key.m * key.n * 4ul);
            const TensorView gate_view = matrix(gate, key.n, key.k, key.type);
            const TensorView up_view = matrix(up, key.n, key.k, key.type);
            fill(x.floats(), key.m * key.k, round % 3 == 0 ? 20.0f : 1.0f);  // large: SiLU's clamps
            std::vector<float> wanted(key.m * key.n);
            for (unsigned row = 0; row < key.m; ++row) {
                reference(GetParam())
                    .gate_up(wanted.data() + row * key.n, gate_view, up_view, x.floats() + row * key.k);
            }
            const GateUpArguments arguments{h.floats(), gate.data(), up.data(), x.floats()};
            code_.emit(key, plan)(&arguments);
            expect_same(h.floats(), wanted.data(), wanted.size(), key, plan);
            if (HasFatalFailure()) return;
        }
    }
}

TEST_P(RoutinesTest, FusedQkvGivesTheReferencesBits) {
    for (int round = 0; round < 150; ++round) {
        for (Isa isa : isas(GetParam())) {
            constexpr unsigned kHeadSizes[] = {2, 4, 6, 8, 10, 16, 24, 32, 48, 64};
            const unsigned head_size = kHeadSizes[random_() % 10];
            const unsigned kv_heads = 1 + random_() % 4, heads = kv_heads * (1 + random_() % 4);
            RoutineKey key{.operation = Operation::kQkv,
                           .numerics = GetParam(),
                           .isa = isa,
                           .type = random_() % 2 ? ElementType::kF16 : ElementType::kF32,
                           .layout = Layout::kPanels16,
                           .m = 1,
                           .n = heads * head_size,
                           .k = random_size(150),
                           .kv_n = kv_heads * head_size,
                           .head_size = head_size};
            const Plan plan = complete_plan(key, random_plan());
            Guarded wq(matrix_bytes(key.n, key.k, key.type)), wk(matrix_bytes(key.kv_n, key.k, key.type)),
                wv(matrix_bytes(key.kv_n, key.k, key.type)), x(key.k * 4ul), q(key.n * 4ul),
                k(key.kv_n * 4ul), v(key.kv_n * 4ul), cos(head_size * 2ul), sin(head_size * 2ul);
            const TensorView query = matrix(wq, key.n, key.k, key.type),
                             keys = matrix(wk, key.kv_n, key.k, key.type),
                             values = matrix(wv, key.kv_n, key.k, key.type);
            fill(x.floats(), key.k);
            fill(cos.floats(), head_size / 2);
            fill(sin.floats(), head_size / 2);
            std::vector<float> wanted_q(key.n), wanted_k(key.kv_n), wanted_v(key.kv_n);
            const ReferenceKernels& r = reference(GetParam());
            r.matvec(wanted_q.data(), query, x.floats());
            r.matvec(wanted_k.data(), keys, x.floats());
            r.matvec(wanted_v.data(), values, x.floats());
            r.rope(wanted_q.data(), key.n, head_size, cos.floats(), sin.floats());
            r.rope(wanted_k.data(), key.kv_n, head_size, cos.floats(), sin.floats());
            const QkvArguments arguments{q.floats(), k.floats(), v.floats(),   wq.data(),   wk.data(),
                                         wv.data(),  x.floats(), cos.floats(), sin.floats()};
            code_.emit(key, plan)(&arguments);
            expect_same(q.floats(), wanted_q.data(), key.n, key, plan);
            expect_same(k.floats(), wanted_k.data(), key.kv_n, key, plan);
            expect_same(v.floats(), wanted_v.data(), key.kv_n, key, plan);
            if (HasFatalFailure()) return;
        }
    }
}

TEST_P(RoutinesTest, RmsNormGivesTheReferencesBits) {
    for (unsigned n = 1; n < 200; ++n) {
        for (Isa isa : isas(GetParam())) {
            RoutineKey key{
                .operation = Operation::kRmsNorm, .numerics = GetParam(), .isa = isa, .n = n, .eps = 1e-5f};
            const Plan plan = complete_plan(key, random_plan());
            Guarded x(n * 4ul), weight(n * 4ul), y(n * 4ul);
            fill(x.floats(), n);
            fill(weight.floats(), n);
            std::vector<float> wanted(n);
            reference(GetParam()).rms_norm(wanted.data(), x.floats(), weight.floats(), n, key.eps);
            const RmsNormArguments arguments{y.floats(), x.floats(), weight.floats()};
            code_.emit(key, plan)(&arguments);
            expect_same(y.floats(), wanted.data(), n, key, plan);
            if (HasFatalFailure()) return;
        }
    }
}

TEST_P(RoutinesTest, AttentionGivesTheReferencesBits) {
    for (int round = 0; round < 200; ++round) {
        for (Isa isa : isas(GetParam())) {
            constexpr unsigned kHeadSizes[] = {4, 8, 12, 16, 20, 28, 32, 44, 48, 64, 128, 256};
            RoutineKey key{.operation = Operation::kAttention,
                           .numerics = GetParam(),
                           .isa = isa,
                           .head_size = kHeadSizes[random_() % 12]};
            key.num_kv_heads = 1 + static_cast<uint32_t>(random_() % 3);
            key.num_heads = key.num_kv_heads * (1 + static_cast<uint32_t>(random_() % 3));
            ASSERT_TRUE(can_emit(key));
            const Plan plan = complete_plan(key, random_plan());
            const size_t positions = random_size(100), stride = positions + random_() % 3;
            const size_t kv = key.num_kv_heads * key.head_size, q_size = key.num_heads * key.head_size;
            Guarded q(q_size * 4), keys(positions * kv * 4), values(positions * kv * 4), out(q_size * 4),
                scores(key.num_heads * stride * 4);
            fill(q.floats(), q_size, round % 4 == 0 ? 10.0f : 1.0f);
            fill(keys.floats(), positions * kv);
            fill(values.floats(), positions * kv);
            std::vector<float> wanted(q_size), wanted_scores(key.num_heads * stride);
            reference(GetParam())
                .attention(wanted.data(), q.floats(), keys.floats(), values.floats(), positions,
                           key.num_heads, key.num_kv_heads, key.head_size, wanted_scores.data(), stride);
            const AttentionArguments arguments{out.floats(), q.floats(),      keys.floats(), values.floats(),
                                               positions,    scores.floats(), stride};
            code_.emit(key, plan)(&arguments);
            expect_same(out.floats(), wanted.data(), q_size, key, plan);
            if (HasFatalFailure()) return;
        }
    }
}

TEST_P(RoutinesTest, SoftmaxGivesTheReferencesBits) {
    for (unsigned n = 1; n < 200; ++n) {
        for (Isa isa : isas(GetParam())) {
            const RoutineKey key{
                .operation = Operation::kSoftmax, .numerics = GetParam(), .isa = isa, .n = n};
            ASSERT_TRUE(can_emit(key));
            const Plan plan = complete_plan(key, random_plan());
            Guarded values(n * 4ul);
            fill(values.floats(), n, n % 3 == 0 ? 30.0f : 1.0f);
            std::vector<float> wanted(values.floats(), values.floats() + n);
            reference(GetParam()).softmax(wanted.data(), n);
            const SoftmaxArguments arguments{values.floats()};
            code_.emit(key, plan)(&arguments);
            expect_same(values.floats(), wanted.data(), n, key, plan);
            if (HasFatalFailure()) return;
        }
    }
}

/// Values with what makes an argmax difficult: ties, NaN, infinities, zeros of both signs.
void make_difficult(float* values, size_t n, std::mt19937& random) {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    const float kSpecial[] = {std::nanf(""), -std::nanf(""), kInfinity, -kInfinity, 0.0f, -0.0f, 2.5f};
    const unsigned how = random() % 4;
    for (size_t i = 0; i < n; ++i) {
        if (how == 0) values[i] = std::nanf("");
        if (how == 1 && random() % 2) values[i] = kSpecial[random() % 7];
        if (how == 2) values[i] = kSpecial[(random() % 2) * 3];  // NaN and -infinity only
    }
}

TEST_P(RoutinesTest, ArgmaxIsTheReferencesAlsoForTiesNansAndInfinities) {
    Operators& operators = *reference_operators(GetParam(), cpu_detect_features(HostCpuid())).value();
    for (unsigned round = 0; round < 600; ++round) {
        const unsigned n = 1 + round % 150;
        for (Isa isa : isas(GetParam())) {
            const RoutineKey key{.operation = Operation::kArgmax, .numerics = GetParam(), .isa = isa, .n = n};
            ASSERT_TRUE(can_emit(key));
            Guarded values(n * 4ul);
            fill(values.floats(), n);
            make_difficult(values.floats(), n, random_);
            ArgmaxArguments arguments{UINT64_MAX, values.floats()};
            code_.emit(key, complete_plan(key, random_plan()))(&arguments);
            ASSERT_EQ(arguments.result, operators.argmax(values.floats(), n)) << name_of(key).view();
        }
    }
}

TEST_P(RoutinesTest, AHeadThatTellsItsArgmaxGivesTheReferencesBitsAndIndex) {
    Operators& operators = *reference_operators(GetParam(), cpu_detect_features(HostCpuid())).value();
    for (int round = 0; round < 300; ++round) {
        for (Isa isa : isas(GetParam())) {
            const RoutineKey key{.operation = Operation::kProject,
                                 .numerics = GetParam(),
                                 .isa = isa,
                                 .epilogue = Epilogue::kArgmax,
                                 .type = random_() % 2 ? ElementType::kF16 : ElementType::kF32,
                                 .layout = Layout::kPanels16,
                                 .n = random_size(150),
                                 .k = random_size(60)};
            const Plan plan = complete_plan(key, random_plan());
            Guarded w(matrix_bytes(key.n, key.k, key.type)), x(key.k * 4ul), y(key.n * 4ul);
            const TensorView view = matrix(w, key.n, key.k, key.type);
            fill(x.floats(), key.k);
            // All outputs NaN, or equal (zero), or below zero: padding of the last panel must not win.
            if (round % 8 == 0) x.floats()[0] = std::nanf("");
            if (round % 8 == 1) std::fill(x.floats(), x.floats() + key.k, 0.0f);
            std::vector<float> wanted(key.n);
            const uint32_t best = operators.matvec_argmax(wanted.data(), view, x.floats());
            uint64_t index = UINT64_MAX;
            const ProjectArguments arguments{y.floats(), w.data(), x.floats(), &index};
            code_.emit(key, plan)(&arguments);
            expect_same(y.floats(), wanted.data(), key.n, key, plan);
            if (HasFatalFailure()) return;
            ASSERT_EQ(index, best) << name_of(key).view();
        }
    }
}

// What this CPU cannot run can still be made on it: every key and plan must be encodable.
TEST_P(RoutinesTest, EncodesForEveryIsaWhetherThisCpuHasItOrNot) {
    constexpr Operation kOperations[] = {Operation::kProject, Operation::kQkv,       Operation::kGateUp,
                                         Operation::kRmsNorm, Operation::kAttention, Operation::kSoftmax,
                                         Operation::kArgmax};
    int made = 0;
    for (int round = 0; round < 2000; ++round) {
        RoutineKey key{.operation = kOperations[random_() % 7],
                       .numerics = GetParam(),
                       .isa = static_cast<Isa>(1 + random_() % 3),
                       .type = random_() % 2 ? ElementType::kF16 : ElementType::kF32,
                       .layout = Layout::kPanels16,
                       .m = random_() % 2 ? 1 : 1 + static_cast<uint32_t>(random_() % 64),
                       .n = 4 * random_size(1500),
                       .k = random_size(6000),
                       .kv_n = 4 * random_size(100),
                       .head_size = 4};
        key.num_kv_heads = 1 + static_cast<uint32_t>(random_() % 8);
        key.num_heads = key.num_kv_heads * (1 + static_cast<uint32_t>(random_() % 8));
        if (key.operation == Operation::kQkv) key.m = 1;
        if (key.operation == Operation::kAttention)
            key.head_size = 4 * (1 + static_cast<uint32_t>(random_() % 64));
        if (!can_emit(key)) continue;
        code_.emit(key, complete_plan(key, random_plan()));
        ASSERT_FALSE(HasFailure());
        ++made;
    }
    EXPECT_GT(made, 1000);
}

INSTANTIATE_TEST_SUITE_P(Classes, RoutinesTest, testing::Values(NumericClass::kFma, NumericClass::kMulAdd),
                         [](const auto& param) {
                             return param.param == NumericClass::kFma ? "fma" : "muladd";
                         });

}  // namespace
}  // namespace bareflow
