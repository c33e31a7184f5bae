// What names an emitted routine, what varies in its making, and how it is called. Plain data: the emitter makes routines
// from it, the profiler counts by it, snapshots store it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "arch/base/format.h"
#include "arch/base/quantised.h"
#include "arch/base/result.h"
#include "arch/base/tensor.h"

namespace bareflow {

/// The vector instructions that a routine may use. Ordered by the encodings: legacy, VEX, EVEX. SSSE3, words and the two
/// with VNNI are for quantised weights alone, and differ from the one before them only there. kAvx2Words is AVX2 without
/// pmaddubsw, psignb and pmaddwd: a processor has them in one or two cycles, an emulator in 20 to 100.
enum class Isa : uint8_t { kScalar = 0, kSse2, kSsse3, kAvx2, kAvx2Words, kAvxVnni, kAvx512, kAvx512Vnni };
constexpr Isa kIsas[] = {Isa::kScalar,    Isa::kSse2,    Isa::kSsse3,  Isa::kAvx2,
                         Isa::kAvx2Words, Isa::kAvxVnni, Isa::kAvx512, Isa::kAvx512Vnni};
constexpr bool has_vex(Isa isa) { return isa >= Isa::kAvx2; }
constexpr bool has_evex(Isa isa) { return isa >= Isa::kAvx512; }
/// vpdpbusd: dots of bytes in one instruction.
constexpr bool has_vnni(Isa isa) { return isa == Isa::kAvxVnni || isa == Isa::kAvx512Vnni; }
constexpr bool is_for_quantised_only(Isa isa) {
    return isa == Isa::kSsse3 || isa == Isa::kAvx2Words || has_vnni(isa);
}

enum class Operation : uint8_t {
    kProject = 1,    ///< y = W x, for m rows of x
    kQkv,            ///< q, k, v from one x, q and k rotated
    kGateUp,         ///< h = silu(Wg x) * (Wu x)
    kRmsNorm,        ///< y = x / rms(x) * weight
    kAttention,      ///< softmax(q K / sqrt(head_size)) V for all heads
    kArgmax,         ///< the index of the largest of n values
    kSoftmax,        ///< n values become e^(x - max) / the sum of these, in place
    kQuantise,       ///< n values become n / 32 Q8Groups
    kQuantiseWords,  ///< n values become n / 32 Q8WordGroups
};

/// What happens to a sum when it is complete.
enum class Epilogue : uint8_t {
    kStore = 0,
    kAdd,     ///< to what y holds: a residual
    kArgmax,  ///< stored, and the index of the largest told (kProject, m = 1)
};

/// Identifies a routine. Compared and hashed as bytes, so every byte is a field and unused fields are zero.
struct RoutineKey {
    Operation operation{};
    NumericClass numerics{};
    Isa isa{};
    Epilogue epilogue{};
    ElementType type{};  ///< of the weights; kAttention: of the KV cache
    Layout layout{};
    uint32_t m = 1;     ///< rows of x
    uint32_t n = 0;     ///< outputs (query's for kQkv)
    uint32_t k = 0;     ///< inputs
    uint32_t kv_n = 0;  ///< kQkv: outputs of key and of value each
    uint32_t head_size = 0;
    uint32_t num_heads = 0, num_kv_heads = 0;  ///< kAttention
    float eps = 0;                             ///< kRmsNorm

    bool operator==(const RoutineKey& other) const {
        return __builtin_memcmp(this, &other, sizeof *this) == 0;
    }
};
static_assert(std::is_trivially_copyable_v<RoutineKey>);

/// For tables of keys.
inline uint64_t hash_of(const RoutineKey& key) {
    static_assert(sizeof key % sizeof(uint32_t) == 0);
    constexpr uint64_t kMultiplier = 0x9E3779B97F4A7C15;  // 2^64 / golden ratio: Fibonacci hashing
    uint32_t words[sizeof key / sizeof(uint32_t)];
    __builtin_memcpy(words, &key, sizeof key);
    uint64_t hash = 0;
    for (const uint32_t word : words) hash = (hash ^ word) * kMultiplier;
    return hash >> 32;
}

/// Outputs that are sums over k, of all matrices together; 0 for an operation without weights.
constexpr uint64_t summed_outputs(const RoutineKey& key) {
    switch (key.operation) {
        case Operation::kProject:
            return key.n;
        case Operation::kGateUp:
            return uint64_t{key.n} * 2;
        case Operation::kQkv:
            return uint64_t{key.n} + uint64_t{key.kv_n} * 2;
        default:
            return 0;
    }
}
constexpr uint64_t multiply_adds(const RoutineKey& key) { return key.m * summed_outputs(key) * key.k; }
constexpr uint64_t weight_bytes(const RoutineKey& key) {
    return summed_outputs(key) * row_bytes(key.type, key.k);
}
static_assert(sizeof(RoutineKey) == 4 + 4 + 4 + 8 * 4, "no padding: a key is compared as bytes");

/// Whether the routine's quantised input is Q8WordGroups. With several rows of x it pays to widen Q8_0 weights, since pmaddwd
/// then needs neither psignb nor pmaddubsw beside it, which run on the same ports.
constexpr bool takes_words(const RoutineKey& key) {
    if (key.isa == Isa::kAvx2Words) return is_quantised(key.type);
    return key.type == ElementType::kQ8_0 && key.m > 1 && has_vex(key.isa) && !has_vnni(key.isa);
}

/// How to make a routine. No field changes a bit of its results; zero means "the emitter chooses".
struct Plan {
    uint8_t panels = 0;        ///< panels of 16 outputs at a time
    uint8_t rows = 0;          ///< rows of x at a time (m > 1)
    uint8_t unroll = 0;        ///< steps of k in one turn of the loop; at least k: straight code
    uint8_t vector_bytes = 0;  ///< 16, 32 or 64, at most the ISA's
    uint16_t prefetch = 0;     ///< bytes ahead of the weights; 0: none
    uint16_t reserved = 0;

    bool operator==(const Plan&) const = default;
};
static_assert(sizeof(Plan) == 8);

// A routine is called as void routine(const XArguments*), System V ABI; it keeps nothing and allocates nothing.
// Pointers need no alignment beyond that of their elements; no byte outside the stated sizes is touched.

struct ProjectArguments {
    float* y;       // (m, n)
    const void* w;  // (n, k) in panels
    const void*
        x;  // (m, k) floats, or where weights are quantised (m, k / 32) Q8Groups or, takes_words(), Q8WordGroups
    uint64_t* index = nullptr;  // Epilogue::kArgmax: where the index of the largest output goes
};
struct QkvArguments {
    float *q, *k, *v;                 // (n), (kv_n), (kv_n)
    const void *query, *key, *value;  // (n, k), (kv_n, k), (kv_n, k) in panels
    const void* x;                    // (k), as ProjectArguments has it
    const float *cos, *sin;           // (head_size / 2)
};
struct GateUpArguments {
    float* h;               // (n)
    const void *gate, *up;  // (n, k) in panels
    const void* x;          // (m, k), as ProjectArguments has it
};
struct RmsNormArguments {
    float* y;             // (n)
    const float* x;       // (n)
    const float* weight;  // (n)
};
struct AttentionArguments {
    float* out;      // (num_heads * head_size)
    const float* q;  // (num_heads * head_size)
    const void*
        keys;  // (positions, num_kv_heads * head_size) of the key's type, kv_row_bytes from row to row
    const void* values;  // the same
    uint64_t positions;  // >= 1
    float* scores;       // scratch, (num_heads, score_stride)
    uint64_t score_stride;
    uint64_t kv_row_bytes;  // more than the heads here take where other cores have the rest
};
struct ArgmaxArguments {
    uint64_t* index;      // of the largest, written
    const float* values;  // (n)
};
struct SoftmaxArguments {
    float* values;  // (n)
};
struct QuantiseArguments {
    void* groups;    // (n / 32) Q8Groups or Q8WordGroups
    const float* x;  // (n)
};
using Routine = void (*)(const void* arguments);

/// Counts up when a stored routine can no longer be called as it was: arguments, layouts of weights and inputs, numbers of
/// enumerators, bits of CPU features.
constexpr uint32_t kRoutineAbi = 2;
static_assert(sizeof(ProjectArguments) == 32 && sizeof(QkvArguments) == 72 && sizeof(GateUpArguments) == 32 &&
                  sizeof(RmsNormArguments) == 24 && sizeof(AttentionArguments) == 64 &&
                  sizeof(ArgmaxArguments) == 16 && sizeof(SoftmaxArguments) == 8 &&
                  sizeof(QuantiseArguments) == 16,
              "what routines are called with has changed: count kRoutineAbi up");

constexpr std::string_view name_of(Isa isa) {
    constexpr std::string_view kNames[] = {"scalar",    "sse2",    "ssse3",  "avx2",
                                           "avx2words", "avxvnni", "avx512", "avx512vnni"};
    return kNames[static_cast<size_t>(isa)];
}
constexpr std::string_view name_of(Operation operation) {
    constexpr std::string_view kNames[] = {"?",         "project", "qkv",     "gate_up",  "rms_norm",
                                           "attention", "argmax",  "softmax", "quantise", "quantise_words"};
    return kNames[static_cast<size_t>(operation)];
}

/// How an operation's keys are named: one row an operation, read by name_of() and by parse_key().
struct OperationNaming {
    Operation operation;
    std::string_view sizes;  ///< capitals are fields (SizeNaming), all else stands for itself
    bool has_weights;        ///< the weights' type is part of the name
    bool has_eps;
    std::string_view example;  ///< a key that is good for trying things out
    bool has_cache = false;    ///< the KV cache's type is part of the name, where it is not f32
};
/// A capital of OperationNaming::sizes.
struct SizeNaming {
    char letter;
    uint32_t RoutineKey::*field;
    std::string_view meaning;
};
std::span<const OperationNaming> operation_namings();
std::span<const SizeNaming> size_namings();

/// The symbol that stands for the key: "project_1x2048x2048_f32_fma_avx2", "qkv_1x288x288_kv288_h48_f16_fma_avx512".
///
///     OPERATION_SIZES[_eps…][_add][_TYPE[_rows]]_CLASS_ISA
///
/// What nearly every key has is left out: eps of 1e-5, results that are stored (not added), weights in panels, a KV cache
/// of f32 (attention over one of f16 is attention_32q4kv_h64_f16_fma_avx2). Another
/// eps is written _eps1em6 where it is the float next to 10^-6 (1 to 9), else by its bits, _epsx3727c5ac: a name is an
/// identifier. Fields that an operation does not use are not in its name.
FixedString<96> name_of(const RoutineKey& key);
/// The key that `name` is the name of: the exact inverse of name_of(). An error says what is wrong and where.
Result<RoutineKey> parse_key(std::string_view name);

/// A field of a plan as text has it: "panels=8".
struct PlanField {
    std::string_view name;
    size_t offset, size;  ///< in Plan
    uint32_t largest;
    std::string_view meaning;
};
std::span<const PlanField> plan_fields();
/// "panels=8,rows=1,unroll=4,vector=32,prefetch=512"
FixedString<96> name_of(const Plan& plan);
/// Reads any of these fields, in any order; those left out are 0. An empty text is the plan that leaves all open.
Result<Plan> parse_plan(std::string_view text);

}  // namespace bareflow
