// The cache of routines with a real arena, real probes and real code; makers that fail in every way a routine can.
#include "emitter/routine_cache.h"

#include <gmock/gmock.h>
#include <sys/mman.h>

#include <cstring>
#include <string>
#include <vector>

#include "arch/host/code_memory.h"
#include "arch/host/host_platform.h"
#include "arch/routine_operators.h"
#include "arch/routine_probe.h"
#include "emitter/routine_emitter.h"
#include "model/reference.h"
#include "model/tools/std_allocator.h"

namespace bareflow {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::StartsWith;

class Lines final : public LogSink {
 public:
    void write_line(std::string_view line) override { lines.emplace_back(line); }
    std::vector<std::string> lines;
};

/// Emits as tiny does, then does what a test wants with the code.
class TamperingMaker final : public RoutineMaker {
 public:
    std::string_view name() const override { return "tampering"; }
    Result<size_t> make(const RoutineKey& key, const Plan& plan, std::span<uint8_t> room) override {
        ++made;
        if (fails) return invalid("assembler tampering: planted");
        const size_t size = TRY(tiny_maker().make(key, plan, room));
        if (!replacement.empty()) std::memcpy(room.data(), replacement.data(), replacement.size());
        return replacement.empty() ? size : replacement.size();
    }
    int made = 0;
    bool fails = false;
    std::vector<uint8_t> replacement;  ///< machine code instead
};

/// Says that everything is right, and how long it took; but of one ISA that everything is wrong.
class LenientProbe final : public RoutineProbe {
 public:
    Result<ProbeTimes> check(const RoutineKey& key, Routine, const void*) override {
        if (key.isa == rejected) return invalid("planted");
        return times;
    }
    Isa rejected = Isa::kScalar;
    ProbeTimes times{.routine_ns = 10, .reference_ns = 110};
};

constexpr uint8_t kRet = 0xC3;
const std::vector<uint8_t> kDoesNothing = {kRet}, kInvalid = {0x0F, 0x0B};  // ret; ud2

class RoutineCacheTest : public testing::Test {
 protected:
    static constexpr size_t kPage = CodePages::kPageSize;
    void SetUp() override {
        region_ = {static_cast<uint8_t*>(
                       mmap(nullptr, kRegion, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)),
                   kRegion};
    }
    void TearDown() override { munmap(region_.data(), region_.size()); }

    RoutineCache& open(RoutineProbe& probe, size_t bytes = kRegion) {
        cache_.emplace(maker_, probe, log_);
        EXPECT_TRUE(cache_->initialise(region_.first(bytes), pages_, allocator_).ok());
        return *cache_;
    }
    /// x of `n` values to y; sse2, so that any machine runs it.
    static RoutineKey norm(uint32_t n) {
        return {.operation = Operation::kRmsNorm,
                .numerics = NumericClass::kMulAdd,
                .isa = Isa::kSse2,
                .n = n,
                .eps = 1e-5f};
    }
    Routine make(RoutineCache& cache, const RoutineKey& key) {
        const RmsNormArguments arguments{};
        return cache.find_or_make(key, complete_plan(key, {}), &arguments);
    }

    static constexpr size_t kRegion = 1 << 20;
    std::span<uint8_t> region_;
    HostCodePages pages_;
    StdAllocator allocator_;
    Lines log_;
    TamperingMaker maker_;
    SignalGuard guard_;
    HostClock clock_;
    ReferenceProbe probe_{*reference_operators(NumericClass::kMulAdd, {}).value(), guard_, allocator_,
                          clock_};
    LenientProbe lenient_;
    std::optional<RoutineCache> cache_;
};

TEST_F(RoutineCacheTest, ARoutineIsMadeOnceAndFoundAgain) {
    RoutineCache& cache = open(lenient_);
    EXPECT_EQ(cache.find(norm(64)), nullptr);
    const Routine routine = make(cache, norm(64));
    ASSERT_NE(routine, nullptr);
    EXPECT_EQ(make(cache, norm(64)), routine);
    EXPECT_EQ(cache.find(norm(64)), routine);
    EXPECT_EQ(maker_.made, 1);
    EXPECT_EQ(cache.counts().compiled, 1u);
    EXPECT_NE(make(cache, norm(65)), routine);
    EXPECT_EQ(maker_.made, 2);
}

TEST_F(RoutineCacheTest, AWrongRoutineIsQuarantinedToldAndNotTriedAgain) {
    RoutineCache& cache = open(probe_);
    maker_.replacement = kDoesNothing;
    EXPECT_EQ(make(cache, norm(64)), nullptr);
    EXPECT_THAT(log_.lines, Contains(AllOf(StartsWith("routine_rejected key=rms_norm_64_muladd_sse2"),
                                           HasSubstr("output 0"))));
    maker_.replacement.clear();
    EXPECT_EQ(make(cache, norm(64)), nullptr) << "it stays in quarantine";
    EXPECT_EQ(maker_.made, 1);
    EXPECT_EQ(cache.counts().rejected, 1u);
    EXPECT_EQ(cache.arena().used(), 0u) << "its pages came back";
}

TEST_F(RoutineCacheTest, ARoutineThatFaultsIsQuarantinedAndTheProcessGoesOn) {
    RoutineCache& cache = open(probe_);
    maker_.replacement = kInvalid;
    EXPECT_EQ(make(cache, norm(64)), nullptr);
    EXPECT_THAT(log_.lines,
                Contains(AllOf(StartsWith("routine_rejected"), HasSubstr("faulted on its probe"))));
}

TEST_F(RoutineCacheTest, WhatTheAssemblerRefusesIsQuarantined) {
    RoutineCache& cache = open(lenient_);
    maker_.fails = true;
    EXPECT_EQ(make(cache, norm(64)), nullptr);
    EXPECT_THAT(log_.lines, Contains(HasSubstr("planted")));
    EXPECT_EQ(cache.counts().rejected, 1u);
}

TEST_F(RoutineCacheTest, ASlowerRoutineIsLeftAloneAndThatIsNoRejection) {
    RoutineCache& cache = open(lenient_);
    lenient_.times = {.routine_ns = 200, .reference_ns = 100};
    EXPECT_EQ(make(cache, norm(64)), nullptr);
    EXPECT_EQ(make(cache, norm(64)), nullptr);
    EXPECT_EQ(maker_.made, 1);
    EXPECT_EQ(cache.counts().slower, 1u);
    EXPECT_EQ(cache.counts().rejected, 0u);
    EXPECT_THAT(log_.lines, Contains(StartsWith("routine_slower key=rms_norm_64_muladd_sse2")));
}

// Room for a routine being written (64 KiB) and two that are sealed.
TEST_F(RoutineCacheTest, WithoutRoomTheRoutineThatSavedLeastGoesAndIsMadeAgainWhenWanted) {
    constexpr size_t kRoom = 64 * 1024 + 2 * kPage, kGuards = 2 * kPage;
    RoutineCache& cache = open(lenient_, kRoom + kGuards);
    ASSERT_NE(make(cache, norm(16)), nullptr);
    ASSERT_NE(make(cache, norm(32)), nullptr);
    for (int i = 0; i < 100; ++i) cache.find(norm(16));
    for (int i = 0; i < 50; ++i) cache.find(norm(32));
    const uint64_t bytes = cache.counts().code_bytes;
    ASSERT_NE(make(cache, norm(48)), nullptr);  // three lie there, and now a fourth has no room to be written
    for (int i = 0; i < 70; ++i) cache.find(norm(48));
    ASSERT_NE(make(cache, norm(64)), nullptr);
    EXPECT_NE(cache.find(norm(16)), nullptr) << "the one that saved most";
    EXPECT_GE(cache.counts().evicted, 1u);
    EXPECT_EQ(cache.counts().evicted, cache.arena().evictions());
    EXPECT_THAT(log_.lines, Contains(StartsWith("routine_evicted key=rms_norm_32_muladd_sse2 calls=51")));
    EXPECT_EQ(cache.find(norm(32)), nullptr);
    EXPECT_NE(make(cache, norm(32)), nullptr) << "wanted again, it is made again";
    EXPECT_LT(cache.counts().code_bytes, 3 * bytes) << "what is gone is not counted";
}

TEST_F(RoutineCacheTest, AKeyIsHotWhenItComesBackOrAtOnceIfItsCallIsMuchWork) {
    RoutineCache& cache = open(lenient_);
    EXPECT_FALSE(cache.is_hot(norm(64)));
    EXPECT_FALSE(cache.is_hot(norm(65))) << "each key for itself";
    EXPECT_EQ(cache.find(norm(64)), nullptr);
    EXPECT_TRUE(cache.is_hot(norm(64)));
    ASSERT_NE(make(cache, norm(64)), nullptr);
    EXPECT_NE(cache.find(norm(64)), nullptr);
    RoutineKey block = {.operation = Operation::kProject, .isa = Isa::kSse2, .m = 64, .n = 128, .k = 128};
    EXPECT_TRUE(cache.is_hot(block));
    block.m = 63;
    EXPECT_FALSE(cache.is_hot(block));
    lenient_.times = {.routine_ns = 200, .reference_ns = 100};
    EXPECT_EQ(make(cache, norm(80)), nullptr);
    EXPECT_FALSE(cache.is_hot(norm(80))) << "slower than the reference: not asked for again";
}

/// What a visitor is shown.
struct Shown final : RoutineVisitor {
    bool has_routine(const RoutineKey& key) const override { return can_emit(key); }
    void visit(const RoutineKey& key, const void* arguments) override {
        names.emplace_back(name_of(key).view());
        if (key.operation == Operation::kProject)
            weights.push_back(static_cast<const ProjectArguments*>(arguments)->w);
    }
    std::vector<std::string> names;
    std::vector<const void*> weights;
};

TEST_F(RoutineCacheTest, AVisitorIsShownTheRoutinesOfCallsAndNothingIsComputed) {
    Shown shown;
    NoOperators nothing(NumericClass::kMulAdd);
    RoutineOperators operators(shown, nothing, Isa::kSse2);
    const float data[48 * 32] = {};
    const TensorView w{data, 48, 32, ElementType::kF32, Layout::kPanels16};
    float y[16 * 48] = {}, x[16 * 32] = {};
    y[0] = 7;
    operators.matvec(y, w, x);
    operators.project_add_rows(y, w, x, 16);
    operators.rms_norm(y, x, x, 32, 1e-5f);
    EXPECT_THAT(shown.names,
                testing::ElementsAre("project_1x48x32_f32_muladd_sse2",
                                     "project_16x48x32_add_f32_muladd_sse2", "rms_norm_32_muladd_sse2"));
    EXPECT_THAT(shown.weights, testing::Each(static_cast<const void*>(data)));
    EXPECT_EQ(y[0], 7);
}

TEST_F(RoutineCacheTest, AnAddressInARoutineIsNamedByKeyAndOffset) {
    RoutineCache& cache = open(lenient_);
    const Routine routine = make(cache, norm(64));
    FixedString<96> name;
    uint64_t offset = 0;
    ASSERT_TRUE(cache.find_code(reinterpret_cast<uint64_t>(routine) + 5, name, offset));
    EXPECT_EQ(name.view(), "rms_norm_64_muladd_sse2");
    EXPECT_EQ(offset, 5u);
    EXPECT_FALSE(cache.find_code(reinterpret_cast<uint64_t>(&cache), name, offset));
}

// A block of rows is one routine, and its rows have the bits of a single one's.
TEST_F(RoutineCacheTest, BlocksOfRowsHaveTheBitsOfOneRowAtATime) {
    RoutineCache& cache = open(lenient_);
    Operators& reference = *reference_operators(NumericClass::kMulAdd, {}).value();
    RoutineOperators operators(cache, reference, Isa::kSse2, allocator_);
    constexpr uint32_t kIn = 40, kOut = 48, kKv = 16, kHead = 8;
    constexpr size_t kRows = 16;
    std::vector<float> weights(3 * 48 * kIn), x(kRows * kIn), angles(2 * kRows * kHead / 2);
    for (size_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<float>(i * 7 % 31) * 0.03f - 0.4f;
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i * 5 % 23) * 0.1f - 1;
    for (size_t i = 0; i < angles.size(); ++i) angles[i] = static_cast<float>(i % 9) * 0.2f - 0.8f;
    const auto matrix = [&](size_t at, uint32_t rows) {
        return TensorView{weights.data() + at * 48 * kIn, rows, kIn, ElementType::kF32, Layout::kPanels16};
    };
    const RopeRow rope{angles.data(), angles.data() + kRows * kHead / 2};
    struct Outputs {
        std::vector<float> q = std::vector<float>(kRows * kOut), k = std::vector<float>(kRows * kKv), v = k,
                           h = q, y = q;
        bool operator==(const Outputs&) const = default;
    };
    const auto run = [&](Operators& by, bool one_by_one) {
        Outputs out;
        const size_t step = one_by_one ? 1 : kRows;
        for (size_t i = 0; i < kRows; i += step) {
            const float* row = x.data() + i * kIn;
            by.qkv_rows(&out.q[i * kOut], &out.k[i * kKv], &out.v[i * kKv], row, matrix(0, kOut),
                        matrix(1, kKv), matrix(2, kKv), {rope.cos + i * kHead / 2, rope.sin + i * kHead / 2},
                        kHead, step);
            by.gate_up_rows(&out.h[i * kOut], matrix(0, kOut), matrix(1, kOut), row, step);
            by.project_add_rows(&out.y[i * kOut], matrix(2, kOut), row, step);
        }
        return out;
    };
    const Outputs wanted = run(reference, true);
    EXPECT_TRUE(run(reference, false) == wanted);
    EXPECT_TRUE(run(operators, true) == wanted);
    const int made = maker_.made;
    EXPECT_TRUE(run(operators, false) == wanted) << "row by row, until the block comes back";
    EXPECT_TRUE(run(operators, false) == wanted);
    EXPECT_EQ(maker_.made, made + 4) << "projections of 48 and 16 outputs, gate and up, an added projection";
    // Where there is no routine for so many rows, those for one row do it.
    maker_.fails = true;
    RoutineCache& empty = open(lenient_);
    RoutineOperators fallback(empty, reference, Isa::kSse2, allocator_);
    EXPECT_TRUE(run(fallback, false) == wanted);
}

// VNNI that a hypervisor announces and gets wrong, say; SSSE3 stands for it, which any machine has.
TEST_F(RoutineCacheTest, AnIsaForQuantisedWeightsThatAProbeRejectsIsGivenUp) {
    lenient_.rejected = Isa::kSsse3;
    RoutineCache& cache = open(lenient_);
    Operators& reference = *reference_operators(NumericClass::kMulAdd, {}).value();
    RoutineOperators operators(cache, reference, RoutineIsas(Isa::kSse2, Isa::kSsse3), allocator_);
    const Q8Panel weights[3] = {{{0x3C00, 0x4000}, {{{1, 2, 3, 4}, {-127, 127}}}}, {}, {}};
    const std::vector<float> x(kGroup, 0.5f);
    for (uint32_t rows = 16; rows <= 48; rows += 16) {
        const TensorView w{weights, rows, kGroup, ElementType::kQ8_0, Layout::kPanels16};
        std::vector<float> got(rows), wanted(rows);
        reference.matvec(wanted.data(), w, x.data());
        for (int call = 0; call < 2; ++call) {  // a shape is hot when it comes back
            operators.matvec(got.data(), w, x.data());
            EXPECT_EQ(std::memcmp(got.data(), wanted.data(), rows * sizeof(float)), 0);
        }
    }
    EXPECT_EQ(cache.counts().rejected, 1u);
    EXPECT_EQ(cache.find({.operation = Operation::kProject,
                          .numerics = NumericClass::kMulAdd,
                          .isa = Isa::kSsse3,
                          .type = ElementType::kQ8_0,
                          .layout = Layout::kPanels16,
                          .n = 32,
                          .k = 32}),
              nullptr);
    EXPECT_EQ(cache.counts().compiled, 3u) << "two projections, and the input's quantising";
}

TEST_F(RoutineCacheTest, OperatorsFallBackToTheReferenceWithTheSameBits) {
    maker_.replacement = kInvalid;
    RoutineCache& cache = open(probe_);
    Operators& reference = *reference_operators(NumericClass::kMulAdd, {}).value();
    RoutineOperators operators(cache, reference, Isa::kSse2, allocator_);
    float values[40], wanted[40];
    for (int i = 0; i < 40; ++i) values[i] = wanted[i] = static_cast<float>(i % 7) * 0.5f - 1;
    for (uint64_t call = 0; call < RoutineCache::kHotCalls; ++call) {
        operators.softmax(values, 40);
        reference.softmax(wanted, 40);
    }
    EXPECT_EQ(std::memcmp(values, wanted, sizeof values), 0);
    for (uint64_t call = 0; call < RoutineCache::kHotCalls; ++call)
        EXPECT_EQ(operators.argmax(values, 40), reference.argmax(values, 40));
    EXPECT_EQ(cache.counts().rejected, 2u);
}

}  // namespace
}  // namespace bareflow
