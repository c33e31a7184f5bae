// The tuner with real routines, and makers and clocks that do what a test wants.
#include "arch/routine_tuner.h"

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
using testing::Each;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class Lines final : public LogSink {
 public:
    void write_line(std::string_view line) override { lines.emplace_back(line); }
    std::vector<std::string> of(const std::string& event) const {
        std::vector<std::string> found;
        for (const std::string& line : lines) {
            if (line.starts_with(event + " ")) found.push_back(line);
        }
        return found;
    }
    std::vector<std::string> lines;
};

/// The clock that the tuner reads, moved by the routines themselves (PricedMaker).
struct RoutineClock final : Clock {
    uint64_t now_ns() override { return now; }
    static inline uint64_t now = 0;
};

/// Puts a price on each plan: its code adds so much to the clock, then does what it would. Some plans are wrong.
class PricedMaker final : public RoutineMaker {
 public:
    std::string_view name() const override { return "priced"; }
    Result<size_t> make(const RoutineKey& key, const Plan& plan, std::span<uint8_t> room) override {
        ++made;
        if (plan.panels == wrong_panels) {
            room[0] = 0xC3;  // ret: computes nothing
            return size_t{1};
        }
        const uint32_t price = plan.panels == cheap_panels ? 5'000 : 10'000;
        const auto clock = reinterpret_cast<uint64_t>(&RoutineClock::now);
        uint8_t code[] = {0x48, 0xB8, 0,    0, 0, 0, 0, 0, 0, 0,  // mov rax, &now
                          0x48, 0x81, 0x00, 0, 0, 0, 0};          // add qword [rax], price
        std::memcpy(code + 2, &clock, sizeof clock);
        std::memcpy(code + 13, &price, sizeof price);
        std::memcpy(room.data(), code, sizeof code);
        // Jumps within a routine are relative and its constants too; its loops stay aligned well enough.
        return sizeof code + TRY(tiny_maker().make(key, plan, room.subspan(sizeof code)));
    }
    int made = 0;
    uint8_t cheap_panels = 0, wrong_panels = 0;
};

class RoutineTunerTest : public testing::Test {
 protected:
    static constexpr size_t kRegion = 1 << 20;
    static constexpr uint32_t kIn = 64, kOut = 128;

    RoutineTunerTest()
        : region_(mmap(nullptr, kRegion, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
        cache_.initialise({static_cast<uint8_t*>(region_), kRegion}, pages_, allocator_).take();
        tuner_.initialise().take();
        for (size_t i = 0; i < weights_.size(); ++i)
            weights_[i] = static_cast<float>(i * 7 % 31) * 0.03f - 0.4f;
        for (size_t i = 0; i < x_.size(); ++i) x_[i] = static_cast<float>(i * 5 % 23) * 0.1f - 1;
    }
    ~RoutineTunerTest() override { munmap(region_, kRegion); }

    TensorView matrix(size_t number) {
        return {weights_.data() + number * kIn * kOut, kOut, kIn, ElementType::kF32, Layout::kPanels16};
    }
    /// What the model computes: two layers.
    std::vector<float> compute() {
        std::vector<float> out(2 * kOut);
        operators_.matvec(out.data(), matrix(0), x_.data());
        operators_.matvec(out.data() + kOut, matrix(1), x_.data());
        return out;
    }
    void meet() {
        tuner_.meet_shapes([&](RoutineVisitor& visitor) {
            NoOperators nothing(NumericClass::kMulAdd);
            RoutineOperators shown(visitor, nothing, Isa::kSse2);
            float y[kOut];
            shown.matvec(y, matrix(0), x_.data());
            shown.matvec(y, matrix(1), x_.data());
        });
    }
    void tune() {
        while (tuner_.step()) {
        }
    }
    const RoutineCache::Entry& entry() const { return *cache_.entry_of(key_); }

    const RoutineKey key_ = parse_key("project_1x128x64_f32_muladd_sse2").take();
    void* region_;
    HostCodePages pages_;
    StdAllocator allocator_;
    Lines log_;
    PricedMaker maker_;
    SignalGuard guard_;
    HostClock host_clock_;
    RoutineClock clock_;
    Operators& reference_ = *reference_operators(NumericClass::kMulAdd, {}).value();
    ReferenceProbe probe_{reference_, guard_, allocator_, host_clock_};
    RoutineCache cache_{maker_, probe_, log_, 1};
    RoutineOperators operators_{cache_, reference_, Isa::kSse2, allocator_};
    RoutineTuner tuner_{cache_, log_, clock_, allocator_};
    std::vector<float> weights_ = std::vector<float>(2 * kIn * kOut), x_ = std::vector<float>(kIn);
};

TEST_F(RoutineTunerTest, TriesEveryPlanOnceAndInstallsTheFastest) {
    const std::vector<float> before = compute();
    maker_.cheap_panels = entry().plan.panels == 2 ? 3 : 2;
    meet();
    ASSERT_EQ(tuner_.shapes().size(), 1u);
    EXPECT_EQ(tuner_.shapes()[0].count, 2u) << "the weights of both layers";
    EXPECT_EQ(tuner_.shapes()[0].calls, 2u);
    const uint32_t left = tuner_.left();
    EXPECT_GE(left, 4u);
    tune();
    EXPECT_EQ(tuner_.left(), 0u);
    EXPECT_EQ(entry().plan.panels, maker_.cheap_panels);
    EXPECT_EQ(tuner_.counts().improved, 1u) << "its equals did not win by the margin";
    EXPECT_EQ(log_.of("plan").size(), tuner_.table().records().size());
    EXPECT_THAT(log_.of("plan"), Contains(AllOf(HasSubstr("verdict=better ns=5000 incumbent_ns=10000"),
                                                HasSubstr("gain=50.000"))));
    EXPECT_DOUBLE_EQ(tuner_.table().speedup(key_), 2);

    const int made = maker_.made;
    meet();
    EXPECT_FALSE(tuner_.step()) << "nothing is tried twice";
    EXPECT_EQ(maker_.made, made);
    EXPECT_EQ(cache_.arena().used(), CodePages::kPageSize) << "what lost gave its pages back";
    EXPECT_TRUE(compute() == before) << "the same bits";
}

TEST_F(RoutineTunerTest, WhatWasLearnedIsTheBestKnownPlanOfTheNextBoot) {
    compute();
    maker_.cheap_panels = entry().plan.panels == 2 ? 3 : 2;
    meet();
    tune();
    RoutineTuner next(cache_, log_, clock_, allocator_);
    next.initialise().take();
    next.restore(tuner_.table().records());
    EXPECT_EQ(next.best_plan(key_)->panels, maker_.cheap_panels);
    next.meet_shapes([&](RoutineVisitor& visitor) {
        const ProjectArguments arguments{nullptr, weights_.data(), nullptr};
        visitor.visit(key_, &arguments);
    });
    EXPECT_EQ(next.left(), 0u);

    // A routine that had to make room comes back as it was.
    cache_.set_plan_source(&next);
    cache_.evicted(reinterpret_cast<const void*>(entry().code));
    compute();
    EXPECT_EQ(entry().state, RoutineCache::Entry::State::kInstalled);
    EXPECT_EQ(entry().plan.panels, maker_.cheap_panels);
    cache_.set_plan_source(nullptr);
    EXPECT_EQ(cache_.best_plan(key_).panels, default_plan(key_).panels);
}

TEST_F(RoutineTunerTest, APlanWhoseRoutineIsWrongIsRejectedAndNeverInstalled) {
    const std::vector<float> before = compute();
    maker_.wrong_panels = maker_.cheap_panels = entry().plan.panels == 2 ? 3 : 2;
    const Plan plan = entry().plan;
    meet();
    tune();
    EXPECT_TRUE(entry().plan == plan);
    EXPECT_GE(tuner_.counts().rejected, 1u);
    EXPECT_EQ(tuner_.counts().improved, 0u);
    EXPECT_THAT(log_.of("plan"), Contains(AllOf(HasSubstr("verdict=rejected"), HasSubstr("reason="))));
    EXPECT_TRUE(compute() == before);
}

TEST_F(RoutineTunerTest, StopsAndGoesOnAnywhere) {
    compute();
    maker_.cheap_panels = entry().plan.panels == 2 ? 3 : 2;
    meet();
    unsigned steps = 0;
    for (; tuner_.step(); ++steps) {
        if (steps % 7 == 6) meet();  // what was on trial begins anew, what is decided stays
        ASSERT_LT(steps, 100'000u);
        if (steps % 50 == 49) compute();
        if (steps % 7 == 6 && steps > 400) break;  // trials of 15 pairs cannot end so; let them
    }
    tune();
    EXPECT_EQ(tuner_.left(), 0u);
    EXPECT_EQ(entry().plan.panels, maker_.cheap_panels);
}

TEST_F(RoutineTunerTest, ARoutineThatHadToGoMeanwhileEndsItsTrial) {
    compute();
    meet();
    for (int i = 0; i < 9; ++i) ASSERT_TRUE(tuner_.step());
    const size_t known = tuner_.table().records().size();
    cache_.evicted(reinterpret_cast<const void*>(entry().code));
    tune();
    EXPECT_EQ(tuner_.table().records().size(), known) << "nothing was learned from code that is gone";
    EXPECT_EQ(entry().state, RoutineCache::Entry::State::kEvicted);
    EXPECT_GT(tuner_.left(), 0u) << "they wait for the routine to come back";
}

TEST_F(RoutineTunerTest, OfAMatrixOfManyMegabytesPiecesAreTimed) {
    constexpr uint32_t kRows = 4096, kColumns = 512;  // 8 MiB
    std::vector<float> large(size_t{kRows} * kColumns, 0.01f), y(kRows), x(kColumns, 1);
    const TensorView w{large.data(), kRows, kColumns, ElementType::kF32, Layout::kPanels16};
    operators_.matvec(y.data(), w, x.data());
    tuner_.meet_shapes([&](RoutineVisitor& visitor) {
        NoOperators nothing(NumericClass::kMulAdd);
        RoutineOperators shown(visitor, nothing, Isa::kSse2);
        shown.matvec(y.data(), w, x.data());
    });
    ASSERT_EQ(tuner_.shapes().size(), 1u);
    const TunedShape& shape = tuner_.shapes()[0];
    EXPECT_EQ(shape.timed.n, kRows / 2);
    ASSERT_EQ(shape.count, 2u);
    EXPECT_EQ(shape.sets[1].matrix[0], large.data() + large.size() / 2);
    const RoutineCache::Entry& whole = *cache_.entry_of(shape.key);
    maker_.cheap_panels = whole.plan.panels == 2 ? 3 : 2;
    tune();
    EXPECT_EQ(whole.plan.panels, maker_.cheap_panels);
    EXPECT_EQ(cache_.entry_of(shape.timed), nullptr) << "pieces are for the clock only";
    std::vector<float> wanted(kRows);
    reference_.matvec(wanted.data(), w, x.data());
    operators_.matvec(y.data(), w, x.data());
    EXPECT_TRUE(y == wanted);
}

TEST_F(RoutineTunerTest, AScratchCallLeavesTheWeightsAndTakesThemInTurns) {
    ScratchCall call = ScratchCall::make(key_, allocator_).take();
    static std::vector<const void*> seen;
    seen.clear();
    const Routine watcher = [](const void* arguments) {
        seen.push_back(static_cast<const ProjectArguments*>(arguments)->w);
    };
    const float a = 0, b = 0, c = 0;
    const WeightSet sets[] = {{{&a}}, {{&b}}, {{&c}}};
    call.time(watcher, sets, 2, 4, clock_);
    EXPECT_THAT(seen, testing::ElementsAre(&c, &a, &b, &c));
}

}  // namespace
}  // namespace bareflow
