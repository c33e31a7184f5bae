#include "arch/routine_operators.h"

#include "emitter/routine_emitter.h"
#include "model/reference.h"

namespace bareflow {

RoutineKey RoutineOperators::key_for(Operation operation) const {
    RoutineKey key;
    key.operation = operation;
    key.numerics = numeric_class();
    key.isa = isa_;
    return key;
}
RoutineKey RoutineOperators::key_for(Operation operation, const TensorView& w) const {
    RoutineKey key = key_for(operation);
    key.type = w.type;
    key.layout = w.layout;
    key.n = w.rows;
    key.k = w.columns;
    return key;
}

bool RoutineOperators::run(const RoutineKey& key, const void* arguments) {
    Routine routine = cache_.find(key);
    if (routine == nullptr) {
        if (!can_emit(key)) return false;
        routine = cache_.find_or_make(key, complete_plan(key, {}), arguments);
        if (routine == nullptr) return false;
    }
    routine(arguments);
    return true;
}

const void* RoutineOperators::input_for(const RoutineKey& key, const float* x) {
    if (!is_quantised(key.type)) return x;
    const size_t groups = key.k / kGroup;
    if (quantised_.size() < groups) {
        Result<Buffer<Q8Group>> larger = Buffer<Q8Group>::make(allocator_, groups, "quantised input");
        if (!larger.ok()) return nullptr;
        quantised_ = larger.take();
    }
    quantise_input(quantised_.data(), x, key.k);
    return quantised_.data();
}

void RoutineOperators::rms_norm(float* y, const float* x, const float* weight, size_t n, float eps) {
    RoutineKey key = key_for(Operation::kRmsNorm);
    key.n = static_cast<uint32_t>(n);
    key.eps = eps;
    const RmsNormArguments arguments{y, x, weight};
    if (!run(key, &arguments)) reference_.rms_norm(y, x, weight, n, eps);
}

void RoutineOperators::qkv(float* q, float* k, float* v, const float* x, const TensorView& query,
                           const TensorView& key_weights, const TensorView& value, const RopeRow& rope,
                           uint32_t head_size) {
    RoutineKey key = key_for(Operation::kQkv, query);
    key.kv_n = key_weights.rows;
    key.head_size = head_size;
    const bool alike = key_weights.type == query.type && value.type == query.type &&
                       key_weights.layout == query.layout && value.layout == query.layout;
    const void* input = alike ? input_for(key, x) : nullptr;
    const QkvArguments arguments{q,          k,     v,        query.data, key_weights.data,
                                 value.data, input, rope.cos, rope.sin};
    if (input == nullptr || !run(key, &arguments))
        reference_.qkv(q, k, v, x, query, key_weights, value, rope, head_size);
}

void RoutineOperators::attention(float* out, const float* q, const KvView& kv, const AttentionShape& shape,
                                 float* scores, size_t score_stride) {
    RoutineKey key = key_for(Operation::kAttention);
    key.head_size = shape.head_size;
    key.num_heads = shape.num_heads;
    key.num_kv_heads = shape.num_kv_heads;
    const AttentionArguments arguments{out, q, kv.keys, kv.values, kv.positions, scores, score_stride};
    if (!run(key, &arguments)) reference_.attention(out, q, kv, shape, scores, score_stride);
}

bool RoutineOperators::project(float* y, const TensorView& w, const float* x, Epilogue epilogue) {
    RoutineKey key = key_for(Operation::kProject, w);
    key.epilogue = epilogue;
    const void* input = input_for(key, x);
    const ProjectArguments arguments{y, w.data, input};
    return input != nullptr && run(key, &arguments);
}
void RoutineOperators::project_add(float* y, const TensorView& w, const float* x) {
    if (!project(y, w, x, Epilogue::kAdd)) reference_.project_add(y, w, x);
}
void RoutineOperators::matvec(float* y, const TensorView& w, const float* x) {
    if (!project(y, w, x, Epilogue::kStore)) reference_.matvec(y, w, x);
}

uint32_t RoutineOperators::matvec_argmax(float* y, const TensorView& w, const float* x) {
    RoutineKey key = key_for(Operation::kProject, w);
    key.epilogue = Epilogue::kArgmax;
    uint64_t index = 0;
    const void* input = input_for(key, x);
    const ProjectArguments arguments{y, w.data, input, &index};
    return input != nullptr && run(key, &arguments) ? static_cast<uint32_t>(index)
                                                    : reference_.matvec_argmax(y, w, x);
}
uint32_t RoutineOperators::argmax(const float* values, size_t n) {
    RoutineKey key = key_for(Operation::kArgmax);
    key.n = static_cast<uint32_t>(n);
    uint64_t index = 0;
    const ArgmaxArguments arguments{&index, values};
    return run(key, &arguments) ? static_cast<uint32_t>(index) : reference_.argmax(values, n);
}
void RoutineOperators::softmax(float* values, size_t n) {
    RoutineKey key = key_for(Operation::kSoftmax);
    key.n = static_cast<uint32_t>(n);
    const SoftmaxArguments arguments{values};
    if (!run(key, &arguments)) reference_.softmax(values, n);
}

void RoutineOperators::gate_up(float* h, const TensorView& gate, const TensorView& up, const float* x) {
    const RoutineKey key = key_for(Operation::kGateUp, gate);
    const bool alike = gate.type == up.type && gate.layout == up.layout;
    const void* input = alike ? input_for(key, x) : nullptr;
    const GateUpArguments arguments{h, gate.data, up.data, input};
    if (input == nullptr || !run(key, &arguments)) reference_.gate_up(h, gate, up, x);
}

}  // namespace bareflow
