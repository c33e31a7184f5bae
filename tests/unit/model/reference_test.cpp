// The reference operators against model/README.md's "Numbers", written out naively a second time here (bit
// for bit), and against double precision (within bounds).
#include "model/reference.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <limits>

#include "tests/unit/model/compute_support.h"

namespace bareflow {
namespace {

using testing::classes;
using testing::Matrix;
using testing::operators_of;
using testing::random_floats;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr double kHalfUlp = 0x1p-24;  // relative, of a float

struct Storage {
    ElementType type;
    Layout layout;
};
constexpr Storage kStorages[] = {{ElementType::kF32, Layout::kRowMajor},
                                 {ElementType::kF32, Layout::kPanels16},
                                 {ElementType::kF16, Layout::kRowMajor},
                                 {ElementType::kF16, Layout::kPanels16}};

/// The definitions, one output at a time.
struct Naive {
    NumericClass numerics;

    float multiply_add(float a, float b, float c) const {
        if (numerics == NumericClass::kFma) return std::fma(a, b, c);
        const float product = a * b;
        return product + c;
    }
    float exp(float x) const {
        if (std::isnan(x)) return x;
        x = std::max(-88.0f, std::min(89.0f, x));
        const float t = multiply_add(x, 1.44269502f, 12582912.0f);
        const float n = t - 12582912.0f;
        const float r = multiply_add(n, -1.42860677e-6f, multiply_add(n, -0.693145752f, x));
        const float c[] = {1.0f,          1.0f,           0.49999994f,   0.166665167f,
                           0.0416681021f, 0.00836919248f, 0.00138389017f};
        float p = c[6];
        for (int i = 5; i >= 0; --i) p = multiply_add(p, r, c[i]);
        if (n == 128) return p * kInf;
        if (n == -127) return p * 0.0f;
        return p * std::ldexp(1.0f, static_cast<int>(n));
    }
    float row(const Matrix& w, size_t n, const std::vector<float>& x) const {
        float sum = 0;
        for (size_t k = 0; k < x.size(); ++k) sum = multiply_add(w.values[n * x.size() + k], x[k], sum);
        return sum;
    }
    static float tree(const float* lanes, size_t size) {
        if (size == 1) return lanes[0];
        std::vector<float> half(size / 2);
        for (size_t i = 0; i < size / 2; ++i) half[i] = lanes[i] + lanes[i + size / 2];
        return tree(half.data(), size / 2);
    }
    float dot(const float* a, const float* b, size_t n) const {
        float lanes[16] = {};
        for (size_t i = 0; i < n; ++i) lanes[i % 16] = multiply_add(a[i], b[i], lanes[i % 16]);
        return tree(lanes, 16);
    }
    std::vector<float> rms_norm(const std::vector<float>& x, const std::vector<float>& weight,
                                float eps) const {
        const float mean = dot(x.data(), x.data(), x.size()) / static_cast<float>(x.size());
        const float inverse = 1.0f / std::sqrt(mean + eps);
        std::vector<float> y(x.size());
        for (size_t i = 0; i < x.size(); ++i) {
            y[i] = x[i] * inverse;
            y[i] *= weight[i];
        }
        return y;
    }
    void rope(std::vector<float>& heads, size_t head_size, const std::vector<float>& cos,
              const std::vector<float>& sin) const {
        for (size_t i = 0; i < heads.size(); i += 2) {
            const float c = cos[i % head_size / 2], s = sin[i % head_size / 2];
            const float x0 = heads[i], x1 = heads[i + 1];
            const float minus = x1 * s, plus = x0 * s;
            heads[i] = multiply_add(x0, c, -minus);
            heads[i + 1] = multiply_add(x1, c, plus);
        }
    }
    std::vector<float> attention(const std::vector<float>& q, const std::vector<float>& keys,
                                 const std::vector<float>& values, const AttentionShape& shape) const {
        const size_t kv_size = size_t{shape.num_kv_heads} * shape.head_size;
        const size_t positions = keys.size() / kv_size;
        const float scale = 1.0f / std::sqrt(static_cast<float>(shape.head_size));
        std::vector<float> out(q.size());
        for (size_t h = 0; h < shape.num_heads; ++h) {
            const size_t from = h / (shape.num_heads / shape.num_kv_heads) * shape.head_size;
            std::vector<float> e(positions);
            for (size_t p = 0; p < positions; ++p) {
                e[p] = dot(&q[h * shape.head_size], &keys[p * kv_size + from], shape.head_size) * scale;
            }
            const float maximum = *std::max_element(e.begin(), e.end());
            float lanes[16] = {};
            for (size_t p = 0; p < positions; ++p) {
                e[p] = exp(e[p] - maximum);
                lanes[p % 16] += e[p];
            }
            const float inverse = 1.0f / tree(lanes, 16);
            for (size_t d = 0; d < shape.head_size; ++d) {
                float sum = 0;
                for (size_t p = 0; p < positions; ++p)
                    sum = multiply_add(values[p * kv_size + from + d], e[p], sum);
                out[h * shape.head_size + d] = sum * inverse;
            }
        }
        return out;
    }
};

// A vector of exactly its size, so that ASan sees a touch beyond it.
using Floats = std::vector<float>;

bool same_bits(float a, float b) { return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b); }

::testing::AssertionResult same_bits(const Floats& got, const Floats& expected) {
    for (size_t i = 0; i < expected.size(); ++i) {
        if (!same_bits(got[i], expected[i])) {
            return ::testing::AssertionFailure() << "at " << i << ": " << got[i] << " for " << expected[i];
        }
    }
    return ::testing::AssertionSuccess();
}

TEST(Reference, TheFmaClassIsRefusedOnACpuWithoutFma) {
    CpuFeatures old_cpu;
    old_cpu.sse2 = true;
    auto refused = reference_operators(NumericClass::kFma, old_cpu);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code(), ErrorCode::kUnsupported);
    EXPECT_NE(refused.error().message().find("--numerics muladd"), std::string_view::npos);
    auto muladd = reference_operators(NumericClass::kMulAdd, old_cpu);
    ASSERT_TRUE(muladd.ok());
    EXPECT_EQ(muladd.value()->numeric_class(), NumericClass::kMulAdd);
    old_cpu.fma = true;
    EXPECT_EQ(reference_operators(NumericClass::kFma, old_cpu).value()->numeric_class(), NumericClass::kFma);
}

TEST(ReferenceExp, StaysWithinItsBoundOverTheWholeRange) {
    // The bound was found with a step of 1. A prime, so that no pattern of bits is left out.
    constexpr uint32_t kStep = 83;
    constexpr float kSmallest = 1e-9f;
    constexpr uint64_t kDigestFactor = 0x9E3779B97F4A7C15;  // any odd number: a polynomial hash
    constexpr uint64_t kFmaDigest = 7367917583901012138, kMulAddDigest = 5943281166515572939;
    for (NumericClass numerics : classes()) {
        double worst = 0;
        uint64_t digest = 0;
        for (float sign : {1.0f, -1.0f}) {
            const uint32_t last = std::bit_cast<uint32_t>(sign > 0 ? kExpHighestFinite : -kExpLowestNormal);
            for (uint32_t bits = std::bit_cast<uint32_t>(kSmallest); bits <= last; bits += kStep) {
                const float x = sign * std::bit_cast<float>(bits);
                const double expected = std::exp(static_cast<double>(x));
                const float got = reference_exp(numerics, x);
                worst = std::max(worst, std::abs(got - expected) / expected);
                digest = digest * kDigestFactor + std::bit_cast<uint32_t>(got);
            }
        }
        EXPECT_EQ(digest, numerics == NumericClass::kFma ? kFmaDigest : kMulAddDigest)
            << "the contract's bits have changed";
        EXPECT_LE(worst, kExpMaxRelativeError) << name_of(numerics);
        EXPECT_GT(worst, kExpMaxRelativeError / 2) << "the bound is needlessly wide";
    }
}

TEST(ReferenceExp, EndsInZeroAndInfinity) {
    for (NumericClass numerics : classes()) {
        EXPECT_EQ(reference_exp(numerics, 0.0f), 1.0f);
        EXPECT_EQ(reference_exp(numerics, -0.0f), 1.0f);
        for (float below : {-87.69f, -88.0f, -1000.0f, -std::numeric_limits<float>::max(), -kInf}) {
            EXPECT_TRUE(same_bits(reference_exp(numerics, below), 0.0f)) << below;
        }
        for (float above : {88.377f, 89.0f, 1000.0f, std::numeric_limits<float>::max(), kInf}) {
            EXPECT_EQ(reference_exp(numerics, above), kInf) << above;
        }
        EXPECT_TRUE(std::isnan(reference_exp(numerics, kNan)));
        const float at_end = reference_exp(numerics, kExpHighestFinite);
        EXPECT_GT(at_end, 2.4e38f);
        EXPECT_LT(at_end, kInf);
        EXPECT_GE(reference_exp(numerics, kExpLowestNormal), std::numeric_limits<float>::min());
        // Between, the subnormals: half of the smallest one's distance, and what the polynomial adds.
        for (float x = kExpLowestNormal; x > -87.68f; x -= 0.001f) {
            EXPECT_NEAR(reference_exp(numerics, x), std::exp(static_cast<double>(x)), 0x1p-149) << x;
        }
    }
}

TEST(ReferenceExp, IsTheStatedSequenceOfOperations) {
    std::mt19937 random(1);
    std::uniform_real_distribution<float> wide(-95.0f, 95.0f);
    for (NumericClass numerics : classes()) {
        const Naive naive{numerics};
        for (int i = 0; i < 200000; ++i) {
            const float x = i % 2 == 0 ? wide(random) : wide(random) / 64;
            ASSERT_TRUE(same_bits(reference_exp(numerics, x), naive.exp(x))) << x;
        }
    }
}

TEST(ReferenceMatvec, SumsInAscendingOrderInOneAccumulatorForEveryShapeAndStorage) {
    std::mt19937 random(2);
    for (NumericClass numerics : classes()) {
        Operators& operators = operators_of(numerics);
        const Naive naive{numerics};
        for (size_t rows = 1; rows <= 40; ++rows) {
            for (size_t columns = 1; columns <= 40; ++columns) {
                const Floats weights = random_floats(rows * columns, random);
                const Floats x = random_floats(columns, random);
                const Floats residual = random_floats(rows, random);
                for (const Storage& storage : kStorages) {
                    const Matrix w(weights, rows, columns, storage.type, storage.layout);
                    Floats expected(rows);
                    for (size_t n = 0; n < rows; ++n) expected[n] = naive.row(w, n, x);
                    Floats y(rows, kNan);
                    operators.matvec(y.data(), w.view, x.data());
                    ASSERT_TRUE(same_bits(y, expected)) << rows << "x" << columns << name_of(storage.layout);
                    Floats sum = residual;
                    operators.project_add(sum.data(), w.view, x.data());
                    for (size_t n = 0; n < rows; ++n) expected[n] = residual[n] + expected[n];
                    ASSERT_TRUE(same_bits(sum, expected))
                        << rows << "x" << columns << name_of(storage.layout);
                }
            }
        }
    }
}

TEST(ReferenceMatvec, IsWithinTheErrorBoundOfSequentialSummation) {
    std::mt19937 random(3);
    constexpr size_t kRows = 33, kColumns = 1000;
    const Matrix w(random_floats(kRows * kColumns, random), kRows, kColumns, ElementType::kF32,
                   Layout::kPanels16);
    const Floats x = random_floats(kColumns, random);
    for (NumericClass numerics : classes()) {
        Floats y(kRows);
        operators_of(numerics).matvec(y.data(), w.view, x.data());
        for (size_t n = 0; n < kRows; ++n) {
            double exact = 0, magnitude = 0;
            for (size_t k = 0; k < kColumns; ++k) {
                const double product = static_cast<double>(w.values[n * kColumns + k]) * x[k];
                exact += product;
                magnitude += std::abs(product);
            }
            EXPECT_LE(std::abs(y[n] - exact), (kColumns + 1) * kHalfUlp * magnitude);
            EXPECT_LE(std::abs(y[n] - exact), 1e-4);  // what is usual: far below the bound
        }
    }
}

TEST(ReferenceMatvec, TheTwoClassesDiffer) {
    if (!testing::cpu_has_fma()) GTEST_SKIP() << "this CPU has no FMA";
    std::mt19937 random(4);
    const Matrix w(random_floats(64 * 64, random), 64, 64, ElementType::kF32, Layout::kRowMajor);
    const Floats x = random_floats(64, random);
    Floats fma(64), muladd(64);
    operators_of(NumericClass::kFma).matvec(fma.data(), w.view, x.data());
    operators_of(NumericClass::kMulAdd).matvec(muladd.data(), w.view, x.data());
    EXPECT_FALSE(same_bits(fma, muladd));
}

TEST(ReferenceGateUp, IsSiluOfTheGateTimesUpForEveryShapeAndStorage) {
    std::mt19937 random(5);
    for (NumericClass numerics : classes()) {
        const Naive naive{numerics};
        for (size_t rows = 1; rows <= 40; rows += 3) {
            for (size_t columns = 1; columns <= 40; columns += 3) {
                const Floats gates = random_floats(rows * columns, random),
                             ups = random_floats(rows * columns, random);
                const Floats x = random_floats(columns, random);
                for (const Storage& storage : kStorages) {
                    const Matrix gate(gates, rows, columns, storage.type, storage.layout);
                    const Matrix up(ups, rows, columns, storage.type, storage.layout);
                    Floats h(rows, kNan);
                    operators_of(numerics).gate_up(h.data(), gate.view, up.view, x.data());
                    Floats expected(rows);
                    for (size_t n = 0; n < rows; ++n) {
                        const float g = naive.row(gate, n, x);
                        const float silu = g / (1.0f + naive.exp(-g));
                        expected[n] = silu * naive.row(up, n, x);
                        const double exact = static_cast<double>(g) / (1 + std::exp(-static_cast<double>(g)));
                        EXPECT_NEAR(silu, exact, 4 * kHalfUlp * std::abs(exact));
                    }
                    ASSERT_TRUE(same_bits(h, expected)) << rows << "x" << columns;
                }
            }
        }
    }
}

TEST(ReferenceGateUp, SaturatesForLargeGates) {
    const float one = 1.0f;
    for (NumericClass numerics : classes()) {
        for (float gate : {-1e4f, -100.0f, -90.0f, 90.0f, 100.0f, 1e4f}) {
            const Matrix g({gate}, 1, 1, ElementType::kF32, Layout::kRowMajor);
            const Matrix up({2.0f}, 1, 1, ElementType::kF32, Layout::kRowMajor);
            float h = kNan;
            operators_of(numerics).gate_up(&h, g.view, up.view, &one);
            EXPECT_NEAR(h, gate > 0 ? 2 * gate : 0.0f, 1e-30f) << gate;
        }
    }
}

TEST(ReferenceRmsNorm, SumsSquaresInSixteenLanesAndATree) {
    std::mt19937 random(6);
    for (NumericClass numerics : classes()) {
        const Naive naive{numerics};
        for (size_t n = 1; n <= 300; ++n) {
            const Floats x = random_floats(n, random, 3.0f), weight = random_floats(n, random);
            Floats y(n, kNan);
            operators_of(numerics).rms_norm(y.data(), x.data(), weight.data(), n, 1e-5f);
            ASSERT_TRUE(same_bits(y, naive.rms_norm(x, weight, 1e-5f))) << n;
            double squares = 0;
            for (float value : x) squares += static_cast<double>(value) * value;
            const double factor =
                1 / std::sqrt(squares / static_cast<double>(n) + static_cast<double>(1e-5f));
            for (size_t i = 0; i < n; ++i) {
                const double exact = x[i] * factor * weight[i];
                ASSERT_NEAR(y[i], exact, (6 + static_cast<double>(n) / 32) * kHalfUlp * std::abs(exact)) << n;
            }
        }
    }
}

TEST(ReferenceRmsNorm, OfZeroesIsZero) {
    const Floats x(20), weight(20, 1.0f);
    for (NumericClass numerics : classes()) {
        Floats y(20, kNan);
        operators_of(numerics).rms_norm(y.data(), x.data(), weight.data(), 20, 1e-5f);
        EXPECT_TRUE(same_bits(y, Floats(20, 0.0f)));
    }
}

TEST(ReferenceQkv, ProjectsAndRotatesQueriesAndKeysInPairs) {
    std::mt19937 random(7);
    constexpr size_t kHidden = 37;
    for (NumericClass numerics : classes()) {
        const Naive naive{numerics};
        for (size_t head_size : {2, 4, 6, 16, 20}) {
            const size_t query_rows = 4 * head_size, kv_rows = 2 * head_size;
            const Floats x = random_floats(kHidden, random);
            Floats cos(head_size / 2), sin(head_size / 2);
            for (size_t i = 0; i < cos.size(); ++i) {
                cos[i] = std::cos(1.0f + static_cast<float>(i));
                sin[i] = std::sin(1.0f + static_cast<float>(i));
            }
            for (const Storage& storage : kStorages) {
                const auto make = [&](size_t rows) {
                    return Matrix(random_floats(rows * kHidden, random), rows, kHidden, storage.type,
                                  storage.layout);
                };
                const Matrix query = make(query_rows), key = make(kv_rows), value = make(kv_rows);
                const auto expected = [&](const Matrix& w, bool rotated) {
                    Floats y(w.view.rows);
                    for (size_t n = 0; n < y.size(); ++n) y[n] = naive.row(w, n, x);
                    if (rotated) naive.rope(y, head_size, cos, sin);
                    return y;
                };
                Floats q(query_rows, kNan), k(kv_rows, kNan), v(kv_rows, kNan);
                operators_of(numerics).qkv(q.data(), k.data(), v.data(), x.data(), query.view, key.view,
                                           value.view, {cos.data(), sin.data()},
                                           static_cast<uint32_t>(head_size));
                EXPECT_TRUE(same_bits(q, expected(query, true)));
                EXPECT_TRUE(same_bits(k, expected(key, true)));
                EXPECT_TRUE(same_bits(v, expected(value, false)));
                // A rotation keeps the length of each pair.
                const Floats plain = expected(query, false);
                for (size_t i = 0; i < q.size(); i += 2) {
                    EXPECT_NEAR(std::hypot(q[i], q[i + 1]), std::hypot(plain[i], plain[i + 1]), 1e-5);
                }
            }
        }
    }
}

TEST(ReferenceAttention, FollowsItsDefinitionForEveryShape) {
    std::mt19937 random(8);
    const AttentionShape shapes[] = {{1, 1, 1},  {1, 1, 2},  {8, 4, 16}, {6, 2, 8},
                                     {4, 1, 20}, {3, 3, 33}, {2, 1, 64}};
    for (NumericClass numerics : classes()) {
        const Naive naive{numerics};
        for (const AttentionShape& shape : shapes) {
            const size_t kv_size = size_t{shape.num_kv_heads} * shape.head_size;
            for (size_t positions = 1; positions <= 50; ++positions) {
                const size_t stride = positions + 3;
                const Floats q = random_floats(size_t{shape.num_heads} * shape.head_size, random, 2.0f);
                const Floats keys = random_floats(positions * kv_size, random);
                const Floats values = random_floats(positions * kv_size, random);
                Floats scores(shape.num_heads * stride, kNan), out(q.size(), kNan);
                operators_of(numerics).attention(out.data(), q.data(),
                                                 {keys.data(), values.data(), positions}, shape,
                                                 scores.data(), stride);
                ASSERT_TRUE(same_bits(out, naive.attention(q, keys, values, shape)))
                    << shape.num_heads << " heads of " << shape.head_size << ", " << positions
                    << " positions";
                for (size_t i = 0; i < scores.size(); ++i) {
                    EXPECT_EQ(std::isnan(scores[i]), i % stride >= positions)
                        << "scores beyond the positions";
                }
            }
        }
    }
}

TEST(ReferenceAttention, ReadsACacheOfHalvesExactly) {
    std::mt19937 random(18);
    constexpr AttentionShape kShape = {6, 2, 20};
    constexpr size_t kPositions = 37, kCount = kPositions * 40;
    const Floats q = random_floats(6 * 20, random, 2.0f);
    for (const float scale : {1.0f, 0x1p-16f}) {  // the second: mostly subnormal as halves
        std::vector<uint16_t> halves[2];
        Floats floats[2];
        for (size_t which = 0; which < 2; ++which) {
            halves[which].resize(kCount);
            f16_from_f32(halves[which].data(), random_floats(kCount, random, scale).data(), kCount);
            for (const uint16_t half : halves[which]) floats[which].push_back(f32_from_f16(half));
        }
        for (NumericClass numerics : classes()) {
            Floats scores(6 * kPositions), out(q.size(), kNan), expected(q.size());
            Operators& operators = operators_of(numerics);
            operators.attention(expected.data(), q.data(), {floats[0].data(), floats[1].data(), kPositions},
                                kShape, scores.data(), kPositions);
            operators.attention(out.data(), q.data(),
                                {halves[0].data(), halves[1].data(), kPositions, ElementType::kF16}, kShape,
                                scores.data(), kPositions);
            EXPECT_TRUE(same_bits(out, expected));
        }
    }
}

TEST(ReferenceAttention, IsCloseToDoublePrecision) {
    std::mt19937 random(9);
    constexpr AttentionShape kShape = {8, 2, 48};
    constexpr size_t kPositions = 700, kKvSize = 96;
    const Floats q = random_floats(8 * 48, random, 2.0f);
    const Floats keys = random_floats(kPositions * kKvSize, random);
    const Floats values = random_floats(kPositions * kKvSize, random);
    Floats scores(8 * kPositions), out(q.size());
    for (NumericClass numerics : classes()) {
        operators_of(numerics).attention(out.data(), q.data(), {keys.data(), values.data(), kPositions},
                                         kShape, scores.data(), kPositions);
        for (size_t h = 0; h < 8; ++h) {
            const size_t from = h / 4 * 48;
            double total = 0;
            std::vector<double> sums(48);
            for (size_t p = 0; p < kPositions; ++p) {
                double dot = 0;
                for (size_t d = 0; d < 48; ++d) {
                    dot += static_cast<double>(q[h * 48 + d]) * keys[p * kKvSize + from + d];
                }
                const double share = std::exp(dot / std::sqrt(48.0));
                total += share;
                for (size_t d = 0; d < 48; ++d) sums[d] += share * values[p * kKvSize + from + d];
            }
            for (size_t d = 0; d < 48; ++d) EXPECT_NEAR(out[h * 48 + d], sums[d] / total, 2e-6);
        }
    }
}

TEST(ReferenceAttention, SurvivesScoresThatExpAloneWouldOverflow) {
    const Floats q = {100.0f}, keys = {100.0f, 99.0f, -100.0f}, values = {1.0f, 2.0f, 3.0f};
    for (NumericClass numerics : classes()) {
        Floats scores(3), out(1);
        operators_of(numerics).attention(out.data(), q.data(), {keys.data(), values.data(), 3}, {1, 1, 1},
                                         scores.data(), 3);
        EXPECT_EQ(out[0], 1.0f);
    }
}

TEST(ReferenceEmbed, ReadsARowFromEveryStorage) {
    std::mt19937 random(10);
    constexpr size_t kColumns = 21;
    for (size_t rows : {1, 15, 16, 17, 37}) {
        const Floats values = random_floats(rows * kColumns, random);
        for (const Storage& storage : kStorages) {
            const Matrix table(values, rows, kColumns, storage.type, storage.layout);
            for (uint32_t token = 0; token < rows; ++token) {
                Floats row(kColumns, kNan);
                operators_of(NumericClass::kMulAdd).embed(row.data(), table.view, token);
                const auto begin = table.values.begin() + token * kColumns;
                EXPECT_TRUE(same_bits(row, Floats(begin, begin + kColumns)));
            }
        }
    }
}

TEST(ReferenceArgmax, TakesTheLowestIndexOfTheLargest) {
    Operators& operators = operators_of(NumericClass::kMulAdd);
    const auto argmax = [&](const Floats& values) { return operators.argmax(values.data(), values.size()); };
    EXPECT_EQ(argmax({3.0f}), 0u);
    EXPECT_EQ(argmax({1.0f, 3.0f, 3.0f, 2.0f}), 1u);
    EXPECT_EQ(argmax({-0.0f, 0.0f}), 0u);
    EXPECT_EQ(argmax({-kInf, -kInf}), 0u);
    EXPECT_EQ(argmax({-5.0f, kInf, kInf}), 1u);
}

TEST(ReferenceArgmax, NeverTakesANan) {
    Operators& operators = operators_of(NumericClass::kMulAdd);
    const auto argmax = [&](const Floats& values) { return operators.argmax(values.data(), values.size()); };
    EXPECT_EQ(argmax({kNan, -3.0f, kNan, -2.0f, kNan}), 3u);
    EXPECT_EQ(argmax({kNan, -kInf}), 1u);
    EXPECT_EQ(argmax({kNan, kNan}), 0u);
}

}  // namespace
}  // namespace bareflow
