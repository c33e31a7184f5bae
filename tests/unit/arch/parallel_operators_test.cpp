// Operators on several cores: the same bits for any number of them, by real routines on real threads.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "arch/base/float16.h"
#include "arch/host/code_memory.h"
#include "arch/host/host_platform.h"
#include "arch/host/threads.h"
#include "arch/routine_operators.h"
#include "emitter/routine_cache.h"
#include "emitter/routine_emitter.h"
#include "model/reference.h"
#include "model/tools/std_allocator.h"

namespace bareflow {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

class NoLog final : public LogSink {
 public:
    void write_line(std::string_view) override {}
};
/// Keeps every routine, however long it took on this busy machine.
class NoProbe final : public RoutineProbe {
 public:
    Result<ProbeTimes> check(const RoutineKey&, Routine, const void*) override { return ProbeTimes{1, 2}; }
};

TEST(Split, HasPartsOfOneSizeAndALastOne) {
    const struct {
        uint32_t units;
        size_t bytes;
        unsigned cores;
        uint32_t each, parts;
    } cases[] = {
        {10, 1000, 1, 10, 1}, {10, 1000, 2, 5, 2}, {10, 1000, 3, 4, 3},
        {10, 1000, 4, 3, 4},  {5, 1000, 4, 2, 3},  {4, 1000, 64, 1, 4},
        {1, 1000, 4, 1, 1},   {10, 99, 4, 10, 1},  // too little for two
        {10, 250, 4, 5, 2},                        // enough for two
        {0, 1000, 4, 1, 0},
    };
    for (const auto& each : cases) {
        const Split split = Split::make(each.units, each.bytes, each.cores, 100);
        EXPECT_EQ(split.each, each.each) << each.units << " on " << each.cores;
        EXPECT_EQ(split.parts(), each.parts) << each.units << " on " << each.cores;
    }
    EXPECT_EQ(OutputRange::of(Split::make(10, 1000, 4, 1), 3, 16, 150).first, 144u);
    EXPECT_EQ(OutputRange::of(Split::make(10, 1000, 4, 1), 3, 16, 150).count, 6u);
}

TEST(ArgmaxJoin, TakesTheFirstOfEqualValuesAndNeverNan) {
    const float values[] = {kNan, 1, 3, 3, -std::numeric_limits<float>::infinity(), kNan};
    const struct {
        std::vector<uint64_t> parts;
        uint32_t best;
    } cases[] = {{{1, 2, 3}, 2}, {{0, 1}, 1}, {{3, 2}, 3}, {{0, 5}, 0}, {{0, 4, 5}, 4}, {{0, 4, 1}, 1}};
    for (const auto& each : cases) {
        ArgmaxJoin join(values);
        for (const uint64_t index : each.parts) join.include(index);
        EXPECT_EQ(join.best(), each.best);
    }
}

class ParallelOperators : public testing::TestWithParam<std::tuple<ElementType, unsigned>> {
 protected:
    static constexpr size_t kRegion = 1 << 20;

    ParallelOperators()
        : type_(std::get<0>(GetParam())),
          features_(cpu_detect_features(HostCpuid())),
          numerics_(features_.fma ? NumericClass::kFma : NumericClass::kMulAdd),
          reference_(*reference_operators(numerics_, features_).take()),
          region_(mmap(nullptr, kRegion, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)),
          cache_(tiny_maker(), probe_, log_, 1),
          operators_(cache_, reference_,
                     RoutineIsas(best_isa(features_, numerics_),
                                 best_quantised_isa(features_, best_isa(features_, numerics_), numerics_)),
                     allocator_, &threads_.start(std::get<1>(GetParam())), 1) {
        cache_.initialise({static_cast<uint8_t*>(region_), kRegion}, pages_, allocator_).take();
    }
    ~ParallelOperators() override { munmap(region_, kRegion); }

    std::vector<float> values(size_t count) {
        std::vector<float> made(count);
        for (float& each : made) each = uniform_(random_);
        return made;
    }
    /// Elements of a KV cache of the type.
    std::vector<uint8_t> cache(size_t count) {
        const std::vector<float> floats = values(count);
        std::vector<uint8_t> bytes(count * size_of(cache_type()));
        if (cache_type() == ElementType::kF16) {
            f16_from_f32(reinterpret_cast<uint16_t*>(bytes.data()), floats.data(), count);
        } else {
            std::memcpy(bytes.data(), floats.data(), bytes.size());
        }
        return bytes;
    }
    /// Lives as long as the test.
    TensorView matrix(uint32_t rows, uint32_t columns) {
        TensorView w{nullptr, rows, columns, type_, Layout::kPanels16};
        auto& bytes = matrices_.emplace_back(w.bytes());
        w.data = bytes.data();
        if (is_quantised(type_)) {
            fill_quantised(bytes);
            return w;
        }
        for (size_t i = 0; i < w.stored_rows() * columns; ++i) {
            const float value = uniform_(random_);
            const uint16_t half = f16_from_f32(value);
            type_ == ElementType::kF16 ? std::memcpy(bytes.data() + 2 * i, &half, 2)
                                       : std::memcpy(bytes.data() + 4 * i, &value, 4);
        }
        return w;
    }
    void fill_quantised(std::vector<uint8_t>& bytes) {
        const size_t panel = kPanelRows * row_bytes(type_, kGroup);
        for (uint8_t& byte : bytes) {
            byte = static_cast<uint8_t>(random_());
            if (byte == 0x80) byte = 0;  // -128 is no value of Q8_0
        }
        for (size_t at = 0; at < bytes.size(); at += panel) {
            for (size_t output = 0; output < kPanelRows; ++output) {
                const uint16_t scale = f16_from_f32(uniform_(random_) * 0.01f);
                std::memcpy(bytes.data() + at + output * sizeof scale, &scale, sizeof scale);
            }
        }
    }
    static void expect_same(const std::vector<float>& got, const std::vector<float>& wanted) {
        for (size_t i = 0; i < wanted.size(); ++i)
            ASSERT_EQ(std::memcmp(&got[i], &wanted[i], sizeof(float)), 0) << "output " << i;
    }
    /// Whether a routine of that name was made: what runs on the reference proves nothing.
    bool made(const std::string& beginning) const {
        for (const RoutineCache::Entry& entry : cache_.entries()) {
            const bool installed = entry.state == RoutineCache::Entry::State::kInstalled;
            if (installed && name_of(entry.key).view().starts_with(beginning)) return true;
        }
        return false;
    }
    /// Quantised caches there are none.
    ElementType cache_type() const { return type_ == ElementType::kF16 ? type_ : ElementType::kF32; }
    unsigned cores() const { return std::get<1>(GetParam()); }

    ElementType type_;
    CpuFeatures features_;
    NumericClass numerics_;
    Operators& reference_;
    void* region_;
    NoLog log_;
    NoProbe probe_;
    HostCodePages pages_;
    StdAllocator allocator_;
    RoutineCache cache_;
    Threads threads_;
    RoutineOperators operators_;
    std::vector<std::vector<uint8_t>> matrices_;
    std::mt19937 random_{1};
    std::uniform_real_distribution<float> uniform_{-1, 1};
};

TEST_P(ParallelOperators, ProjectionsHaveTheReferencesBits) {
    for (const uint32_t rows : {16u, 100u, 288u, 1000u}) {
        const uint32_t columns = 96;
        const TensorView w = matrix(rows, columns), up = matrix(rows, columns);
        const std::vector<float> x = values(columns), before = values(rows);
        std::vector<float> got(rows), wanted(rows);
        operators_.matvec(got.data(), w, x.data());
        reference_.matvec(wanted.data(), w, x.data());
        expect_same(got, wanted);
        got = wanted = before;
        operators_.project_add(got.data(), w, x.data());
        reference_.project_add(wanted.data(), w, x.data());
        expect_same(got, wanted);
        operators_.gate_up(got.data(), w, up, x.data());
        reference_.gate_up(wanted.data(), w, up, x.data());
        expect_same(got, wanted);
        EXPECT_EQ(operators_.matvec_argmax(got.data(), w, x.data()),
                  reference_.matvec_argmax(wanted.data(), w, x.data()));
        expect_same(got, wanted);
    }
    const char* parts_of_288[] = {"project_1x288x96", "project_1x144x96", "project_1x96x96",
                                  "project_1x80x96"};
    EXPECT_TRUE(made(parts_of_288[cores() - 1]));
}

TEST_P(ParallelOperators, TheLargestOutputIsTheFirstOfEqualOnes) {
    constexpr uint32_t kRows = 200, kColumns = 32;
    const TensorView w = matrix(kRows, kColumns);
    std::memset(matrices_.back().data(), 0, w.bytes());
    std::vector<float> x = values(kColumns), y(kRows);
    EXPECT_EQ(operators_.matvec_argmax(y.data(), w, x.data()), 0u) << "all are equal";
    x[0] = kNan;
    EXPECT_EQ(operators_.matvec_argmax(y.data(), w, x.data()), 0u) << "all are NaN";
}

TEST_P(ParallelOperators, QueryKeyAndValueHaveTheReferencesBits) {
    const struct {
        uint32_t heads, kv_heads, head_size;
    } shapes[] = {{6, 6, 48}, {32, 4, 64}, {8, 4, 8}, {3, 3, 10}, {5, 5, 16}};
    for (const auto& shape : shapes) {
        SCOPED_TRACE(shape.head_size);
        const uint32_t columns = 64, n = shape.heads * shape.head_size, kv = shape.kv_heads * shape.head_size;
        const TensorView query = matrix(n, columns), key = matrix(kv, columns), value = matrix(kv, columns);
        const std::vector<float> x = values(columns), angles = values(shape.head_size);
        const RopeRow rope{angles.data(), angles.data() + shape.head_size / 2};
        std::vector<float> q(n), k(kv), v(kv), wanted_q(n), wanted_k(kv), wanted_v(kv);
        operators_.qkv(q.data(), k.data(), v.data(), x.data(), query, key, value, rope, shape.head_size);
        reference_.qkv(wanted_q.data(), wanted_k.data(), wanted_v.data(), x.data(), query, key, value, rope,
                       shape.head_size);
        expect_same(q, wanted_q);
        expect_same(k, wanted_k);
        expect_same(v, wanted_v);
    }
    const char* parts_of_4_groups[] = {"qkv_1x2048x64_kv256", "qkv_1x1024x64_kv128", "qkv_1x1024x64_kv128",
                                       "qkv_1x512x64_kv64"};
    EXPECT_TRUE(made(parts_of_4_groups[cores() - 1]));
}

TEST_P(ParallelOperators, AttentionHasTheReferencesBits) {
    const AttentionShape shapes[] = {{6, 6, 48}, {32, 4, 64}, {8, 4, 8}, {5, 5, 20}};
    for (const AttentionShape& shape : shapes) {
        for (const size_t positions : {1, 7, 40}) {
            SCOPED_TRACE(shape.head_size);
            const size_t n = shape.num_heads * shape.head_size, kv = shape.num_kv_heads * shape.head_size;
            const std::vector<float> q = values(n);
            const std::vector<uint8_t> keys = cache(positions * kv), cached = cache(positions * kv);
            const KvView view{keys.data(), cached.data(), positions, cache_type()};
            std::vector<float> out(n), wanted(n), scores(shape.num_heads * 64), wanted_scores(scores.size());
            operators_.attention(out.data(), q.data(), view, shape, scores.data(), 64);
            reference_.attention(wanted.data(), q.data(), view, shape, wanted_scores.data(), 64);
            expect_same(out, wanted);
        }
    }
    const char* parts_of_4_groups[] = {"attention_32q4kv", "attention_16q2kv", "attention_16q2kv",
                                       "attention_8q1kv"};
    const char* type = type_ == ElementType::kF16 ? "_h64_f16_" : "_h64_";
    EXPECT_TRUE(made(std::string(parts_of_4_groups[cores() - 1]) + type));
}

TEST_P(ParallelOperators, BlocksOfRowsHaveTheReferencesBits) {
    constexpr uint32_t kOut = 80, kColumns = 64, kHeadSize = 8;
    const TensorView w = matrix(kOut, kColumns), up = matrix(kOut, kColumns), key = matrix(16, kColumns);
    for (const size_t rows : {16, 64}) {
        const std::vector<float> x = values(rows * kColumns);
        std::vector<float> got = values(rows * kOut), wanted = got;
        operators_.project_add_rows(got.data(), w, x.data(), rows);
        reference_.project_add_rows(wanted.data(), w, x.data(), rows);
        expect_same(got, wanted);
        operators_.gate_up_rows(got.data(), w, up, x.data(), rows);
        reference_.gate_up_rows(wanted.data(), w, up, x.data(), rows);
        expect_same(got, wanted);
        const std::vector<float> angles = values(rows * kHeadSize);
        const RopeRow rope{angles.data(), angles.data() + rows * kHeadSize / 2};
        std::vector<float> kv(2 * rows * 16), wanted_kv(kv.size());
        operators_.qkv_rows(got.data(), kv.data(), &kv[rows * 16], x.data(), w, key, key, rope, kHeadSize,
                            rows);
        reference_.qkv_rows(wanted.data(), wanted_kv.data(), &wanted_kv[rows * 16], x.data(), w, key, key,
                            rope, kHeadSize, rows);
        expect_same(got, wanted);
        expect_same(kv, wanted_kv);
    }
    const char* parts_of_64_rows[] = {"project_64x80x64_add", "project_32x80x64_add", "project_24x80x64_add",
                                      "project_16x80x64_add"};
    EXPECT_TRUE(made(parts_of_64_rows[cores() - 1]));
}

TEST_P(ParallelOperators, TheReferenceIsSharedOutWithItsBits) {
    constexpr uint32_t kRows = 150, kColumns = 32, kHeadSize = 8;
    RoutineOperators shared(reference_, cores() == 1 ? nullptr : &threads_.workers(), 1);
    for (const Layout layout : {Layout::kPanels16, Layout::kRowMajor}) {
        TensorView w = matrix(kRows, kColumns), up = matrix(kRows, kColumns);
        w.layout = up.layout = layout;
        const std::vector<float> x = values(kColumns);
        std::vector<float> got = values(kRows), wanted = got;
        shared.project_add(got.data(), w, x.data());
        reference_.project_add(wanted.data(), w, x.data());
        expect_same(got, wanted);
        shared.gate_up(got.data(), w, up, x.data());
        reference_.gate_up(wanted.data(), w, up, x.data());
        expect_same(got, wanted);
        EXPECT_EQ(shared.matvec_argmax(got.data(), w, x.data()),
                  reference_.matvec_argmax(wanted.data(), w, x.data()));
        expect_same(got, wanted);
    }
    const TensorView query = matrix(64, kColumns), key = matrix(32, kColumns), value = matrix(32, kColumns);
    const std::vector<float> x = values(kColumns), angles = values(kHeadSize);
    const RopeRow rope{angles.data(), angles.data() + kHeadSize / 2};
    std::vector<float> got(128), wanted(128);
    shared.qkv(&got[0], &got[64], &got[96], x.data(), query, key, value, rope, kHeadSize);
    reference_.qkv(&wanted[0], &wanted[64], &wanted[96], x.data(), query, key, value, rope, kHeadSize);
    expect_same(got, wanted);
}

INSTANTIATE_TEST_SUITE_P(Cores, ParallelOperators,
                         testing::Combine(testing::ValuesIn(kElementTypes), testing::Values(1u, 2u, 3u, 4u)));

}  // namespace
}  // namespace bareflow
