// Names of keys and plans: what is written can be read back, and what cannot be read says where.
#include "arch/base/routine.h"

#include <gmock/gmock.h>

#include <bit>
#include <set>
#include <string>

namespace bareflow {
namespace {

using ::testing::HasSubstr;

/// Every operation, type, layout, class, ISA and epilogue, each size different.
template <typename Body>
void for_each_key(Body body) {
    for (const OperationNaming& naming : operation_namings()) {
        for (const NumericClass numerics : kNumericClasses) {
            for (const Isa isa : kIsas) {
                for (const Epilogue epilogue : {Epilogue::kStore, Epilogue::kAdd}) {
                    for (const ElementType type : kElementTypes) {
                        for (const Layout layout : {Layout::kRowMajor, Layout::kPanels16}) {
                            for (const float eps : {1e-5f, 1e-6f, 1e-1f, 1e-9f, 2.5e-6f, 0.0f}) {
                                RoutineKey key{.operation = naming.operation,
                                               .numerics = numerics,
                                               .isa = isa,
                                               .epilogue = epilogue};
                                if (naming.has_weights) key.type = type;
                                if (naming.has_weights) key.layout = layout;
                                if (naming.has_cache && type == ElementType::kF16) key.type = type;
                                if (naming.has_eps) key.eps = eps;
                                uint32_t value = 7;
                                for (const SizeNaming& size : size_namings()) {
                                    if (naming.sizes.find(size.letter) != std::string_view::npos)
                                        key.*size.field = value *= 11;
                                }
                                body(key);
                            }
                        }
                    }
                }
            }
        }
    }
}

TEST(KeyName, IsReadBackAsTheKeyThatItNames) {
    for_each_key([](const RoutineKey& key) {
        const FixedString<96> name = name_of(key);
        Result<RoutineKey> parsed = parse_key(name);
        ASSERT_TRUE(parsed.ok()) << parsed.error().message();
        EXPECT_EQ(parsed.value(), key) << name.view();
    });
}

TEST(KeyName, IsAnotherForEachKey) {
    std::set<std::string> names;
    std::set<std::string> keys;
    for_each_key([&](const RoutineKey& key) {
        names.emplace(name_of(key).view());
        keys.emplace(reinterpret_cast<const char*>(&key), sizeof key);
    });
    EXPECT_EQ(names.size(), keys.size());
    EXPECT_GT(keys.size(), 300u);
}

TEST(KeyName, IsAnIdentifier) {
    for_each_key([](const RoutineKey& key) {
        const FixedString<96> name = name_of(key);
        for (const char c : name.view())
            ASSERT_TRUE((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_') << name.view();
    });
}

TEST(KeyName, HoldsTheLargestSizes) {
    RoutineKey key{.operation = Operation::kQkv,
                   .numerics = NumericClass::kMulAdd,
                   .isa = Isa::kAvx512,
                   .epilogue = Epilogue::kAdd};
    for (const SizeNaming& size : size_namings()) key.*size.field = UINT32_MAX;
    key.num_heads = key.num_kv_heads = 0;
    const FixedString<96> name = name_of(key);
    EXPECT_LT(name.size(), 96u);
    EXPECT_EQ(parse_key(name).take(), key);
}

TEST(KeyName, IsWhatTheDocumentationSays) {
    EXPECT_EQ(name_of(parse_key("project_1x2048x2048_f32_fma_avx2").take()).view(),
              "project_1x2048x2048_f32_fma_avx2");
    const RoutineKey qkv = parse_key("qkv_1x2048x2048_kv256_h64_f16_fma_avx512").take();
    EXPECT_EQ(qkv.operation, Operation::kQkv);
    EXPECT_EQ(qkv.n, 2048u);
    EXPECT_EQ(qkv.kv_n, 256u);
    EXPECT_EQ(qkv.head_size, 64u);
    EXPECT_EQ(qkv.type, ElementType::kF16);
    EXPECT_EQ(qkv.layout, Layout::kPanels16);
    EXPECT_EQ(parse_key("rms_norm_288_fma_avx2").take().eps, 1e-5f);
    EXPECT_EQ(parse_key("rms_norm_288_eps1em6_fma_avx2").take().eps, 1e-6f);
    EXPECT_EQ(std::bit_cast<uint32_t>(parse_key("rms_norm_288_epsx00000001_fma_avx2").take().eps), 1u);
    EXPECT_EQ(parse_key("project_3x16x32_add_f32_rows_muladd_sse2").take().layout, Layout::kRowMajor);
    EXPECT_EQ(parse_key("attention_32q4kv_h64_fma_avx2").take().type, ElementType::kF32);
    EXPECT_EQ(parse_key("attention_32q4kv_h64_f16_fma_avx2").take().type, ElementType::kF16);
    for (const OperationNaming& naming : operation_namings()) {
        EXPECT_TRUE(parse_key(naming.example).ok()) << naming.example;
    }
}

TEST(KeyName, ThatIsMalformedSaysWhatAndWhere) {
    const struct {
        const char *name, *what;
    } cases[] = {
        {"", "an operation (project, qkv, gate_up, rms_norm, attention"},
        {"project", "and _ is wanted at character 1 of key project"},
        {"frobnicate_1x2x3_f32_fma_avx2", "an operation (project"},
        {"project_", "M, rows of x, a number from 1 to 4294967295, is wanted at character 9 of key project_"},
        {"project_x16x16_f32_fma_avx2",
         "M, rows of x, a number from 1 to 4294967295, is wanted at character 9"},
        {"project_1x0x16_f32_fma_avx2",
         "N, outputs, a number from 1 to 4294967295, is wanted at character 11"},
        {"project_1x16x4294967296_f32_fma_avx2", "K, inputs, a number from 1 to 4294967295, is wanted"},
        {"project_1x16x99999999999999999999_f32_fma_avx2", "K, inputs, a number"},
        {"project_1x-4x16_f32_fma_avx2", "N, outputs, a number"},
        {"project_1,16,16_f32_fma_avx2", "'x' (sizes are MxNxK) is wanted at character 10"},
        {"project_1x16_f32_fma_avx2", "'x' (sizes are MxNxK) is wanted at character 13"},
        {"project_1x16x16", "_ and a type of weights (f32, f16"},
        {"project_1x16x16_fma_avx2", "_ and a type of weights (f32, f16"},
        {"project_1x16x16_f64_fma_avx2", ") is wanted at character 16 of key"},
        {"project_1x16x16_f32", "_ and a numeric class (fma, muladd) is wanted at character 20"},
        {"project_1x16x16_f32_fast_avx2", "_ and a numeric class (fma, muladd) is wanted at character 20"},
        {"project_1x16x16_f32_fma", "_ and an ISA (scalar, sse2"},
        {"project_1x16x16_f32_fma_avx", "_ and an ISA (scalar, sse2"},
        {"project_1x16x16_f32_fma_avx22", ") is wanted at character 24"},
        {"project_1x16x16_f32_fma_avx2_", "the end is wanted at character 29"},
        {"project_1x16x16_f32_fma_avx2 ", "at character 24"},
        {"project_1x16x16_f32_add_fma_avx2", "a numeric class"},
        {"project_01x16x16_f32_fma_avx2", "is written project_1x16x16_f32_fma_avx2"},
        {"qkv_1x16x16_f32_fma_avx2", "'k' (sizes are MxNxK_kvV_hH) is wanted at character 13"},
        {"qkv_1x16x16_kv16_f32_fma_avx2", "'h' (sizes are"},
        {"attention_4q_h16_fma_avx2", "G, key/value heads, a number"},
        {"attention_4q2kv_h16_f32_fma_avx2", "_ and a numeric class"},
        {"attention_4q2kv_h16_q8_0_fma_avx2", "_ and a numeric class"},
        {"rms_norm_16_eps_fma_avx2", "eps as 1em1 to 1em9"},
        {"rms_norm_16_eps1em0_fma_avx2", "eps as 1em1 to 1em9"},
        {"rms_norm_16_eps1em_fma_avx2", "eps as 1em1 to 1em9"},
        {"rms_norm_16_epsx123_fma_avx2", "8 hexadecimal digits of eps is wanted at character 17"},
        {"rms_norm_16_epsx1234", "8 hexadecimal digits"},
        {"rms_norm_16_eps1em5_fma_avx2", "is written rms_norm_16_fma_avx2"},
        {"rms_norm_16_epsx358637bd_fma_avx2", "is written rms_norm_16_eps1em6_fma_avx2"},
        {"rms_norm_16_epsx358637BE_fma_avx2", "is written"},
    };
    for (const auto& c : cases) {
        Result<RoutineKey> parsed = parse_key(c.name);
        ASSERT_FALSE(parsed.ok()) << c.name;
        EXPECT_THAT(std::string(parsed.error().message()), HasSubstr(c.what)) << c.name;
    }
}

TEST(PlanText, IsReadBackAsThePlanThatItNames) {
    const Plan plan{.panels = 8, .rows = 1, .unroll = 4, .vector_bytes = 32, .prefetch = 512};
    EXPECT_EQ(name_of(plan).view(), "panels=8,rows=1,unroll=4,vector=32,prefetch=512");
    EXPECT_EQ(parse_plan(name_of(plan)).take(), plan);
    EXPECT_EQ(parse_plan("").take(), Plan());
    EXPECT_EQ(parse_plan("prefetch=65535,panels=2").take(), (Plan{.panels = 2, .prefetch = 65535}));
    const Plan large{.panels = 16, .rows = 64, .unroll = 64, .vector_bytes = 64, .prefetch = 65535};
    EXPECT_EQ(parse_plan(name_of(large)).take(), large);
}

TEST(PlanText, ThatIsMalformedSaysWhatAndWhere) {
    const struct {
        const char *text, *what;
    } cases[] = {
        {"panel=8", "no field \"panel\"; there are panels, rows, unroll, vector, prefetch"},
        {"panels", "panels has no value; give panels=N"},
        {"panels=", "panels= is not a number from 0 to 16"},
        {"panels=17", "panels=17 is not a number from 0 to 16"},
        {"panels=-1", "is not a number from 0 to 16"},
        {"panels=2,,rows=1", "no field \"\""},
        {"vector=48", "vector=48 is not 16, 32 or 64"},
        {"prefetch=65536", "is not a number from 0 to 65535"},
        {"rows=1,rows=2", "rows is given twice"},
    };
    for (const auto& c : cases) {
        Result<Plan> parsed = parse_plan(c.text);
        ASSERT_FALSE(parsed.ok()) << c.text;
        EXPECT_THAT(std::string(parsed.error().message()), HasSubstr(c.what)) << c.text;
    }
}

}  // namespace
}  // namespace bareflow
