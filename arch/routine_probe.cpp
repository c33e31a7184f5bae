#include "arch/routine_probe.h"

#include <algorithm>
#include <bit>

#include "arch/base/float16.h"
#include "model/reference.h"

namespace bareflow {
namespace {

/// Behind every output of a probe lie this many floats that must stay as they are.
constexpr size_t kFence = 64;
constexpr uint32_t kFenceBits = 0x7FB0'5EED;  // a NaN that no computation makes
/// Panels of a projection that are compared with the reference.
constexpr size_t kSampledPanels = 16;
/// Rows of x whose outputs are compared, where there are more: the first, the last, and some between.
constexpr size_t kSampledRows = 4;
constexpr size_t kProbePositions = 21;  ///< a whole group of 16 lanes, and a tail

/// Small values of both signs, the same at every boot: xorshift32 (Marsaglia 2003).
class ProbeValues {
 public:
    float next() {
        state_ ^= state_ << 13;
        state_ ^= state_ >> 17;
        state_ ^= state_ << 5;
        return (static_cast<float>(state_ >> 8) * 0x1p-23f - 1.0f) * 0.75f;
    }
    void fill(std::span<float> values) {
        for (float& value : values) value = next();
    }

 private:
    uint32_t state_ = 0x9E3779B9;
};

Result<Buffer<float>> make_values(Allocator& allocator, size_t count, ProbeValues& source) {
    Buffer<float> values = TRY(Buffer<float>::make(allocator, count, "routine probe"));
    source.fill(values.span());
    return values;
}

/// Room for `count` outputs and the fence, all of it poisoned: an output that is left out, or added to instead of
/// stored, shows.
Result<Buffer<float>> make_output(Allocator& allocator, size_t count) {
    Buffer<float> values = TRY(Buffer<float>::make(allocator, count + kFence, "routine probe"));
    for (float& value : values) value = std::bit_cast<float>(kFenceBits);
    return values;
}

Result<void> compare(const float* got, const float* wanted, size_t first, size_t count) {
    for (size_t i = 0; i < count; ++i) {
        const auto got_bits = std::bit_cast<uint32_t>(got[first + i]),
                   wanted_bits = std::bit_cast<uint32_t>(wanted[i]);
        if (got_bits != wanted_bits) {
            return invalid("output {} is 0x{:08x}, the reference has 0x{:08x}", first + i, got_bits,
                           wanted_bits);
        }
    }
    return {};
}
Result<void> check_fence(const Buffer<float>& output) {
    for (size_t i = output.size() - kFence; i < output.size(); ++i) {
        if (std::bit_cast<uint32_t>(output[i]) != kFenceBits) return invalid("wrote beyond its output");
    }
    return {};
}

/// Keys or values of a cache of the key's type.
Result<Buffer<uint8_t>> make_cache(const RoutineKey& key, Allocator& allocator, size_t count,
                                   ProbeValues& source) {
    Buffer<float> floats = TRY(make_values(allocator, count, source));
    Buffer<uint8_t> cache = TRY(Buffer<uint8_t>::make(allocator, count * size_of(key.type), "routine probe"));
    if (key.type == ElementType::kF16) {
        f16_from_f32(reinterpret_cast<uint16_t*>(cache.data()), floats.data(), count);
    } else {
        __builtin_memcpy(cache.data(), floats.data(), cache.size());
    }
    return cache;
}

TensorView whole_matrix(const RoutineKey& key, const void* data, uint32_t rows) {
    return {data, rows, key.k, key.type, key.layout};
}
/// x as the key's routines want it; `quantised` holds it where that is not x itself.
Result<const void*> input_of(const RoutineKey& key, const Buffer<float>& x, Allocator& allocator,
                             Buffer<Q8Group>& quantised) {
    if (!is_quantised(key.type)) return static_cast<const void*>(x.data());
    quantised = TRY(Buffer<Q8Group>::make(allocator, x.size() / kGroup, "routine probe"));
    quantise_input_for(key, quantised.data(), x.data(), x.size());
    return static_cast<const void*>(quantised.data());
}
TensorView one_panel(const TensorView& w, size_t panel) {
    const size_t first = panel * kPanelRows;
    const size_t rows = w.rows - first < kPanelRows ? w.rows - first : kPanelRows;
    const auto* data = static_cast<const uint8_t*>(w.data) + first * row_bytes(w.type, w.columns);
    return {data, static_cast<uint32_t>(rows), w.columns, w.type, w.layout};
}

/// The i-th of `samples` among `all`: from the first to the last, as evenly as can be.
size_t sampled(size_t i, size_t samples, size_t all) {
    return samples == 1 ? 0 : i * (all - 1) / (samples - 1);
}

/// A routine's call, timed from within the guard: what guarding costs is not the routine's.
struct Call {
    Routine routine;
    const void* arguments;
    Clock& clock;
    uint64_t ns = 0;

    static void run(void* self) {
        auto* call = static_cast<Call*>(self);
        const uint64_t began = call->clock.now_ns();
        call->routine(call->arguments);
        call->ns = call->clock.now_ns() - began;
    }
};

}  // namespace

template <typename Body>
Result<void> ReferenceProbe::for_sampled_outputs(size_t m, size_t n, Body body) {
    const size_t panels = (n + kPanelRows - 1) / kPanelRows;
    const size_t sampled_rows = std::min(m, kSampledRows), sampled_panels = std::min(panels, kSampledPanels);
    const uint64_t began = clock_.now_ns();
    for (size_t row = 0; row < sampled_rows; ++row) {
        for (size_t panel = 0; panel < sampled_panels; ++panel)
            TRY(body(sampled(row, sampled_rows, m), sampled(panel, sampled_panels, panels)));
    }
    times_.reference_ns += (clock_.now_ns() - began) * m * panels / (sampled_rows * sampled_panels);
    return {};
}

Result<void> ReferenceProbe::run(Routine routine, const void* arguments) {
    Call call{routine, arguments, clock_};
    FixedString<96> fault;
    if (!guard_.run(Call::run, &call, fault)) return invalid("faulted on its probe: {}", fault.view());
    times_.routine_ns += call.ns;
    return {};
}

Result<ProbeTimes> ReferenceProbe::check(const RoutineKey& key, Routine routine, const void* arguments) {
    // The first run finds its code in no cache, and an emulator has yet to translate it: it condemns nobody.
    constexpr int kTries = 4;
    constexpr uint64_t kLong = 200'000, kClearly = 4;
    ProbeTimes best{.routine_ns = UINT64_MAX, .reference_ns = UINT64_MAX};
    for (int i = 0; i < kTries; ++i) {
        times_ = {};
        TRY(check_once(key, routine, arguments));
        best.routine_ns = std::min(best.routine_ns, times_.routine_ns);
        best.reference_ns = std::min(best.reference_ns, times_.reference_ns);
        const bool clearly_slower =
            i > 0 && best.routine_ns > kLong && best.routine_ns / kClearly > best.reference_ns;
        if (best.routine_ns <= best.reference_ns || clearly_slower) break;
    }
    return best;
}

Result<void> ReferenceProbe::check_once(const RoutineKey& key, Routine routine, const void* arguments) {
    switch (key.operation) {
        case Operation::kProject:
            return check_project(key, routine, *static_cast<const ProjectArguments*>(arguments));
        case Operation::kGateUp:
            return check_gate_up(key, routine, *static_cast<const GateUpArguments*>(arguments));
        case Operation::kQkv:
            return check_qkv(key, routine, *static_cast<const QkvArguments*>(arguments));
        case Operation::kRmsNorm:
            return check_rms_norm(key, routine);
        case Operation::kAttention:
            return check_attention(key, routine);
        case Operation::kArgmax:
            return check_argmax(key, routine);
        case Operation::kSoftmax:
            return check_softmax(key, routine);
        case Operation::kQuantise:
        case Operation::kQuantiseWords:
            return check_quantise(key, routine);
    }
    return invalid("there is no probe for {}", name_of(key.operation));
}

Result<void> ReferenceProbe::check_project(const RoutineKey& key, Routine routine,
                                           const ProjectArguments& given) {
    ProbeValues values;
    const size_t count = size_t{key.m} * key.n;
    Buffer<float> x = TRY(make_values(allocator_, size_t{key.m} * key.k, values));
    Buffer<float> y = TRY(make_output(allocator_, count));
    Buffer<float> before;  // what an epilogue adds to
    if (key.epilogue == Epilogue::kAdd) {
        before = TRY(make_values(allocator_, count, values));
        __builtin_memcpy(y.data(), before.data(), count * sizeof(float));
    }
    uint64_t index = UINT64_MAX;
    Buffer<Q8Group> quantised;
    const ProjectArguments arguments{y.data(), given.w, TRY(input_of(key, x, allocator_, quantised)), &index};
    TRY(run(routine, &arguments));
    TRY(check_fence(y));
    if (key.epilogue ==
        Epilogue::kArgmax) {  // the reference's time counts: without the routine it has to do it
        const uint64_t began = clock_.now_ns();
        const uint32_t wanted = reference_.argmax(y.data(), key.n);
        times_.reference_ns += clock_.now_ns() - began;
        if (index != wanted) return invalid("the largest output is {}, the reference has {}", index, wanted);
    }
    const TensorView w = whole_matrix(key, given.w, key.n);
    return for_sampled_outputs(key.m, key.n, [&](size_t row, size_t panel) -> Result<void> {
        const TensorView part = one_panel(w, panel);
        float wanted[kPanelRows] = {};
        if (key.epilogue == Epilogue::kAdd) {
            const float* start = before.data() + row * key.n + panel * kPanelRows;
            __builtin_memcpy(wanted, start, part.rows * sizeof(float));
            reference_.project_add(wanted, part, x.data() + row * key.k);
        } else {
            reference_.matvec(wanted, part, x.data() + row * key.k);
        }
        return compare(y.data(), wanted, row * key.n + panel * kPanelRows, part.rows);
    });
}

Result<void> ReferenceProbe::check_gate_up(const RoutineKey& key, Routine routine,
                                           const GateUpArguments& given) {
    ProbeValues values;
    Buffer<float> x = TRY(make_values(allocator_, size_t{key.m} * key.k, values));
    Buffer<float> h = TRY(make_output(allocator_, size_t{key.m} * key.n));
    Buffer<Q8Group> quantised;
    const GateUpArguments arguments{h.data(), given.gate, given.up,
                                    TRY(input_of(key, x, allocator_, quantised))};
    TRY(run(routine, &arguments));
    TRY(check_fence(h));
    const TensorView gate = whole_matrix(key, given.gate, key.n), up = whole_matrix(key, given.up, key.n);
    return for_sampled_outputs(key.m, key.n, [&](size_t row, size_t panel) -> Result<void> {
        float wanted[kPanelRows];
        const TensorView part = one_panel(gate, panel);
        reference_.gate_up(wanted, part, one_panel(up, panel), x.data() + row * key.k);
        return compare(h.data(), wanted, row * key.n + panel * kPanelRows, part.rows);
    });
}

Result<void> ReferenceProbe::check_qkv(const RoutineKey& key, Routine routine, const QkvArguments& given) {
    ProbeValues values;
    Buffer<float> x = TRY(make_values(allocator_, key.k, values));
    Buffer<float> angles = TRY(make_values(allocator_, key.head_size, values));
    Buffer<float> q = TRY(make_output(allocator_, key.n)), k = TRY(make_output(allocator_, key.kv_n)),
                  v = TRY(make_output(allocator_, key.kv_n));
    const float *cos = angles.data(), *sin = angles.data() + key.head_size / 2;
    Buffer<Q8Group> quantised;
    const void* input = TRY(input_of(key, x, allocator_, quantised));
    const QkvArguments arguments{q.data(),    k.data(), v.data(), given.query, given.key,
                                 given.value, input,    cos,      sin};
    TRY(run(routine, &arguments));
    TRY(check_fence(q));
    TRY(check_fence(k));
    TRY(check_fence(v));
    // A head at a time would need panels that begin with heads, so the whole is compared: it is the model's smallest part.
    Buffer<float> wanted =
        TRY(Buffer<float>::make(allocator_, key.n + 2 * size_t{key.kv_n}, "routine probe"));
    float *wanted_q = wanted.data(), *wanted_k = wanted_q + key.n, *wanted_v = wanted_k + key.kv_n;
    const uint64_t began = clock_.now_ns();
    reference_.qkv(wanted_q, wanted_k, wanted_v, x.data(), whole_matrix(key, given.query, key.n),
                   whole_matrix(key, given.key, key.kv_n), whole_matrix(key, given.value, key.kv_n),
                   {cos, sin}, key.head_size);
    times_.reference_ns += clock_.now_ns() - began;
    TRY(compare(q.data(), wanted_q, 0, key.n));
    TRY(compare(k.data(), wanted_k, 0, key.kv_n));
    return compare(v.data(), wanted_v, 0, key.kv_n);
}

Result<void> ReferenceProbe::check_rms_norm(const RoutineKey& key, Routine routine) {
    ProbeValues values;
    Buffer<float> x = TRY(make_values(allocator_, key.n, values)),
                  weight = TRY(make_values(allocator_, key.n, values));
    Buffer<float> y = TRY(make_output(allocator_, key.n)), wanted = TRY(make_output(allocator_, key.n));
    const RmsNormArguments arguments{y.data(), x.data(), weight.data()};
    TRY(run(routine, &arguments));
    TRY(check_fence(y));
    const uint64_t began = clock_.now_ns();
    reference_.rms_norm(wanted.data(), x.data(), weight.data(), key.n, key.eps);
    times_.reference_ns += clock_.now_ns() - began;
    return compare(y.data(), wanted.data(), 0, key.n);
}

Result<void> ReferenceProbe::check_argmax(const RoutineKey& key, Routine routine) {
    ProbeValues source;
    const Buffer<float> values = TRY(make_values(allocator_, key.n, source));
    uint64_t index = UINT64_MAX;
    const ArgmaxArguments arguments{&index, values.data()};
    TRY(run(routine, &arguments));
    const uint64_t began = clock_.now_ns();
    const uint32_t wanted = reference_.argmax(values.data(), key.n);
    times_.reference_ns += clock_.now_ns() - began;
    if (index != wanted) return invalid("the largest value is {}, the reference has {}", index, wanted);
    return {};
}

Result<void> ReferenceProbe::check_softmax(const RoutineKey& key, Routine routine) {
    ProbeValues source;
    Buffer<float> wanted = TRY(make_values(allocator_, key.n, source)),
                  values = TRY(make_output(allocator_, key.n));
    __builtin_memcpy(values.data(), wanted.data(), key.n * sizeof(float));
    const SoftmaxArguments arguments{values.data()};
    TRY(run(routine, &arguments));
    TRY(check_fence(values));
    const uint64_t began = clock_.now_ns();
    reference_.softmax(wanted.data(), key.n);
    times_.reference_ns += clock_.now_ns() - began;
    return compare(values.data(), wanted.data(), 0, key.n);
}

Result<void> ReferenceProbe::check_quantise(const RoutineKey& key, Routine routine) {
    constexpr size_t kFloats = sizeof(Q8Group) / sizeof(float);
    ProbeValues source;
    const Buffer<float> x = TRY(make_values(allocator_, key.n, source));
    const size_t groups = key.n / kGroup;
    Buffer<float> got = TRY(make_output(allocator_, groups * kFloats)),
                  wanted = TRY(make_output(allocator_, groups * kFloats));
    const QuantiseArguments arguments{got.data(), x.data()};
    TRY(run(routine, &arguments));
    TRY(check_fence(got));
    const uint64_t began = clock_.now_ns();
    if (key.operation == Operation::kQuantiseWords) {
        quantise_input(reinterpret_cast<Q8WordGroup*>(wanted.data()), x.data(), key.n);
    } else {
        quantise_input(reinterpret_cast<Q8Group*>(wanted.data()), x.data(), key.n);
    }
    times_.reference_ns += clock_.now_ns() - began;
    return compare(got.data(), wanted.data(), 0, groups * kFloats);
}

Result<void> ReferenceProbe::check_attention(const RoutineKey& key, Routine routine) {
    ProbeValues values;
    const size_t out_size = size_t{key.num_heads} * key.head_size,
                 kv_size = size_t{key.num_kv_heads} * key.head_size;
    Buffer<float> q = TRY(make_values(allocator_, out_size, values));
    const Buffer<uint8_t> keys = TRY(make_cache(key, allocator_, kProbePositions * kv_size, values)),
                          cached = TRY(make_cache(key, allocator_, kProbePositions * kv_size, values));
    Buffer<float> scores = TRY(make_output(allocator_, key.num_heads * kProbePositions));
    Buffer<float> out = TRY(make_output(allocator_, out_size)),
                  wanted = TRY(make_output(allocator_, out_size));
    for (const size_t positions : {size_t{1}, kProbePositions}) {
        const AttentionArguments arguments{
            out.data(), q.data(),      keys.data(),     cached.data(),
            positions,  scores.data(), kProbePositions, kv_size * size_of(key.type)};
        TRY(run(routine, &arguments));
        TRY(check_fence(out));
        TRY(check_fence(scores));
        const uint64_t began = clock_.now_ns();
        reference_.attention(wanted.data(), q.data(), {keys.data(), cached.data(), positions, key.type},
                             {key.num_heads, key.num_kv_heads, key.head_size}, scores.data(),
                             kProbePositions);
        times_.reference_ns += clock_.now_ns() - began;
        TRY(compare(out.data(), wanted.data(), 0, out_size));
    }
    return {};
}

}  // namespace bareflow
