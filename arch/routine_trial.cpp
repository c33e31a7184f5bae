#include "arch/routine_trial.h"

#include "model/reference.h"

namespace bareflow {
namespace {

/// Values of both signs and ordinary size: what a routine takes does not depend on them, as long as they are no subnormals.
float some_value(size_t i) { return static_cast<float>(i * 7919 % 61) * 0.03f - 0.91f; }

Result<Buffer<float>> make_values(Allocator& allocator, size_t count) {
    Buffer<float> values = TRY(Buffer<float>::make(allocator, count, "tuner's scratch"));
    for (size_t i = 0; i < count; ++i) values[i] = some_value(i);
    return values;
}

}  // namespace

WeightSet WeightSet::of(const RoutineKey& key, const void* arguments) {
    switch (key.operation) {
        case Operation::kProject:
            return {{static_cast<const ProjectArguments*>(arguments)->w}};
        case Operation::kGateUp: {
            const auto& given = *static_cast<const GateUpArguments*>(arguments);
            return {{given.gate, given.up}};
        }
        case Operation::kQkv: {
            const auto& given = *static_cast<const QkvArguments*>(arguments);
            return {{given.query, given.key, given.value}};
        }
        default:
            return {};
    }
}

Result<ScratchCall> ScratchCall::make(const RoutineKey& key, Allocator& allocator) {
    ScratchCall call;
    call.key_ = key;
    call.x_ = TRY(make_values(allocator, size_t{key.m} * key.k));
    call.out_ = TRY(make_values(allocator, key.m * (size_t{key.n} + 2 * size_t{key.kv_n})));
    call.angles_ = TRY(make_values(allocator, key.head_size));
    if (is_quantised(key.type)) {
        call.quantised_ = TRY(Buffer<Q8Group>::make(allocator, call.x_.size() / kGroup, "tuner's scratch"));
        quantise_input_for(key, call.quantised_.data(), call.x_.data(), call.x_.size());
    }
    return call;
}

const void* ScratchCall::arguments(const WeightSet& weights) {
    const void* x = is_quantised(key_.type) ? static_cast<const void*>(quantised_.data()) : x_.data();
    float* const out = out_.data();
    switch (key_.operation) {
        case Operation::kGateUp:
            gate_up_ = {out, weights.matrix[0], weights.matrix[1], x};
            return &gate_up_;
        case Operation::kQkv:
            qkv_ = {out,
                    out + key_.n,
                    out + key_.n + key_.kv_n,
                    weights.matrix[0],
                    weights.matrix[1],
                    weights.matrix[2],
                    x,
                    angles_.data(),
                    angles_.data() + key_.head_size / 2};
            return &qkv_;
        default:
            project_ = {out, weights.matrix[0], x, &index_};
            return &project_;
    }
}

uint64_t ScratchCall::time(Routine routine, std::span<const WeightSet> sets, uint64_t first, uint64_t calls,
                           Clock& clock) {
    // Sums that are added to would grow without end otherwise.
    if (key_.epilogue == Epilogue::kAdd) __builtin_memset(out_.data(), 0, out_.size() * sizeof(float));
    const uint64_t began = clock.now_ns();
    for (uint64_t i = 0; i < calls; ++i) routine(arguments(sets[(first + i) % sets.size()]));
    return clock.now_ns() - began;
}

uint64_t ScratchCall::time_plain_loads(std::span<const WeightSet> sets, uint64_t first, uint64_t calls,
                                       Clock& clock) {
    using Words = uint64_t __attribute__((vector_size(16)));
    constexpr size_t kWords = 4, kLine = kWords * sizeof(Words);
    const uint64_t began = clock.now_ns();
    Words sums[kWords] = {};
    for (uint64_t call = 0; call < calls; ++call) {
        const WeightSet& set = sets[(first + call) % sets.size()];
        for (unsigned i = 0; i < matrices_of(key_); ++i) {
            const uint32_t rows = key_.operation == Operation::kQkv && i > 0 ? key_.kv_n : key_.n;
            const auto* words = static_cast<const Words*>(set.matrix[i]);
            const size_t lines = rows * row_bytes(key_.type, key_.k) / kLine;
            for (size_t line = 0; line < lines; ++line, words += kWords) {
                for (size_t word = 0; word < kWords; ++word) sums[word] ^= words[word];
            }
        }
    }
    const uint64_t ns = clock.now_ns() - began;
    for (const Words& sum : sums) loaded_ ^= sum[0] ^ sum[1];
    return ns;
}

}  // namespace bareflow
